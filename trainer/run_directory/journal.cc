// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/journal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "comm/watchdog.h"
#include "core/files/disk.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"

namespace temper {
namespace {

constexpr absl::Duration kBetweenSigns = absl::Seconds(5), kBetweenLooks = absl::Milliseconds(500);

double Now() { return static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1e3; }

std::string TextOf(const Json& event, const char* key) { return GetString(event, key, "", "").value_or(""); }
double NumberOf(const Json& event, const char* key, double otherwise) {
  return GetDouble(event, key, "", otherwise).value_or(otherwise);
}

// When status.json was last written.
double LastSign(const std::string& run_directory) {
  const auto text = ReadFile(StatusPath(run_directory), 1 << 20);
  const auto json = text.ok() ? ParseJson(*text, "") : text.status();
  return json.ok() ? NumberOf(*json, "unix_seconds", 0) : 0;
}

// Of a start that says nothing more: what its ranks found out, if they did.
Json EndOfLost(const std::string& run_directory, const std::vector<Json>& journal, double last_sign) {
  double at = std::max(last_sign, NumberOf(journal.back(), "unix_seconds", 0));
  const auto found = ReadFound(StartsWatchDirectory(run_directory, StartOf(journal)));
  if (!found.ok() || found->text.empty()) return {{"unix_seconds", at}, {"how", "lost"}, {"why", ""}};
  at = std::max(at, found->unix_seconds);
  return {{"unix_seconds", at},
          {"how", "lost"},
          {"why", found->text},
          {"rank", found->rank},
          {"hosts", found->hosts}};
}

}  // namespace

std::string StartOf(const std::vector<Json>& journal) {
  for (auto event = journal.rbegin(); event != journal.rend(); ++event)
    if (TextOf(*event, "event") == "start") return TextOf(*event, "start");
  return "";
}

Journal::Journal(std::string run_directory, bool new_start)
    : run_directory_(std::move(run_directory)),
      last_sign_(LastSign(run_directory_)),
      told_(absl::Now()),
      looked_(absl::InfinitePast()) {
  if (new_start && !IsSupervised(run_directory_)) TheDisk().RemoveFile(StopPath(run_directory_));
}

absl::Status Journal::Begin(const Json& start) {
  TEMPER_RETURN_IF_ERROR(Open());
  TEMPER_RETURN_IF_ERROR(Add("start", start));
  WriteStatus(last_);
  return absl::OkStatus();
}

absl::Status NoteRestart(const std::string& run_directory, const Json& fields) {
  if (!FileExists(JournalPath(run_directory))) return absl::OkStatus();  // nothing had begun
  Journal journal(run_directory, /*new_start=*/false);
  TEMPER_RETURN_IF_ERROR(journal.Open());
  return journal.Add("restart", fields);
}

// A start that has no end gets it.
absl::Status Journal::Open() {
  const std::string path = JournalPath(run_directory_);
  const absl::StatusOr<std::vector<Json>> read = ReadJournal(run_directory_);
  if (!read.ok()) {  // no bit hangs on it
    LogWarning(read.status().message(), ": the journal is put aside as ", Printable(path, 1000),
               ".damaged, and hours are counted from here on");
    TEMPER_RETURN_IF_ERROR(RenamePath(path, path + ".damaged"));
  }
  const std::vector<Json> before = read.value_or(std::vector<Json>());
  // A line that a crash left unfinished is cut off.
  int64_t whole = 0;
  if (FileExists(path)) {
    TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    whole = static_cast<int64_t>(text.rfind('\n') + 1);
  }
  {
    const absl::MutexLock lock(&mutex_);
    TEMPER_ASSIGN_OR_RETURN(file_, AppendFile::Open(path, whole));
  }
  if (before.empty()) return absl::OkStatus();
  const std::string last = TextOf(before.back(), "event");
  if (last == "end" || last == "restart") return absl::OkStatus();
  return Add("end", EndOfLost(run_directory_, before, last_sign_));
}

absl::Status Journal::Add(const std::string& event, Json fields) {
  Json line = {{"event", event}, {"unix_seconds", Now()}};
  for (const auto& [name, value] : fields.items()) line[name] = value;
  const absl::MutexLock lock(&mutex_);
  TEMPER_RETURN_IF_ERROR(file_->Append(DumpJson(line) + "\n"));
  return file_->Sync();
}

void Journal::End(const absl::Status& status, bool asked) {
  const bool stopped = absl::IsCancelled(status) && asked;
  const bool begun = [&] {
    const absl::MutexLock lock(&mutex_);
    return file_ != nullptr;
  }();
  if (!begun && (!stopped || !Open().ok())) return;
  const char* const how = status.ok() ? "finished" : stopped ? "stopped" : "failed";
  const absl::Status written =
      Add("end", {{"how", how}, {"why", Printable(std::string(status.message()), 1000)}});
  if (!written.ok())
    return LogWarning(written.message());  // it is another start's by now, or the disk is full
  WriteStatus(last_);
}

void Journal::SignOfLife(const Progress::State& at) {
  if (absl::Now() - told_ < kBetweenSigns) return;
  WriteStatus(at);
}

void Journal::WriteStatus(const Progress::State& at) {
  told_ = absl::Now();
  last_ = at;
  const Json json = {{"unix_seconds", Now()}, {"stage", at.stage},    {"first", at.first},
                     {"done", at.done},       {"total", at.total},    {"text", at.text},
                     {"note", at.note},       {"seconds", at.seconds}};
  WriteFileAtomic(StatusPath(run_directory_), DumpJson(json) + "\n").IgnoreError();
}

bool Journal::AskedToStop() {
  if (absl::Now() - looked_ < kBetweenLooks) return false;
  looked_ = absl::Now();
  return FileExists(StopPath(run_directory_));
}

absl::StatusOr<std::vector<Json>> ReadJournal(const std::string& run_directory) {
  std::vector<Json> events;
  const std::string path = JournalPath(run_directory);
  if (!FileExists(path)) return events;
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    const std::string where = absl::StrCat(Printable(path, 1000), ":", i + 1);
    TEMPER_ASSIGN_OR_RETURN(Json event, ParseJson(lines[i], where));
    TEMPER_RETURN_IF_ERROR(GetString(event, "event", where).status());
    TEMPER_RETURN_IF_ERROR(GetDouble(event, "unix_seconds", where).status());
    events.push_back(std::move(event));
  }
  return events;
}

StageHours HoursOf(const std::vector<Json>& journal, const std::string& stage) {
  // Time between two events of the stage; `step`: of the checkpoint that it ended with.
  struct Piece {
    double hours;
    double step;
    bool lost;
  };
  std::vector<Piece> pieces;
  double ranks = 1, since = 0, ended = 0;
  int starts = 0;
  bool starting = false, inside = false, kept = false;  // kept: the machines are, from `ended` on
  const auto add = [&](double until, double step, bool lost) {
    pieces.push_back({std::max(0.0, until - since) * ranks / 3600, step, lost});
    since = until;
  };
  for (const Json& event : journal) {
    const std::string kind = TextOf(event, "event");
    const double at = NumberOf(event, "unix_seconds", 0), step = NumberOf(event, "step", -1);
    if (kind == "start") {
      ++starts;
      ranks = NumberOf(event, "devices", NumberOf(event, "ranks", 1));
      since = kept ? ended : at;
      starting = true;
      kept = false;
    } else if (kind == "stage") {
      inside = TextOf(event, "stage") == stage;
      if (inside) {
        // What was done after the checkpoint is done again; without one the stage begins anew.
        for (auto piece = pieces.rbegin(); step >= 0 && piece != pieces.rend() && piece->step != step;
             ++piece)
          piece->lost = true;
        if (starting) add(at, -1, starts > 1);
        since = at;
      }
      starting = false;
    } else if (kind == "restart") {
      kept = true;
    } else if (inside && kind == "saved") {
      // What was done while it was being written is not in it.
      add(std::clamp(NumberOf(event, "holds", at), std::min(since, at), at), step, false);
    } else if (inside && (kind == "finished" || kind == "end")) {
      add(at, step, false);
      inside = false;
    }
    if (kind == "end") {
      ended = at;
      kept = false;
    }
  }
  StageHours hours;
  for (const Piece& piece : pieces) {
    hours.held += piece.hours;
    if (piece.lost) hours.lost += piece.hours;
  }
  return hours;
}

}  // namespace temper

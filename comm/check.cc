// SPDX-License-Identifier: Apache-2.0
#include "comm/check.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/check.h"
#include "core/text.h"

namespace temper {
namespace {

std::string Pack(const std::vector<Held>& all) {
  std::string text;
  for (const Held& held : all) {
    for (const std::string* part : {&held.what, &held.value, &held.where}) {
      TEMPER_CHECK(part->find('\0') == part->npos, held.what);
      text.append(*part).push_back('\0');
    }
  }
  return text;
}

std::vector<Held> Unpack(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '\0');
  TEMPER_CHECK(parts.size() % 3 == 1, parts.size(), " parts");
  std::vector<Held> all;
  for (size_t i = 0; i + 3 < parts.size(); i += 3) all.push_back({parts[i], parts[i + 1], parts[i + 2]});
  return all;
}

const Held* FindHeld(const std::vector<Held>& all, const std::string& what) {
  const auto at = std::find_if(all.begin(), all.end(), [&](const Held& held) { return held.what == what; });
  return at == all.end() ? nullptr : &*at;
}

// "/data/train.jsonl (SHA-256 0123456789ab)", "3", "none".
std::string ValueText(const Held* held) {
  if (held == nullptr) return "none";
  const bool hash =
      held->value.size() == 64 && std::all_of(held->value.begin(), held->value.end(), absl::ascii_isxdigit);
  const std::string value =
      hash ? absl::StrCat("SHA-256 ", held->value.substr(0, 12)) : Printable(held->value, 100);
  return held->where.empty() ? value : absl::StrCat(Printable(held->where, 1000), " (", value, ")");
}

// The first thing by which `other` differs from `first`; empty: nothing.
std::string FirstDifference(const std::vector<Held>& first, const std::vector<Held>& other) {
  for (const std::vector<Held>* all : {&first, &other}) {
    for (const Held& held : *all) {
      const Held *left = FindHeld(first, held.what), *right = FindHeld(other, held.what);
      if (left == nullptr || right == nullptr || left->value != right->value) return held.what;
    }
  }
  return "";
}

constexpr char kCannotGoOn[] = " cannot go on: ";

}  // namespace

std::string LastWords(const absl::Status& status) {
  return absl::StrCat(status.raw_code(), " ", status.message());
}

absl::Status FromLastWords(const std::string& words) {
  const size_t space = words.find(' ');
  int code = 0;
  TEMPER_CHECK(space != std::string::npos && absl::SimpleAtoi(words.substr(0, space), &code), words);
  return absl::Status(static_cast<absl::StatusCode>(code), words.substr(space + 1));
}

bool IsStop(const absl::Status& status) {
  return absl::IsCancelled(status) && !absl::StrContains(status.message(), kCannotGoOn);
}

absl::Status AllRanksOk(const absl::Status& mine, Communicator& comm) {
  if (comm.size() == 1) return mine;
  const std::vector<std::string> words = comm.AllGather(mine.ok() ? "" : LastWords(mine));
  absl::Status first;
  int from = -1;
  for (int rank = 0; rank < comm.size() && (first.ok() || absl::IsCancelled(first)); ++rank) {
    if (words[rank].empty()) continue;
    const absl::Status theirs = FromLastWords(words[rank]);
    if (!first.ok() && absl::IsCancelled(theirs)) continue;
    first = theirs;
    from = rank;
  }
  if (from < 0 || from == comm.rank()) return mine;
  if (absl::IsCancelled(first)) return first;
  return absl::CancelledError(absl::StrCat("rank ", from, " of ", comm.size(), kCannotGoOn, first.message()));
}

absl::Status AllRanksHold(const std::vector<Held>& mine, Communicator& comm) {
  if (comm.size() == 1) return absl::OkStatus();
  const std::vector<std::string> texts = comm.AllGather(Pack(mine));
  const std::vector<Held> first = Unpack(texts[0]);
  std::string what, difference;
  int others = 0;
  for (int rank = 1; rank < comm.size(); ++rank) {
    if (texts[rank] == texts[0]) continue;
    const std::vector<Held> held = Unpack(texts[rank]);
    const std::string by = FirstDifference(first, held);
    if (by.empty()) continue;  // equal, but in other places
    if (!what.empty()) {
      ++others;
      continue;
    }
    what = by;
    difference =
        absl::StrCat(by, " of rank ", rank, " differs from rank 0's: ", ValueText(FindHeld(held, by)),
                     ", not ", ValueText(FindHeld(first, by)));
  }
  if (what.empty()) return absl::OkStatus();
  if (others > 0) absl::StrAppend(&difference, "; ", others, " more ranks differ");
  return absl::FailedPreconditionError(
      absl::StrCat(difference, ": start every rank with the same files and options"));
}

}  // namespace temper

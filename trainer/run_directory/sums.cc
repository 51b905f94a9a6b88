// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/sums.h"

#include <filesystem>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/check.h"
#include "core/files/lines.h"
#include "core/files/sealed.h"
#include "core/text.h"
#include "data/record_file.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

absl::Status Gone(const std::string& path) {
  return absl::DataLossError(
      absl::StrCat(Printable(path, 1000), ": is missing, and was written by this run: ", kRestoreAdvice));
}

absl::Status Differs(const std::string& path) {
  return absl::DataLossError(absl::StrCat(Printable(path, 1000),
                                          ": is not what was written (its checksum differs): it is damaged, ",
                                          kRestoreAdvice));
}

// Paths in the folder of all files in it, sorted.
absl::StatusOr<std::vector<std::string>> FilesOfFolder(const std::string& directory,
                                                       const std::string& below = "") {
  std::vector<std::string> files;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory + "/" + below));
  for (const std::string& name : names) {
    std::error_code error;
    if (!std::filesystem::is_directory(absl::StrCat(directory, "/", below, name), error)) {
      files.push_back(below + name);
      continue;
    }
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> more,
                            FilesOfFolder(directory, absl::StrCat(below, name, "/")));
    files.insert(files.end(), more.begin(), more.end());
  }
  return files;
}

// Reads the beginning of sums.jsonl; the last line of a file counts.
absl::StatusOr<std::map<std::string, Extent>> ReadSums(const std::string& stage_directory, const Extent& at) {
  std::map<std::string, Extent> files;
  const std::string path = SumsPath(stage_directory);
  if (at.bytes == 0) return files;
  if (!FileExists(path)) return Gone(path);
  TEMPER_ASSIGN_OR_RETURN(const Extent now, ExtentOfFile(path, at.bytes));
  if (now != at) return Differs(path);
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  int64_t number = 0;
  for (size_t begin = 0, end; begin < static_cast<size_t>(at.bytes); begin = end + 1) {
    end = text.find('\n', begin);
    if (end == text.npos) return Differs(path);
    const std::string name = absl::StrCat(path, ":", ++number);
    TEMPER_ASSIGN_OR_RETURN(
        const Json line,
        ParseLine({.text = text.substr(begin, end - begin), .number = number, .name = name}));
    TEMPER_ASSIGN_OR_RETURN(const std::string file, GetString(line, "file", name));
    TEMPER_ASSIGN_OR_RETURN(files[file], GetExtent(line, "is", name));
  }
  return files;
}

// One object of those of all ranks. Collective.
Json TogetherOf(const Json& mine, Communicator& world) {
  Json together = Json::object();
  for (const std::string& part : world.AllGather(mine.dump())) together.update(Json::parse(part));
  return together;
}

// Of a name that the reading of a policy or a tokenizer may look for.
bool WouldBeRead(const std::string& file) {
  for (const char* ending : {".json", ".jinja", ".safetensors", ".model", ".txt"}) {
    if (absl::EndsWith(file, ending)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<Json> SumsOfFolder(const std::string& directory, Communicator& world,
                                  const std::map<std::string, uint32_t>& known) {
  absl::StatusOr<std::vector<std::string>> listed = std::vector<std::string>();
  if (world.rank() == 0) listed = FilesOfFolder(directory);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(listed.status(), world));
  listed = Json::parse(world.AllGather(Json(*listed).dump())[0]).get<std::vector<std::string>>();
  Json mine = Json::object();
  for (const auto& [file, sum] : known) mine[file] = sum;
  const Json all_known = TogetherOf(mine, world);
  // A listing of a network file system may be older than what another machine wrote.
  std::set<std::string> names(listed->begin(), listed->end());
  for (const auto& [file, sum] : all_known.items()) names.insert(file);
  absl::Status status;
  mine = Json::object();
  int turn = 0;
  for (const std::string& file : names) {
    if (all_known.contains(file) || turn++ % world.size() != world.rank() || !status.ok()) continue;
    const absl::StatusOr<uint32_t> sum = Crc32cOfFile(absl::StrCat(directory, "/", file));
    status = sum.status();
    if (sum.ok()) mine[file] = *sum;
  }
  TEMPER_RETURN_IF_ERROR(AllRanksOk(status, world));
  const Json all_read = TogetherOf(mine, world);
  Json sums = Json::object();  // in the order of the files, whoever read them
  for (const std::string& file : names) {
    sums[file] = all_known.contains(file) ? all_known[file] : all_read[file];
  }
  return sums;
}

absl::Status CheckFolder(const std::string& directory, const Json& sums, const FileReader& reader) {
  std::vector<std::string> paths;
  for (const auto& [file, sum] : sums.items()) {
    paths.push_back(absl::StrCat(directory, "/", file));
    if (!FileExists(paths.back())) return Gone(paths.back());
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Extent> now, reader.Read(paths));
  size_t next = 0;
  for (const auto& [file, sum] : sums.items()) {
    if (sum != now[next].crc32c) return Differs(paths[next]);
    ++next;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, FilesOfFolder(directory));
  for (const std::string& file : files) {
    if (sums.contains(file) || file == "state/state.json" || !WouldBeRead(file)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(directory + "/" + file, 1000),
                     ": was not written by this run, and could change what is read there: move it away"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StageSums>> StageSums::Open(const std::string& stage_directory,
                                                           const Extent& at) {
  TEMPER_ASSIGN_OR_RETURN(auto files, ReadSums(stage_directory, at));
  TEMPER_ASSIGN_OR_RETURN(auto file, AppendFile::Open(SumsPath(stage_directory), at.bytes));
  return std::unique_ptr<StageSums>(new StageSums(stage_directory, std::move(file), at, std::move(files)));
}

absl::Status StageSums::Add(const std::string& path) {
  if (!FileExists(path)) return Gone(path);
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Extent> read, FileReader().Read({path}));
  const Extent& now = read[0];
  const std::string name = path.substr(directory_.size() + 1);
  const auto [at, is_new] = files_.emplace(name, now);
  if (!is_new) return at->second == now ? absl::OkStatus() : Differs(path);
  const std::string line = DumpJson(Json{{"file", name}, {"is", ExtentJson(now)}}) + "\n";
  TEMPER_RETURN_IF_ERROR(file_->Append(line));
  extent_.Add(line);
  return absl::OkStatus();
}

absl::Status StageSums::AddRecords(const std::string& prefix) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, RecordFiles(prefix));
  if (files.empty()) return Gone(RecordPath(prefix, 0));
  for (const std::string& file : files) TEMPER_RETURN_IF_ERROR(Add(file));
  return absl::OkStatus();
}

absl::Status StageSums::CheckThere(absl::FunctionRef<void()> alive) const {
  for (const auto& [name, extent] : files_) {
    alive();
    const std::string path = absl::StrCat(directory_, "/", name);
    if (!FileExists(path)) return Gone(path);
    std::error_code error;
    if (std::filesystem::file_size(path, error) != static_cast<uintmax_t>(extent.bytes) || error)
      return Differs(path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, Extent>> FilesOfStageSums(const std::string& stage_directory,
                                                               const Extent& at) {
  return ReadSums(stage_directory, at);
}

absl::Status CheckStageSums(const std::string& stage_directory, const Extent& at, bool cut_tails,
                            const FileReader& reader) {
  TEMPER_ASSIGN_OR_RETURN(const auto files, ReadSums(stage_directory, at));
  std::vector<std::string> paths;
  for (const auto& [name, extent] : files) {
    const std::string path = absl::StrCat(stage_directory, "/", name);
    if (!FileExists(path)) return Gone(path);
    std::error_code error;
    const size_t rank = path.rfind(".rank-");
    if (cut_tails && rank != path.npos &&
        std::filesystem::file_size(path, error) > static_cast<uintmax_t>(extent.bytes) && !error)
      TEMPER_RETURN_IF_ERROR(CutTails(path.substr(0, rank)));
    paths.push_back(path);
  }
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Extent> now, reader.Read(paths));
  size_t next = 0;
  for (const auto& [name, extent] : files) {
    if (now[next] != extent) return Differs(paths[next]);
    ++next;
  }
  return absl::OkStatus();
}

}  // namespace temper

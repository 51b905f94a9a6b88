// SPDX-License-Identifier: Apache-2.0
// CRC-32C of the files that a run leaves, as they were when they were finished.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "trainer/run_directory/file_reader.h"

namespace temper {

// How an error of a run's own file ends: it is missing, or not what was written.
inline constexpr char kRestoreAdvice[] = "restore it from a copy, or use another --run-dir";

// {"config.json": 123, "state/optimizer.safetensors": 456, ...} of all files of a folder and of those in it.
// Collective: the ranks share out the files, which the first one lists, but for those whose sums one of them
// has in `known`, by their paths in it: these are there, whether or not they are listed.
absl::StatusOr<Json> SumsOfFolder(const std::string& directory, Communicator& world,
                                  const std::map<std::string, uint32_t>& known = {});

// Whether the files are those of the sums. DataLoss names the first that is missing or differs;
// FailedPrecondition one beside them that a policy or its tokenizer would be read from too.
absl::Status CheckFolder(const std::string& directory, const Json& sums,
                         const FileReader& reader = FileReader());

// What a stage has finished and never changes again (record files of a rollout or an evaluation, a dataset):
// each with its size and sum, a line of STAGE/sums.jsonl. For the first rank: one thread, beside which others
// may Sync.
class StageSums {
 public:
  // Goes on after the beginning `at`, of a checkpoint; what follows it is cut off.
  static absl::StatusOr<std::unique_ptr<StageSums>> Open(const std::string& stage_directory,
                                                         const Extent& at);
  // Notes files of the stage as they are; nothing for one that is noted already. DataLoss where that differs.
  absl::Status Add(const std::string& path);
  absl::Status AddRecords(const std::string& prefix);  // data/record_file.h
  absl::Status Sync() { return file_->Sync(); }
  const Extent& extent() const { return extent_; }
  // Whether all are still there, in their size. Calls `alive` for each: they may be many, on a slow disk.
  absl::Status CheckThere(absl::FunctionRef<void()> alive) const;

 private:
  StageSums(std::string directory, std::unique_ptr<AppendFile> file, const Extent& extent,
            std::map<std::string, Extent> files)
      : directory_(std::move(directory)), file_(std::move(file)), extent_(extent), files_(std::move(files)) {}
  const std::string directory_;
  const std::unique_ptr<AppendFile> file_;
  Extent extent_;
  std::map<std::string, Extent> files_;  // by path in the stage
};

// The files that sums.jsonl up to `at` names, by their paths in the stage, as they were.
absl::StatusOr<std::map<std::string, Extent>> FilesOfStageSums(const std::string& stage_directory,
                                                               const Extent& at);

// Whether sums.jsonl begins with `at`, and each file that it names there is what it was. DataLoss names the
// one that is not. With `cut_tails` what a crash left behind the records of a file is cut off.
absl::Status CheckStageSums(const std::string& stage_directory, const Extent& at, bool cut_tails,
                            const FileReader& reader = FileReader());

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/communicator.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/files/staged.h"
#include "core/json/json.h"
#include "core/version.h"
#include "model/causal_lm.h"
#include "model/files/hugging_face.h"
#include "trainer/run_directory/file_reader.h"
#include "trainer/update/optimizer.h"

namespace temper {

// Where a stage is; state/state.json of a checkpoint.
struct TrainingState {
  int64_t step = 0;  // updates done
  int64_t numerics = kNumerics;
  int64_t policy_version = 0;  // of the weights
  Extent metrics;              // of metrics.jsonl, that belongs to these updates
  Extent sums;                 // of the stage's sums.jsonl
  std::string reference;       // directory of the reference policy, relative to the stage's; empty: its start
  Json reference_checksums = Json::object();  // of its files
  Json rows;           // of its inputs, as it began (trainer/inputs/inputs.h); null: not known
  double seconds = 0;  // spent in the stage so far
  Json cut_off;  // the figures of the last update, where a stop cut its evaluation off: no line has them
  bool milestone = false;    // this checkpoint is never removed
  int64_t out_of_range = 0;  // of the last updates, those skipped for such a gradient, in a row
  // Of the updates so far, the one with the best value of the figure that the recipe keeps the best of.
  struct Best {
    std::string figure;
    int64_t step = 0;  // 0: there was none yet
    double value = 0;
  };
  Best best;
};

// A checkpoint is a Hugging Face directory (weights, config, tokenizer) plus state/ (the optimizer's files,
// state.json). It is written under a temporary name, synced and renamed to DIRECTORY/step-NNNNNN. When it
// stands older ones are removed, but for the `keep_last` newest, milestones and that of state.best. A weight
// or moment that is not finite is an error, and nothing is written.
//
// Collective: ranks write the parts that they have, to one file system (model/files/shared_tensors.h); what
// exists once, `state` among it, is the first rank's. Ok, or an error, on every rank.
struct CheckpointContents {
  const CausalLm& model;
  const std::string& tokenizer_directory;
  const Optimizer& optimizer;
  const TrainingState& state;
};
struct CheckpointOptions {
  int64_t keep_last = 2;
  int64_t file_bytes = PolicyWriting().file_bytes;
  const RunLock* lock = nullptr;  // the first rank's: without it nothing comes to stand (AtomicDirectory)
  bool in_background = true;      // of a BackgroundCheckpoint; not: its Begin writes all
};
absl::Status SaveCheckpoint(const std::string& directory, const CheckpointContents& contents,
                            const CheckpointOptions& options, Communicator& world);

// The same, written while training goes on: the files with weights and moments are copied to the memory of
// the ranks that write them, a thread of each rank writes them, and when all have, it is made to stand. One
// at a time.
class BackgroundCheckpoint {
 public:
  // Collective: ok, or an error, on every rank. Of the contents nothing is needed any more when it returns.
  static absl::StatusOr<std::unique_ptr<BackgroundCheckpoint>> Begin(const std::string& directory,
                                                                     const CheckpointContents& contents,
                                                                     const CheckpointOptions& options,
                                                                     Communicator& world);
  ~BackgroundCheckpoint();  // waits for this rank's thread; what does not stand is removed

  int64_t step() const { return state_.step; }
  // Whether this rank's files are on disk, or could not be written.
  bool written() const { return written_; }
  // Waits until those of all ranks are. Collective: ok, when it stands, or an error, on every rank.
  absl::Status Finish(Communicator& world);

 private:
  BackgroundCheckpoint(std::string directory, const TrainingState& state, int64_t optimizer_steps,
                       int64_t keep_last)
      : directory_(std::move(directory)),
        state_(state),
        optimizer_steps_(optimizer_steps),
        keep_last_(keep_last) {}

  const std::string directory_;
  const TrainingState state_;
  const int64_t optimizer_steps_, keep_last_;
  std::unique_ptr<AtomicDirectory> files_;  // the first rank's
  std::string temporary_;
  StagedFiles staged_;
  // The thread's, until it has ended.
  absl::StatusOr<std::map<std::string, uint32_t>> sums_ = std::map<std::string, uint32_t>();
  std::atomic<bool> written_ = false;
  std::thread thread_;
};

// How much room it takes, about.
int64_t BytesOfCheckpoint(const CausalLm& model);

// The complete checkpoints in DIRECTORY, oldest first. Leftovers of an interrupted save are ignored.
absl::StatusOr<std::vector<std::string>> Checkpoints(const std::string& directory);

// The newest of them, or "" where there is none.
absl::StatusOr<std::string> LatestCheckpoint(const std::string& directory);

// state/state.json alone.
absl::StatusOr<TrainingState> ReadTrainingState(const std::string& checkpoint);

// Whether all files are what was written: state.json has the CRC-32C of each, and its own. DataLoss names the
// one that is missing or damaged.
absl::Status CheckCheckpoint(const std::string& checkpoint, const FileReader& reader = FileReader());
// The same, and of the reference policy that the checkpoint goes on with.
absl::Status CheckResume(const std::string& checkpoint, const std::string& stage_directory,
                         const FileReader& reader = FileReader());

// Of the checkpoint's folder, but for state/state.json.
absl::StatusOr<std::vector<std::string>> FilesOfCheckpoint(const std::string& checkpoint);

// How long a slow disk may take for so many bytes, or for all files below a folder: what ranks announce.
absl::Duration OnSlowDisk(int64_t bytes);
absl::Duration OnSlowDisk(const std::string& directory);

// Weights are read by ReadPolicy; this reads this rank's part of the optimizer of one checkpoint. Sizes that
// do not fit are errors that name the file.
absl::Status LoadOptimizer(const std::string& checkpoint, CausalLm* model, Optimizer* optimizer);

}  // namespace temper

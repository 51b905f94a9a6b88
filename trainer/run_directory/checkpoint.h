// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
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
  // The first rank's, by whichever thread makes it stand: called once before it does, when all else is on the
  // disk, and once when it does, before older ones are removed.
  std::function<absl::Status()> before = nullptr, stands = nullptr;
};
absl::Status SaveCheckpoint(const std::string& directory, const CheckpointContents& contents,
                            const CheckpointOptions& options, Communicator& world);

// The same, written while training goes on: the files are copied to the memory of the ranks that write them,
// and a thread of each rank writes them; no rank waits for a sync. Threads speak to the disk alone: each
// says there, in the folder that is not yet a checkpoint, that it has written, and as soon as all have the
// first rank's makes it stand, whatever the ranks are at. A disk that does not show it what others wrote
// delays that until the ranks call IsOver or Finish. One at a time.
class BackgroundCheckpoint {
 public:
  // Collective: ok, or an error, on every rank. Of the contents nothing is needed any more when it returns.
  static absl::StatusOr<std::unique_ptr<BackgroundCheckpoint>> Begin(const std::string& directory,
                                                                     const CheckpointContents& contents,
                                                                     const CheckpointOptions& options,
                                                                     Communicator& world);
  ~BackgroundCheckpoint();  // waits for this rank's thread; what does not stand by then is removed

  int64_t step() const { return state_.step; }
  // Of the copy in this rank's memory.
  int64_t copied_bytes() const { return copied_bytes_; }
  // Whether this rank's files are on disk, or could not be written.
  bool written() const { return written_; }
  // Collective, and waits for no disk: whether it stands or never will, so that Finish does not wait either.
  bool IsOver(Communicator& world);
  // Waits until it does. Collective: ok, when it stands, or an error, on every rank.
  absl::Status Finish(Communicator& world);

 private:
  using Sums = std::map<std::string, uint32_t>;  // by path in the folder

  BackgroundCheckpoint(std::string directory, const CheckpointContents& contents, CheckpointOptions options)
      : directory_(std::move(directory)),
        state_(contents.state),
        optimizer_steps_(contents.optimizer.steps()),
        options_(std::move(options)),
        staged_(&contents.model.backend().pool()) {}

  // What the thread does.
  void Write();
  void WriteAndMakeStand();
  // The sums of what all ranks' threads have written; nothing where they have not and nobody waits any more.
  std::optional<Sums> AwaitAll() const;
  // Collective, when all have written: tells the first rank's thread.
  void TellAll(Communicator& world);
  void RemoveNotes() const;
  absl::Status MakeStand(const Json& checksums);

  const std::string directory_;
  const TrainingState state_;
  const int64_t optimizer_steps_;
  const CheckpointOptions options_;
  std::unique_ptr<AtomicDirectory> files_;  // the first rank's
  std::string temporary_;
  std::string note_;   // where this rank says that it has written; empty: nobody asks
  size_t others_ = 0;  // ranks beside the first that do
  int64_t copied_bytes_ = 0;
  StagedFiles staged_;
  // The thread's: the first until it has written, the other until it has ended.
  absl::StatusOr<Sums> sums_ = Sums();
  std::optional<absl::Status> stood_;  // the first rank's, once it tried
  std::atomic<bool> written_ = false, ended_ = false;
  std::optional<Sums> all_;  // of all ranks, if they have told
  absl::Notification told_;  // `all_` is what it will be
  std::thread thread_;
};

// How long to train between two of them: sqrt(2 x cost x time between faults), for which what saving costs
// and what is done again after a fault take least together (Young 1974, Daly 2006), but 1 to 10 minutes. A
// rank fails once in 8,000 hours: on Meta's clusters 1,024 GPUs did once in 7.9 (arXiv 2410.21680). `cost`:
// for how long the last one held training up.
absl::Duration BetweenCheckpoints(absl::Duration cost, int ranks);

// How much room it takes, about.
int64_t BytesOfCheckpoint(const CausalLm& model);
// And of it in the memory of a rank, of as many as the model is laid out for, when it is written in the
// background.
int64_t BytesOfCopy(const CausalLm& model, int rank, int64_t file_bytes = CheckpointOptions().file_bytes);
// Whether on every machine what its ranks copy takes together at most half of what is free there. `mine` is
// of this rank, `free` of its machine: one rank may copy all, and the others nothing. Collective.
bool CopiesHaveRoom(int64_t mine, const std::string& machine, int64_t free, Communicator& world);

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

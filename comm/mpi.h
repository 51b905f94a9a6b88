// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/communicator.h"

namespace temper {

// MPI's world of host memory, through Isend and Irecv alone. Messages longer than `chunk_bytes` go in pieces
// (MPI counts in ints, and a piece that arrives is a sign of life). MPI does not notice a lost rank, so calls
// poll against the deadline; waiting costs a core for 0.1 s and then little. One a process;
// MPI_THREAD_FUNNELED: the thread that opened it makes all calls.
class MpiCommunicator final : public Communicator {
 public:
  // Initialises MPI if nobody has. The environment decides the number of ranks: 1 without mpirun and srun.
  static absl::StatusOr<std::unique_ptr<MpiCommunicator>> Open(size_t chunk_bytes = size_t{4} << 20);
  // Finalizes what Open initialised, which waits for all ranks; not while an exception passes, nor after
  // CommError.
  ~MpiCommunicator() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "mpi"; }
  [[noreturn]] void Abort(const std::string& message, int code) override;  // exit status of the whole job

 protected:
  void Move(const Message& message) override;
  std::unique_ptr<Moving> StartMove(const Message& message) override;
  bool MoveIsOver(Moving* moving) override;
  void FinishMove(Moving* moving) override;
  void MoveCopy(const Message& message) override;
  bool Come(int from, int tag) override;
  void Post(int to, std::string_view note) override;
  Note HeardNote() override;

 private:
  MpiCommunicator(int rank, int size, size_t chunk_bytes, bool owner);

  const int rank_;
  const int size_;
  const size_t chunk_bytes_;
  const bool owner_;  // of MPI: this object finalizes it
  const int exceptions_;
  struct Posted;
  struct Copied;
  struct Started;
  [[noreturn]] void Fail(const Message& message, const std::string& why);
  std::deque<std::unique_ptr<Posted>> posted_;     // notes, which MPI reads until it has sent them
  std::deque<std::unique_ptr<Copied>> copied_;     // likewise, of SendCopy
  absl::Duration last_pieces_ = absl::Seconds(2);  // for which dropped messages may still be waited for
  bool failed_ = false;
};

// The ranks that this process was started among: MPI's under mpirun or `srun --mpi=pmix`, else this one
// alone, without touching MPI. Refuses an srun of several tasks without PMIx: each would take itself for the
// only one.
absl::StatusOr<std::unique_ptr<Communicator>> OpenWorld();

}  // namespace temper

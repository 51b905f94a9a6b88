// SPDX-License-Identifier: Apache-2.0
#pragma once

#if TEMPER_GPU

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "comm/communicator.h"
#include "comm/device_ranks.h"

namespace temper {

// The same ranks as `host`, moving device memory with ncclSend and ncclRecv, and adding integers there; no
// sum of floats. Pointers are of the device that is current when the object is made, which no other rank
// has; calls run on its own stream, which first waits for the work that the device's default stream was
// given, and return when the bytes are there; what was only started goes on there beside the device's later
// work, one message behind another. To start one waits until NCCL has taken it: the first time that two ranks
// speak, until both do. NCCL has no tags and no lengths on the wire: both ends call in the same order. No
// call waits inside NCCL or CUDA for a peer: it polls, and GiveUp ends the work of a lost peer's partners on
// the device. The constructor and SumIntegers wait as calls of `host` do (Communicator::WaitForDevices),
// messages up to its deadline.
class NcclCommunicator final : public Communicator, public DeviceRanks {
 public:
  // Collective over `host`, which carries NCCL's id. Throws CommError.
  explicit NcclCommunicator(Communicator& host);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  std::string_view backend() const override { return "nccl"; }
  bool device_memory() const override { return true; }
  [[noreturn]] void Abort(const std::string& message, int code) override;

  void SumIntegers(int64_t* numbers, int64_t count) override;
  void GiveUp() override;

 protected:
  void Move(const Message& message) override { FinishMove(StartMove(message).get()); }
  std::unique_ptr<Moving> StartMove(const Message& message) override;
  bool MoveIsOver(Moving* moving) override;
  void FinishMove(Moving* moving) override;
  void Post(int to, std::string_view note) override {}  // the host's communicator carries them
  Note HeardNote() override { return {}; }

 private:
  struct Started;
  // Gives NCCL a group of calls behind all that the device has to do; does not wait until it has taken them.
  std::unique_ptr<Started> GiveGroup(const std::string& operation,
                                     absl::FunctionRef<ncclResult_t(ncclComm_t comm)> calls);
  // Behind what NCCL has taken, so that its end is seen.
  void Mark(Started* started);
  // As a call of the host's, of so many bytes; gives up where that throws.
  void WaitAsHost(int64_t bytes, absl::FunctionRef<bool()> is_over);
  // What `ask` says while nobody gives the communicator up; throws where that was done.
  ncclResult_t Asked(const std::string& operation, absl::FunctionRef<ncclResult_t(ncclComm_t comm)> ask);
  // Throws if NCCL says that something is wrong; whether it has taken all work.
  bool HasTaken(const std::string& operation);
  // Polls until it has.
  void Wait(const std::string& operation);
  [[noreturn]] void Fail(const std::string& operation, const std::string& why);

  Communicator& host_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t before_ = nullptr;  // on the default stream: what it was given before a call
  absl::Mutex mutex_;             // nobody holds it while a peer is waited for
  ncclComm_t comm_ ABSL_GUARDED_BY(mutex_) = nullptr;  // null: given up
};

// Of the GPU that the current device is, or is a part of (MIG): of its machine and its place on the bus, by
// which NCCL refuses two ranks on one. "": CUDA does not say it.
std::string NameOfDevice();

}  // namespace temper

#endif  // TEMPER_GPU

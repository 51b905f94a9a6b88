// SPDX-License-Identifier: Apache-2.0
#pragma once

#if TEMPER_GPU

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <memory>

#include "comm/communicator.h"

namespace temper {

// The same ranks as `host`, moving device memory with ncclSend and ncclRecv; no ncclSum. Pointers are of the
// device that is current when the object is made; calls run on its own stream, which first waits for the work
// that the device's default stream was given, and return when the bytes are there; what was only started goes
// on there beside the device's later work, one message behind another. To start one waits until NCCL has
// taken it: the first time that two ranks speak, until both do. NCCL has no tags and no lengths on the wire:
// both ends call in the same order.
class NcclCommunicator final : public Communicator {
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

 protected:
  void Move(const Message& message) override { FinishMove(StartMove(message).get()); }
  std::unique_ptr<Moving> StartMove(const Message& message) override;
  bool MoveIsOver(Moving* moving) override;
  void FinishMove(Moving* moving) override;
  void Post(int to, std::string_view note) override {}  // the host's communicator carries them
  Note HeardNote() override { return {}; }

 private:
  struct Started;
  // Polls until NCCL has taken the work; aborts the communicator and throws otherwise.
  void Wait(const std::string& operation);
  [[noreturn]] void Fail(const std::string& operation, const std::string& why);

  Communicator& host_;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t before_ = nullptr;  // on the default stream: what it was given before a message
};

}  // namespace temper

#endif  // TEMPER_GPU

// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl.h"

#if TEMPER_GPU

#include <sched.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace temper {

NcclCommunicator::NcclCommunicator(Communicator& host) : host_(host) {
  set_deadline(host.deadline());
  const std::string operation = absl::StrCat("rank ", rank(), " of ", size(), " (nccl): start");
  ncclUniqueId id = {};
  ncclResult_t made = ncclSuccess;
  if (rank() == 0) made = ncclGetUniqueId(&id);
  host.Broadcast(&id, sizeof id, 0);
  if (made != ncclSuccess) Fail(operation, ncclGetErrorString(made));
  // Every call returns at once and is polled: only so can a lost peer be given up (NCCL's fault tolerance).
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t code = ncclCommInitRankConfig(&comm_, size(), id, rank(), &config);
  if (code != ncclSuccess && code != ncclInProgress) Fail(operation, ncclGetErrorString(code));
  Wait(operation, nullptr);
  const cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
  if (error != cudaSuccess) Fail(operation, cudaGetErrorString(error));
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ != nullptr) ncclCommAbort(comm_);  // all calls have ended: there is nothing to flush
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void NcclCommunicator::Abort(const std::string& message, int code) {
  host_.Abort(message, code);
  std::abort();  // never reached; a virtual call's [[noreturn]] is not believed
}

void NcclCommunicator::Fail(const std::string& operation, const std::string& why) {
  if (comm_ != nullptr) ncclCommAbort(comm_);
  comm_ = nullptr;
  throw CommError(absl::StrCat(operation, ": ", why));
}

void NcclCommunicator::Wait(const std::string& operation, cudaStream_t stream) {
  const absl::Time limit = absl::Now() + deadline();
  while (true) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    if (asked != ncclSuccess) Fail(operation, ncclGetErrorString(asked));
    if (state == ncclSuccess) {
      const cudaError_t done = stream == nullptr ? cudaSuccess : cudaStreamQuery(stream);
      if (done == cudaSuccess) return;
      if (done != cudaErrorNotReady) Fail(operation, cudaGetErrorString(done));
    } else if (state != ncclInProgress) {
      Fail(operation, ncclGetErrorString(state));
    }
    if (absl::Now() > limit) Fail(operation, absl::StrCat("silent for ", absl::FormatDuration(deadline())));
    sched_yield();
  }
}

void NcclCommunicator::Move(const Message& message) {
  const std::string operation = Describe(message);
  if (comm_ == nullptr) throw CommError(absl::StrCat(operation, ": this communicator was given up"));
  const cudaError_t ready = cudaDeviceSynchronize();
  if (ready != cudaSuccess) Fail(operation, cudaGetErrorString(ready));
  auto check = [&](ncclResult_t code) {
    if (code != ncclSuccess && code != ncclInProgress) Fail(operation, ncclGetErrorString(code));
  };
  check(ncclGroupStart());
  if (message.to >= 0) check(ncclSend(message.out, message.out_bytes, ncclChar, message.to, comm_, stream_));
  if (message.from >= 0)
    check(ncclRecv(message.in, message.in_bytes, ncclChar, message.from, comm_, stream_));
  check(ncclGroupEnd());
  Wait(operation, nullptr);
  Wait(operation, stream_);
}

}  // namespace temper

#endif  // TEMPER_GPU

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
  Wait(operation);
  cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&before_, cudaEventDisableTiming);
  if (error != cudaSuccess) Fail(operation, cudaGetErrorString(error));
}

NcclCommunicator::~NcclCommunicator() {
  if (comm_ != nullptr) ncclCommAbort(comm_);  // all calls have ended: there is nothing to flush
  if (before_ != nullptr) cudaEventDestroy(before_);
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

void NcclCommunicator::Wait(const std::string& operation) {
  const absl::Time limit = absl::Now() + deadline();
  while (true) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
    if (asked != ncclSuccess) Fail(operation, ncclGetErrorString(asked));
    if (state == ncclSuccess) return;
    if (state != ncclInProgress) Fail(operation, ncclGetErrorString(state));
    if (absl::Now() > limit) Fail(operation, absl::StrCat("silent for ", absl::FormatDuration(deadline())));
    sched_yield();
  }
}

struct NcclCommunicator::Started : Moving {
  ~Started() override {
    if (over != nullptr) cudaEventDestroy(over);
  }
  std::string operation;
  cudaEvent_t over = nullptr;  // on the stream, behind the message
};

std::unique_ptr<Communicator::Moving> NcclCommunicator::StartMove(const Message& message) {
  auto started = std::make_unique<Started>();
  started->operation = Describe(message);
  const std::string& operation = started->operation;
  if (comm_ == nullptr) throw CommError(absl::StrCat(operation, ": this communicator was given up"));
  auto cuda = [&](cudaError_t error) {
    if (error != cudaSuccess) Fail(operation, cudaGetErrorString(error));
  };
  auto check = [&](ncclResult_t code) {
    if (code != ncclSuccess && code != ncclInProgress) Fail(operation, ncclGetErrorString(code));
  };
  // The stream waits for the device's work, and this thread for neither that nor what was started before.
  cuda(cudaEventRecord(before_, cudaStreamLegacy));
  cuda(cudaStreamWaitEvent(stream_, before_, 0));
  check(ncclGroupStart());
  if (message.to >= 0) check(ncclSend(message.out, message.out_bytes, ncclChar, message.to, comm_, stream_));
  if (message.from >= 0)
    check(ncclRecv(message.in, message.in_bytes, ncclChar, message.from, comm_, stream_));
  check(ncclGroupEnd());
  Wait(operation);
  cuda(cudaEventCreateWithFlags(&started->over, cudaEventDisableTiming));
  cuda(cudaEventRecord(started->over, stream_));
  return started;
}

bool NcclCommunicator::MoveIsOver(Moving* moving) {
  const auto& started = static_cast<const Started&>(*moving);
  if (comm_ == nullptr) throw CommError(absl::StrCat(started.operation, ": this communicator was given up"));
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
  if (asked != ncclSuccess) Fail(started.operation, ncclGetErrorString(asked));
  if (state != ncclSuccess && state != ncclInProgress) Fail(started.operation, ncclGetErrorString(state));
  const cudaError_t done = cudaEventQuery(started.over);
  if (done != cudaSuccess && done != cudaErrorNotReady) Fail(started.operation, cudaGetErrorString(done));
  return done == cudaSuccess;
}

void NcclCommunicator::FinishMove(Moving* moving) {
  const auto& started = static_cast<const Started&>(*moving);
  const absl::Time limit = absl::Now() + deadline();
  while (!MoveIsOver(moving)) {
    if (absl::Now() > limit)
      Fail(started.operation, absl::StrCat("silent for ", absl::FormatDuration(deadline())));
    sched_yield();
  }
}

}  // namespace temper

#endif  // TEMPER_GPU

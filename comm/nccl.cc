// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl.h"

#if TEMPER_GPU

#include <sched.h>

#include <cstdlib>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/host.h"

namespace temper {

NcclCommunicator::NcclCommunicator(Communicator& host) : host_(host) {
  const std::string operation = absl::StrCat("rank ", rank(), " of ", size(), " (nccl): start");
  ncclUniqueId id = {};
  ncclResult_t made = ncclSuccess;
  if (rank() == 0) made = ncclGetUniqueId(&id);
  host.Broadcast(&id, sizeof id, 0);
  if (made != ncclSuccess) Fail(operation, ncclGetErrorString(made));
  // Every call returns at once and is polled: only so can a lost peer be given up (NCCL's fault tolerance).
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ncclResult_t code = ncclSuccess;
  {
    absl::MutexLock lock(&mutex_);
    code = ncclCommInitRankConfig(&comm_, size(), id, rank(), &config);
  }
  if (code != ncclSuccess && code != ncclInProgress) Fail(operation, ncclGetErrorString(code));
  WaitAsHost(0, [&] { return HasTaken(operation); });
  cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
  if (error == cudaSuccess) error = cudaEventCreateWithFlags(&before_, cudaEventDisableTiming);
  if (error != cudaSuccess) Fail(operation, cudaGetErrorString(error));
}

NcclCommunicator::~NcclCommunicator() {
  GiveUp();  // all calls have ended: there is nothing to flush
  if (before_ != nullptr) cudaEventDestroy(before_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

void NcclCommunicator::Abort(const std::string& message, int code) {
  host_.Abort(message, code);
  std::abort();  // never reached; a virtual call's [[noreturn]] is not believed
}

void NcclCommunicator::GiveUp() {
  absl::MutexLock lock(&mutex_);
  if (ncclComm_t const comm = std::exchange(comm_, nullptr)) ncclCommAbort(comm);
}

void NcclCommunicator::Fail(const std::string& operation, const std::string& why) {
  GiveUp();
  throw CommError(absl::StrCat(operation, ": ", why));
}

ncclResult_t NcclCommunicator::Asked(const std::string& operation,
                                     absl::FunctionRef<ncclResult_t(ncclComm_t)> ask) {
  absl::MutexLock lock(&mutex_);
  if (comm_ == nullptr) throw CommError(absl::StrCat(operation, ": this communicator was given up"));
  return ask(comm_);
}

bool NcclCommunicator::HasTaken(const std::string& operation) {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked =
      Asked(operation, [&](ncclComm_t comm) { return ncclCommGetAsyncError(comm, &state); });
  if (asked != ncclSuccess) Fail(operation, ncclGetErrorString(asked));
  if (state != ncclSuccess && state != ncclInProgress) Fail(operation, ncclGetErrorString(state));
  return state == ncclSuccess;
}

void NcclCommunicator::Wait(const std::string& operation) {
  const absl::Duration patience = host_.deadline();
  const absl::Time limit = absl::Now() + patience;
  while (!HasTaken(operation)) {
    if (absl::Now() > limit) Fail(operation, absl::StrCat("silent for ", absl::FormatDuration(patience)));
    sched_yield();
  }
}

struct NcclCommunicator::Started : Moving {
  ~Started() override {
    if (over != nullptr) cudaEventDestroy(over);
  }
  std::string operation;
  cudaEvent_t over = nullptr;  // on the stream, behind the calls
};

std::unique_ptr<NcclCommunicator::Started> NcclCommunicator::GiveGroup(
    const std::string& operation, absl::FunctionRef<ncclResult_t(ncclComm_t)> calls) {
  auto started = std::make_unique<Started>();
  started->operation = operation;
  auto cuda = [&](cudaError_t error) {
    if (error != cudaSuccess) Fail(operation, cudaGetErrorString(error));
  };
  // The stream waits for the device's work, and this thread for neither that nor what was started before.
  cuda(cudaEventRecord(before_, cudaStreamLegacy));
  cuda(cudaStreamWaitEvent(stream_, before_, 0));
  const ncclResult_t code = Asked(operation, [&](ncclComm_t comm) {
    ncclResult_t result = ncclGroupStart();
    if (result == ncclSuccess) result = calls(comm);
    const ncclResult_t ended = ncclGroupEnd();
    return result == ncclSuccess || result == ncclInProgress ? ended : result;
  });
  if (code != ncclSuccess && code != ncclInProgress) Fail(operation, ncclGetErrorString(code));
  return started;
}

void NcclCommunicator::Mark(Started* started) {
  cudaError_t error = cudaEventCreateWithFlags(&started->over, cudaEventDisableTiming);
  if (error == cudaSuccess) error = cudaEventRecord(started->over, stream_);
  if (error != cudaSuccess) Fail(started->operation, cudaGetErrorString(error));
}

void NcclCommunicator::WaitAsHost(int64_t bytes, absl::FunctionRef<bool()> is_over) {
  try {
    host_.WaitForDevices(bytes, is_over);
  } catch (...) {
    GiveUp();  // or whoever frees memory waits for what is still on its way
    throw;
  }
}

std::unique_ptr<Communicator::Moving> NcclCommunicator::StartMove(const Message& message) {
  std::unique_ptr<Started> started = GiveGroup(Describe(message), [&](ncclComm_t comm) {
    ncclResult_t code = ncclSuccess;
    if (message.to >= 0) code = ncclSend(message.out, message.out_bytes, ncclChar, message.to, comm, stream_);
    if (message.from >= 0 && (code == ncclSuccess || code == ncclInProgress))
      code = ncclRecv(message.in, message.in_bytes, ncclChar, message.from, comm, stream_);
    return code;
  });
  Wait(started->operation);
  Mark(started.get());
  return started;
}

bool NcclCommunicator::MoveIsOver(Moving* moving) {
  auto& started = static_cast<Started&>(*moving);
  if (!HasTaken(started.operation)) return false;
  if (started.over == nullptr) Mark(&started);
  const cudaError_t done = cudaEventQuery(started.over);
  if (done != cudaSuccess && done != cudaErrorNotReady) Fail(started.operation, cudaGetErrorString(done));
  return done == cudaSuccess;
}

void NcclCommunicator::FinishMove(Moving* moving) {
  const auto& started = static_cast<const Started&>(*moving);
  const absl::Duration patience = host_.deadline();
  const absl::Time limit = absl::Now() + patience;
  while (!MoveIsOver(moving)) {
    if (absl::Now() > limit)
      Fail(started.operation, absl::StrCat("silent for ", absl::FormatDuration(patience)));
    sched_yield();
  }
}

void NcclCommunicator::SumIntegers(int64_t* numbers, int64_t count) {
  const std::string operation =
      absl::StrCat("rank ", rank(), " of ", size(), " (nccl): a sum of ", count, " integers");
  const std::unique_ptr<Started> started = GiveGroup(operation, [&](ncclComm_t comm) {
    return ncclAllReduce(numbers, numbers, count, ncclInt64, ncclSum, comm, stream_);
  });
  WaitAsHost(8 * count, [&] { return MoveIsOver(started.get()); });
}

std::string NameOfDevice() {
  int device = 0;
  char bus[32] = {};
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetPCIBusId(bus, sizeof bus, device) != cudaSuccess)
    return "";
  // Containers on one machine have host names of their own, and one start of the kernel.
  std::string machine;
  if (!std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), machine)) machine = ThisHost();
  return absl::StrCat(machine, " ", bus);
}

}  // namespace temper

#endif  // TEMPER_GPU

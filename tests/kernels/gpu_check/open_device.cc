// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "kernels/backends/device.h"
#include "tests/kernels/gpu_check/held.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {

// In pieces, each on a simulated device of its thread.
uint64_t SimulatedSum(const FunctionTask& task, ThreadPool* pool) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<uint64_t> pieces((task.count + kPiece - 1) / kPiece);
  pool->ParallelFor(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      FunctionTask piece = task;
      piece.first = task.first + static_cast<uint32_t>(i * kPiece) * task.stride;
      piece.count = std::min(kPiece, task.count - i * kPiece);
      std::vector<uint64_t> sums(FunctionSums(piece.count));
      piece.sums = sums.data();
      sim::Stream stream{.watched = false};
      sim::SumFunction(piece, stream);
      for (const uint64_t sum : sums) pieces[i] += sum;
    }
  });
  uint64_t all = 0;
  for (const uint64_t sum : pieces) all += sum;
  return all;
}

namespace {

#ifdef TEMPER_GPU
uint64_t DeviceSum(FunctionTask task, Backend& backend) {
  std::vector<uint64_t> sums(FunctionSums(task.count));
  const auto bytes = static_cast<int64_t>(8 * sums.size());
  const auto memory = backend.Allocate(bytes);
  task.sums = static_cast<uint64_t*>(memory.get());
  sm90::Stream stream;
  sm90::SumFunction(task, stream);
  backend.CopyToHost({memory.get(), Type::kF8, 1, bytes, bytes}, sums.data());
  uint64_t all = 0;
  for (const uint64_t sum : sums) all += sum;
  return all;
}
#endif

}  // namespace

Checked OpenDevice(const std::string& name, ThreadPool* pool) {
  Checked device;
  if (name == "sim") {
    device.backend = sim::MakeBackend(pool, {.stream = {.watched = false, .host_memory = false}});
    device.chains = [](const MmaChainsTask& task) {
      sim::Stream stream{.watched = false, .host_memory = false};
      sim::MmaChains(task, stream);
    };
    device.sum_function = [pool](const FunctionTask& task) { return SimulatedSum(task, pool); };
    return device;
  }
  if (name != "cuda") throw std::invalid_argument(name + " is no device: cuda or sim");
#ifdef TEMPER_GPU
  device.backend = sm90::MakeBackend(pool, {});
  if (device.backend == nullptr) throw std::runtime_error("the GPU is none of sm_90 (H100, H200)");
  Backend* const backend = device.backend.get();
  device.chains = [](const MmaChainsTask& task) {
    sm90::Stream stream;
    sm90::MmaChains(task, stream);
  };
  device.sum_function = [backend](const FunctionTask& task) { return DeviceSum(task, *backend); };
  return device;
#else
  throw std::runtime_error("this gpu_check was built without CUDA: cmake --preset gpu");
#endif
}

}  // namespace temper::kernels

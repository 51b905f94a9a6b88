// SPDX-License-Identifier: Apache-2.0
#include "model/device.h"

#include <cstdlib>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/host.h"
#include "core/status.h"
#include "core/text.h"
#include "kernels/backends/cpu.h"
#include "kernels/backends/device.h"
#include "model/torch_backend.h"

#ifdef TEMPER_GPU
#include <cuda_runtime_api.h>
#endif

namespace temper {
namespace {

#ifdef TEMPER_GPU
int GpuCount() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// Why CUDA shows none, in its words and with what else a person would look for.
std::string NoGpuText() {
  int count = 0, driver = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaDriverGetVersion(&driver);
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return absl::StrCat(
      "there is no GPU on this machine for CUDA ", CUDART_VERSION / 1000, ": ", cudaGetErrorString(error),
      driver == 0 ? "; no NVIDIA driver is loaded"
                  : absl::StrCat("; the driver is of CUDA ", driver / 1000, ".", driver % 1000 / 10,
                                 driver < 13'000 ? ", take 580 or newer" : ""),
      visible == nullptr ? "" : absl::StrCat("; CUDA_VISIBLE_DEVICES is '", Printable(visible), "'"));
}

// Null: the GPU is of another kind than our kernels are for.
std::unique_ptr<kernels::Backend> OwnKernels(const at::Device& device, ThreadPool* pool) {
  return kernels::sm90::MakeBackend(pool, {.number = device.index()});
}
#else
std::unique_ptr<kernels::Backend> OwnKernels(const at::Device&, ThreadPool*) { return nullptr; }
int GpuCount() { return 0; }
std::string NoGpuText() { return "this temper was built without CUDA: build it with cmake --preset gpu"; }
#endif

// N of "cuda:N", -1 of "cuda"; nothing: it is the name of no GPU.
std::optional<int> NumberOfGpu(const std::string& name) {
  absl::string_view rest = name;
  int number = -1;
  if (name == "cuda") return number;
  if (!absl::ConsumePrefix(&rest, "cuda:") || !absl::SimpleAtoi(rest, &number) || number < 0 ||
      rest[0] == '+')
    return std::nullopt;
  return number;
}

}  // namespace

absl::Status CheckDeviceName(const std::string& name) {
  if (name == "cpu" || name == "sim" || NumberOfGpu(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Printable(name), " is no device: cpu, cuda, cuda:N or sim"));
}

absl::StatusOr<at::Device> DeviceByName(const std::string& name) {
  TEMPER_RETURN_IF_ERROR(CheckDeviceName(name));
  if (name == "cpu") return at::Device(at::kCPU);
  if (name == "sim") return at::Device(at::kPrivateUse1);
  const int index = *NumberOfGpu(name);
  const int count = GpuCount();
  if (count == 0) return absl::InvalidArgumentError(absl::StrCat(Printable(name), ": ", NoGpuText()));
  if (index >= count)
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(name), ": this machine has GPUs 0 to ", count - 1));
  return at::Device(at::kCUDA,
                    static_cast<at::DeviceIndex>(
                        index >= 0 ? index : ThisLocalPlace().value_or(LocalPlace()).number % count));
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> BackendByName(const std::string& name, ThreadPool* pool) {
  TEMPER_ASSIGN_OR_RETURN(const at::Device device, DeviceByName(name));
  if (device.is_cpu()) return std::make_unique<kernels::CpuBackend>(pool);
  if (device.is_privateuseone())
    return kernels::sim::MakeBackend(pool, {.stream = {.watched = false, .host_memory = false}});
  std::unique_ptr<kernels::Backend> own = OwnKernels(device, pool);
  if (own != nullptr) return own;
  return std::make_unique<TorchBackend>(device, pool);
}

std::vector<Gpu> GpusHere() {
  std::vector<Gpu> gpus;
#ifdef TEMPER_GPU
  for (int number = 0; number < GpuCount(); ++number) {
    cudaDeviceProp said = {};
    if (cudaGetDeviceProperties(&said, number) != cudaSuccess) said = {};
    gpus.push_back({said.name, {said.uuid.bytes, sizeof said.uuid.bytes}, said.major == 9});
  }
#endif
  return gpus;
}

int64_t FreeBytesOn(const at::Device& device) {
#ifdef TEMPER_GPU
  size_t free = 0, all = 0;
  if (device.is_cuda() && cudaSetDevice(device.index()) == cudaSuccess &&
      cudaMemGetInfo(&free, &all) == cudaSuccess)
    return static_cast<int64_t>(free);
#endif
  return INT64_MAX;
}

std::string NotExactText(const std::string& name) {
  return absl::StrCat(
      "device ", name,
      ": not exact: LibTorch's ops order sums as they like, and results change with batch and "
      "packing (docs/exactness.md)");
}

}  // namespace temper

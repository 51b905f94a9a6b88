// SPDX-License-Identifier: Apache-2.0
#include "model/device.h"

#include <optional>

#include "ATen/Context.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/host.h"
#include "core/status.h"
#include "core/text.h"
#include "kernels/backends/cpu.h"
#include "kernels/backends/device.h"
#include "model/torch_backend.h"

namespace temper {
namespace {

#ifdef TEMPER_GPU
constexpr const char* kNoGpu = "there is no GPU on this machine";
int GpuCount() { return static_cast<int>(at::getNumGPUs()); }

// Null: the GPU is of another kind than our kernels are for.
std::unique_ptr<kernels::Backend> OwnKernels(const at::Device& device, ThreadPool* pool) {
  return kernels::sm90::MakeBackend(pool, {.number = device.index()});
}
#else
std::unique_ptr<kernels::Backend> OwnKernels(const at::Device&, ThreadPool*) { return nullptr; }
constexpr const char* kNoGpu = "this temper was built without CUDA: build it with cmake --preset gpu";
int GpuCount() { return 0; }
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
  if (count == 0) return absl::InvalidArgumentError(absl::StrCat(Printable(name), ": ", kNoGpu));
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

std::string NotExactText(const std::string& name) {
  return absl::StrCat(
      "device ", name,
      ": not exact: LibTorch's ops order sums as they like, and results change with batch and "
      "packing (docs/exactness.md)");
}

}  // namespace temper

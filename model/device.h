// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "c10/core/Device.h"
#include "kernels/backend.h"

namespace temper {

// Where a policy lives: "cpu"; "cuda", of the machine's GPUs the one that is this rank's turn; "cuda:N";
// "sim", the simulation of a GPU (kernels/cuda/simulator.h), for tests of small policies. Refuses other
// names, and asks nothing of this machine.
absl::Status CheckDeviceName(const std::string& name);

// The device of that name here. Refuses a GPU that is not there too, and every GPU in a build without CUDA.
absl::StatusOr<at::Device> DeviceByName(const std::string& name);

// The backend of a device, on the pool's threads; the same errors. Of GPUs those of sm_90 have our kernels,
// and the CPU's bits (kernels/backends/device.h); others have LibTorch's.
absl::StatusOr<std::unique_ptr<kernels::Backend>> BackendByName(const std::string& name, ThreadPool* pool);

struct Gpu {
  std::string name;    // "NVIDIA H100 80GB HBM3"
  std::string uuid;    // of no other GPU in the world
  bool exact = false;  // our kernels are for it
};
// Those that CUDA shows this process, by number: none in a build without CUDA.
std::vector<Gpu> GpusHere();
// That the GPU of this device has free now, with what CUDA itself takes for this process gone; INT64_MAX: of
// no GPU, or CUDA does not say.
int64_t FreeBytesOn(const at::Device& device);

// What a command that runs on the device says where the policy is not exact.
std::string NotExactText(const std::string& name);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// The backend of GPUs of sm_90, by the launches of kernels/cuda: the CPU's orders and so its bits, in the
// device's memory. It is compiled twice, beside the kernels: for the device (sm90), and for its simulation
// (sim), which is in every build and whose memory the host cannot read by accident.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels {

#define TEMPER_DEVICE_BACKEND(DEVICE)                                                             \
  namespace DEVICE {                                                                              \
  /* Of the device of that number. Launches and copies go to the stream, one behind the other. */ \
  struct BackendOptions {                                                                         \
    int number = 0;                                                                               \
    Stream stream = {};                                                                           \
    /* Whether calls may be recorded, and, of the simulation, what is replayed is compared. */    \
    bool records = true, compares = true;                                                         \
  };                                                                                              \
  /* Null: the device is none that the kernels are for. Its errors throw std::runtime_error. */   \
  std::unique_ptr<Backend> MakeBackend(ThreadPool* pool, const BackendOptions& options);          \
  }
TEMPER_DEVICE_BACKEND(sim)
TEMPER_DEVICE_BACKEND(sm90)
#undef TEMPER_DEVICE_BACKEND

namespace sim {
// Of all simulated devices' memory that is taken now, in this process.
int64_t TakenBytes();
}  // namespace sim

}  // namespace temper::kernels

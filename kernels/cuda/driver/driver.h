// SPDX-License-Identifier: Apache-2.0
// What a backend asks of the device itself: memory, copies, and when the stream is done.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/cuda/stream.h"

namespace temper::kernels {

// Rows of bytes, each `apart` from the next.
struct ByteRows {
  int64_t rows = 0, bytes = 0;
  const void* from = nullptr;
  int64_t from_apart = 0;
  void* to = nullptr;
  int64_t to_apart = 0;
};

#define TEMPER_DEVICE_DRIVER(DEVICE)                                                                         \
  namespace DEVICE {                                                                                         \
  /* Whether the device of that number is one that the kernels are for: then the calling thread works on it. \
   */                                                                                                        \
  bool Use(int number);                                                                                      \
  /* The device's, from a multiple of 256 bytes on, not cleared: for work of the default stream. */          \
  std::shared_ptr<void> AllocateMemory(int64_t bytes);                                                       \
  /* The host's, which the device reads by itself. */                                                        \
  std::shared_ptr<void> AllocatePinned(int64_t bytes);                                                       \
  /* From the device's memory to the device's. */                                                            \
  void CopyWithin(const ByteRows& rows, Stream& stream);                                                     \
  /* From pinned memory, which stays as it is until the stream was waited for. */                            \
  void CopyPinned(const ByteRows& rows, Stream& stream);                                                     \
  /* From and to any memory of the host's: done when they return. */                                         \
  void CopyIn(const ByteRows& rows, Stream& stream);                                                         \
  void CopyOut(const ByteRows& rows, Stream& stream);                                                        \
  /* Of `to` all becomes 0. */                                                                               \
  void Clear(const ByteRows& rows, Stream& stream);                                                          \
  /* Until all that the stream was given is done. */                                                         \
  void Wait(Stream& stream);                                                                                 \
  }
TEMPER_DEVICE_DRIVER(sim)
TEMPER_DEVICE_DRIVER(sm90)
#undef TEMPER_DEVICE_DRIVER

}  // namespace temper::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/driver/driver.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <typeinfo>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

namespace temper::kernels::sm90 {
namespace {

void Check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

void Copy(const ByteRows& r, cudaMemcpyKind kind, Stream& stream) {
  if (r.rows == 0 || r.bytes == 0) return;
  const auto on = static_cast<cudaStream_t>(stream.handle);
  // Rows apart by more than 2 GiB are refused, and a flat tensor is one row.
  Check(r.rows == 1 ? cudaMemcpyAsync(r.to, r.from, r.bytes, kind, on)
                    : cudaMemcpy2DAsync(r.to, r.to_apart, r.from, r.from_apart, r.bytes, r.rows, kind, on),
        "a copy");
}

}  // namespace

bool Use(int number) {
  int major = 0;
  Check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number), "the GPU");
  if (major != 9) return false;
  Check(cudaSetDevice(number), "the GPU");
  // What goes back is kept for the next to ask.
  cudaMemPool_t pool = nullptr;
  uint64_t all = ~uint64_t{0};
  Check(cudaDeviceGetDefaultMemPool(&pool, number), "memory of the device");
  Check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), "memory of the device");
  return true;
}

std::shared_ptr<void> AllocateMemory(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocAsync(&memory, bytes, nullptr);
  if (error != cudaSuccess) {
    size_t free = 0, all = 0;
    cudaMemGetInfo(&free, &all);
    const auto mib = [](size_t size) { return std::to_string(size >> 20) + " MiB"; };
    Check(error, ("memory of the device, " + mib(bytes) + " where " + mib(free) + " of " + mib(all) +
                  " are free (temper plan says what a recipe takes)")
                     .c_str());
  }
  return {memory, [](void* gone) { cudaFreeAsync(gone, nullptr); }};
}

std::shared_ptr<void> AllocatePinned(int64_t bytes) {
  void* memory = nullptr;
  Check(cudaMallocHost(&memory, bytes), "pinned memory");
  return {memory, [](void* gone) { cudaFreeHost(gone); }};
}

void CopyWithin(const ByteRows& rows, Stream& stream) { Copy(rows, cudaMemcpyDeviceToDevice, stream); }
void CopyPinned(const ByteRows& rows, Stream& stream) { Copy(rows, cudaMemcpyHostToDevice, stream); }
void CopyIn(const ByteRows& rows, Stream& stream) {
  Copy(rows, cudaMemcpyHostToDevice, stream);
  Wait(stream);
}
void CopyOut(const ByteRows& rows, Stream& stream) {
  Copy(rows, cudaMemcpyDeviceToHost, stream);
  Wait(stream);
}

void Clear(const ByteRows& rows, Stream& stream) {
  if (rows.rows == 0 || rows.bytes == 0) return;
  const auto on = static_cast<cudaStream_t>(stream.handle);
  Check(rows.rows == 1 ? cudaMemsetAsync(rows.to, 0, rows.bytes, on)
                       : cudaMemset2DAsync(rows.to, rows.to_apart, 0, rows.bytes, rows.rows, on),
        "clearing memory");
}

void Wait(Stream& stream) {
  Check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream.handle)), "what the stream was given");
}

}  // namespace temper::kernels::sm90

#else

#include "core/check.h"
#include "kernels/cuda/driver/graph.h"
#include "kernels/cuda/driver/memory.h"

namespace temper::kernels::sim {
namespace {

// Where the host finds a row of the device's memory, all of whose bytes are of one allocation.
char* Row(const void* first, int64_t bytes, const Stream& stream) {
  const Reached row = Reach(first);
  if (row.host && !stream.host_memory)
    throw std::invalid_argument("a copy takes memory of the host's for the device's");
  if (row.bytes < bytes)
    throw std::out_of_range("a copy of " + std::to_string(bytes) +
                            " bytes, of which the device's memory has " + std::to_string(row.bytes));
  return static_cast<char*>(row.at);
}

template <typename Body>
void ForRows(const ByteRows& r, const Body& body) {
  for (int64_t i = 0; i < r.rows && r.bytes > 0; ++i)
    body(static_cast<char*>(r.to) + i * r.to_apart, static_cast<const char*>(r.from) + i * r.from_apart);
}

// Does it, or notes it where the stream records.
template <typename What>
void Do(const ByteRows& rows, Stream& stream, const What& what) {
  if (stream.graph == nullptr) return what(rows, stream);
  stream.graph->Add(
      {typeid(What).name(), rows.rows, PlainBytes(rows), [rows, what](Stream& on) { what(rows, on); }});
}
void CheckIsNow(const Stream& stream) {
  TEMPER_CHECK(stream.graph == nullptr, "a stream that records is not waited for");
}

}  // namespace

bool Use(int) { return true; }

std::shared_ptr<void> AllocatePinned(int64_t bytes) { return {std::malloc(bytes), std::free}; }

void CopyWithin(const ByteRows& rows, Stream& stream) {
  Do(rows, stream, [](const ByteRows& r, Stream& on) {
    ForRows(r, [&](char* to, const char* from) {
      std::memcpy(Row(to, r.bytes, on), Row(from, r.bytes, on), r.bytes);
    });
  });
}
void CopyPinned(const ByteRows& rows, Stream& stream) { CopyIn(rows, stream); }
void CopyIn(const ByteRows& r, Stream& stream) {
  CheckIsNow(stream);
  ForRows(r, [&](char* to, const char* from) { std::memcpy(Row(to, r.bytes, stream), from, r.bytes); });
}
void CopyOut(const ByteRows& r, Stream& stream) {
  CheckIsNow(stream);
  ForRows(r, [&](char* to, const char* from) { std::memcpy(to, Row(from, r.bytes, stream), r.bytes); });
}
void Clear(const ByteRows& rows, Stream& stream) {
  Do(rows, stream, [](const ByteRows& r, Stream& on) {
    ForRows(r, [&](char* to, const char*) { std::memset(Row(to, r.bytes, on), 0, r.bytes); });
  });
}
void Wait(Stream& stream) { CheckIsNow(stream); }

}  // namespace temper::kernels::sim
#endif

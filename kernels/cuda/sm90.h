// SPDX-License-Identifier: Apache-2.0
// The words of kernels/cuda/device.h for nvcc. Included only by it. This is the one file with CUDA in it.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

namespace temper::kernels {
namespace sm90 {

WORD int Thread() { return static_cast<int>(threadIdx.x); }
WORD int Lane() { return Thread() % 32; }
WORD int Warp() { return Thread() / 32; }
WORD int Block() { return static_cast<int>(blockIdx.x); }

WORD void Sync() { __syncthreads(); }
WORD void WarpSync() { __syncwarp(); }
WORD Float ShuffleXor(Float x, int mask) { return {__shfl_xor_sync(~0u, x.raw, mask)}; }
WORD Float ShuffleFrom(Float x, int lane) { return {__shfl_sync(~0u, x.raw, lane)}; }
WORD Double ShuffleFrom(Double x, int lane) { return {__shfl_sync(~0u, x.raw, lane)}; }
WORD Double ShuffleXor(Double x, int mask) { return {__shfl_xor_sync(~0u, x.raw, mask)}; }
WORD uint32_t ShuffleXor(uint32_t x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
WORD uint32_t ShuffleFrom(uint32_t x, int lane) { return __shfl_sync(~0u, x, lane); }
WORD uint64_t ShuffleXor(uint64_t x, int mask) {
  return __shfl_xor_sync(~0u, static_cast<unsigned long long>(x), mask);
}
WORD int ShuffleXor(int x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
WORD int ShuffleFrom(int x, int lane) { return __shfl_sync(~0u, x, lane); }
WORD uint32_t Ballot(bool b) { return __ballot_sync(~0u, b); }
WORD uint32_t CountBits(uint32_t mask) { return static_cast<uint32_t>(__popc(mask)); }
WORD uint64_t ShuffleFrom(uint64_t x, int lane) {
  return __shfl_sync(~0u, static_cast<unsigned long long>(x), lane);
}
WORD int LowestBit(uint32_t mask) { return __ffs(static_cast<int>(mask)) - 1; }

template <typename T>
class Global {
 public:
  Global() = default;
  WORD_HOST Global(T* data, int64_t) : data_(data) {}
  WORD_HOST explicit operator bool() const { return data_ != nullptr; }

  WORD In<T> At(int64_t i) const { return Register<std::remove_const_t<T>>::Of(data_[i]); }
  WORD void Put(int64_t i, In<T> x) const { data_[i] = Register<std::remove_const_t<T>>::To(x); }
  WORD Global From(int64_t i) const { return {data_ + i, 0}; }
  WORD Global Slice(int64_t i, int64_t) const { return {data_ + i, 0}; }
  WORD_HOST T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

template <typename T>
class Shared {
 public:
  WORD explicit Shared(T* data) : data_(data) {}

  WORD In<T> At(int64_t i) const { return Register<T>::Of(data_[i]); }
  WORD void Put(int64_t i, In<T> x) const { data_[i] = Register<T>::To(x); }
  WORD Shared From(int64_t i) const { return Shared(data_ + i); }
  WORD T* data() const { return data_; }

 private:
  T* data_;
};
#define SHARED(T, name, count)                     \
  __shared__ __align__(16) T name##_memory[count]; \
  const ::temper::kernels::sm90::Shared<T> name(name##_memory)

template <int N>
struct Vector;
template <>
struct Vector<1> {
  using Type = float;
};
template <>
struct Vector<2> {
  using Type = float2;
};
template <>
struct Vector<4> {
  using Type = float4;
};

template <int N, typename Memory>
WORD Floats<N> Read(const Memory& from, int64_t i) {
  union {
    typename Vector<N>::Type vector;
    float v[N];
  } u;
  u.vector = *reinterpret_cast<const typename Vector<N>::Type*>(from.data() + i);
  Floats<N> out;
#pragma unroll
  for (int j = 0; j < N; ++j) out[j] = {u.v[j]};
  return out;
}
template <int N, typename Memory>
WORD void Write(const Memory& to, int64_t i, const Floats<N>& numbers) {
  union {
    typename Vector<N>::Type vector;
    float v[N];
  } u;
#pragma unroll
  for (int j = 0; j < N; ++j) u.v[j] = numbers[j].raw;
  *reinterpret_cast<typename Vector<N>::Type*>(to.data() + i) = u.vector;
}

template <int N, typename T>
WORD void CopyAsync(const Shared<T>& to, const Global<const T>& from, int count) {
  static_assert(sizeof(T) == 4 && (N == 1 || N == 4));
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to.data()));
  const int bytes = count <= 0 ? 0 : count < N ? 4 * count : 4 * N;
  if constexpr (N == 4) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from.data()), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from.data()), "r"(bytes)
                 : "memory");
  }
}
WORD void CopyCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
WORD void CopyWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

WORD void AtomicMax(const Global<uint32_t>& to, int64_t i, uint32_t x) { atomicMax(to.data() + i, x); }
WORD void AtomicOr(const Global<uint32_t>& to, int64_t i, uint32_t x) { atomicOr(to.data() + i, x); }

WORD uint32_t AtomicAdd(const Shared<uint32_t>& to, int64_t i, uint32_t x) {
  return atomicAdd(to.data() + i, x);
}

WORD_HOST Float Set(float x) { return {x}; }
WORD Float Fma(Float a, Float b, Float c) { return {__fmaf_rn(a.raw, b.raw, c.raw)}; }
WORD Float Add(Float a, Float b) { return {__fadd_rn(a.raw, b.raw)}; }
WORD Float Sub(Float a, Float b) { return {__fsub_rn(a.raw, b.raw)}; }
WORD Float Mul(Float a, Float b) { return {__fmul_rn(a.raw, b.raw)}; }
WORD Float Div(Float a, Float b) { return {__fdiv_rn(a.raw, b.raw)}; }
WORD Float Sqrt(Float a) { return {__fsqrt_rn(a.raw)}; }
WORD Float Round(Float a) { return {rintf(a.raw)}; }
WORD bool Less(Float a, Float b) { return a.raw < b.raw; }
WORD bool Equal(Float a, Float b) { return a.raw == b.raw; }
WORD Float Abs(Float a) { return {fabsf(a.raw)}; }
WORD uint32_t BitsOf(Float a) { return __float_as_uint(a.raw); }
WORD Float FromBits(uint32_t bits) { return {__uint_as_float(bits)}; }
WORD Float OfInteger(int x) { return {__int2float_rn(x)}; }
WORD Float OfInteger(int64_t x) { return {__ll2float_rn(x)}; }
// 2^n for whole n in [-126, 127].
WORD Float PowerOfTwo(Float n) {
  return {__uint_as_float(static_cast<unsigned>(__float2int_rn(n.raw) + 127) << 23)};
}

WORD_HOST Double SetDouble(double x) { return {x}; }
WORD Double Fma(Double a, Double b, Double c) { return {__fma_rn(a.raw, b.raw, c.raw)}; }
WORD Double Add(Double a, Double b) { return {__dadd_rn(a.raw, b.raw)}; }
WORD Double Sub(Double a, Double b) { return {__dsub_rn(a.raw, b.raw)}; }
WORD Double Mul(Double a, Double b) { return {__dmul_rn(a.raw, b.raw)}; }
WORD Double Div(Double a, Double b) { return {__ddiv_rn(a.raw, b.raw)}; }
WORD bool Less(Double a, Double b) { return a.raw < b.raw; }
WORD Double Abs(Double a) { return {fabs(a.raw)}; }
WORD int64_t BitsOf(Double a) { return __double_as_longlong(a.raw); }
WORD Double DoubleFromBits(int64_t bits) { return {__longlong_as_double(bits)}; }
WORD Double DoubleOfInteger(int64_t x) { return {__ll2double_rn(x)}; }
WORD Double Widen(Float a) { return {static_cast<double>(a.raw)}; }
WORD Float Narrow(Double a) { return {__double2float_rn(a.raw)}; }

WORD void Mma(Floats<4>& c, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, "
      "%2, %3};"
      : "+f"(c[0].raw), "+f"(c[1].raw), "+f"(c[2].raw), "+f"(c[3].raw)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// At most 255 registers, and so few that kBlocks fit on a multiprocessor.
template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks)
    Enter(const __grid_constant__ typename Kernel::Args args) {
  Kernel::Run(args);
}

template <typename Kernel>
void Launch(Stream& stream, int64_t blocks, const typename Kernel::Args& args) {
  static_assert(Kernel::kThreads % 32 == 0 && Kernel::kThreads <= 1024);
  if (blocks == 0) return;
  if (blocks > kMostBlocks)
    throw std::length_error("a kernel's launch: " + std::to_string(blocks) +
                            " blocks, and 2^31 are too many");
  Enter<Kernel>
      <<<static_cast<unsigned>(blocks), Kernel::kThreads, 0, static_cast<cudaStream_t>(stream.handle)>>>(
          args);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("a kernel's launch: ") + cudaGetErrorString(error));
}

}  // namespace sm90
}  // namespace temper::kernels

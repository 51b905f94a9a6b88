// SPDX-License-Identifier: Apache-2.0
// Numbers in a backend's memory, made from seeds, and the hash of what a call makes of them.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/files/file.h"
#include "kernels/backend.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {

// How a matrix is made: rows lie `between` numbers further apart than they are long, and what lies there must
// stay what it is. Numbers are about normal, times `size`; those of bf16 are the upper halves.
struct Made {
  uint32_t seed = 1;
  int64_t between = 0;
  float size = 1;
  Type type = Type::kF32;
};

class Held {
 public:
  explicit Held(Backend& on) : backend(on) {}

  // A place of the backend's with these bytes.
  template <typename T>
  T* Place(const std::vector<T>& host) {
    const auto bytes = static_cast<int64_t>(host.size() * sizeof(T));
    memory_.push_back(backend.Allocate(std::max<int64_t>(bytes, 1)));
    if (bytes > 0) backend.CopyFromHost(host.data(), Bytes(memory_.back().get(), bytes));
    return static_cast<T*>(memory_.back().get());
  }
  Matrix Numbers(int64_t rows, int64_t cols, const Made& made = {}) {
    std::vector<float> host = kernels::Numbers(rows * (cols + made.between), made.seed, made.size);
    return Given(rows, cols, host, made);
  }
  // The same of given numbers, which are the rows and what lies between them.
  Matrix Given(int64_t rows, int64_t cols, const std::vector<float>& host, const Made& made = {}) {
    Matrix m{nullptr, made.type, rows, cols, cols + made.between};
    if (made.type == Type::kF32) {
      m.data = Place(host);
    } else {
      std::vector<uint16_t> halves;
      for (const float x : host) halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
      m.data = Place(halves);
    }
    return m;
  }
  float* Vector(int64_t count, const Made& made = {}) { return Numbers(1, count, made).f32(); }

  // To the hash: the rows and what lies between them. A NaN is like any other.
  void Wrote(const Matrix& m) {
    if (m.rows == 0 || m.cols == 0) return;
    const int64_t count = (m.rows - 1) * m.stride + m.cols;
    if (m.type == Type::kF32) return Wrote(m.f32(), count);
    std::vector<uint16_t> host(count);
    backend.CopyToHost({m.data, m.type, 1, count, count}, host.data());
    Hash(host.data(), count * 2);
  }
  void Wrote(const float* data, int64_t count) {
    std::vector<float> host(count);
    backend.CopyToHost(F32(data, 1, count), host.data());
    OnHost(host.data(), count);
  }
  void Wrote(const int32_t* data, int64_t count) {
    std::vector<int32_t> host(count);
    backend.CopyToHost(Bytes(data, count * 4), host.data());
    Hash(host.data(), count * 4);
  }
  // Results that the host has.
  void OnHost(const float* data, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const float x = std::isnan(data[i]) ? std::numeric_limits<float>::quiet_NaN() : data[i];
      Hash(&x, sizeof x);
    }
  }
  void OnHost(double x) { Hash(&x, sizeof x); }
  void OnHost(int64_t x) { Hash(&x, sizeof x); }
  void OnHost(bool x) { OnHost(static_cast<int64_t>(x)); }
  std::string Digest() { return sha_.Finish(); }  // once

  Backend& backend;

 private:
  // A multiple of 4.
  static Matrix Bytes(const void* data, int64_t bytes) {
    return {const_cast<void*>(data), Type::kF8, 1, bytes, bytes};
  }
  void Hash(const void* data, int64_t bytes) {
    sha_.Update({static_cast<const char*>(data), static_cast<size_t>(bytes)});
  }

  std::vector<std::shared_ptr<void>> memory_;
  Sha256 sha_;
};

}  // namespace temper::kernels

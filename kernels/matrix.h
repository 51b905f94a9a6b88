// SPDX-License-Identifier: Apache-2.0
// How kernels are told of numbers: where they lie, of which type they are and how far apart their rows.
#pragma once

#include <cstdint>

namespace temper::kernels {

enum class Type : uint8_t { kF32, kBf16, kF8 };
[[gnu::always_inline]] inline int64_t BytesOf(Type type) {
  return type == Type::kF32 ? 4 : type == Type::kBf16 ? 2 : 1;
}

// A row-major matrix somewhere in a backend's memory; never owns. One without data stands for none. Files
// that are compiled for each instruction set use it, so nothing here may become a function of its own.
struct Matrix {
  void* data = nullptr;
  Type type = Type::kF32;
  int64_t rows = 0, cols = 0;
  int64_t stride = 0;  // elements from row to row

  [[gnu::always_inline]] explicit operator bool() const { return data != nullptr; }
  // Of another type than f32 this is a broken invariant.
  [[gnu::always_inline]] float* f32() const {
    if (type != Type::kF32) [[unlikely]]
      WrongType();
    return static_cast<float*>(data);
  }
  [[gnu::always_inline]] float* Row(int64_t row) const { return f32() + row * stride; }

  // Columns and rows [first, first + count).
  [[gnu::always_inline]] Matrix Columns(int64_t first, int64_t count) const {
    return View(first, rows, count);
  }
  [[gnu::always_inline]] Matrix Rows(int64_t first, int64_t count) const {
    return View(first * stride, count, cols);
  }
  // The same rows, `apart` elements from one to the next.
  [[gnu::always_inline]] Matrix Strided(int64_t apart) const { return {data, type, rows, cols, apart}; }

 private:
  [[noreturn]] void WrongType() const;
  [[gnu::always_inline]] Matrix View(int64_t from, int64_t view_rows, int64_t view_cols) const {
    const int64_t bytes = from * BytesOf(type);
    return {data == nullptr ? nullptr : static_cast<char*>(data) + bytes, type, view_rows, view_cols, stride};
  }
};

// Rows of `cols` numbers one behind the other. What a task only reads may be constant.
[[gnu::always_inline]] inline Matrix F32(const float* data, int64_t rows, int64_t cols) {
  return {const_cast<float*>(data), Type::kF32, rows, cols, cols};
}

// `count` vectors of `dim` numbers in each row of a matrix, from its first column on, `apart` elements from
// one to the next.
struct Heads {
  Matrix rows = {};
  int count = 1;
  int dim = 0;
  int64_t apart = 0;
};

}  // namespace temper::kernels

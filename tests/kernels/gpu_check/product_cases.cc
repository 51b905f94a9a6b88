// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/gemm.h.
#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

struct Shape {
  int64_t m, n, k, between;
};
// One row; the edges of few rows; one more than a small tile, more than a large one; nothing divides, or all
// does.
constexpr Shape kShapes[] = {{1, 17, 300, 0},  {9, 33, 41, 1},  {17, 20, 35, 3}, {65, 130, 21, 1},
                             {16, 16, 256, 8}, {20, 12, 64, 4}, {80, 8, 64, 0},  {130, 8, 20, 1}};

void Products(Held& held, const Shape& s) {
  const Matrix a = held.Numbers(s.m, s.k, {1, s.between});
  for (const bool transposed : {true, false}) {
    for (const Type type : {Type::kF32, Type::kBf16}) {
      const Matrix b = held.Numbers(transposed ? s.n : s.k, transposed ? s.k : s.n, {2, s.between, 1, type});
      for (const int chunks : {1, kChunks}) {
        const Matrix c = held.Numbers(s.m, s.n, {3, s.between});
        held.backend.Products({{.a = a, .b = b, .b_transposed = transposed, .c = c, .k_chunks = chunks}});
        held.Wrote(c);
      }
    }
  }
}

void WithBiasAndAdd(Held& held, int64_t m, Type type) {
  const Matrix a = held.Numbers(m, 50, {1}), b = held.Numbers(37, 50, {2, 0, 1, type}),
               c = held.Numbers(m, 37, {3});
  held.backend.Products(
      {{.a = a, .b = b, .c = c, .k_chunks = kChunks, .bias = held.Vector(37, {4}), .add = c}});
  held.Wrote(c);
}

// The whole, or the second quarter of both axes.
void OfFactors(Held& held, bool part, Type type) {
  const Matrix c = held.Numbers(21, 30, {5});
  const auto pair = [&](const Matrix& a, const Matrix& b) {
    const int64_t whole = a.cols, begin = part ? whole / 4 : 0, count = part ? whole / 4 : whole;
    return FactorPair{a.Columns(begin, count), b.Rows(begin, count), {begin, part ? whole : 0}};
  };
  const FactorPair first = pair(held.Numbers(21, 80, {1}), held.Numbers(80, 30, {2, 0, 1, type}));
  held.backend.Products({{.a = first.a,
                          .b = first.b,
                          .b_transposed = false,
                          .c = c,
                          .k_chunks = kChunks,
                          .part = first.part,
                          .more = {pair(held.Numbers(21, 40, {3}), held.Numbers(40, 30, {4, 0, 1, type}))}}});
  held.Wrote(c);
}

void ManyTogether(Held& held) {
  std::vector<Product> products;
  for (uint32_t i = 0; i < 20; ++i) {
    const int64_t rows = i % 5 * (i % 2 != 0 ? 1 : 6);
    products.push_back({.a = held.Numbers(rows, 24, {i + 1}),
                        .b = held.Numbers(24, 10 + i, {i + 2, 0, 1, i % 3 == 0 ? Type::kBf16 : Type::kF32}),
                        .b_transposed = false,
                        .c = held.Numbers(rows, 10 + i, {i + 3})});
  }
  held.backend.Products(products);
  for (const Product& product : products) held.Wrote(product.c);
}

void Gradients(Held& held, const Shape& s) {
  const Matrix dy = held.Numbers(s.m, s.n, {1, s.between}), x = held.Numbers(s.m, s.k, {2, s.between}),
               dw = held.Numbers(s.n, s.k, {3, s.between});
  float* const dbias = held.Vector(s.n, {4});
  held.backend.WeightGradients({{.dy = dy, .x = x, .dw = dw}});
  held.backend.BiasGradient(dy, dbias);
  held.Wrote(dw);
  held.Wrote(dbias, s.n);
}

std::string TextOf(const Shape& s) { return absl::StrCat(SizeText(s.m, s.n, s.between), " of ", s.k); }

}  // namespace

void AddProductCases(std::vector<Case>* all) {
  for (const Shape& s : kShapes)
    all->push_back({"products", TextOf(s), [s](Held& held) { Products(held, s); }});
  for (const Type type : {Type::kF32, Type::kBf16}) {
    const std::string text = type == Type::kBf16 ? ", bf16" : "";
    for (const int64_t m : {3, 20})
      all->push_back({"product, bias, add", absl::StrCat(SizeText(m, 37), text),
                      [m, type](Held& held) { WithBiasAndAdd(held, m, type); }});
    for (const bool part : {false, true})
      all->push_back({"product of factors", absl::StrCat(part ? "a part" : "whole", text),
                      [part, type](Held& held) { OfFactors(held, part, type); }});
  }
  all->push_back({"products together", "20", ManyTogether});
  for (const Shape& s : {Shape{37, 130, 20, 1}, Shape{16, 64, 132, 4}})
    all->push_back({"weight and bias gradients", TextOf(s), [s](Held& held) { Gradients(held, s); }});
}

}  // namespace temper::kernels

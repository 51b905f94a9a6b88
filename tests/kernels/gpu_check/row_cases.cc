// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/row_ops.h, and of what a backend does with each number by itself.
#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

struct Size {
  int64_t rows, cols, between;
};
// Neighbours four at a time and one at a time; more than a piece of a norm.
constexpr Size kSizes[] = {{3, 711, 1}, {2, 100, 4}, {2, 4100, 0}};

void Norms(Held& held, const Size& s) {
  const Matrix x = held.Numbers(s.rows, s.cols, {1, s.between}),
               y = held.Numbers(s.rows, s.cols, {2, s.between}),
               dy = held.Numbers(s.rows, s.cols, {3, s.between}),
               add = held.Numbers(s.rows, s.cols, {4, s.between});
  const float* const weight = held.Vector(s.cols, {5});
  float *const rstd = held.Vector(s.rows, {6}), *const dweight = held.Vector(s.cols, {7});
  held.backend.RmsNorm({.x = x, .weight = weight, .eps = 1e-6f, .y = y, .rstd = rstd});
  RmsNormBackwardTask back{.dy = dy, .x = x, .weight = weight, .rstd = rstd, .dx = y, .dweight = dweight};
  held.Wrote(y);
  held.Wrote(rstd, s.rows);
  held.backend.RmsNormBackward(back);
  held.Wrote(y);
  back.add = add;
  back.dx = dy;
  held.backend.RmsNormBackward(back);
  held.Wrote(dy);
  held.Wrote(dweight, s.cols);
}

void SwiGlus(Held& held, const Size& s) {
  // Beyond where the exponential is 0 or infinite too.
  const Matrix gate = held.Numbers(s.rows, s.cols, {1, s.between, 40}),
               up = held.Numbers(s.rows, s.cols, {2, s.between}),
               dout = held.Numbers(s.rows, s.cols, {3, s.between}),
               out = held.Numbers(s.rows, s.cols, {4, s.between}),
               dgate = held.Numbers(s.rows, s.cols, {5, s.between}),
               dup = held.Numbers(s.rows, s.cols, {6, s.between});
  held.backend.SwiGlu({gate, up, out});
  held.backend.SwiGluBackward({dout, gate, up, dgate, dup});
  for (const Matrix& m : {out, dgate, dup}) held.Wrote(m);
  const Matrix again = held.Numbers(s.rows, s.cols, {7, s.between});
  held.backend.SwiGluBackward({dout, gate, up, dgate, dup, again});
  held.Wrote(again);
}

void Moves(Held& held, const Size& s) {
  const Matrix from = held.Numbers(s.rows, s.cols, {1, s.between}),
               to = held.Numbers(s.rows, s.cols, {2, s.between}),
               sum = held.Numbers(s.rows, s.cols, {3, s.between}),
               zero = held.Numbers(s.rows, s.cols, {4, s.between});
  held.backend.Copy(from, to);
  held.backend.Add(from, sum);
  held.backend.Zero(zero);
  for (const Matrix& m : {to, sum, zero}) held.Wrote(m);
}

// From the device to the host and back.
void HostCopies(Held& held, const Size& s, Type type) {
  const Matrix from = held.Numbers(s.rows, s.cols, {1, s.between, 1, type}),
               to = held.Numbers(s.rows, s.cols, {2, s.between, 1, type});
  std::vector<char> host(s.rows * s.cols * BytesOf(type));
  held.backend.CopyToHost(from, host.data());
  held.backend.CopyFromHost(host.data(), to);
  held.Wrote(to);
}

void Rounding(Held& held, const Size& s) {
  const Matrix x = held.Numbers(s.rows, s.cols), wide = held.Numbers(s.rows, s.cols, {2}),
               narrow = held.Numbers(s.rows, s.cols, {3, 0, 1, Type::kBf16});
  held.backend.RoundToBf16(x, wide);
  held.backend.RoundToBf16(x, narrow);
  held.Wrote(wide);
  held.Wrote(narrow);
}

void HeadCopies(Held& held, int dim) {
  const Matrix from = held.Numbers(5, 3 * (dim + 4)), to = held.Numbers(5, 3 * (dim + 8), {2, 4});
  held.backend.CopyHeads({from.Columns(4, 3 * dim + 8), 3, dim, dim + 4}, {to, 3, dim, dim + 8});
  held.Wrote(to);
}

void Rotations(Held& held, int dim) {
  constexpr int kPositions = 9;
  const float *const cosines = held.Vector(kPositions * dim / 2, {1}), *const sines = held.Vector(
                                                                           kPositions * dim / 2, {2});
  const Matrix x = held.Numbers(4, 3 * (dim + 1), {3});
  const std::vector<int32_t> positions = {8, 0, 3, 3};
  for (const bool interleaved : {false, true}) {
    for (const bool inverse : {false, true})
      held.backend.Rotary({.x = {x, 3, dim, dim + 1},
                           .positions = positions.data(),
                           .cosines = cosines,
                           .sines = sines,
                           .interleaved = interleaved,
                           .inverse = inverse});
  }
  held.Wrote(x);
}

void Embeddings(Held& held, const Size& vocab_by_cols) {
  const auto [vocab, cols, between] = vocab_by_cols;
  std::vector<int32_t> ids;
  for (int i = 0; i < 150; ++i) ids.push_back(i * i % 31 % static_cast<int>(vocab));
  const auto rows = static_cast<int64_t>(ids.size());
  const Matrix out = held.Numbers(rows, cols, {2}), dout = held.Numbers(rows, cols, {3}),
               sums = held.Numbers(vocab, cols, {4, between});
  for (const Type type : {Type::kF32, Type::kBf16}) {
    held.backend.GatherRows({held.Numbers(vocab, cols, {1, between, 1, type}), ids.data(), out});
    held.Wrote(out);
  }
  held.backend.EmbeddingGradient({dout, ids.data(), sums});
  held.Wrote(sums);
}

}  // namespace

void AddRowCases(std::vector<Case>* all) {
  for (const Size& s : kSizes) {
    const std::string shape = SizeText(s.rows, s.cols, s.between);
    all->push_back({"norms", shape, [s](Held& held) { Norms(held, s); }});
    all->push_back({"swiglu", shape, [s](Held& held) { SwiGlus(held, s); }});
    all->push_back({"copy, add, zero", shape, [s](Held& held) { Moves(held, s); }});
    for (const Type type : {Type::kF32, Type::kBf16})
      all->push_back({"to the host and back", absl::StrCat(shape, type == Type::kBf16 ? ", bf16" : ""),
                      [s, type](Held& held) { HostCopies(held, s, type); }});
    all->push_back({"round to bf16", SizeText(s.rows, s.cols), [s](Held& held) { Rounding(held, s); }});
  }
  for (const int dim : {6, 64}) {
    all->push_back({"copy heads", absl::StrCat("of ", dim), [dim](Held& held) { HeadCopies(held, dim); }});
    all->push_back({"rotary", absl::StrCat("of ", dim), [dim](Held& held) { Rotations(held, dim); }});
  }
  for (const Size& s : {Size{5, 33, 1}, Size{40, 8, 0}})
    all->push_back(
        {"embedding", SizeText(s.rows, s.cols, s.between), [s](Held& held) { Embeddings(held, s); }});
}

}  // namespace temper::kernels

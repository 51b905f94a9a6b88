// SPDX-License-Identifier: Apache-2.0
#include "kernels/gradient_sum.h"

#include <atomic>
#include <bit>
#include <cmath>

#include "absl/functional/function_ref.h"
#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/gradient_sum.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

constexpr int64_t kSumPiece = 16384;  // values that one piece of work takes

// Whether run(piece, begin) holds of all pieces of the sum.
bool ForPieces(const LeafSum& sum, ThreadPool& pool,
               absl::FunctionRef<bool(const LeafSum& piece, int64_t begin)> run) {
  std::atomic<bool> all = true;
  pool.ParallelFor(sum.n, kSumPiece, [&](int64_t begin, int64_t end) {
    const LeafSum piece = {sum.rule, end - begin, sum.first + begin,
                           sum.second == nullptr ? nullptr : sum.second + begin};
    if (!run(piece, begin)) all.store(false, std::memory_order_relaxed);
  });
  return all;
}

}  // namespace

QuantaScale ScaleOf(const QuantaRule& rule) {
  TEMPER_CHECK(rule.bits >= 0 && rule.bits <= 100 && rule.leaves >= 1, rule.bits, " bits, ", rule.leaves,
               " leaves");
  const int bits = static_cast<int>(rule.bits);
  return {std::ldexp(1.0, bits), std::ldexp(1.0, -bits),
          std::bit_cast<int64_t>(0x1p62 / static_cast<double>(rule.leaves))};
}

bool Backend::RoundGradientAcross(const LeafSum&, absl::FunctionRef<void(int64_t*, int64_t)>) {
  TEMPER_CHECK(false, "ranks of this backend sum on the host");
  return false;
}

bool CpuBackend::AddLeaf(float* leaf, LeafSum* sum) {
  TEMPER_CHECK(!sum->empty());
  const QuantaScale scale = ScaleOf(sum->rule);
  const auto add = TEMPER_DISPATCH(AddLeafPiece);
  const bool in_range = ForPieces(
      *sum, pool(), [&](const LeafSum& piece, int64_t begin) { return add(scale, piece, leaf + begin); });
  if (sum->second == nullptr) sum->second = leaf;
  return in_range;
}

bool CpuBackend::AddQuanta(const LeafSum& sum, int64_t first, absl::Span<int64_t> out) {
  const int64_t n = static_cast<int64_t>(out.size());
  TEMPER_CHECK(first >= 0 && first + n <= sum.n, first, " + ", n, " of ", sum.n);
  const QuantaScale scale = ScaleOf(sum.rule);
  const auto add = TEMPER_DISPATCH(AddQuantaPiece);
  const LeafSum part = {sum.rule, n, sum.first + first, sum.second == nullptr ? nullptr : sum.second + first};
  return ForPieces(part, pool(), [&](const LeafSum& piece, int64_t begin) {
    return add(scale, piece, out.data() + begin);
  });
}

bool CpuBackend::RoundGradient(const LeafSum& sum) {
  const QuantaScale scale = ScaleOf(sum.rule);
  const auto round = TEMPER_DISPATCH(RoundPiece);
  return ForPieces(sum, pool(), [&](const LeafSum& piece, int64_t) { return round(scale, piece); });
}

void FromQuanta(int64_t bits, absl::Span<const int64_t> quanta, float* out) {
  const auto convert = TEMPER_DISPATCH(FromQuantaPiece);
  convert(ScaleOf({.bits = bits}).quantum, {quanta.data(), static_cast<int64_t>(quanta.size())}, out);
}

}  // namespace temper::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <numeric>

#include "gtest/gtest.h"
#include "kernels/log.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct State {
  float max = -kInfinity, sum = 0;
  std::vector<float> out;
};

// One query and the keys and values, one a row, of its head; the last of `keys` rows is its own position.
struct Query {
  const AttentionShape& s;
  const float* q;
  Matrix k, v;
  int64_t keys;

  int64_t first() const { return s.window == 0 ? 0 : std::max<int64_t>(0, keys - s.window); }
};

// The split that begins at a key: the contract, a key at a time.
State ReferenceSplit(const Query& query, int64_t begin) {
  const auto& [s, q, k, v, keys] = query;
  const int64_t end = std::min<int64_t>(keys, begin + 1024), first = query.first();
  State state{.out = std::vector<float>(s.v_dim)};
  for (int64_t block = begin; block < end; block += 64) {
    const int64_t n = std::min<int64_t>(64, end - block), skip = std::max<int64_t>(0, first - block);
    if (skip >= n) continue;
    std::vector<float> score(n);
    float max = -kInfinity;
    for (int64_t j = skip; j < n; ++j) {
      float dot = 0;
      for (int d = 0; d < s.qk_dim; ++d) dot = std::fma(q[d], k.Row(block + j)[d], dot);
      score[j] = dot * s.scale;
      max = std::max(max, score[j]);
    }
    const float new_max = std::max(state.max, max);
    const float correction = ReferenceExp(state.max - new_max);
    std::vector<float> lanes(16);
    for (int64_t j = skip; j < n; ++j) {
      score[j] = ReferenceExp(score[j] - new_max);
      lanes[j % 16] += score[j];
    }
    state.sum = std::fma(state.sum, correction, ReferenceSumLanes(lanes));
    state.max = new_max;
    for (int d = 0; d < s.v_dim; ++d) {
      float acc = state.out[d] * correction;
      for (int64_t j = skip; j < n; ++j) acc = std::fma(score[j], v.Row(block + j)[d], acc);
      state.out[d] = acc;
    }
  }
  return state;
}

float ReferenceAttention(const Query& query, float* out) {
  const AttentionShape& s = query.s;
  const int64_t first = query.first() / 1024 * 1024;
  State all = ReferenceSplit(query, first);
  for (int64_t begin = first + 1024; begin < query.keys; begin += 1024) {
    const State split = ReferenceSplit(query, begin);
    const float max = std::max(all.max, split.max);
    const float a = ReferenceExp(all.max - max), b = ReferenceExp(split.max - max);
    all.sum = all.sum * a + split.sum * b;
    all.max = max;
    for (int d = 0; d < s.v_dim; ++d) all.out[d] = all.out[d] * a + split.out[d] * b;
  }
  for (int d = 0; d < s.v_dim; ++d) out[d] = all.out[d] / all.sum;
  return static_cast<float>(static_cast<double>(all.max) + Log(all.sum));
}

// Sequences side by side in one packed buffer, their blocks in shuffled memory full of NaN. One that begins
// at a later position than 0 goes on with the last one from there (Bundle).
struct Batch {
  AttentionShape shape;
  std::vector<int64_t> lengths, first, begins;
  int64_t rows = 0;
  std::vector<float> q, k, v;
  std::vector<char> memory;
  std::vector<std::vector<void*>> blocks;

  int64_t ldq() const { return shape.q_heads * shape.qk_dim + 3; }
  int64_t ldk() const { return shape.kv_heads * shape.qk_dim + 1; }
  int64_t ldv() const { return shape.kv_heads * shape.v_dim + 2; }
  int64_t ldout() const { return shape.q_heads * shape.v_dim; }

  Batch(const AttentionShape& s, std::vector<int64_t> l, uint32_t seed, std::vector<int64_t> at = {})
      : shape(s), lengths(std::move(l)), begins(std::move(at)) {
    begins.resize(lengths.size());
    for (int64_t length : lengths) {
      first.push_back(rows);
      rows += length;
    }
    q = Numbers(rows * ldq(), seed);
    k = Numbers(rows * ldk(), seed + 1);
    v = Numbers(rows * ldv(), seed + 2);
    ClearBlocks(seed + 3);
  }

  void ClearBlocks(uint32_t seed) {
    int64_t count = 0;
    for (size_t i = 0; i < lengths.size(); ++i) count += Blocks(i);
    memory.assign(count * BlockBytes(shape), '\xFF');  // NaN, as f32 and as bf16
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    blocks.clear();
    size_t next = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
      auto& mine = blocks.emplace_back();
      for (int64_t b = 0; b < Blocks(i); ++b)
        mine.push_back(memory.data() + order[next++] * BlockBytes(shape));
    }
  }
  int64_t Blocks(size_t i) const { return (begins[i] + lengths[i] + 63) / 64; }

  AttentionSequence Piece(int sequence, int64_t position, int64_t count) const {
    return {.first_row = first[sequence] + position,
            .rows = count,
            .first_position = begins[sequence] + position,
            .blocks = blocks[sequence].data()};
  }
  // The sequence that it goes on with, itself where that is none.
  size_t PrefixOf(size_t i) const {
    while (begins[i] > 0) --i;
    return i;
  }
  size_t SequenceOf(int64_t row) const {
    size_t i = 0;
    while (row >= first[i] + lengths[i]) ++i;
    return i;
  }
  bool Sees(int64_t row, int64_t key) const {
    const size_t query_of = SequenceOf(row), key_of = SequenceOf(key);
    const int64_t position = begins[query_of] + row - first[query_of];
    const int64_t behind = position - (begins[key_of] + key - first[key_of]);
    return (key_of == query_of || key_of == PrefixOf(query_of)) && behind >= 0 &&
           (shape.window == 0 || behind < shape.window);
  }

  Matrix Q() const { return F32(q.data(), rows, shape.q_heads * shape.qk_dim).Strided(ldq()); }
  Matrix K() const { return F32(k.data(), rows, shape.kv_heads * shape.qk_dim).Strided(ldk()); }
  Matrix V() const { return F32(v.data(), rows, shape.kv_heads * shape.v_dim).Strided(ldv()); }
  Matrix Out(const std::vector<float>& out) const { return F32(out.data(), rows, ldout()); }

  // All sequences advance together, `chunk` tokens a call; the outputs of all rows (and lse).
  std::vector<float> Run(int64_t chunk, TestBackend& backend, std::vector<float>* lse = nullptr) {
    std::vector<float> out(rows * ldout(), kNaN);
    if (lse != nullptr) lse->assign(rows * shape.q_heads, kNaN);
    const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    for (size_t i = 0; i < lengths.size(); ++i) {
      AttentionSequence prefix = Piece(PrefixOf(i), 0, begins[i]);
      prefix.blocks = blocks[i].data();
      backend->WriteBlocks({shape, {&prefix, 1}, K(), V()});
    }
    for (int64_t position = 0; position < longest; position += chunk) {
      std::vector<AttentionSequence> step;
      for (size_t i = 0; i < lengths.size(); ++i) {
        const int64_t count = std::min(chunk, lengths[i] - position);
        if (count > 0) step.push_back(Piece(i, position, count));
      }
      backend->WriteBlocks({shape, step, K(), V()});
      backend->Attention({shape, step, Q(), Out(out), lse ? lse->data() : nullptr});
    }
    return out;
  }

  std::vector<float> Reference(std::vector<float>* lse) const {
    std::vector<float> out(rows * ldout());
    lse->assign(rows * shape.q_heads, 0);
    const int group = shape.q_heads / shape.kv_heads;
    for (size_t i = 0; i < lengths.size(); ++i) {
      for (int64_t position = 0; position < lengths[i]; ++position) {
        const int64_t row = first[i] + position;
        for (int h = 0; h < shape.q_heads; ++h) {
          const Query query{shape, Q().Row(row) + h * shape.qk_dim,
                            K().Rows(first[i], lengths[i]).Columns(h / group * shape.qk_dim, shape.qk_dim),
                            V().Rows(first[i], lengths[i]).Columns(h / group * shape.v_dim, shape.v_dim),
                            position + 1};
          (*lse)[row * shape.q_heads + h] = ReferenceAttention(query, &out[row * ldout() + h * shape.v_dim]);
        }
      }
    }
    return out;
  }
};

AttentionShape Shape(int q_heads, int kv_heads, int qk_dim, int v_dim) {
  return {.q_heads = q_heads,
          .kv_heads = kv_heads,
          .qk_dim = qk_dim,
          .v_dim = v_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(qk_dim))};
}

AttentionShape Windowed(AttentionShape shape, int64_t window) {
  shape.window = window;
  return shape;
}

TEST(Attention, EqualsTheReferenceWithEveryInstructionSet) {
  for (const AttentionShape& shape :
       {Shape(4, 1, 80, 64), Shape(14, 2, 64, 64), Shape(3, 3, 33, 20), Shape(2, 1, 5, 1),
        Windowed(Shape(4, 2, 33, 20), 1), Windowed(Shape(4, 1, 24, 16), 5), Windowed(Shape(2, 1, 24, 33), 64),
        Windowed(Shape(2, 2, 9, 16), 100)}) {
    Batch batch(shape, {1, 67, 130, 16, 64}, 7);
    std::vector<float> want_lse, lse;
    const std::vector<float> want = batch.Reference(&want_lse);
    for (Isa isa : SupportedIsas()) {
      IsaScope scope(isa);
      TestBackend backend(2);
      batch.ClearBlocks(99);
      EXPECT_EQ(Differences(batch.Run(1000, backend, &lse), want), 0)
          << Name(isa) << " qk_dim " << shape.qk_dim;
      EXPECT_EQ(Differences(lse, want_lse), 0) << Name(isa) << " qk_dim " << shape.qk_dim;
    }
  }
}

// The nearest bf16 of each, ties to even, as f32.
std::vector<float> Rounded(std::vector<float> x) {
  for (float& value : x) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    value = std::bit_cast<float>((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
  }
  return x;
}

TEST(Attention, OverBf16BlocksHasTheBitsOfTheirValuesInF32) {
  for (const AttentionShape& shape :
       {Shape(4, 1, 80, 64), Shape(14, 2, 64, 64), Shape(3, 3, 33, 20), Shape(2, 1, 5, 1),
        Windowed(Shape(4, 2, 33, 20), 5), Windowed(Shape(2, 1, 24, 33), 64)}) {
    Batch batch(shape, {1, 67, 130, 16, 64, 1100}, 7);
    const std::vector<float> k = batch.k, v = batch.v;
    batch.k = Rounded(k);
    batch.v = Rounded(v);
    std::vector<float> want_lse, lse;
    const std::vector<float> want = batch.Reference(&want_lse);
    batch.shape.stored = Type::kBf16;
    EXPECT_EQ(2 * BlockBytes(batch.shape), BlockBytes(shape));
    for (Isa isa : FastIsas()) {
      IsaScope scope(isa);
      for (int64_t chunk : {1, 7, 2000}) {
        TestBackend backend(2);
        batch.ClearBlocks(99);
        EXPECT_EQ(Differences(batch.Run(chunk, backend, &lse), want), 0)
            << Name(isa) << " qk_dim " << shape.qk_dim << ", chunk " << chunk;
        EXPECT_EQ(Differences(lse, want_lse), 0) << Name(isa) << " qk_dim " << shape.qk_dim;
      }
    }
    // What is written is rounded on the way.
    batch.k = k;
    batch.v = v;
    TestBackend backend(1);
    batch.ClearBlocks(5);
    EXPECT_EQ(Differences(batch.Run(2000, backend), want), 0);
    batch.shape.stored = Type::kF32;
    batch.ClearBlocks(5);
    EXPECT_NE(Differences(batch.Run(2000, backend), want), 0) << "these numbers are none of bf16";
  }
}

TEST(Attention, OverBf16BlocksThePlainPathHasTheSameBits) {
  Batch batch(Shape(4, 2, 9, 5), {70, 3}, 13);
  batch.shape.stored = Type::kBf16;
  batch.ClearBlocks(1);
  TestBackend backend(1);
  const std::vector<float> want = batch.Run(1000, backend);
  const IsaScope scope(Isa::kPlain);
  batch.ClearBlocks(2);
  EXPECT_EQ(Differences(batch.Run(3, backend), want), 0);
}

TEST(Attention, PastTwoSplitsEqualsTheReference) {
  Batch batch(Shape(2, 1, 20, 16), {2100}, 11);
  std::vector<float> want_lse, lse;
  const std::vector<float> want = batch.Reference(&want_lse);
  TestBackend backend(3);
  EXPECT_EQ(Differences(batch.Run(5000, backend, &lse), want), 0);
  EXPECT_EQ(Differences(lse, want_lse), 0);
}

TEST(Attention, AWindowPastTwoSplitsEqualsTheReference) {
  for (int64_t window : {3, 700, 1024, 1500, 2100}) {
    Batch batch(Windowed(Shape(2, 1, 6, 5), window), {2100}, 11);
    std::vector<float> want_lse, lse;
    const std::vector<float> want = batch.Reference(&want_lse);
    TestBackend backend(2);
    EXPECT_EQ(Differences(batch.Run(5000, backend, &lse), want), 0) << window;
    EXPECT_EQ(Differences(lse, want_lse), 0) << window;
  }
}

TEST(Attention, AWindowLongerThanTheContextHasTheBitsOfNone) {
  Batch batch(Shape(4, 2, 20, 17), {1100, 70}, 23);
  TestBackend backend(2);
  const std::vector<float> want = batch.Run(5000, backend);
  batch.shape.window = 1100;
  EXPECT_EQ(Differences(batch.Run(5000, backend), want), 0);
  batch.shape.window = 1099;
  EXPECT_NE(Differences(batch.Run(5000, backend), want), 0);
}

TEST(Attention, AKeyBehindTheWindowIsNeverMultiplied) {
  Batch batch(Windowed(Shape(2, 1, 8, 8), 10), {200}, 3);
  batch.k[20 * batch.ldk()] = batch.v[20 * batch.ldv()] = kNaN;
  TestBackend backend(1);
  const std::vector<float> out = batch.Run(1000, backend);
  EXPECT_TRUE(std::isnan(out[29 * batch.ldout()]));
  EXPECT_FALSE(std::isnan(out[30 * batch.ldout()]));
}

class AttentionBits : public ::testing::TestWithParam<int64_t> {};  // of a window

TEST_P(AttentionBits, OneTokenAtATimeHasTheBitsOfAnyChunkOfThePrompt) {
  Batch batch(Windowed(Shape(4, 2, 20, 17), GetParam()), {2100, 130, 1, 64, 65}, 23);
  TestBackend one(1);
  const std::vector<float> want = batch.Run(5000, one);
  for (int threads : {1, 2, 3}) {
    TestBackend backend(threads);
    for (int64_t chunk : {1, 7, 64, 100}) {
      batch.ClearBlocks(static_cast<uint32_t>(chunk));
      EXPECT_EQ(Differences(batch.Run(chunk, backend), want), 0)
          << "chunk " << chunk << ", threads " << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, AttentionBits, ::testing::Values(0, 7, 90, 1300));

TEST(Attention, ASequenceAloneHasTheBitsItHasInAnyBatch) {
  std::vector<int64_t> lengths;
  for (int i = 0; i < 65; ++i) lengths.push_back(1 + (i * 37) % 150);
  Batch batch(Shape(4, 1, 40, 32), lengths, 31);
  TestBackend backend(2);
  const std::vector<float> want = batch.Run(1000, backend);
  for (int count = 1; count <= 65; ++count) {
    std::vector<AttentionSequence> last;
    for (int i = 65 - count; i < 65; ++i) last.push_back(batch.Piece(i, lengths[i] - 1, 1));
    std::vector<float> out = want;
    for (const AttentionSequence& s : last)
      std::fill_n(&out[s.first_row * batch.ldout()], batch.ldout(), kNaN);
    backend->Attention({batch.shape, last, batch.Q(), batch.Out(out)});
    EXPECT_EQ(Differences(out, want), 0) << "batch of " << count;
  }
}

TEST(Attention, AGroupThatSharesItsPrefixBlocksHasTheBitsOfItsOwnCopies) {
  // 8 sequences of 150 whose first 128 keys and values are equal.
  Batch batch(Shape(4, 1, 24, 16), std::vector<int64_t>(8, 150), 47);
  for (int i = 1; i < 8; ++i) {
    std::copy_n(&batch.k[0], 128 * batch.ldk(), &batch.k[batch.first[i] * batch.ldk()]);
    std::copy_n(&batch.v[0], 128 * batch.ldv(), &batch.v[batch.first[i] * batch.ldv()]);
  }
  TestBackend backend(2);
  const std::vector<float> want = batch.Run(1000, backend);
  batch.ClearBlocks(5);
  const AttentionSequence prefix = batch.Piece(0, 0, 128);
  backend->WriteBlocks({batch.shape, {&prefix, 1}, batch.K(), batch.V()});
  std::vector<AttentionSequence> tails;
  for (int i = 0; i < 8; ++i) {
    batch.blocks[i][0] = batch.blocks[0][0];
    batch.blocks[i][1] = batch.blocks[0][1];
    tails.push_back(batch.Piece(i, 128, 22));
  }
  backend->WriteBlocks({batch.shape, tails, batch.K(), batch.V()});
  std::vector<float> out(batch.rows * batch.ldout(), kNaN);
  backend->Attention({batch.shape, tails, batch.Q(), batch.Out(out)});
  for (int i = 0; i < 8; ++i) {
    const auto tail = [&](const std::vector<float>& all) {
      const auto begin = all.begin() + (batch.first[i] + 128) * batch.ldout();
      return std::vector<float>(begin, begin + 22 * batch.ldout());
    };
    EXPECT_EQ(Differences(tail(out), tail(want)), 0) << "sequence " << i;
  }
}

TEST(Attention, ANaNInItsOwnKeysReachesTheOutput) {
  Batch batch(Shape(1, 1, 8, 8), {40}, 3);
  batch.k[20 * batch.ldk()] = kNaN;
  TestBackend backend(1);
  const std::vector<float> out = batch.Run(100, backend);
  EXPECT_FALSE(std::isnan(out[19 * batch.ldout()]));
  EXPECT_TRUE(std::isnan(out[20 * batch.ldout()]));
}

struct Gradients {
  std::vector<float> dq, dk, dv;
};

std::vector<float> Dout(const Batch& b) { return Numbers(b.rows * b.ldout(), 1234); }

// Of a forward pass, and the gradient of its outputs.
struct ForwardOutputs {
  std::vector<float> out, lse, dout;
};

// The batch's gradients; the sequences in calls of `calls` at a time, or more where a bundle has more.
Gradients BackwardOf(Batch& b, TestBackend& backend, const ForwardOutputs& from, size_t calls = 1000) {
  Gradients g{std::vector<float>(b.rows * b.ldq(), 5), std::vector<float>(b.rows * b.ldk(), 5),
              std::vector<float>(b.rows * b.ldv(), 5)};
  std::vector<AttentionSequence> sequences;
  for (size_t i = 0; i < b.lengths.size(); ++i) {
    sequences.push_back({.first_row = b.first[i], .rows = b.lengths[i], .first_position = b.begins[i]});
    const bool is_last = i + 1 == b.lengths.size();
    if (!is_last && (sequences.size() < calls || b.begins[i + 1] > 0)) continue;
    const auto like = [](const Matrix& x, std::vector<float>& dx) {
      return F32(dx.data(), x.rows, x.cols).Strided(x.stride);
    };
    backend->AttentionBackward({.shape = b.shape,
                                .sequences = sequences,
                                .q = b.Q(),
                                .k = b.K(),
                                .v = b.V(),
                                .out = b.Out(from.out),
                                .lse = from.lse.data(),
                                .dout = b.Out(from.dout),
                                .dq = like(b.Q(), g.dq),
                                .dk = like(b.K(), g.dk),
                                .dv = like(b.V(), g.dv)});
    sequences.clear();
  }
  return g;
}

Gradients Backward(Batch& b, int threads, size_t calls = 1000) {
  TestBackend backend(threads);
  ForwardOutputs of{.out = {}, .lse = {}, .dout = Dout(b)};
  of.out = b.Run(5000, backend, &of.lse);
  return BackwardOf(b, backend, of, calls);
}

// Neighbours add; without a neighbour a sum goes up as it is.
float TreeOf(std::vector<float> sums) {
  while (sums.size() > 1) {
    std::vector<float> above;
    for (size_t i = 0; i < sums.size(); i += 2)
      above.push_back(i + 1 < sums.size() ? sums[i] + sums[i + 1] : sums[i]);
    sums = above;
  }
  return sums[0];
}

// The contract, a number at a time: dq's chains, and dk's and dv's sums by ranges of heads and spans of
// queries.
struct BackwardReference {
  Batch& b;
  std::vector<float> lse, out, dout;
  std::vector<float> deltas;  // of a row's heads: dout times out
  Gradients g;

  const AttentionShape& s = b.shape;
  const int group = s.q_heads / s.kv_heads;

  explicit BackwardReference(Batch& batch) : b(batch) {
    TestBackend backend(1);
    out = b.Run(5000, backend, &lse);
    dout = Dout(b);
    for (int64_t i = 0; i < b.rows; ++i)
      for (int h = 0; h < s.q_heads; ++h) deltas.push_back(Delta(h, i));
    g = {std::vector<float>(b.rows * b.ldq(), 5), std::vector<float>(b.rows * b.ldk(), 5),
         std::vector<float>(b.rows * b.ldv(), 5)};
    for (size_t n = 0; n < b.lengths.size(); ++n) {
      int64_t rows = b.lengths[n];
      const size_t begin = n;
      while (n + 1 < b.lengths.size() && b.begins[n + 1] > 0) rows += b.lengths[++n];
      OfBundle(b.first[begin], rows);
    }
  }

  float Delta(int h, int64_t i) const {
    const float *o = &out[i * b.ldout() + h * s.v_dim], *d = &dout[i * b.ldout() + h * s.v_dim];
    std::vector<float> lanes(16);
    for (int c = 0; c < s.v_dim; ++c) lanes[c % 16] = std::fma(d[c], o[c], lanes[c % 16]);
    return ReferenceSumLanes(lanes);
  }

  // The probability and the score's gradient of a query and a key.
  std::pair<float, float> Score(int h, int64_t i, int64_t j) const {
    const float *q = &b.q[i * b.ldq() + h * s.qk_dim], *k = &b.k[j * b.ldk() + h / group * s.qk_dim];
    const float *d = &dout[i * b.ldout() + h * s.v_dim], *v = &b.v[j * b.ldv() + h / group * s.v_dim];
    float score = 0, dp = 0;
    for (int c = 0; c < s.qk_dim; ++c) score = std::fma(q[c], k[c], score);
    for (int c = 0; c < s.v_dim; ++c) dp = std::fma(d[c], v[c], dp);
    const float p = ReferenceExp(score * s.scale - lse[i * s.q_heads + h]);
    return {p, p * (dp - deltas[i * s.q_heads + h]) * s.scale};
  }

  void OfBundle(int64_t first, int64_t length) {
    const int64_t spans = (length + 1023) / 1024;
    for (int64_t i = first; i < first + length; ++i)
      std::fill_n(&g.dq[i * b.ldq()], s.q_heads * s.qk_dim, 0.0f);
    for (int64_t j = first; j < first + length; ++j) {
      std::vector<int64_t> seeing;
      for (int64_t i = j; i < first + length; ++i)
        if (b.Sees(i, j)) seeing.push_back(i);
      for (int kv = 0; kv < s.kv_heads; ++kv) {
        // [feature][range][span]
        using Sums = std::vector<std::vector<std::vector<float>>>;
        const std::vector<std::vector<float>> zeros(8, std::vector<float>(spans));
        Sums dk(s.qk_dim, zeros), dv(s.v_dim, zeros);
        for (int range = 0; range < 8; ++range) {
          for (int h = range * s.q_heads / 8; h < (range + 1) * s.q_heads / 8; ++h) {
            if (h / group != kv) continue;
            for (const int64_t i : seeing) {
              const int64_t span = (i - first) / 1024;
              const auto [p, ds] = Score(h, i, j);
              for (int c = 0; c < s.qk_dim; ++c) {
                float& dq = g.dq[i * b.ldq() + h * s.qk_dim + c];
                dq = std::fma(ds, b.k[j * b.ldk() + kv * s.qk_dim + c], dq);
                dk[c][range][span] = std::fma(ds, b.q[i * b.ldq() + h * s.qk_dim + c], dk[c][range][span]);
              }
              for (int c = 0; c < s.v_dim; ++c)
                dv[c][range][span] = std::fma(p, dout[i * b.ldout() + h * s.v_dim + c], dv[c][range][span]);
            }
          }
        }
        const auto sum = [](const std::vector<std::vector<float>>& ranges) {
          std::vector<float> of_ranges;
          for (const std::vector<float>& spans : ranges) of_ranges.push_back(TreeOf(spans));
          return TreeOf(of_ranges);
        };
        for (int c = 0; c < s.qk_dim; ++c) g.dk[j * b.ldk() + kv * s.qk_dim + c] = sum(dk[c]);
        for (int c = 0; c < s.v_dim; ++c) g.dv[j * b.ldv() + kv * s.v_dim + c] = sum(dv[c]);
      }
    }
  }
};

Gradients ReferenceBackward(Batch& b) { return BackwardReference(b).g; }

void ExpectSame(const Gradients& got, const Gradients& want, const std::string& what) {
  EXPECT_EQ(Differences(got.dq, want.dq), 0) << what;
  EXPECT_EQ(Differences(got.dk, want.dk), 0) << what;
  EXPECT_EQ(Differences(got.dv, want.dv), 0) << what;
}

TEST(AttentionBackward, EqualsTheReferenceWithEveryInstructionSet) {
  for (const AttentionShape& shape :
       {Shape(4, 1, 80, 64), Shape(6, 2, 33, 20), Shape(3, 3, 5, 1), Shape(16, 1, 24, 16),
        Windowed(Shape(4, 2, 9, 20), 1), Windowed(Shape(6, 2, 20, 7), 5), Windowed(Shape(2, 1, 20, 7), 64),
        Windowed(Shape(2, 1, 20, 7), 100)}) {
    Batch batch(shape, {1, 67, 130, 16, 64}, 7);
    const Gradients want = ReferenceBackward(batch);
    for (Isa isa : SupportedIsas()) {
      IsaScope scope(isa);
      ExpectSame(Backward(batch, 2), want, std::string(Name(isa)));
    }
  }
}

TEST(AttentionBackward, PastSpansOfQueriesEqualsTheReference) {
  // Two, three and five spans; heads in one range each, and in several.
  // Few numbers a head: the reference is slow, and dimensions are the other tests'.
  for (const AttentionShape& shape : {Shape(10, 1, 2, 1), Shape(3, 1, 2, 3), Shape(4, 2, 3, 1),
                                      Windowed(Shape(9, 1, 1, 2), 1300), Windowed(Shape(2, 2, 5, 4), 70)}) {
    const bool short_one = shape.q_heads > 4;
    Batch batch(shape, short_one ? std::vector<int64_t>{6, 2060} : std::vector<int64_t>{2050, 1024, 3}, 29);
    const Gradients want = ReferenceBackward(batch);
    for (Isa isa : FastIsas()) {
      IsaScope scope(isa);
      for (int threads : {1, 3})
        ExpectSame(Backward(batch, threads), want,
                   std::string(Name(isa)) + " q_heads " + std::to_string(shape.q_heads));
    }
  }
  Batch batch(Shape(1, 1, 2, 1), {4110}, 29);
  ExpectSame(Backward(batch, 2), ReferenceBackward(batch), "five spans");
}

TEST(AttentionBackward, OfABundleEqualsTheReferenceWithEveryInstructionSet) {
  // Beside a sequence that shares nothing: prefixes of a row, in a block and past one.
  const std::vector<int64_t> lengths = {1, 3, 1, 66, 70, 3, 64, 2, 64, 5, 60},
                             begins = {0, 1, 1, 0, 0, 70, 70, 70, 0, 64, 64};
  for (const AttentionShape& shape : {Shape(4, 1, 80, 64), Shape(6, 2, 33, 20), Shape(3, 3, 5, 1),
                                      Windowed(Shape(4, 2, 9, 20), 1), Windowed(Shape(6, 2, 20, 7), 5),
                                      Windowed(Shape(2, 1, 20, 7), 64), Windowed(Shape(2, 1, 20, 7), 100)}) {
    Batch batch(shape, lengths, 7, begins);
    const Gradients want = ReferenceBackward(batch);
    for (Isa isa : SupportedIsas()) {
      IsaScope scope(isa);
      for (int threads : {1, 2})
        ExpectSame(Backward(batch, threads), want,
                   std::string(Name(isa)) + " window " + std::to_string(shape.window));
    }
  }
}

TEST(AttentionBackward, OfABundlePastSpansOfItsRowsEqualsTheReference) {
  struct Form {
    AttentionShape shape;
    std::vector<int64_t> lengths;
  };
  for (const auto& [shape, lengths] :
       {Form{Shape(9, 1, 2, 1), {20, 500, 503}}, Form{Shape(2, 1, 2, 1), {20, 500, 504}},
        Form{Shape(2, 1, 2, 1), {20, 500, 505}}, Form{Shape(3, 1, 1, 2), {1030, 2, 1, 1016}},
        Form{Windowed(Shape(2, 2, 2, 1), 300), {400, 100, 500, 24, 100}}}) {
    std::vector<int64_t> begins(lengths.size(), lengths[0]);
    begins[0] = 0;
    Batch batch(shape, lengths, 29, begins);
    const Gradients want = ReferenceBackward(batch);
    for (Isa isa : FastIsas()) {
      IsaScope scope(isa);
      for (int threads : {1, 3})
        ExpectSame(Backward(batch, threads), want, std::string(Name(isa)) + " " + std::to_string(batch.rows));
    }
  }
}

TEST(AttentionBackward, OfABundleIsTheSumOverItsSequencesApart) {
  // Each sequence of a bundle with a prefix of its own; the same numbers.
  constexpr int64_t kPrefix = 75;
  for (const int64_t window : {0, 40}) {
    const AttentionShape shape = Windowed(Shape(4, 2, 12, 7), window);
    Batch bundle(shape, {kPrefix, 30, 1, 90}, 7, {0, kPrefix, kPrefix, kPrefix});
    Batch apart(shape, {kPrefix + 30, kPrefix + 1, kPrefix + 90}, 7);
    std::vector<std::vector<int64_t>> copies(bundle.rows);  // of each row
    for (size_t i = 0; i < apart.lengths.size(); ++i) {
      for (int64_t p = 0; p < apart.lengths[i]; ++p) {
        const int64_t from = p < kPrefix ? p : bundle.first[i + 1] + p - kPrefix, to = apart.first[i] + p;
        copies[from].push_back(to);
        std::copy_n(&bundle.q[from * bundle.ldq()], bundle.ldq(), &apart.q[to * apart.ldq()]);
        std::copy_n(&bundle.k[from * bundle.ldk()], bundle.ldk(), &apart.k[to * apart.ldk()]);
        std::copy_n(&bundle.v[from * bundle.ldv()], bundle.ldv(), &apart.v[to * apart.ldv()]);
      }
    }
    const Gradients got = Backward(bundle, 2);
    // The prefix's rows have a gradient of their own in each copy, of which they have the sum here.
    std::vector<float> shares = Dout(bundle);
    TestBackend backend(1);
    std::vector<float> lse;
    const std::vector<float> out = apart.Run(5000, backend, &lse);
    std::vector<float> dout(apart.rows * apart.ldout());
    for (int64_t row = 0; row < bundle.rows; ++row) {
      for (int64_t c = 0; c < bundle.ldout(); ++c)
        dout[copies[row][0] * apart.ldout() + c] = shares[row * bundle.ldout() + c];
    }
    const Gradients parts = BackwardOf(apart, backend, {out, lse, dout});
    const auto expect_sums = [&](const std::vector<float>& of_bundle, const std::vector<float>& of_parts,
                                 int64_t width) {
      for (int64_t row = 0; row < bundle.rows; ++row) {
        for (int64_t c = 0; c + 3 < width; ++c) {
          double sum = 0;
          for (const int64_t copy : copies[row]) sum += of_parts[copy * width + c];
          ASSERT_NEAR(of_bundle[row * width + c], sum, 1e-5) << row;
        }
      }
    };
    expect_sums(got.dq, parts.dq, bundle.ldq());
    expect_sums(got.dk, parts.dk, bundle.ldk());
    expect_sums(got.dv, parts.dv, bundle.ldv());
  }
}

TEST(AttentionBackward, HeadsInEveryRangeAndInFewEqualTheReference) {
  for (int q_heads : {1, 2, 3, 5, 7, 8, 9, 10, 12, 14, 16, 17, 24}) {
    for (int kv_heads = 1; kv_heads <= q_heads; ++kv_heads) {
      if (q_heads % kv_heads != 0) continue;
      Batch batch(Shape(q_heads, kv_heads, 6, 17), {70, 1}, 13);
      ExpectSame(Backward(batch, 2), ReferenceBackward(batch),
                 std::to_string(q_heads) + " heads, " + std::to_string(kv_heads) + " of keys");
    }
  }
}

TEST(AttentionBackward, HasTheSameBitsOnAnyThreadsAndHoweverTheSequencesArePacked) {
  // Alone, the long one is split over threads by blocks; among many of its size it is not.
  for (const std::vector<int64_t>& lengths :
       {std::vector<int64_t>{1100}, {1100, 3, 64, 129, 1}, {300, 301, 302, 303}}) {
    Batch batch(Windowed(Shape(2, 1, 20, 17), lengths.size() == 4 ? 0 : 130), lengths, 19);
    const Gradients want = Backward(batch, 1);
    for (int threads : {1, 2, 3}) {
      for (size_t calls : {1, 2, 1000}) {
        ExpectSame(Backward(batch, threads, calls), want, "threads " + std::to_string(threads));
      }
    }
  }
}

TEST(AttentionBackward, ANaNInAQueryReachesItsOwnKeysAndNoLaterOnes) {
  Batch batch(Shape(1, 1, 8, 8), {40}, 3);
  batch.q[20 * batch.ldq()] = kNaN;
  const Gradients g = Backward(batch, 1);
  EXPECT_TRUE(std::isnan(g.dk[20 * batch.ldk()]));
  EXPECT_FALSE(std::isnan(g.dk[21 * batch.ldk()]));
  EXPECT_FALSE(std::isnan(g.dv[21 * batch.ldv()]));
  EXPECT_FALSE(std::isnan(g.dq[21 * batch.ldq()]));
}

TEST(AttentionBackward, ANaNInAQueryReachesNoKeyBehindItsWindow) {
  Batch batch(Windowed(Shape(1, 1, 8, 8), 10), {100}, 3);
  batch.q[90 * batch.ldq()] = kNaN;
  const Gradients g = Backward(batch, 1);
  EXPECT_TRUE(std::isnan(g.dk[81 * batch.ldk()]));
  EXPECT_FALSE(std::isnan(g.dk[80 * batch.ldk()]));
  EXPECT_FALSE(std::isnan(g.dv[80 * batch.ldv()]));
}

TEST(AttentionBackward, IsTheDerivative) {
  const AttentionShape s = Shape(4, 2, 7, 5);
  Batch b(s, {9, 70}, 41);
  const std::vector<float> dout = Dout(b);
  const Gradients got = Backward(b, 2);
  std::vector<double> q(b.q.begin(), b.q.end()), k(b.k.begin(), b.k.end()), v(b.v.begin(), b.v.end());
  // sum of dout * out over one sequence, in f64.
  const auto loss = [&](int n) {
    double sum = 0;
    for (int64_t i = b.first[n]; i < b.first[n] + b.lengths[n]; ++i) {
      for (int h = 0; h < 4; ++h) {
        double total = 0;
        std::vector<double> out(s.v_dim);
        for (int64_t j = b.first[n]; j <= i; ++j) {
          double score = 0;
          for (int c = 0; c < s.qk_dim; ++c) {
            score += q[i * b.ldq() + h * s.qk_dim + c] * k[j * b.ldk() + h / 2 * s.qk_dim + c];
          }
          const double p = std::exp(score * s.scale);
          total += p;
          for (int c = 0; c < s.v_dim; ++c) out[c] += p * v[j * b.ldv() + h / 2 * s.v_dim + c];
        }
        for (int c = 0; c < s.v_dim; ++c) sum += dout[i * b.ldout() + h * s.v_dim + c] * out[c] / total;
      }
    }
    return sum;
  };
  const auto slope = [&](double& x, int n) {
    const double at = x, step = 1e-5;
    x = at + step;
    const double up = loss(n);
    x = at - step;
    const double down = loss(n);
    x = at;
    return (up - down) / (2 * step);
  };
  for (int n = 0; n < 2; ++n) {
    for (int64_t row = b.first[n]; row < b.first[n] + b.lengths[n]; row += n == 0 ? 1 : 13) {
      for (int c = 0; c < 4 * s.qk_dim; c += 3)
        EXPECT_NEAR(got.dq[row * b.ldq() + c], slope(q[row * b.ldq() + c], n), 5e-6);
      for (int c = 0; c < 2 * s.qk_dim; c += 3)
        EXPECT_NEAR(got.dk[row * b.ldk() + c], slope(k[row * b.ldk() + c], n), 5e-6);
      for (int c = 0; c < 2 * s.v_dim; c += 3)
        EXPECT_NEAR(got.dv[row * b.ldv() + c], slope(v[row * b.ldv() + c], n), 5e-6);
    }
  }
}

// The gradients of a batch of one sequence, whose spans several ranks have: `owners` says which has each.
Gradients BackwardOnRanks(Batch& b, const std::vector<int>& owners, int threads) {
  TestBackend backend(threads);
  std::vector<float> lse;
  const std::vector<float> out = b.Run(5000, backend, &lse), dout = Dout(b);
  Gradients g{std::vector<float>(b.rows * b.ldq(), 5), std::vector<float>(b.rows * b.ldk(), 5),
              std::vector<float>(b.rows * b.ldv(), 5)};
  const auto like = [](const Matrix& x, std::vector<float>& dx) {
    return F32(dx.data(), x.rows, x.cols).Strided(x.stride);
  };
  const int64_t width = static_cast<int64_t>(HeadSlots(b.shape).size()) * (b.shape.qk_dim + b.shape.v_dim);
  const auto spans = static_cast<int64_t>(owners.size());
  for (int64_t keys_of = 0; keys_of < spans; ++keys_of) {
    const int64_t first = 1024 * keys_of, keys = std::min<int64_t>(1024, b.rows - first);
    std::vector<JoinKeySumsTask::Part> parts;
    std::vector<std::vector<float>> all;
    for (int owner = 0; owner <= *std::max_element(owners.begin(), owners.end()); ++owner) {
      std::vector<AttentionSequence> sequences;
      std::vector<SpanNode> nodes;
      for (int64_t s = 0; s < spans; ++s) {
        int64_t end = s;
        while (end < spans && owners[end] == owner) ++end;
        if (end == s) continue;
        const int64_t begin = 1024 * s, last = std::min<int64_t>(b.rows, 1024 * end);
        sequences.push_back({.first_row = begin, .rows = last - begin, .first_position = begin});
        for (const SpanNode& node : SpanNodesOf(begin, last, b.rows)) nodes.push_back(node);
        s = end;
      }
      const AttentionBackwardTask task{.shape = b.shape,
                                       .sequences = sequences,
                                       .q = b.Q(),
                                       .k = b.K(),
                                       .v = b.V(),
                                       .out = b.Out(out),
                                       .lse = lse.data(),
                                       .dout = b.Out(dout),
                                       .dq = like(b.Q(), g.dq),
                                       .of_whole = true};
      if (keys_of == 0) backend->AttentionBackward(task);
      const auto rows = static_cast<int64_t>(nodes.size()) * keys;
      std::vector<float>& sums = all.emplace_back(rows * width, 7.0f);
      backend->KeySums({task, nodes, first, keys, F32(sums.data(), rows, width)});
      for (size_t i = 0; i < nodes.size(); ++i)
        parts.push_back({nodes[i], all.back().data() + static_cast<int64_t>(i) * keys * width});
    }
    backend->JoinKeySums({.shape = b.shape,
                          .positions = b.rows,
                          .parts = parts,
                          .first_key = first,
                          .dk = like(b.K(), g.dk).Rows(first, keys),
                          .dv = like(b.V(), g.dv).Rows(first, keys)});
  }
  return g;
}

TEST(AttentionBackward, OfSpansThatRanksShareHasTheBitsOfOne) {
  for (const AttentionShape& shape : {Shape(10, 1, 5, 3), Shape(3, 1, 6, 5), Shape(4, 2, 5, 4),
                                      Windowed(Shape(9, 1, 4, 5), 1300), Windowed(Shape(2, 2, 5, 4), 70)}) {
    Batch batch(shape, {3100}, 29);
    const Gradients want = Backward(batch, 2);
    for (const std::vector<int>& owners :
         {std::vector<int>{0, 0, 0, 0}, {0, 1, 1, 0}, {0, 1, 2, 0}, {1, 1, 0, 1}})
      ExpectSame(BackwardOnRanks(batch, owners, 2), want, std::to_string(shape.q_heads) + " heads");
  }
  Batch batch(Shape(5, 1, 3, 2), {5000}, 31);
  const Gradients want = Backward(batch, 1);
  for (const std::vector<int>& owners : {std::vector<int>{0, 1, 1, 1, 0}, {2, 0, 1, 0, 2}})
    ExpectSame(BackwardOnRanks(batch, owners, 3), want, "five spans");
}

}  // namespace
}  // namespace temper::kernels

// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/attention.h.
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

// New tokens of a sequence: its first position and how many.
struct Part {
  int64_t position, rows;
};

// Keys and values of all tokens into pages, those before the new ones first; then attention of these.
void Forward(Held& held, const AttentionShape& shape, const std::vector<Part>& parts) {
  std::vector<std::vector<void*>> tables;
  std::vector<AttentionSequence> old, added;
  std::vector<Matrix> pages;
  int64_t rows = 0, before = 0;
  for (const Part& part : parts) {
    const int64_t count = (part.position + part.rows + kAttentionBlock - 1) / kAttentionBlock;
    tables.emplace_back();
    for (int64_t b = 0; b < count; ++b) {
      // What no key was written to would be seen.
      pages.push_back(
          held.Given(1, BlockBytes(shape) / 4,
                     std::vector<float>(BlockBytes(shape) / 4, std::numeric_limits<float>::quiet_NaN())));
      tables.back().push_back(pages.back().data);
    }
    added.push_back({rows, part.rows, part.position, nullptr});
    old.push_back({before, part.position, 0, nullptr});
    rows += part.rows;
    before += part.position;
  }
  for (size_t i = 0; i < parts.size(); ++i) old[i].blocks = added[i].blocks = tables[i].data();
  const int64_t keys = shape.kv_heads * shape.qk_dim, values = shape.kv_heads * shape.v_dim;
  held.backend.WriteBlocks({shape, old, held.Numbers(before, keys, {1}), held.Numbers(before, values, {2})});
  held.backend.WriteBlocks(
      {shape, added, held.Numbers(rows, keys, {3, 1}), held.Numbers(rows, values, {4, 1})});
  for (const Matrix& page : pages) {
    if (shape.stored == Type::kF32) held.Wrote(page);
    if (shape.stored == Type::kBf16) held.Wrote({page.data, Type::kBf16, 1, 2 * page.cols, 2 * page.cols});
  }
  const Matrix q = held.Numbers(rows, shape.q_heads * shape.qk_dim, {5, 4}),
               out = held.Numbers(rows, shape.q_heads * shape.v_dim, {6, 4});
  float* const lse = held.Vector(rows * shape.q_heads, {7});
  held.backend.Attention({shape, added, q, out, lse});
  held.Wrote(out);
  held.Wrote(lse, rows * shape.q_heads);
}

// Two decode in the second layer of a cache, one of them beyond a split; recorded, where calls are.
void OfALayer(Held& held) {
  const AttentionShape shape{.q_heads = 2, .kv_heads = 1, .qk_dim = 4, .v_dim = 4, .scale = 0.5f};
  const int64_t positions[] = {1030, 5}, floats = BlockBytes(shape) / 4, pages = 18;
  const Matrix cache = held.Numbers(2 * pages, floats, {1});
  std::vector<std::vector<void*>> tables;
  std::vector<AttentionSequence> sequences;
  int64_t page = pages;
  for (const int64_t position : positions) {
    std::vector<void*>& table = tables.emplace_back();
    for (int64_t b = 0; b <= position / kAttentionBlock; ++b) table.push_back(cache.Row(--page));
    sequences.push_back({static_cast<int64_t>(sequences.size()), 1, position, table.data()});
  }
  const Matrix k = held.Numbers(2, 4, {2}), v = held.Numbers(2, 4, {3}), q = held.Numbers(2, 8, {4}),
               out = held.Numbers(2, 8, {5});
  const auto calls = [&] {
    held.backend.WriteBlocks({shape, sequences, k, v, pages * floats * 4});
    held.backend.Attention({shape, sequences, q, out, nullptr, pages * floats * 4});
  };
  if (!held.backend.records()) {
    calls();
  } else {
    held.backend.Record(calls)->Replay();
  }
  held.Wrote(cache);
  held.Wrote(out);
}

// Numbers of all that the gradients read; they need not be of one forward pass.
AttentionBackwardTask Numbers(Held& held, const AttentionShape& shape, int64_t rows) {
  const auto numbers = [&](int heads, int dim, uint32_t seed) {
    return held.Numbers(rows, int64_t{heads} * dim, {seed, 4});
  };
  return {.shape = shape,
          .sequences = {},
          .q = numbers(shape.q_heads, shape.qk_dim, 1),
          .k = numbers(shape.kv_heads, shape.qk_dim, 2),
          .v = numbers(shape.kv_heads, shape.v_dim, 3),
          .out = numbers(shape.q_heads, shape.v_dim, 4),
          .lse = held.Vector(rows * shape.q_heads, {9}),
          .dout = numbers(shape.q_heads, shape.v_dim, 5),
          .dq = numbers(shape.q_heads, shape.qk_dim, 6),
          .dk = numbers(shape.kv_heads, shape.qk_dim, 7),
          .dv = numbers(shape.kv_heads, shape.v_dim, 8)};
}

// A negative length is of rows that go on with the last sequence that began at position 0.
void Backward(Held& held, const AttentionShape& shape, const std::vector<int64_t>& lengths) {
  std::vector<AttentionSequence> sequences;
  int64_t rows = 0, prefix = 0;
  for (const int64_t length : lengths) {
    if (length >= 0) prefix = length;
    sequences.push_back(
        {.first_row = rows, .rows = std::abs(length), .first_position = length < 0 ? prefix : 0});
    rows += std::abs(length);
  }
  AttentionBackwardTask task = Numbers(held, shape, rows);
  task.sequences = sequences;
  if (shape.all_heads > 0) task.ranges = 2;
  held.backend.AttentionBackward(task);
  for (const Matrix& m : {task.dq, task.dk, task.dv}) held.Wrote(m);
}

// Where ranks share a sequence of 2,100 positions: what queries of some spans give to keys, and the ranks'
// sums of 64 keys joined.
void Spans(Held& held) {
  constexpr int64_t kPositions = 2100, kKeys = 64;
  const AttentionShape shape{.q_heads = 2, .kv_heads = 1, .qk_dim = 2, .v_dim = 3, .scale = 0.5f};
  AttentionBackwardTask queries = Numbers(held, shape, kPositions);
  const std::vector<AttentionSequence> spans = {
      {.first_row = kAttentionSpan, .rows = kPositions - kAttentionSpan, .first_position = kAttentionSpan}};
  queries.sequences = spans;
  queries.of_whole = true;
  const std::vector<SpanNode> nodes = SpanNodesOf(kAttentionSpan, kPositions, kPositions);
  const auto slots = static_cast<int64_t>(HeadSlots(shape).size()) * (shape.qk_dim + shape.v_dim);
  const Matrix sums = held.Numbers(static_cast<int64_t>(nodes.size()) * kKeys, slots, {10});
  held.backend.KeySums({queries, nodes, kAttentionSpan, kKeys, sums});
  held.Wrote(sums);
  std::vector<JoinKeySumsTask::Part> parts = {{{0, 0}, nullptr}};
  for (size_t n = 0; n < nodes.size(); ++n)
    parts.push_back({nodes[n], sums.Row(static_cast<int64_t>(n) * kKeys)});
  const Matrix dk = queries.dk.Rows(3, kKeys), dv = queries.dv.Rows(3, kKeys);
  held.backend.JoinKeySums({.shape = shape,
                            .positions = kPositions,
                            .parts = parts,
                            .first_key = kAttentionSpan,
                            .dk = dk,
                            .dv = dv});
  held.Wrote(dk);
  held.Wrote(dv);
}

std::string TextOf(const AttentionShape& s) {
  return absl::StrCat(s.q_heads, "/", s.kv_heads, " heads of ", s.qk_dim, "/", s.v_dim,
                      s.window > 0 ? absl::StrCat(", window ", s.window) : "",
                      s.stored == Type::kBf16 ? ", bf16" : "");
}

}  // namespace

void AddAttentionCases(std::vector<Case>* all) {
  const auto forward = [&](const AttentionShape& shape, const std::vector<Part>& parts) {
    std::string text = TextOf(shape);
    for (const Part& part : parts) absl::StrAppend(&text, ", ", part.position, "+", part.rows);
    all->push_back({"attention", text, [=](Held& held) { Forward(held, shape, parts); }});
  };
  for (const Type stored : {Type::kF32, Type::kBf16}) {
    forward({.q_heads = 4, .kv_heads = 2, .qk_dim = 20, .v_dim = 12, .scale = 0.3f, .stored = stored},
            {{0, 66}, {60, 6}});
    forward({.q_heads = 3, .kv_heads = 1, .qk_dim = 7, .v_dim = 9, .scale = 0.4f, .stored = stored},
            {{1023, 1}, {2060, 1}, {0, 1}});
    forward({.q_heads = 4, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.4f, .stored = stored},
            {{70, 2}});
    forward({.q_heads = 1, .kv_heads = 1, .qk_dim = 5, .v_dim = 3, .scale = 0.4f, .stored = stored},
            {{0, 20}});
    forward({.q_heads = 5, .kv_heads = 1, .qk_dim = 148, .v_dim = 132, .scale = 0.1f, .stored = stored},
            {{0, 9}, {1020, 7}});
    forward({.q_heads = 2, .kv_heads = 1, .qk_dim = 141, .v_dim = 131, .scale = 0.1f, .stored = stored},
            {{60, 7}});
  }
  forward({.q_heads = 2, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.5f, .window = 50},
          {{0, 66}, {1990, 3}});

  const auto backward = [&](const AttentionShape& shape, const std::vector<int64_t>& lengths) {
    std::string text = absl::StrCat(TextOf(shape), shape.all_heads > 0 ? " of a rank" : "");
    for (const int64_t length : lengths) absl::StrAppend(&text, length < 0 ? " + " : ", ", std::abs(length));
    all->push_back({"attention backward", text, [=](Held& held) { Backward(held, shape, lengths); }});
  };
  backward({.q_heads = 4, .kv_heads = 2, .qk_dim = 20, .v_dim = 12, .scale = 0.3f}, {66, 0, 3});
  backward({.q_heads = 4, .kv_heads = 2, .qk_dim = 20, .v_dim = 12, .scale = 0.3f}, {37, -30, -66, 3, -1});
  backward({.q_heads = 10, .kv_heads = 1, .qk_dim = 5, .v_dim = 3, .scale = 0.4f}, {1, 40});
  backward({.q_heads = 3, .kv_heads = 3, .qk_dim = 66, .v_dim = 70, .scale = 0.1f}, {65});
  backward({.q_heads = 1, .kv_heads = 1, .qk_dim = 68, .v_dim = 72, .scale = 0.1f}, {33});
  backward({.q_heads = 2, .kv_heads = 1, .qk_dim = 148, .v_dim = 132, .scale = 0.1f}, {34});
  backward({.q_heads = 1, .kv_heads = 1, .qk_dim = 141, .v_dim = 131, .scale = 0.1f}, {5});
  backward({.q_heads = 1, .kv_heads = 1, .qk_dim = 8, .v_dim = 8, .scale = 0.5f, .window = 50}, {100});
  backward(
      {.q_heads = 4, .kv_heads = 1, .qk_dim = 4, .v_dim = 4, .scale = 0.5f, .all_heads = 16, .first_head = 8},
      {35});
  all->push_back({"attention of a layer", "2 that decode", OfALayer});
  all->push_back({"key sums", "3 spans", Spans});
}

}  // namespace temper::kernels

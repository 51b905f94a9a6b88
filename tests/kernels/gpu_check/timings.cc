// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/kernels/gpu_check/held.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {
namespace {

// An H100: what can be had of its memory, and an fma a clock on each of its f32 units
// (kernels/cuda/products.h).
constexpr double kBytesASecond = 3.0e12, kFlopASecond = 66.9e12;

struct Timing {
  std::string name, shape;
  double bytes = 0, flop = 0;  // of a call, at least
  HeaderWords said = {};       // none of a call of several launches
  std::function<void()> call;
};

class Table {
 public:
  Table(const Checked& device, Results* results, std::vector<HeaderWords>* said)
      : held(*device.backend), small_(device.small), results_(*results), said_(*said) {}

  // A size of the table; the simulation has a small one.
  int64_t Size(int64_t size) const { return small_ ? std::max<int64_t>(size / 256, 4) / 4 * 4 : size; }
  int64_t Few(int64_t count) const { return Or(count, 2); }
  int64_t Or(int64_t size, int64_t small) const { return small_ ? small : size; }
  // About normal numbers, the same few again and again.
  Matrix Numbers(int64_t rows, int64_t cols, Type type = Type::kF32) {
    constexpr int64_t kBlock = int64_t{1} << 20;
    const int64_t bytes = rows * cols * BytesOf(type), block = kBlock * BytesOf(type);
    memory_.push_back(held.backend.Allocate(bytes));
    if (block_.empty()) block_ = kernels::Numbers(kBlock, 1);
    std::vector<uint16_t> halves;
    for (const float x : block_) halves.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16));
    const void* const source = type == Type::kF32 ? static_cast<const void*>(block_.data()) : halves.data();
    for (int64_t at = 0; at < bytes; at += block) {
      const int64_t count = std::min(block, bytes - at);
      held.backend.CopyFromHost(source,
                                {static_cast<char*>(memory_.back().get()) + at, Type::kF8, 1, count, count});
    }
    return {memory_.back().get(), type, rows, cols, cols};
  }
  float* Vector(int64_t count) { return Numbers(1, count).f32(); }

  void Measure(const Timing& timing) {
    Await();
    timing.call();
    Await();
    std::vector<double> seconds;
    for (int round = 0; round < (small_ ? 1 : 5); ++round) {
      const double begin = Now();
      int64_t calls = 0;
      do {
        for (int i = 0; i < (small_ ? 1 : 4); ++i, ++calls) timing.call();
        Await();
      } while (!small_ && Now() - begin < 0.02);
      seconds.push_back((Now() - begin) / static_cast<double>(calls));
    }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    std::string line = absl::StrFormat("time: %s | %s | %.1f us", timing.name, timing.shape, 1e6 * median);
    if (timing.bytes > 0)
      absl::StrAppendFormat(&line, " | %.0f GB/s, %.0f%% of 3.0 TB/s", timing.bytes / median / 1e9,
                            100 * timing.bytes / median / kBytesASecond);
    if (timing.flop > 0)
      absl::StrAppendFormat(&line, " | %.1f TFLOP/s, %.0f%% of the f32 peak", timing.flop / median / 1e12,
                            100 * timing.flop / median / kFlopASecond);
    if (timing.said.words != nullptr) {
      absl::StrAppend(&line, " | its header: ", timing.said.words);
      said_.push_back(timing.said);
    }
    results_.Say(line);
  }

  Held held;

 private:
  static double Now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  // Until all is done that the stream was given.
  void Await() {
    float one = 0;
    if (one_ == nullptr) one_ = held.Vector(1);
    held.backend.CopyToHost(F32(one_, 1, 1), &one);
  }

  const bool small_;
  Results& results_;
  std::vector<HeaderWords>& said_;
  const float* one_ = nullptr;
  std::vector<float> block_;
  std::vector<std::shared_ptr<void>> memory_;
};

void TimeProducts(Table& table) {
  Backend& backend = table.held.backend;
  const int64_t k = table.Size(7168), n = table.Size(2048);
  for (const Type type : {Type::kF32, Type::kBf16}) {
    const char* const text = type == Type::kF32 ? "" : ", bf16";
    for (const int64_t rows : {1, 8, 16, 64, 4096}) {
      const int64_t m = rows > 64 ? table.Size(rows) : rows;
      const Matrix a = table.Numbers(m, k), b = table.Numbers(n, k, type), c = table.Numbers(m, n);
      const bool memory = rows <= 16;
      table.Measure({.name = "product",
                     .shape = absl::StrCat(m, " x ", n, " of ", k, text),
                     .bytes = memory ? static_cast<double>(n * k * BytesOf(type)) : 0,
                     .flop = 2.0 * static_cast<double>(m * n * k),
                     .said = {"products.h", "Products",
                              memory               ? "85% of the memory"
                              : rows <= 64         ? nullptr
                              : type == Type::kF32 ? "75% of the fma units' peak in f32"
                                                   : "55% with weights of bf16"},
                     .call = [&] { backend.Products({{.a = a, .b = b, .c = c, .k_chunks = kChunks}}); }});
    }
  }
  const int64_t m = table.Size(4096);
  const Matrix dy = table.Numbers(m, n), x = table.Numbers(m, k), dw = table.Numbers(n, k);
  table.Measure({.name = "weight gradient",
                 .shape = absl::StrCat(n, " x ", k, " of ", m),
                 .flop = 2.0 * static_cast<double>(m * n * k),
                 .said = {"products.h", "WeightGradients", "75% of the fma units' peak"},
                 .call = [&] { backend.WeightGradients({{.dy = dy, .x = x, .dw = dw}}); }});
  float* const dbias = table.Vector(k);
  table.Measure({.name = "bias gradient",
                 .shape = absl::StrCat(m, " x ", k),
                 .bytes = 4.0 * static_cast<double>(m * k),
                 .said = {"products.h", "BiasGradient", "20% of the memory"},
                 .call = [&] { backend.BiasGradient(x, dbias); }});
}

struct AttentionTiming {
  const char* name;
  AttentionShape shape;
  int64_t sequences, position, rows;
  bool memory;  // is what bounds it
  const char* words;
};

void TimeAttention(Table& table, const AttentionTiming& t) {
  const int64_t count = table.Few(t.sequences), first = t.position > 0 ? table.Size(t.position) - 1 : 0,
                each = t.rows > 1 ? table.Size(t.rows) : 1, pages = (first + each - 1) / kAttentionBlock + 1;
  const Matrix memory =
      table.Numbers(count * pages, BlockBytes(t.shape) / BytesOf(t.shape.stored), t.shape.stored);
  std::vector<std::vector<void*>> tables(count);
  std::vector<AttentionSequence> sequences;
  for (int64_t s = 0; s < count; ++s) {
    for (int64_t p = 0; p < pages; ++p)
      tables[s].push_back(static_cast<char*>(memory.data) + (s * pages + p) * BlockBytes(t.shape));
    sequences.push_back({s * each, each, first, tables[s].data()});
  }
  const Matrix q = table.Numbers(count * each, int64_t{t.shape.q_heads} * t.shape.qk_dim),
               out = table.Numbers(count * each, int64_t{t.shape.q_heads} * t.shape.v_dim);
  const double keys =
      static_cast<double>(count * each) * (static_cast<double>(first) + static_cast<double>(each) / 2);
  table.Measure({.name = t.name,
                 .shape = absl::StrCat(count, " x ", each, " behind ", first),
                 .bytes = t.memory ? static_cast<double>(count * (first + 1)) / kAttentionBlock *
                                         static_cast<double>(BlockBytes(t.shape))
                                   : 0,
                 .flop = 2.0 * keys * t.shape.q_heads * (t.shape.qk_dim + t.shape.v_dim),
                 .said = {"attention.h", "Attention", t.words},
                 .call = [&] {
                   table.held.backend.Attention({t.shape, sequences, q, out, nullptr});
                 }});
}

void TimeAttentionBackward(Table& table, const AttentionTiming& t) {
  const int64_t count = table.Few(t.sequences), each = table.Size(t.rows), rows = count * each;
  std::vector<AttentionSequence> sequences;
  for (int64_t s = 0; s < count; ++s) sequences.push_back({.first_row = s * each, .rows = each});
  const auto numbers = [&](int heads, int dim) { return table.Numbers(rows, int64_t{heads} * dim); };
  const AttentionShape& s = t.shape;
  const AttentionBackwardTask task{.shape = s,
                                   .sequences = sequences,
                                   .q = numbers(s.q_heads, s.qk_dim),
                                   .k = numbers(s.kv_heads, s.qk_dim),
                                   .v = numbers(s.kv_heads, s.v_dim),
                                   .out = numbers(s.q_heads, s.v_dim),
                                   .lse = table.Vector(rows * s.q_heads),
                                   .dout = numbers(s.q_heads, s.v_dim),
                                   .dq = numbers(s.q_heads, s.qk_dim),
                                   .dk = numbers(s.kv_heads, s.qk_dim),
                                   .dv = numbers(s.kv_heads, s.v_dim)};
  const double keys = static_cast<double>(rows) * static_cast<double>(each) / 2;
  table.Measure({.name = t.name,
                 .shape = absl::StrCat(count, " x ", each),
                 .flop = keys * s.q_heads * (4.0 * s.qk_dim + 2.0 * s.v_dim + 4.0 * (s.qk_dim + s.v_dim)),
                 .said = {"attention.h", "AttentionBackward", t.words},
                 .call = [&] { table.held.backend.AttentionBackward(task); }});
}

void TimeAttentions(Table& table) {
  const auto heads = [&](int count, int small) { return static_cast<int>(table.Or(count, small)); };
  const AttentionShape grouped{
      .q_heads = heads(32, 4), .kv_heads = heads(8, 1), .qk_dim = 128, .v_dim = 128, .scale = 0.09f};
  const AttentionShape latent{
      .q_heads = heads(128, 2), .kv_heads = 1, .qk_dim = 576, .v_dim = 512, .scale = 0.07f};
  const char *const kDecode = "70% of 3.0 TB/s", *const kLatent = "32 pairs, 50%";
  AttentionShape narrow = grouped;
  narrow.stored = Type::kBf16;
  TimeAttention(table, {"attention, decode", grouped, 64, 4096, 1, true, kDecode});
  TimeAttention(table, {"attention, decode, bf16 pages", narrow, 64, 4096, 1, true, kDecode});
  TimeAttention(table, {"attention of V3's latent, decode", latent, 16, 4096, 1, false, kLatent});
  TimeAttention(table, {"attention, prefill", grouped, 2, 0, 4096, false, "60% of the fma units' peak"});
  TimeAttention(table, {"attention of V3's latent, prefill", latent, 1, 0, 1024, false, kLatent});
  TimeAttentionBackward(table,
                        {"attention backward", grouped, 2, 0, 4096, false, "55% of the fma units' peak"});
  TimeAttentionBackward(
      table, {"attention backward of V3's latent", latent, 1, 0, 1024, false, "50% for the latent"});
}

void TimeRows(Table& table) {
  Backend& backend = table.held.backend;
  const int64_t rows = table.Size(4096), cols = table.Size(7168);
  const std::string shape = absl::StrCat(rows, " x ", cols);
  const double all = static_cast<double>(rows * cols);
  const auto numbers = [&] { return table.Numbers(rows, cols); };
  {
    const Matrix x = numbers(), y = numbers();
    const float* const weight = table.Vector(cols);
    table.Measure({.name = "norm",
                   .shape = shape,
                   .bytes = 8 * all,
                   .said = {"row_ops.h", "RmsNorm", "90% from some 1,000 rows on"},
                   .call = [&] { backend.RmsNorm({.x = x, .weight = weight, .eps = 1e-6f, .y = y}); }});
  }
  {
    const Matrix dy = numbers(), x = numbers(), dx = numbers();
    float *const weight = table.Vector(cols), *const rstd = table.Vector(rows),
                 *const dweight = table.Vector(cols);
    table.Measure({.name = "norm backward", .shape = shape, .bytes = 20 * all, .call = [&] {
                     backend.RmsNormBackward(
                         {.dy = dy, .x = x, .weight = weight, .rstd = rstd, .dx = dx, .dweight = dweight});
                   }});
  }
  {
    const Matrix gate = numbers(), up = numbers(), out = numbers();
    table.Measure({.name = "swiglu",
                   .shape = shape,
                   .bytes = 12 * all,
                   .said = {"row_ops.h", "SwiGlu", "memory, 90%"},
                   .call = [&] {
                     backend.SwiGlu({gate, up, out});
                   }});
  }
  {
    const Matrix dout = numbers(), gate = numbers(), up = numbers(), dgate = numbers(), dup = numbers();
    table.Measure({.name = "swiglu backward",
                   .shape = shape,
                   .bytes = 20 * all,
                   .said = {"row_ops.h", "SwiGluBackward", "memory, 90%"},
                   .call = [&] {
                     backend.SwiGluBackward({dout, gate, up, dgate, dup});
                   }});
  }
  {
    const Matrix from = numbers(), to = numbers(), narrow = table.Numbers(rows, cols, Type::kBf16);
    std::vector<int32_t> ids(rows);
    std::iota(ids.begin(), ids.end(), 0);
    struct Call {
      const char *name, *function, *words;
      double bytes;  // an element
      std::function<void()> call;
    };
    for (const Call& each :
         {Call{"add", "Add", "memory, 90%", 12, [&] { backend.Add(from, to); }},
          Call{"round to bf16", "RoundToBf16", "memory, 90%", 6, [&] { backend.RoundToBf16(from, narrow); }},
          Call{"gather rows", "GatherRows", "memory, 85%", 8, [&] {
                 backend.GatherRows({from, ids.data(), to});
               }}})
      table.Measure({.name = each.name,
                     .shape = shape,
                     .bytes = each.bytes * all,
                     .said = {"row_ops.h", each.function, each.words},
                     .call = each.call});
    table.Measure({.name = "copy",
                   .shape = shape,
                   .bytes = 8 * all,
                   .said = {"row_ops.h", "Copy", "memory, 90%"},
                   .call = [&] { backend.Copy(from, to); }});
  }
}

void TimeExperts(Table& table) {
  Backend& backend = table.held.backend;
  const RouteShape s{.experts = 256, .top_k = 8, .groups = 8, .top_groups = 4, .scaling = 2.5f};
  const int64_t rows = table.Size(4096), slots = rows * s.top_k, cols = table.Size(7168);
  const Matrix logits = table.Numbers(rows, s.experts);
  const std::vector<int32_t> none(slots);
  Routing routing{.ids = table.held.Place(none),
                  .weights = table.Vector(slots),
                  .scores = table.Vector(rows * s.experts),
                  .row = table.held.Place(none),
                  .entry = table.held.Place(none),
                  .offsets = {}};
  table.Measure({.name = "route and sort", .shape = absl::StrCat(rows, " x ", s.experts), .call = [&] {
                   backend.Route({s, logits, nullptr, &routing});
                 }});
  const Matrix entries = table.Numbers(slots, cols), sums = table.Numbers(rows, cols);
  table.Measure({.name = "gather rows of experts",
                 .shape = absl::StrCat(slots, " x ", cols),
                 .bytes = 8.0 * static_cast<double>(slots * cols),
                 .said = {"route.h", "GatherExperts", "memory, 85%"},
                 .call = [&] {
                   backend.GatherExperts({s, &routing, sums, entries});
                 }});
  table.Measure({.name = "combine experts",
                 .shape = absl::StrCat(rows, " x ", cols),
                 .bytes = 4.0 * static_cast<double>((slots + rows) * cols),
                 .said = {"route.h", "CombineExperts", "memory, 85%"},
                 .call = [&] {
                   backend.CombineExperts({s, &routing, entries, {}, {}, sums});
                 }});
}

void TimeTokens(Table& table) {
  Backend& backend = table.held.backend;
  const int64_t vocab = table.Size(129280), rows = table.Size(1024), cols = 64;
  const Matrix hidden = table.Numbers(rows, cols), head = table.Numbers(vocab, cols);
  const std::vector<int32_t> targets(rows, 1);
  std::vector<float> logprob(rows);
  table.Measure(
      {.name = "token logprobs, with products of 64 steps",
       .shape = absl::StrCat(rows, " x ", vocab),
       .bytes = 12.0 * static_cast<double>(rows * vocab),
       .call = [&] {
         backend.TokenLogprobs(
             {.hidden = hidden, .head = head, .targets = targets.data(), .logprob = logprob.data()});
       }});
  for (const float top_p : {1.0f, 0.9f}) {
    const int64_t few = table.Few(64);
    const Matrix logits = table.Numbers(few, vocab);
    const std::vector<SampleParameters> parameters(few, {.top_p = top_p});
    const std::vector<double> uniforms(few, 0.5);
    std::vector<SampledToken> tokens(few);
    table.Measure({.name = top_p < 1 ? "sample, top-p 0.9" : "sample",
                   .shape = absl::StrCat(few, " x ", vocab),
                   .call = [&] {
                     backend.Sample({logits, parameters, uniforms, absl::MakeSpan(tokens)});
                   }});
  }
}

void TimeOptimizer(Table& table) {
  Backend& backend = table.held.backend;
  const int64_t n = table.Or(int64_t{1} << 28, 4100);
  const double all = static_cast<double>(n);
  const std::string shape = absl::StrCat(n);
  float *const gradient = table.Vector(n), *const weight = table.Vector(n), *const m = table.Vector(n),
               *const v = table.Vector(n);
  backend.Zero(F32(v, 1, n));
  table.Measure({.name = "adamw",
                 .shape = shape,
                 .bytes = 28 * all,
                 .said = {"adamw.h", "AdamW", "memory, 85%"},
                 .call = [&] {
                   backend.AdamW({.step = {.learning_rate = 1e-5f, .step = 3},
                                  .n = n,
                                  .gradient = gradient,
                                  .weight = weight,
                                  .m = m,
                                  .v = v});
                 }});
  float *const first = table.Vector(n), *const second = table.Vector(n), *const leaf = table.Vector(n);
  LeafSum sum{{30, 1 << 10}, n, first};
  backend.AddLeaf(second, &sum);
  table.Measure({.name = "add a leaf",
                 .shape = shape,
                 .bytes = 20 * all,
                 .said = {"gradient_sum.h", "AddLeaf", "memory, 85%"},
                 .call = [&] { backend.AddLeaf(leaf, &sum); }});
  const float* const x = table.Vector(n);
  table.Measure({.name = "largest",
                 .shape = shape,
                 .bytes = 4 * all,
                 .said = {"adamw.h", "Largest", "memory, 90%"},
                 .call = [&] { backend.Largest(x, n); }});
  const float* const squared = table.Vector(n);
  table.Measure({.name = "sum of squares",
                 .shape = shape,
                 .bytes = 4 * all,
                 .said = {"adamw.h", "SumOfSquares", "memory 80% busy"},
                 .call = [&] { backend.SumOfSquares(squared, n); }});
}

}  // namespace

void MeasureKernels(const Checked& device, Results* results, std::vector<HeaderWords>* said) {
  std::vector<HeaderWords> nobody_asks;
  for (const auto& some : {TimeProducts, TimeAttentions, TimeRows, TimeExperts, TimeTokens, TimeOptimizer}) {
    Table table(device, results, said == nullptr ? &nobody_asks : said);
    some(table);
  }
}

}  // namespace temper::kernels

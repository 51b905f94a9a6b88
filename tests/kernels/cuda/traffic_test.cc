// SPDX-License-Identifier: Apache-2.0
// The bytes that the headers of kernels/cuda say of a launch are those that it reads and writes, which the
// simulation counts.
#include <functional>
#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "kernels/cuda/adamw.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/gradient_sum.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/token_logprob.h"
#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// What a header of kernels/cuda says of a function, in one line.
std::string SaidOf(const std::string& header, const std::string& function) {
  const auto text = ReadFile(absl::StrCat("kernels/cuda/", header));
  EXPECT_TRUE(text.ok()) << text.status();
  const size_t end = text->find(absl::StrCat("  void ", function, "("));
  EXPECT_NE(end, std::string::npos) << function;
  const size_t begin = text->rfind("/*", end);
  std::string line;
  for (const char c : text->substr(begin, end - begin)) {
    const bool space = c == ' ' || c == '\n' || c == '\\';
    if (!space || (!line.empty() && line.back() != ' ')) line += space ? ' ' : c;
  }
  return line;
}

struct Promise {
  std::string words;    // of the header
  double bytes = 0;     // that they say..
  double of = 0;        // ..of each of so many
  bool cached = false;  // what is read again is among them
  int launch = -1;      // of several, which one; -1: all
};

class SimulatedTraffic : public ::testing::Test {
 protected:
  using Launch = std::function<void(sim::Stream& stream)>;
  void Holds(const std::string& header, const std::string& function, const Promise& promise,
             const Launch& launch) {
    EXPECT_THAT(SaidOf(header, function), ::testing::HasSubstr(promise.words)) << header << ", " << function;
    std::vector<sim::Traffic> traffic;
    sim::Stream stream{.watched = false, .traffic = &traffic};
    launch(stream);
    int64_t bytes = 0;
    for (size_t i = 0; i < traffic.size(); ++i) {
      if (promise.launch >= 0 && promise.launch != static_cast<int>(i)) continue;
      bytes += promise.cached ? traffic[i].accessed : traffic[i].read + traffic[i].written;
    }
    EXPECT_NEAR(static_cast<double>(bytes) / promise.of, promise.bytes, promise.bytes * 0.04)
        << header << ", " << function << ": " << promise.words;
  }

  // Rows of numbers, and of what: each call another.
  static constexpr int64_t kRows = 64, kCols = 256;
  static constexpr double kAll = kRows * kCols;
  Grid a{kRows, kCols, 1}, b{kRows, kCols, 2}, c{kRows, kCols, 3}, d{kRows, kCols, 4}, e{kRows, kCols, 5};
  std::vector<float> weight = Numbers(kCols, 6), dweight = Numbers(kCols, 7), rstd = Numbers(kRows, 8);
  std::vector<int32_t> ids = std::vector<int32_t>(kRows);
  void SetUp() override { std::iota(ids.begin(), ids.end(), 0); }
};

TEST_F(SimulatedTraffic, OfRowOpsIsWhatTheirHeaderSays) {
  Holds("row_ops.h", "RmsNorm", {"8 bytes and 4 FLOPs an element", 8, kAll}, [&](sim::Stream& stream) {
    sim::RmsNorm({a.matrix(), weight.data(), 1e-6f, b.matrix()}, stream);
  });
  RmsNormBackwardTask back{.dy = a.matrix(),
                           .x = b.matrix(),
                           .weight = weight.data(),
                           .rstd = rstd.data(),
                           .dx = c.matrix(),
                           .dweight = dweight.data()};
  const auto norm_backward = [&](sim::Stream& stream) { sim::RmsNormBackward(back, stream); };
  Holds("row_ops.h", "RmsNormBackward", {"dweight: 8 bytes an element", 8, kAll, false, 0}, norm_backward);
  Holds("row_ops.h", "RmsNormBackward", {"dx: 12 bytes an element", 12, kAll, false, 1}, norm_backward);
  back.add = d.matrix();
  Holds("row_ops.h", "RmsNormBackward", {"(16 with `add`)", 16, kAll, false, 1}, norm_backward);
  const std::vector<int32_t> positions(kRows, 1);
  Holds("row_ops.h", "Rotary", {"8 bytes an element", 8, kAll}, [&](sim::Stream& stream) {
    sim::Rotary({.x = {a.matrix(), 4, 64, 64},
                 .positions = positions.data(),
                 .cosines = weight.data(),
                 .sines = dweight.data()},
                stream);
  });
  Holds("row_ops.h", "SwiGlu", {"12 bytes and some 30 instructions an element", 12, kAll},
        [&](sim::Stream& stream) {
          sim::SwiGlu({a.matrix(), b.matrix(), c.matrix()}, stream);
        });
  Holds("row_ops.h", "SwiGluBackward", {"20 bytes and some 36 instructions an element", 20, kAll},
        [&](sim::Stream& stream) {
          sim::SwiGluBackward({a.matrix(), b.matrix(), c.matrix(), d.matrix(), e.matrix()}, stream);
        });
  std::vector<uint16_t> halves(kRows * kCols);
  const Matrix narrow{halves.data(), Type::kBf16, kRows, kCols, kCols};
  Holds("row_ops.h", "GatherRows", {"8 bytes an element", 8, kAll}, [&](sim::Stream& stream) {
    sim::GatherRows({a.matrix(), ids.data(), b.matrix()}, stream);
  });
  Holds("row_ops.h", "GatherRows", {"(6 of bf16)", 6, kAll}, [&](sim::Stream& stream) {
    sim::GatherRows({narrow, ids.data(), b.matrix()}, stream);
  });
  Holds("row_ops.h", "EmbeddingGradient", {"12 bytes an element", 12, kAll}, [&](sim::Stream& stream) {
    sim::EmbeddingGradient({a.matrix(), ids.data(), b.matrix()}, stream);
  });
  Holds("row_ops.h", "Zero", {"4 bytes an element", 4, kAll},
        [&](sim::Stream& stream) { sim::Zero(a.matrix(), stream); });
  Holds("row_ops.h", "Copy", {"8 bytes an element", 8, kAll},
        [&](sim::Stream& stream) { sim::Copy(b.matrix(), a.matrix(), stream); });
  Holds("row_ops.h", "Add", {"12 bytes an element", 12, kAll},
        [&](sim::Stream& stream) { sim::Add(b.matrix(), a.matrix(), stream); });
  Holds("row_ops.h", "RoundToBf16", {"6 bytes an element", 6, kAll},
        [&](sim::Stream& stream) { sim::RoundToBf16(b.matrix(), narrow, stream); });
  Holds("products.h", "BiasGradient", {"4 bytes an element", 4, kAll},
        [&](sim::Stream& stream) { sim::BiasGradient(a.matrix(), dweight.data(), stream); });
}

TEST_F(SimulatedTraffic, OfSumsAndOfTheOptimizerIsWhatTheirHeadersSay) {
  constexpr int64_t kNumbers = kRows * kCols;
  uint32_t words[2] = {};
  Holds(
      "adamw.h", "AdamW", {"28 bytes and some 40 instructions an element", 28, kAll},
      [&](sim::Stream& stream) {
        sim::AdamW({{}, kNumbers, a.data.data(), b.data.data(), c.data.data(), d.data.data()}, words, stream);
      });
  Holds("adamw.h", "Largest", {"4 bytes an element", 4, kAll}, [&](sim::Stream& stream) {
    sim::Largest({a.data.data(), kNumbers, words}, stream);
  });
  std::vector<double> sums(1 + PiecesOfSquares(kNumbers));
  Holds("adamw.h", "SumOfSquares", {"4 bytes an element", 4, kAll}, [&](sim::Stream& stream) {
    sim::SumOfSquares({a.data.data(), kNumbers, sums.data()}, stream);
  });
  const LeafSum one{{50, 4}, kNumbers, a.data.data()}, two{{50, 4}, kNumbers, a.data.data(), b.data.data()};
  std::vector<int64_t> quanta(kNumbers);
  const auto add_leaf = [&](const LeafSum& sum) {
    return [&](sim::Stream& stream) { sim::AddLeaf({sum, c.data.data(), words}, stream); };
  };
  Holds("gradient_sum.h", "AddLeaf", {"20 bytes an element", 20, kAll}, add_leaf(two));
  Holds("gradient_sum.h", "AddLeaf", {"(a second leaf: 16)", 16, kAll}, add_leaf(one));
  const auto add_quanta = [&](const LeafSum& sum) {
    return [&](sim::Stream& stream) { sim::AddQuanta({sum, 0, kNumbers, quanta.data(), words}, stream); };
  };
  Holds("gradient_sum.h", "AddQuanta", {"24 bytes an element", 24, kAll}, add_quanta(two));
  Holds("gradient_sum.h", "AddQuanta", {"(20 of one leaf)", 20, kAll}, add_quanta(one));
  Holds("gradient_sum.h", "RoundQuanta", {"12 bytes an element", 12, kAll}, [&](sim::Stream& stream) {
    sim::RoundQuanta({one, 0, kNumbers, quanta.data(), words}, stream);
  });
  const auto round = [&](const LeafSum& sum) {
    return [&](sim::Stream& stream) { sim::RoundGradient(sum, words, stream); };
  };
  Holds("gradient_sum.h", "RoundGradient", {"12 bytes an element", 12, kAll}, round(two));
  Holds("gradient_sum.h", "RoundGradient", {"(8 of one leaf)", 8, kAll}, round(one));
}

TEST_F(SimulatedTraffic, OfExpertsRowsIsWhatTheirHeaderSays) {
  for (const int top_k : {1, 2}) {
    const RouteShape shape{.experts = 128, .top_k = top_k};
    const int64_t slots = kRows * top_k;
    Grid logits(kRows, 128, 1), dlogits(kRows, 128, 2), entries(slots, kCols, 3), gradients(slots, kCols, 4);
    std::vector<float> weights(slots), scores(kRows * 128), dweights(slots);
    std::vector<int32_t> chosen(slots), row(slots), entry(slots);
    std::vector<int64_t> offsets(129);
    Routing routing{.ids = chosen.data(),
                    .weights = weights.data(),
                    .scores = scores.data(),
                    .row = row.data(),
                    .entry = entry.data(),
                    .offsets = {}};
    sim::Stream plain;
    sim::Route({shape, logits.matrix(), nullptr, &routing}, plain);
    sim::SortEntries({shape, kRows, &routing, offsets.data()}, plain);
    routing.offsets = offsets;
    const double all = kAll * (top_k + 3);
    const std::string combined =
        "4 bytes an element of each of a row's entries, and of shared, residual and out";
    Holds("route.h", "CombineExperts", {combined, 4, all}, [&](sim::Stream& stream) {
      sim::CombineExperts({shape, &routing, entries.matrix(), a.matrix(), b.matrix(), c.matrix()}, stream);
    });
    Holds("route.h", "ScatterExperts", {"As CombineExperts", 4, kAll * (top_k + 2)},
          [&](sim::Stream& stream) {
            sim::ScatterExperts({shape, &routing, entries.matrix(), a.matrix(), c.matrix()}, stream);
          });
    // Of more choices than one a row's own numbers are counted once, and said for each.
    if (top_k > 1) continue;
    Holds("route.h", "GatherExperts", {"8 bytes an element", 8, kAll}, [&](sim::Stream& stream) {
      sim::GatherExperts({shape, &routing, a.matrix(), entries.matrix()}, stream);
    });
    Holds("route.h", "CombineExpertsBackward", {"12 bytes an element", 12, kAll}, [&](sim::Stream& stream) {
      sim::CombineExpertsBackward(
          {shape, &routing, a.matrix(), entries.matrix(), gradients.matrix(), dweights.data()}, stream);
    });
    for (const bool sigmoid : {false, true}) {
      RouteShape scored = shape;
      scored.sigmoid = sigmoid;
      Holds("route.h", "RouteBackward",
            {sigmoid ? "(4 of sigmoids)" : "8 bytes an expert of a row", sigmoid ? 4.0 : 8.0, kRows * 128.0},
            [&](sim::Stream& stream) {
              sim::RouteBackward({scored, &routing, dweights.data(), dlogits.matrix()}, stream);
            });
    }
  }
}

TEST_F(SimulatedTraffic, OfLogitsIsWhatTheirHeaderSays) {
  std::vector<LogSumExp> sums(kRows);
  std::vector<float> memory(kRows * kChunks * 2), logprob(kRows);
  Grid logits(4, 4096, 1);
  const double all = 4 * 4096;
  Holds("token_logprob.h", "TokenLogprobs", {"8 bytes a logit", 8, all, /*cached=*/true},
        [&](sim::Stream& stream) {
          sim::TokenLogprobs({.targets = ids.data(), .logprob = logprob.data(), .sums = sums.data()},
                             {logits.matrix(), memory.data()}, stream);
        });
  Holds("token_logprob.h", "SoftmaxGradients", {"8 bytes and some 28 instructions a logit", 8, all},
        [&](sim::Stream& stream) {
          sim::SoftmaxGradients({.targets = ids.data(), .sums = sums.data(), .dlogprob = logprob.data()},
                                logits.matrix(), stream);
        });
}

TEST_F(SimulatedTraffic, OfPagesIsWhatTheirHeaderSays) {
  for (const Type stored : {Type::kF32, Type::kBf16}) {
    const AttentionShape shape{
        .q_heads = 1, .kv_heads = 1, .qk_dim = 128, .v_dim = 128, .scale = 0.1f, .stored = stored};
    constexpr int64_t kPages = 3;
    std::vector<char> memory(kPages * BlockBytes(shape));
    std::vector<void*> table;
    for (int64_t p = 0; p < kPages; ++p) table.push_back(memory.data() + p * BlockBytes(shape));
    const int64_t rows = kPages * kAttentionBlock;
    Grid k(rows, 128, 1), v(rows, 128, 2);
    const std::vector<AttentionSequence> whole = {{0, rows, 0, table.data()}};
    Holds("attention.h", "WriteBlocks",
          {stored == Type::kF32 ? "8 bytes a number" : "(6 of bf16)", stored == Type::kF32 ? 8.0 : 6.0,
           static_cast<double>(rows) * 256},
          [&](sim::Stream& stream) {
            sim::WriteBlocks({shape, whole, k.matrix(), v.matrix()}, {whole.data()}, stream);
          });
  }
  constexpr int64_t kMany = 512;
  std::vector<void*> table(kMany, ids.data()), shifted(kMany);
  const std::vector<AttentionSequence> sequences = {{0, 1, kMany * kAttentionBlock - 1, table.data()}};
  std::vector<AttentionSequence> to(1);
  Holds("attention.h", "ShiftTables", {"16 bytes a page", 16, kMany}, [&](sim::Stream& stream) {
    sim::ShiftTables({.from = sequences.data(),
                      .to = to.data(),
                      .sequences = 1,
                      .from_blocks = table.data(),
                      .to_blocks = shifted.data(),
                      .blocks = kMany,
                      .layer_offset = 64},
                     stream);
  });
}

}  // namespace
}  // namespace temper::kernels

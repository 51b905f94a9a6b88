// SPDX-License-Identifier: Apache-2.0
// The bytes and FLOPs that the headers of kernels/cuda say of a launch are those that the simulation counts.
#include <filesystem>
#include <functional>
#include <numeric>
#include <regex>
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "kernels/cuda/adamw.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/gradient_sum.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/route.h"
#include "kernels/cuda/row_ops.h"
#include "kernels/cuda/sample.h"
#include "kernels/cuda/token_logprob.h"
#include "tests/kernels/cuda/hostile.h"
#include "tests/kernels/cuda/said.h"

namespace temper::kernels {
namespace {

enum class Of {
  kMemory,  // bytes of the device's memory: each place once
  kCache,   // bytes of all accesses
  kF32,
  kF64,  // operations
};

struct Promise {
  std::string words;      // of the header
  double number = 0;      // that they say..
  double of = 0;          // ..of each of so many
  Of what = Of::kMemory;  // ..of what
  int launch = -1;        // of several, which one; -1: all
  double beside = 0;      // what is not spoken of
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
    int64_t counted = 0;
    for (size_t i = 0; i < traffic.size(); ++i) {
      if (promise.launch >= 0 && promise.launch != static_cast<int>(i)) continue;
      counted += promise.what == Of::kMemory  ? traffic[i].read + traffic[i].written
                 : promise.what == Of::kCache ? traffic[i].accessed
                 : promise.what == Of::kF32   ? traffic[i].f32
                                              : traffic[i].f64;
    }
    EXPECT_NEAR((static_cast<double>(counted) - promise.beside) / promise.of, promise.number,
                promise.number * 0.04)
        << header << ", " << function << ": " << promise.words;
  }

  // Rows of numbers, and of what: each call another.
  static constexpr int64_t kRows = 64, kCols = 256;
  static constexpr double kAll = kRows * kCols;
  Grid a{kRows, kCols, 1}, b{kRows, kCols, 2}, c{kRows, kCols, 3}, d{kRows, kCols, 4}, e{kRows, kCols, 5};
  std::vector<float> weight = Numbers(kCols, 6), dweight = Numbers(kCols, 7), rstd = Numbers(kRows, 8);
  std::vector<int32_t> ids = std::vector<int32_t>(kRows);
  Grid d128{128, 128, 9};
  static Matrix Columns(Grid& grid, int64_t count) { return grid.matrix().Columns(0, count); }
  void SetUp() override { std::iota(ids.begin(), ids.end(), 0); }
};

TEST_F(SimulatedTraffic, OfRowOpsIsWhatTheirHeaderSays) {
  const auto norm = [&](sim::Stream& stream) {
    sim::RmsNorm({a.matrix(), weight.data(), 1e-6f, b.matrix()}, stream);
  };
  Holds("row_ops.h", "RmsNorm", {"8 bytes and 4 FLOPs an element", 8, kAll}, norm);
  RmsNormBackwardTask back{.dy = a.matrix(),
                           .x = b.matrix(),
                           .weight = weight.data(),
                           .rstd = rstd.data(),
                           .dx = c.matrix(),
                           .dweight = dweight.data()};
  const auto norm_backward = [&](sim::Stream& stream) { sim::RmsNormBackward(back, stream); };
  Holds("row_ops.h", "RmsNormBackward", {"dweight: 8 bytes an element", 8, kAll, Of::kMemory, 0},
        norm_backward);
  Holds("row_ops.h", "RmsNormBackward", {"dx: 12 bytes an element and 9 FLOPs", 12, kAll, Of::kMemory, 1},
        norm_backward);
  Holds("row_ops.h", "RmsNormBackward", {"8 bytes an element and 3 FLOPs", 3, kAll, Of::kF32, 0},
        norm_backward);
  back.add = d.matrix();
  Holds("row_ops.h", "RmsNormBackward", {"(16 and 10 with `add`)", 16, kAll, Of::kMemory, 1}, norm_backward);
  const std::vector<int32_t> positions(kRows, 1);
  const auto rotary = [&](sim::Stream& stream) {
    sim::Rotary({.x = {a.matrix(), 4, 64, 64},
                 .positions = positions.data(),
                 .cosines = weight.data(),
                 .sines = dweight.data()},
                stream);
  };
  Holds("row_ops.h", "Rotary", {"8 bytes an element and 3.5 FLOPs", 8, kAll}, rotary);
  Holds("row_ops.h", "Rotary", {"8 bytes an element and 3.5 FLOPs", 3.5, kAll, Of::kF32}, rotary);
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
  const auto embedding = [&](sim::Stream& stream) {
    sim::EmbeddingGradient({a.matrix(), ids.data(), b.matrix()}, stream);
  };
  Holds("row_ops.h", "EmbeddingGradient", {"12 bytes an element", 12, kAll}, embedding);
  Holds("row_ops.h", "EmbeddingGradient", {"12 bytes an element and a FLOP", 1, kAll, Of::kF32}, embedding);
  Holds("row_ops.h", "Zero", {"4 bytes an element", 4, kAll},
        [&](sim::Stream& stream) { sim::Zero(a.matrix(), stream); });
  Holds("row_ops.h", "Copy", {"8 bytes an element", 8, kAll},
        [&](sim::Stream& stream) { sim::Copy(b.matrix(), a.matrix(), stream); });
  Holds("row_ops.h", "CopyHeads", {"The same", 8, kAll}, [&](sim::Stream& stream) {
    sim::CopyHeads({b.matrix(), 4, 64, 64}, {a.matrix(), 4, 64, 64}, stream);
  });
  const auto add = [&](sim::Stream& stream) { sim::Add(b.matrix(), a.matrix(), stream); };
  Holds("row_ops.h", "Add", {"12 bytes an element and a FLOP", 12, kAll}, add);
  Holds("row_ops.h", "Add", {"12 bytes an element and a FLOP", 1, kAll, Of::kF32}, add);
  Holds("row_ops.h", "RoundToBf16", {"6 bytes an element", 6, kAll},
        [&](sim::Stream& stream) { sim::RoundToBf16(b.matrix(), narrow, stream); });
}

TEST_F(SimulatedTraffic, OfTheSearchForRowsOfAnIdIsWhatItsHeaderSays) {
  constexpr int64_t kMany = 256, kFew = 4;
  Grid dout(kMany, kFew, 1), dtable(kMany, kFew, 2);
  std::vector<int32_t> tokens(kMany);
  std::iota(tokens.begin(), tokens.end(), 0);
  const double beside = kMany * (12 * kFew + 4 * 128);  // the sums, and the row's own id of all threads
  Holds("row_ops.h", "EmbeddingGradient",
        {"4 bytes a pair of rows", 4, static_cast<double>(kMany * kMany), Of::kCache, -1, beside},
        [&](sim::Stream& stream) {
          sim::EmbeddingGradient({dout.matrix(), tokens.data(), dtable.matrix()}, stream);
        });
}

TEST_F(SimulatedTraffic, OfNormsIsTheFlopsThatTheirHeaderSays) {
  constexpr int64_t kLong = 4096;  // so that what a row has once counts for little
  Grid x(2, kLong, 1), dy(2, kLong, 2), dx(2, kLong, 3);
  std::vector<float> w = Numbers(kLong, 4), dw = Numbers(kLong, 5);
  Holds("row_ops.h", "RmsNorm", {"8 bytes and 4 FLOPs an element", 4, 2 * kLong, Of::kF32},
        [&](sim::Stream& stream) {
          sim::RmsNorm({x.matrix(), w.data(), 1e-6f, dx.matrix()}, stream);
        });
  RmsNormBackwardTask back{.dy = dy.matrix(),
                           .x = x.matrix(),
                           .weight = w.data(),
                           .rstd = rstd.data(),
                           .dx = dx.matrix(),
                           .dweight = dw.data()};
  for (const bool adds : {false, true}) {
    if (adds) back.add = dy.matrix();
    Holds("row_ops.h", "RmsNormBackward",
          {adds ? "(16 and 10 with `add`)" : "12 bytes an element and 9 FLOPs", adds ? 10.0 : 9.0, 2 * kLong,
           Of::kF32, 1},
          [&](sim::Stream& stream) { sim::RmsNormBackward(back, stream); });
  }
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
  const auto squares = [&](sim::Stream& stream) {
    sim::SumOfSquares({a.data.data(), kNumbers, sums.data()}, stream);
  };
  Holds("adamw.h", "SumOfSquares", {"4 bytes an element", 4, kAll}, squares);
  Holds("adamw.h", "SumOfSquares", {"and 2 FLOPs of f64", 2, kAll, Of::kF64}, squares);
  const LeafSum one{{50, 4}, kNumbers, a.data.data()}, two{{50, 4}, kNumbers, a.data.data(), b.data.data()};
  std::vector<int64_t> quanta(kNumbers);
  const auto add_leaf = [&](const LeafSum& sum) {
    return [&](sim::Stream& stream) { sim::AddLeaf({sum, c.data.data(), words}, stream); };
  };
  Holds("gradient_sum.h", "AddLeaf", {"20 bytes an element", 20, kAll}, add_leaf(two));
  Holds("gradient_sum.h", "AddLeaf", {"8 f64 operations a value", 8, kAll, Of::kF64}, add_leaf(two));
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

TEST_F(SimulatedTraffic, OfProductsIsWhatTheirHeaderSays) {
  struct Form {
    int64_t m, n, k;
    Type weights;
    std::string words;  // of bytes..
    double number;      // ..of each weight, or of each FLOP..
    Of of;              // ..of the memory, or of the cache
  };
  for (const Form& form :
       {Form{16, 32, 512, Type::kF32, "4 bytes a weight", 4, Of::kMemory},
        Form{16, 32, 512, Type::kBf16, "4 bytes a weight (2 of bf16)", 2, Of::kMemory},
        Form{8, 32, 512, Type::kF32, "the rows come again for every 16 outputs", 4, Of::kCache},
        Form{128, 128, 64, Type::kF32, "a byte from the cache for 32 FLOPs", 1 / 32.0, Of::kCache},
        Form{64, 128, 64, Type::kF32, "(for 21 of the smaller", 3 / 64.0, Of::kCache},
        Form{128, 128, 64, Type::kBf16, "for 42 with weights of bf16)", 3 / 128.0, Of::kCache}}) {
    const auto& [m, n, k, weights, words, number, of] = form;
    Grid x(m, k, 1), y(m, n, 2), w(n, k, 3);
    Matrix b = w.matrix();
    b.type = weights;
    const auto launch = [&](sim::Stream& stream) {
      sim::Products({{.a = x.matrix(), .b = b, .c = y.matrix(), .k_chunks = kChunks}}, stream);
    };
    const bool few = m <= 16;
    const auto in = static_cast<double>(m * k), out = static_cast<double>(m * n);
    const double flop = 2 * in * static_cast<double>(n);
    const double rows = few ? 4 * in * (of == Of::kCache ? static_cast<double>(n) / 16 : 1) : 0;
    Holds("products.h", "Products",
          {words, number, few ? static_cast<double>(n * k) : flop, of, -1, rows + 4 * out}, launch);
    Holds("products.h", "Products",
          {"2 FLOPs a row, output and step", 1, flop, Of::kF32, -1, (kChunks - 1) * out}, launch);
  }

  const auto gradient = [&](sim::Stream& stream) {
    sim::WeightGradients({{.dy = Columns(a, 128), .x = Columns(b, 128), .dw = d128.matrix()}}, stream);
  };
  constexpr double kDw = 128 * 128, kFactors = 4 * kRows * 2 * 128;
  Holds("products.h", "WeightGradients", {"2 FLOPs a row and element of dw", 2, kRows * kDw, Of::kF32},
        gradient);
  Holds("products.h", "WeightGradients", {"8 bytes an element", 8, kDw, Of::kMemory, -1, kFactors}, gradient);
  const auto bias = [&](sim::Stream& stream) { sim::BiasGradient(a.matrix(), dweight.data(), stream); };
  Holds("products.h", "BiasGradient", {"4 bytes and a FLOP an element", 4, kAll}, bias);
  Holds("products.h", "BiasGradient", {"4 bytes and a FLOP an element", 1, kAll, Of::kF32}, bias);

  // Of six experts three have entries, one of them more than a tile.
  const std::vector<int64_t> offsets = {0, 0, 3, 3, 12, 12, 13};
  const Routing routing{.offsets = {}, .device_offsets = const_cast<int64_t*>(offsets.data())};
  for (const Type type : {Type::kF32, Type::kBf16}) {
    constexpr int64_t kN = 64, kK = 128;
    std::vector<Grid> weights;
    std::vector<const void*> places;
    for (uint32_t e = 0; e < 6; ++e) weights.emplace_back(kN, kK, e);
    for (Grid& weight : weights) places.push_back(weight.data.data());
    Grid x(13, kK, 7), y(13, kN, 8);
    Matrix like = weights[0].matrix();
    like.type = type;
    const bool narrow = type == Type::kBf16;
    Holds("products.h", "ExpertProducts",
          {narrow ? "4 bytes a weight (2 of bf16)" : "4 bytes a weight", narrow ? 2.0 : 4.0, 3 * kN * kK,
           Of::kMemory, -1, 4 * 13 * (kN + kK)},
          [&](sim::Stream& stream) {
            sim::ExpertProducts({.routing = &routing,
                                 .experts = 6,
                                 .weights = places.data(),
                                 .like = like,
                                 .x = x.matrix(),
                                 .y = y.matrix()},
                                stream);
          });
  }
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
    Holds("route.h", "Route", {"8 bytes an expert of a row", 8, kRows * 128.0}, [&](sim::Stream& stream) {
      sim::Route({shape, logits.matrix(), nullptr, &routing}, stream);
    });
    Holds("route.h", "SortEntries",
          {"8 bytes x slots x experts", 8, static_cast<double>(slots) * 128, Of::kCache},
          [&](sim::Stream& stream) {
            sim::SortEntries({shape, kRows, &routing, offsets.data()}, stream);
          });
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
  Holds("token_logprob.h", "TokenLogprobs", {"8 bytes a logit", 8, all, Of::kCache},
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

TEST_F(SimulatedTraffic, OfSamplingIsWhatItsHeaderSays) {
  constexpr int64_t kVocab = 1 << 16;  // so that what a thread reads once counts for little
  Grid logits(1, kVocab, 1);
  const std::vector<SampleParameters> parameters(1);
  const SampleArrays arrays(parameters);
  const std::vector<double> uniforms(1, 0.999);
  std::vector<SampledToken> tokens(1);
  std::vector<double> scratch(SampleScratchBytes(1, kVocab) / 8 + 1);
  // All 256 threads read all sums of blocks, twice.
  const double sums = 2 * 256 * 8.0 * (kVocab / kSampleBlock);
  Holds("sample.h", "Sample", {"20 bytes a logit", 20, kVocab, Of::kCache, -1, sums},
        [&](sim::Stream& stream) {
          sim::Sample(arrays.With({.logits = logits.matrix(),
                                   .uniforms = uniforms.data(),
                                   .tokens = tokens.data(),
                                   .scratch = scratch.data()}),
                      stream);
        });
}

// One token behind kPages whole pages, of one kv head.
TEST_F(SimulatedTraffic, OfAttentionIsWhatItsHeaderSays) {
  struct Form {
    int pairs, dim;
    Type stored;
    std::string bytes, flops;
  };
  constexpr int64_t kPages = 3, kKeys = kPages * kAttentionBlock;
  for (const Form& form :
       {Form{1, 128, Type::kF32, "each page is read once, 4 bytes a number", ""},
        Form{16, 128, Type::kBf16, "4 bytes a number (2 of bf16)", "2 (qk_dim + v_dim) FLOPs a pair and key"},
        Form{64, 128, Type::kF32, "", "2 (qk_dim + v_dim) FLOPs a pair and key"},
        Form{32, 512, Type::kF32, "", "2 (qk_dim + v_dim) FLOPs a pair and key"}}) {
    const AttentionShape shape{.q_heads = form.pairs,
                               .kv_heads = 1,
                               .qk_dim = form.dim,
                               .v_dim = form.dim,
                               .scale = 0.1f,
                               .stored = form.stored};
    std::vector<char> memory(kPages * BlockBytes(shape));
    std::vector<void*> table;
    for (int64_t p = 0; p < kPages; ++p) table.push_back(memory.data() + p * BlockBytes(shape));
    const std::vector<AttentionSequence> sequences = {{0, 1, kKeys - 1, table.data()}};
    Grid q(1, form.pairs * form.dim, 1), out(1, form.pairs * form.dim, 2);
    const auto launch = [&](sim::Stream& stream) {
      sim::Attention({shape, sequences, q.matrix(), out.matrix()}, {sequences.data()}, stream);
    };
    const double numbers = 2.0 * form.dim * kKeys, queries = 4.0 * form.dim * form.pairs;
    const double each = form.stored == Type::kF32 ? 4 : 2;
    // Each of 256 threads reads the sequence, and where a page is for 16 dimensions of keys or 16 of its
    // keys.
    const double tables = 256.0 * (32 + 8 * kPages * (form.dim + kAttentionBlock) / 16.0);
    if (!form.bytes.empty())
      Holds("attention.h", "Attention",
            {form.bytes, each, numbers, Of::kCache, -1, queries * (kPages + 3) + tables}, launch);
    const double pairs = static_cast<double>(form.pairs) * kKeys;
    if (!form.flops.empty())
      Holds("attention.h", "Attention", {form.flops, 4.0 * form.dim, pairs, Of::kF32, -1, 30 * pairs},
            launch);
  }
}

TEST_F(SimulatedTraffic, OfSplitsThatAreApartIsWhatTheirHeaderSays) {
  constexpr int kPairs = 4, kQk = 16, kV = 32;
  constexpr int64_t kSplits = 3, kKeys = kSplits * kAttentionSplit;
  const AttentionShape shape{.q_heads = kPairs, .kv_heads = 1, .qk_dim = kQk, .v_dim = kV, .scale = 0.1f};
  std::vector<char> page(BlockBytes(shape));  // one for all
  std::vector<void*> table(kKeys / kAttentionBlock, page.data());
  const std::vector<AttentionSequence> sequences = {{0, 1, kKeys - 1, table.data()}};
  Grid q(1, kPairs * kQk, 1), out(1, kPairs * kV, 2);
  const AttentionTask task{shape, sequences, q.matrix(), out.matrix()};
  std::vector<float> found(FoundFloats(task));
  const auto launch = [&](sim::Stream& stream) {
    sim::Attention(task, {sequences.data(), found.data()}, stream);
  };
  // Of each pair and split a maximum and a sum too; both launches read the sequence.
  const double pairs = kPairs, all = pairs * kSplits, beside = 8 * all + sizeof(AttentionSequence);
  const double inputs = static_cast<double>(page.size() + 8 * table.size()) + 4 * pairs * kQk;
  const std::string words = "4 v_dim bytes a pair and split, which a second launch reads";
  Holds("attention.h", "Attention", {words, 4 * kV, all, Of::kMemory, 0, beside + inputs}, launch);
  Holds("attention.h", "Attention", {words, 4 * kV, all, Of::kMemory, 1, beside + 4 * pairs * kV}, launch);
}

TEST_F(SimulatedTraffic, OfTheGradientsOfAttentionIsWhatTheirHeaderSays) {
  constexpr int64_t kAll = 128, kDim = 64;
  const AttentionShape shape{.q_heads = 1, .kv_heads = 1, .qk_dim = kDim, .v_dim = kDim, .scale = 0.1f};
  const std::vector<AttentionSequence> sequences = {{0, kAll, 0}};
  std::vector<Grid> grids;
  for (uint32_t i = 0; i < 8; ++i) grids.emplace_back(kAll, kDim, i);
  const std::vector<float> lse = Numbers(kAll, 9);
  std::vector<float> deltas(kAll);
  const AttentionBackwardTask task{.shape = shape,
                                   .sequences = sequences,
                                   .q = grids[0].matrix(),
                                   .k = grids[1].matrix(),
                                   .v = grids[2].matrix(),
                                   .out = grids[3].matrix(),
                                   .lse = lse.data(),
                                   .dout = grids[4].matrix(),
                                   .dq = grids[5].matrix(),
                                   .dk = grids[6].matrix(),
                                   .dv = grids[7].matrix(),
                                   .ranges = 1};
  const auto holds = [&](const Promise& promise) {
    Holds("attention.h", "AttentionBackward", promise, [&](sim::Stream& stream) {
      sim::AttentionBackward(task, {sequences.data(), deltas.data()}, stream);
    });
  };
  const std::string of_deltas = "8 v_dim bytes and 2 v_dim FLOPs a row and head";
  holds({of_deltas, 8 * kDim, kAll, Of::kMemory, 0});
  holds({of_deltas, 2 * kDim, kAll, Of::kF32, 0, 64 * kAll});  // and the tree over 16 lanes
  // Of a row and a key that do not see each other, in a tile with others, there is the score, and no part in
  // a sum.
  constexpr double kTiles = 3 * 64 * 64, kSeen = 128 * 129 / 2.0;
  holds({"4 qk_dim + 2 v_dim FLOPs a pair and key", 6 * kDim, (4 * kTiles + 2 * kSeen) / 6, Of::kF32, 1,
         30 * kTiles});
  const Promise of_keys{"4 (qk_dim + v_dim). Both have some 30 of the exponential",
                        8 * kDim,
                        (kTiles + kSeen) / 2,
                        Of::kF32,
                        2,
                        30 * kTiles};
  holds(of_keys);
  const std::string of_cache = "a byte from the cache for some 11 FLOPs";
  holds({of_cache, 1 / 11.5, kTiles * 6 * kDim, Of::kCache, 1, 4 * kAll * kDim});
  holds({of_cache, 1 / 11.0, kTiles * 8 * kDim, Of::kCache, 2, 2 * 4 * kAll * kDim});

  AttentionBackwardTask queries = task;
  queries.of_whole = true;
  const std::vector<SpanNode> nodes = {{0, 0}, {0, 0}};  // one twice, each with a launch
  Grid sums(2 * kAll, 2 * kDim, 10);
  const auto holds_of_nodes = [&](Promise promise, const std::string& words, int launch) {
    promise.words = words;
    promise.launch = launch;
    Holds("attention.h", "KeySums", promise, [&](sim::Stream& stream) {
      sim::KeySums({queries, nodes, 0, kAll, sums.matrix()}, {sequences.data(), deltas.data()}, stream);
    });
  };
  holds_of_nodes({.number = 8 * kDim, .of = kAll}, "deltas are made anew", 0);
  for (const int node : {0, 1}) {
    holds_of_nodes(of_keys, "For each node the third of those launches, with its FLOPs", 1 + node);
  }
}

TEST_F(SimulatedTraffic, OfSumsOfKeysIsWhatTheirHeaderSays) {
  constexpr int64_t kSpans = 2, kKeys = 16, kDim = 8;
  const AttentionShape shape{
      .q_heads = kHeadRanges, .kv_heads = 1, .qk_dim = kDim, .v_dim = kDim, .scale = 0.1f};
  Grid sums(kSpans * kKeys, kHeadRanges * 2 * kDim, 1), dk(kKeys, kDim, 2), dv(kKeys, kDim, 3);
  std::vector<JoinKeySumsTask::Part> parts;
  for (int64_t span = 0; span < kSpans; ++span)
    parts.push_back({{span, 0}, sums.data.data() + span * kKeys * sums.cols});
  const JoinKeySumsTask task{.shape = shape,
                             .positions = kSpans * kAttentionSpan,
                             .parts = parts,
                             .first_key = 0,
                             .dk = dk.matrix(),
                             .dv = dv.matrix()};
  Holds("attention.h", "JoinKeySums",
        {"4 bytes a part, range and number of a key, 4 a result", 4,
         static_cast<double>(kKeys * 2 * kDim * (kSpans * kHeadRanges + 1))},
        [&](sim::Stream& stream) { sim::JoinKeySums(task, stream); });
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

// A share of the memory or of the fma units, or a time, behind bytes; or that it is as another.
TEST(LaunchHeaders, SayOfEachLaunchWhatItMovesAndHowMuchOfAnH100ItShouldReach) {
  int launches = 0;
  for (const auto& file : std::filesystem::directory_iterator("kernels/cuda")) {
    const std::string header = file.path().filename();
    if (file.path().extension() != ".h") continue;
    const std::string text = HeaderText(header);
    if (!absl::StrContains(text, "#define TEMPER_DEVICE_")) continue;
    const std::regex launch("  void (\\w+)\\(");
    for (std::sregex_iterator it(text.begin(), text.end(), launch), end; it != end; ++it, ++launches) {
      const std::string said = SaidOf(header, (*it)[1]);
      const bool as_another = std::regex_search(said, std::regex("^/\\* (As |The same|For each node)"));
      EXPECT_TRUE(as_another || (std::regex_search(said, std::regex("\\bbytes?\\b")) &&
                                 std::regex_search(said, std::regex("[0-9]%|[0-9] us|: [0-9.]+ us"))))
          << header << ", " << (*it)[1] << ": " << said;
    }
  }
  EXPECT_GE(launches, 39);
}

TEST(LaunchHeaders, WithoutACommentOfItsOwnALaunchHasNotThatOfTheOneBefore) {
  const std::string text = "  /* 4 bytes: 90%. */ \\\n  void First(int n); \\\n  void Second(int n); \\\n";
  EXPECT_EQ(SaidIn(text, "First"), "/* 4 bytes: 90%. */");
  EXPECT_EQ(SaidIn(text, "Second"), "");
  EXPECT_EQ(SaidIn(text, "Third"), "");
}

}  // namespace
}  // namespace temper::kernels

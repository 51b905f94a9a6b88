// SPDX-License-Identifier: Apache-2.0
// Ranks that share the weights out (mesh.dp_shard) compute with the bits of one, keep their share of them,
// have two units whole at a time, of which one comes while the other is computed with, and send what the axis
// says.
#include <algorithm>

#include "absl/strings/str_replace.h"
#include "comm/reduce.h"
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"

namespace temper {
namespace {

constexpr int kShardRanks = 3;

// Each rank has sequences of its own; the last has none.
Sequences SequencesOf(int rank) {
  if (rank == kShardRanks - 1) return {};
  return {RandomTokens(711, 70 + rank, 1 + rank), RandomTokens(711, 1, 7), RandomTokens(711, 9 + rank, 4)};
}

// What a rank sends for a gathering: what it keeps, to each other one.
int64_t SentFor(const Layout& layout, int64_t unit, int rank, int64_t bytes_each) {
  const LayoutUnit& of = layout.units()[unit];
  int64_t sent = 0;
  for (const int64_t n : {of.others.elements, of.experts.elements}) {
    const Share own = ShareOf(n, rank, kShardRanks);
    sent += (kShardRanks - 1) * (own.end - own.begin) * bytes_each;
  }
  return sent;
}

std::unique_ptr<CausalLm> SharedPolicy(const Json& json, bool rounded, kernels::Backend* backend,
                                       const Mesh& mesh) {
  const ModelConfig config = Parsed(json);
  return std::make_unique<CausalLm>(config, Slice(RandomParameters(config), Layout(config, mesh.place())),
                                    backend, rounded, mesh);
}

class ShardRanks : public ::testing::TestWithParam<Json> {};

TEST_P(ShardRanks, HaveTheLogprobsOfOneAndSendEachUnitOnce) {
  const ModelConfig config = Parsed(GetParam());
  for (const bool rounded : {false, true}) {
    ThreadPool pool(2);
    kernels::CpuBackend backend(&pool);
    CausalLm alone(config, RandomParameters(config), &backend, rounded);
    std::vector<std::vector<float>> expected;
    for (int rank = 0; rank < kShardRanks; ++rank)
      expected.push_back(PackedLogprobs(alone, SequencesOf(rank), 0.9f));
    ThreadWorld(kShardRanks).Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create({.dp_shard = kShardRanks}, comm).value();
      ThreadPool mine(1);
      kernels::CpuBackend own(&mine);
      const std::unique_ptr<CausalLm> model = SharedPolicy(GetParam(), rounded, &own, mesh);
      Communicator& ranks = mesh.axis(Axis::kDpShard);
      const int64_t before = ranks.sent_bytes();
      EXPECT_EQ(PackedLogprobs(*model, SequencesOf(comm.rank()), 0.9f), expected[comm.rank()]);
      const Layout& layout = model->parameters().layout();
      const Weights& weights = model->weights();
      int64_t largest = 0, sent = 0, kept = 0, all = 0;
      for (size_t unit = 0; unit < layout.units().size(); ++unit) {
        sent += SentFor(layout, static_cast<int64_t>(unit), comm.rank(), 4);
        largest = std::max(largest, layout.units()[unit].trained_elements());
        all += layout.units()[unit].trained_elements();
      }
      // A tied head is the embedding again.
      if (config.tie_word_embeddings) sent += SentFor(layout, weights.embedding_unit(), comm.rank(), 4);
      if (!rounded) {
        EXPECT_EQ(ranks.sent_bytes() - before, sent);
        // Units come into one place and the other in turn; the norm has its own.
        std::vector<int64_t> order = {weights.embedding_unit()};
        for (int64_t layer = 0; layer < config.num_layers; ++layer)
          order.push_back(weights.layer_unit(layer));
        order.push_back(weights.head_unit());
        int64_t places[2] = {};
        for (size_t i = 0; i < order.size(); ++i)
          places[i % 2] = std::max(places[i % 2], layout.units()[order[i]].trained_elements());
        EXPECT_EQ(weights.gathered_bytes(), (places[0] + places[1] + config.hidden_size) * 4);
      } else {
        EXPECT_LT(ranks.sent_bytes() - before, sent * 3 / 5);
        EXPECT_LT(weights.gathered_bytes(), (2 * largest + config.hidden_size) * 3);
      }
      for (const Parameter& parameter : weights.computed().list())
        if (parameter.trained) kept += parameter.value.numel();
      EXPECT_EQ(kept, layout.trained_elements());
      EXPECT_LE(kept, all / kShardRanks + static_cast<int64_t>(layout.units().size()));
      EXPECT_EQ(weights.packed_bytes(), 0);
    });
  }
}

// The last one's layers are all small beside its embedding.
INSTANTIATE_TEST_SUITE_P(Models, ShardRanks,
                         ::testing::Values(OddDeepseek(), OddDeepseekV2(), OddQwen2(), OddQwen3Moe(),
                                           With(OddWindows(), "vocab_size", 20011)));

// Passes all on, and notes what is started and what is waited for.
class NotingRank final : public Communicator {
 public:
  NotingRank(Communicator* rank, std::string* events) : rank_(*rank), events_(*events) {}
  int rank() const override { return rank_.rank(); }
  int size() const override { return rank_.size(); }
  std::string_view backend() const override { return rank_.backend(); }
  [[noreturn]] void Abort(const std::string& message, int) override { throw CommError(message); }

 protected:
  struct Started : Moving {
    std::unique_ptr<Moving> of_rank;
  };
  void Move(const Message&) override { FAIL() << "who waits at once does not compute meanwhile"; }
  std::unique_ptr<Moving> StartMove(const Message& message) override {
    events_ += 's';
    auto started = std::make_unique<Started>();
    started->of_rank = rank_.Start(message);
    return started;
  }
  bool MoveIsOver(Moving* moving) override {
    return rank_.IsOver(static_cast<Started*>(moving)->of_rank.get());
  }
  void FinishMove(Moving* moving) override {
    events_ += 'f';
    rank_.Finish(std::move(static_cast<Started*>(moving)->of_rank));
  }
  void Post(int, std::string_view) override {}
  Note HeardNote() override { return {}; }

 private:
  Communicator& rank_;
  std::string& events_;
};

// Notes products beside them.
class NotingBackend final : public kernels::CpuBackend {
 public:
  NotingBackend(ThreadPool* pool, std::string* events) : CpuBackend(pool), events_(*events) {}
  void Products(absl::Span<const kernels::Product> products) override {
    events_ += 'p';
    CpuBackend::Products(products);
  }

 private:
  std::string& events_;
};

struct KeptGradients final : UnitGradients {
  explicit KeptGradients(const Layout& layout) {
    for (const LayoutUnit& unit : layout.units()) memory.emplace_back(unit.others.elements);
  }
  Buffers Begin(int64_t unit) override { return {.others = memory[unit].data()}; }
  void End(int64_t) override {}
  std::vector<std::vector<float>> memory;
};

// Each layer's weights are started before the layer in front of them computes, and waited for behind it:
// there and back. Those that still lie there are not sent again.
TEST(ShardRanks, BringTheNextLayersWeightsWhileOneComputes) {
  Json json = OddLlama();
  json["num_hidden_layers"] = 3;
  ThreadWorld(2).Run([&](Communicator& comm) {
    std::string events;
    NotingRank rank(&comm, &events);
    const Mesh mesh = Mesh::Create({.dp_shard = 2}, rank).value();
    ThreadPool pool(1);
    NotingBackend backend(&pool, &events);
    const std::unique_ptr<CausalLm> model = SharedPolicy(json, false, &backend, mesh);
    KeptGradients gradients(model->parameters().layout());
    model->weights().BindGradients(&gradients);
    TrainPass pass(&model->stack(), TrainPass::Keep::kAll);
    const Microbatch batch = Packed({RandomTokens(711, 9, 1)});
    std::vector<float> logprobs(batch.tokens.size());
    pass.Logprobs(batch, 1, logprobs.data());
    // The embedding; three layers; the norm, which is small, and the head, whose products are last and first
    // (its logits are kept).
    const std::string there = "sfs fspppp fspppp fspppp sffp", back = "p spppp fspppp fpppp";
    EXPECT_EQ(events, absl::StrReplaceAll(there, {{" ", ""}}));
    events.clear();
    pass.Backward(logprobs.data());
    EXPECT_EQ(events, absl::StrReplaceAll(back, {{" ", ""}}));
  });
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// What two updates leave on the ranks of a mesh, beside what they leave on one.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/trainer/update/sample.h"

namespace temper {

inline constexpr PipelineKind kLate = PipelineKind::kZeroBubble;

// With sizes that four ranks share; the MLPs' down projections take more than one piece of the norm.
inline Json SharedByFour(Json json, int64_t key_heads) {
  json.update(
      Json::parse(R"({"num_attention_heads": 8, "intermediate_size": 1404, "moe_intermediate_size": 28})"));
  json["num_key_value_heads"] = key_heads;
  return json;
}

struct RankOutcome {
  Parameters weights, m, v;
  StepResult last;
  std::vector<float> logprobs;
};

// A flat buffer's tensors.
inline Parameters TensorsOfFlat(const at::Tensor& flat, const Layout& layout) {
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : layout.entries()) {
    const bool whole = entry.elements == PartElements(entry);
    values.push_back(NewHostTensor(whole ? entry.shape : std::vector<int64_t>{entry.elements}).zero_());
    if (entry.trained)
      std::copy_n(flat.const_data_ptr<float>() + entry.offset, entry.elements,
                  values.back().mutable_data_ptr<float>());
  }
  return Parameters(layout, std::move(values));
}

// `at_sequence` is called with each sequence's loss.
inline RankOutcome TwoUpdatesOnRank(
    const Json& json, const Sample& sample, const StepOptions& options, const Mesh& mesh,
    const std::function<void()>& at_sequence = [] {}) {
  Policy policy(json, mesh);
  Optimizer optimizer(&policy.model);
  Updater updater(&policy.model, &optimizer, options, mesh);
  const OptimizerConfig config{.learning_rate = 1e-3, .weight_decay = 0.1, .clip_norm = 1e-3};
  RankOutcome outcome;
  for (int64_t update = 0; update < 2; ++update) {
    outcome.last =
        updater.Update(sample.Deal(options.gradient_leaves), kTemperature, config, config.learning_rate,
                       [&](const TrainSequence& sequence, absl::Span<const float> logprobs,
                           absl::Span<float> dlogprobs, LossSums* sums) {
                         at_sequence();
                         PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums);
                       });
    policy.model.WeightsChanged(update + 1);
  }
  std::vector<const TrainSequence*> all;
  for (const TrainSequence& sequence : sample.sequences) all.push_back(&sequence);
  SequenceLogprobs(policy.model, all,
                   {options.tokens_per_microbatch, kTemperature, options.long_sequence_tokens,
                    options.tokens_per_shared_prompt},
                   [&](size_t, absl::Span<const float> logprobs) {
                     outcome.logprobs.insert(outcome.logprobs.end(), logprobs.begin(), logprobs.end());
                   });
  const Layout& layout = policy.model.parameters().layout();
  outcome.weights = policy.model.parameters().Clone();
  outcome.m = TensorsOfFlat(optimizer.m(), layout);
  outcome.v = TensorsOfFlat(optimizer.v(), layout);
  return outcome;
}

inline void ExpectKeptOf(const Parameters& whole, const Parameters& part, const std::string& what) {
  const Parameters expected = Slice(whole, part.layout());
  for (const Parameter& parameter : part.list())
    EXPECT_TRUE(parameter.value.equal(expected[parameter.name])) << what << parameter.name;
}

// `tokens`: of a microbatch. `longer`: lengths of more sequences, which are long from 1,025 tokens on.
inline void ExpectLayoutsHaveTheBitsOfOne(const Json& json, const std::vector<MeshSizes>& meshes,
                                          int64_t tokens = 50, int64_t leaves = 5,
                                          const std::vector<int64_t>& longer = {}) {
  const Sample sample(json, 0.2f, longer);
  StepOptions options{4096, leaves, TrainPass::Keep::kAll};
  options.long_sequence_tokens = 1025;
  options.mtp_weight = 0.3;
  options.tokens_per_shared_prompt = SharedPromptTokens(json);
  const RankOutcome alone = TwoUpdatesOnRank(json, sample, options, Mesh::Single());
  ASSERT_TRUE(alone.last.applied);
  for (const MeshSizes& sizes : meshes) {
    ThreadWorld world(static_cast<int>(RanksOf(sizes)));
    world.Run([&](Communicator& comm) {
      const Mesh mesh = Mesh::Create(sizes, comm).value();
      StepOptions other = options;
      other.tokens_per_microbatch = tokens;
      if (sizes.cp > 2) other.keep = TrainPass::Keep::kInputs;
      const RankOutcome got = TwoUpdatesOnRank(json, sample, other, mesh);
      const std::string what =
          "rank " + std::to_string(comm.rank()) + " of " + std::to_string(comm.size()) + ": ";
      ExpectKeptOf(alone.weights, got.weights, what + "weight ");
      ExpectKeptOf(alone.m, got.m, what + "first moment ");
      ExpectKeptOf(alone.v, got.v, what + "second moment ");
      EXPECT_EQ(got.last.gradient_norm, alone.last.gradient_norm) << what;
      EXPECT_EQ(got.last.sums.loss, alone.last.sums.loss) << what;
      EXPECT_EQ(got.last.grown, alone.last.grown) << what;
      EXPECT_EQ(got.last.growth, alone.last.growth) << what;
      EXPECT_EQ(got.last.largest, alone.last.largest) << what;
      EXPECT_EQ(got.last.sums.tokens, alone.last.sums.tokens) << what;
      EXPECT_EQ(got.last.sums.mtp_nll, alone.last.sums.mtp_nll) << what;
      EXPECT_EQ(got.last.sums.mtp_tokens > 0, Parsed(json).has_mtp()) << what;
      EXPECT_EQ(got.logprobs, alone.logprobs) << what;
      EXPECT_EQ(got.last.bubble > 0, sizes.pp > 1) << what;
      EXPECT_EQ(got.last.local_tokens<alone.last.local_tokens, mesh.dp_size()> 1) << what;
    });
  }
}

}  // namespace temper

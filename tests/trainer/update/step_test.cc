// SPDX-License-Identifier: Apache-2.0
// E3: an update is a function of state and trajectories alone.
#include "trainer/update/step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "comm/threads.h"
#include "core/check.h"
#include "gtest/gtest.h"
#include "kernels/backends/cpu.h"
#include "model/pass.h"
#include "tests/model/odd_models.h"
#include "tests/trainer/update/sample.h"

namespace temper {
namespace {

constexpr TrainPass::Keep kKeepAll = TrainPass::Keep::kAll;

// Everything that two updates leave, as bytes.
struct Outcome {
  std::string weights, moments, figures;
  StepResult last;
};

void Append(const at::Tensor& tensor, std::string* bytes) {
  bytes->append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
}

Outcome TwoUpdates(const Json& json, const Sample& sample, StepOptions options, int threads, const Mesh& mesh,
                   bool empty_between = false) {
  options.mtp_weight = 0.3;
  options.tokens_per_shared_prompt = SharedPromptTokens(json);
  Policy policy(json, mesh, threads);
  Optimizer optimizer(&policy.model);
  Updater updater(&policy.model, &optimizer, options, mesh);
  const Leaves leaves = sample.Deal(options.gradient_leaves);
  const OptimizerConfig config{.learning_rate = 1e-3, .weight_decay = 0.1};
  Outcome outcome;
  for (int64_t update = 0; update < 2; ++update) {
    outcome.last = updater.Update(
        leaves, kTemperature, config, config.learning_rate,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums); });
    policy.model.WeightsChanged(update + 1);
    if (empty_between) {
      const StepResult empty =
          updater.Update(Leaves(options.gradient_leaves), kTemperature, config, config.learning_rate,
                         [](const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*) {});
      EXPECT_TRUE(empty.skipped && empty.applied);
      EXPECT_EQ(empty.gradient_norm, 0);
      EXPECT_EQ(optimizer.steps(), update + 1);
    }
    EXPECT_FALSE(outcome.last.skipped);
    outcome.figures.append(reinterpret_cast<const char*>(&outcome.last.sums), sizeof(LossSums));
    outcome.figures.append(reinterpret_cast<const char*>(&outcome.last.gradient_norm), sizeof(double));
  }
  for (const Parameter& parameter : policy.model.parameters().list())
    Append(parameter.value, &outcome.weights);
  Append(optimizer.m(), &outcome.moments);
  Append(optimizer.v(), &outcome.moments);
  return outcome;
}

void ExpectSame(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_TRUE(a.weights == b.weights) << what;
  EXPECT_TRUE(a.moments == b.moments) << what;
  EXPECT_TRUE(a.figures == b.figures) << what;
}

class Update : public ::testing::TestWithParam<Json> {};

TEST_P(Update, HasTheSameBitsForEveryMicrobatchRecomputeSettingAndThreadCount) {
  const Sample sample(GetParam());
  const Outcome first = TwoUpdates(GetParam(), sample, {4096, 8, kKeepAll}, 2, Mesh::Single());
  ASSERT_TRUE(first.last.applied);
  ASSERT_GT(first.last.gradient_norm, 0);
  ASSERT_EQ(first.last.microbatches, 8);
  int64_t smallest = 0;
  for (const auto& leaf : sample.Deal(8)) smallest += RowsOfLeaf(leaf, SharedPromptTokens(GetParam())).parts;
  int threads = 0;
  for (int64_t tokens : {1, 7, 64, 4096}) {
    for (TrainPass::Keep keep : {kKeepAll, TrainPass::Keep::kAttention, TrainPass::Keep::kInputs}) {
      threads = threads % 3 + 1;
      const Outcome other = TwoUpdates(GetParam(), sample, {tokens, 8, keep}, threads, Mesh::Single());
      ExpectSame(first, other,
                 "microbatches of " + std::to_string(tokens) + ", keep " +
                     std::to_string(static_cast<int>(keep)) + ", " + std::to_string(threads) + " threads");
      EXPECT_EQ(other.last.microbatches == smallest, tokens <= 7);
    }
  }
}

TEST_P(Update, HasTheSameBitsOnAnyNumberOfRanksWhichShareTheWork) {
  const Sample sample(GetParam());
  constexpr int64_t kLeaves = 7;
  const Outcome alone = TwoUpdates(GetParam(), sample, {4096, kLeaves, kKeepAll}, 2, Mesh::Single());
  int64_t largest_leaf = 0, all = 0;
  for (const auto& leaf : sample.Deal(kLeaves)) {
    const int64_t rows = RowsOfLeaf(leaf, SharedPromptTokens(GetParam())).rows;
    all += rows;
    largest_leaf = std::max(largest_leaf, rows);
  }
  EXPECT_EQ(alone.last.local_tokens, all);
  for (int ranks : {1, 2, 3, 4, 5, 6}) {
    std::vector<Outcome> outcomes(ranks);
    ThreadWorld world(ranks);
    world.Run([&](Communicator& comm) {
      const auto mesh = Mesh::Create(MeshSizes(), comm);
      ASSERT_TRUE(mesh.ok()) << mesh.status();
      const StepOptions options{int64_t{17} << comm.rank(), kLeaves,
                                comm.rank() % 2 == 1 ? TrainPass::Keep::kInputs : kKeepAll};
      outcomes[comm.rank()] = TwoUpdates(GetParam(), sample, options, 1 + comm.rank() % 2, *mesh);
    });
    int64_t done = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      ExpectSame(alone, outcomes[rank], "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
      EXPECT_LE(outcomes[rank].last.local_tokens,
                largest_leaf * ((kLeaves + ranks - 1) / ranks + outcomes[rank].last.taken_over));
      done += outcomes[rank].last.local_tokens;
    }
    EXPECT_EQ(done, all);
  }
}

TEST_P(Update, OfTheSamplerItselfHasRatioOneAndNoKl) {
  const Sample sample(GetParam(), /*noise=*/0);
  Policy policy(GetParam());
  Optimizer optimizer(&policy.model);
  StepOptions options{50, 4, kKeepAll};
  options.tokens_per_shared_prompt = SharedPromptTokens(GetParam());
  Updater updater(&policy.model, &optimizer, options, Mesh::Single());
  const StepResult result =
      updater.Update(sample.Deal(4), kTemperature, {}, 1e-4,
                     [&](const TrainSequence& sequence, absl::Span<const float> logprobs,
                         absl::Span<float> dlogprobs, LossSums* sums) {
                       PolicyLoss({.kl_coef = 0.5}, sample.denominators, sequence, logprobs, dlogprobs, sums);
                     });
  EXPECT_EQ(result.sums.tokens, sample.denominators.tokens);
  EXPECT_EQ(result.sums.unequal, 0);
  EXPECT_EQ(result.sums.max_difference, 0);
  EXPECT_EQ(result.sums.ratio, result.sums.tokens);
  EXPECT_EQ(result.sums.kl, 0);
  EXPECT_EQ(result.sums.clipped, 0);
}

TEST_P(Update, ThatIsNotFiniteLeavesTheWeightsOnEveryRank) {
  const Sample sample(GetParam());
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    const auto mesh = Mesh::Create(MeshSizes(), comm);
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    Policy policy(GetParam(), *mesh);
    const Parameters before = policy.model.parameters().Clone();
    Optimizer optimizer(&policy.model);
    Updater updater(&policy.model, &optimizer, {64, 2, kKeepAll}, *mesh);
    const Leaves leaves = sample.Deal(2);
    const StepResult result = updater.Update(
        leaves, kTemperature, {}, 1e-3,
        [&](const TrainSequence& sequence, absl::Span<const float>, absl::Span<float> dlogprobs, LossSums*) {
          if (&sequence == leaves[1].front()) dlogprobs[0] = NAN;  // the second rank's
        });
    EXPECT_FALSE(result.applied || result.skipped);
    EXPECT_EQ(optimizer.steps(), 0);
    for (size_t i = 0; i < before.list().size(); ++i)
      EXPECT_TRUE(policy.model.parameters().list()[i].value.equal(before.list()[i].value));
  });
}

// The definition, on the gradients that each leaf has alone: quanta of 2^-bits add as integers.
TEST_P(Update, SumsItsLeavesAsIntegers) {
  const Sample sample(GetParam());
  constexpr int64_t kLeaves = 3, kBits = 41;
  const auto gradient_of = [&](const Leaves& leaves, int64_t bits) {
    Policy policy(GetParam());
    Optimizer optimizer(&policy.model);
    StepOptions options{4096, static_cast<int64_t>(leaves.size()), kKeepAll};
    options.gradient_bits = bits;
    Updater updater(&policy.model, &optimizer, options, Mesh::Single());
    updater.Update(
        leaves, kTemperature, {}, 1e-3,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums); });
    return updater.gradient();
  };
  const Leaves leaves = sample.Deal(kLeaves);
  const std::vector<float> got = gradient_of(leaves, kBits);
  std::vector<std::vector<float>> alone;
  for (const auto& leaf : leaves) alone.push_back(gradient_of({leaf}, kBits));
  for (size_t i = 0; i < got.size(); ++i) {
    int64_t quanta = 0;
    for (const std::vector<float>& leaf : alone)
      quanta += static_cast<int64_t>(std::ldexp(static_cast<double>(leaf[i]), kBits));  // whole already
    ASSERT_EQ(got[i], std::ldexp(static_cast<float>(quanta), -kBits)) << i;
  }
  EXPECT_NE(got, gradient_of(leaves, 50)) << "the number of bits is seen";
}

TEST_P(Update, OfNoSequenceLeavesWeightsAndOptimizerOnEveryRankAndTheNextIsAsIfItHadNotBeen) {
  const Sample sample(GetParam());
  const Outcome expected = TwoUpdates(GetParam(), sample, {64, 4, kKeepAll}, 1, Mesh::Single());
  std::vector<Outcome> outcomes(2);
  ThreadWorld world(2);
  world.Run([&](Communicator& comm) {
    const auto mesh = Mesh::Create(MeshSizes(), comm);
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    outcomes[comm.rank()] =
        TwoUpdates(GetParam(), sample, {64, 4, kKeepAll}, 1, *mesh, /*empty_between=*/true);
  });
  for (const Outcome& outcome : outcomes) ExpectSame(expected, outcome, "with empty updates between");
}

// Counts what is asked of the system.
class CountsMemory : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  std::shared_ptr<void> Allocate(int64_t bytes) override {
    ++asked;
    return CpuBackend::Allocate(bytes);
  }
  int64_t asked = 0;
};

TEST_P(Update, TakesNoMemoryThatTheOneBeforeHadNot) {
  const Sample sample(GetParam());
  ThreadPool pool(2);
  CountsMemory backend(&pool);
  CausalLm model(Parsed(GetParam()), RandomParameters(Parsed(GetParam())), &backend);
  Optimizer optimizer(&model);
  Updater updater(&model, &optimizer, {64, 4, kKeepAll}, Mesh::Single());
  int64_t asked = 0;
  for (const float first : {1.0f, 1.0f, NAN, 1.0f}) {
    const StepResult result =
        updater.Update(sample.Deal(4), kTemperature, {}, 1e-3,
                       [&](const TrainSequence&, absl::Span<const float>, absl::Span<float> dlogprobs,
                           LossSums*) { dlogprobs[0] = first; });
    EXPECT_EQ(result.applied, first == 1.0f);
    EXPECT_TRUE(asked == 0 || backend.asked == asked) << backend.asked << " after " << asked;
    asked = backend.asked;
  }
}

TEST_P(Update, OfSamplesThatShareTheirPromptHasTheGradientOfEachApartUpToRounding) {
  const int64_t most = SharedPromptTokens(GetParam());
  if (most == 0) return;
  const Sample sample(GetParam());
  std::vector<int64_t> rows;
  const auto gradient_of = [&](int64_t shared) {
    Policy policy(GetParam());
    Optimizer optimizer(&policy.model);
    StepOptions options{4096, 3, kKeepAll};
    options.tokens_per_shared_prompt = shared;
    Updater updater(&policy.model, &optimizer, options, Mesh::Single());
    const StepResult result = updater.Update(
        sample.Deal(3), kTemperature, {}, 1e-3,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { PolicyLoss({}, sample.denominators, sequence, logprobs, dlogprobs, sums); });
    rows.push_back(result.local_tokens);
    return updater.gradient();
  };
  const std::vector<float> apart = gradient_of(0), shared = gradient_of(most), more = gradient_of(1000);
  EXPECT_LT(rows[1], rows[0]);
  EXPECT_LT(rows[2], rows[1]);
  EXPECT_NE(shared, apart) << "which samples share is seen";
  double norm = 0, of_shared = 0, of_more = 0;
  for (size_t i = 0; i < apart.size(); ++i) {
    norm += std::pow(apart[i], 2);
    of_shared += std::pow(static_cast<double>(shared[i]) - apart[i], 2);
    of_more += std::pow(static_cast<double>(more[i]) - apart[i], 2);
  }
  EXPECT_LT(std::sqrt(of_shared), 1e-6 * std::sqrt(norm));
  EXPECT_LT(std::sqrt(of_more), 1e-6 * std::sqrt(norm));
}

INSTANTIATE_TEST_SUITE_P(Models, Update,
                         ::testing::Values(OddDeepseek(), OddQwen2(), OddQwen3Moe(), OddDeepseekV2(),
                                           OddMistral(), OddMtp()),
                         [](const auto& info) {
                           return std::string(info.param["model_type"]) +
                                  (info.param.contains("trains_mtp") ? "_mtp" : "");
                         });

TEST(ForEachMicrobatch, PacksInOrderUpToTheLimitAndLongerOnesAlone) {
  std::vector<TrainSequence> sequences(5);
  const int64_t lengths[] = {4, 3, 9, 2, 5};  // 3, 2, 8, 1 and 4 rows
  std::vector<const TrainSequence*> all;
  for (int i = 0; i < 5; ++i) {
    sequences[i].tokens = RandomTokens(711, lengths[i], i);
    sequences[i].CountFrom(1 + (i + 1) % 2);
    all.push_back(&sequences[i]);
  }
  sequences[2].ranges = {{2, 4}, {6, 9}};
  std::vector<std::vector<int64_t>> packed;
  size_t next = 0;
  ForEachMicrobatch(all, {.tokens = 5}, [&](const Microbatch& batch, size_t first, size_t count) {
    EXPECT_EQ(first, next);
    next += count;
    packed.push_back(batch.lengths);
    size_t row = 0;
    for (size_t i = first; i < first + count; ++i) {
      for (size_t t = 0; t + 1 < sequences[i].tokens.size(); ++t, ++row) {
        EXPECT_EQ(batch.tokens[row], sequences[i].tokens[t]);
        const auto target = static_cast<int64_t>(t) + 1;
        const bool counts = std::any_of(
            sequences[i].ranges.begin(), sequences[i].ranges.end(),
            [&](const CountedRange& range) { return range.begin <= target && target < range.end; });
        EXPECT_EQ(batch.targets[row], counts ? sequences[i].tokens[t + 1] : -1);
      }
    }
    EXPECT_EQ(batch.tokens.size(), row);
  });
  EXPECT_EQ(next, 5u);
  EXPECT_EQ(packed, (std::vector<std::vector<int64_t>>{{3, 2}, {8}, {1, 4}}));
}

// Samples of prompts of one token, of 5 and of 70, which share blocks of keys; of one group and none.
std::vector<TrainSequence> SamplesOfGroups() {
  std::vector<TrainSequence> sequences;
  const auto add = [&](int64_t group, int64_t prompt, int64_t completion) {
    TrainSequence& sequence = sequences.emplace_back();
    sequence.group = group;
    sequence.prompt_tokens = prompt;
    sequence.tokens = RandomTokens(711, prompt, group);
    const std::vector<int32_t> sampled = RandomTokens(711, completion, 100 * group + completion);
    sequence.tokens.insert(sequence.tokens.end(), sampled.begin(), sampled.end());
    sequence.CountFrom(prompt);
  };
  add(1, 1, 3);
  add(1, 1, 4);
  add(2, 5, 2);  // 6 rows, of which 4 are shared
  add(2, 5, 1);
  add(2, 5, 4);
  add(3, 5, 3);
  add(4, 70, 60);
  add(4, 70, 5);
  add(4, 70, 1);
  add(-1, 70, 5);
  add(-1, 70, 6);
  return sequences;
}

TEST(ForEachMicrobatch, PutsThePromptOfNeighboursInOnceAsLongAsTheyFit) {
  const std::vector<TrainSequence> sequences = SamplesOfGroups();
  std::vector<const TrainSequence*> all;
  for (const TrainSequence& sequence : sequences) all.push_back(&sequence);
  using Rows = std::vector<std::vector<int64_t>>;
  const auto packed = [&](int64_t tokens, int64_t shared) {
    Rows rows;
    size_t next = 0;
    ForEachMicrobatch(all, {tokens, shared}, [&](const Microbatch& batch, size_t first, size_t count) {
      EXPECT_EQ(first, next);
      next += count;
      rows.push_back(batch.lengths);
      const std::vector<int64_t> first_rows = FirstRows(batch);
      EXPECT_EQ(first_rows.size(), count);
      std::vector<bool> seen(batch.tokens.size());
      for (size_t i = 0; i < count; ++i) {
        const TrainSequence& sequence = *all[first + i];
        for (int64_t token = sequence.prompt_tokens; token < sequence.length(); ++token) {
          const int64_t row = first_rows[i] + token - 1;
          EXPECT_EQ(batch.tokens[row], sequence.tokens[token - 1]);
          EXPECT_EQ(batch.targets[row], sequence.tokens[token]);
          EXPECT_FALSE(seen[row]) << "a row of two sequences";
          seen[row] = true;
        }
      }
      for (size_t row = 0; row < seen.size(); ++row) EXPECT_EQ(batch.targets[row] >= 0, seen[row]);
      // Where others go on with it, its rows are the prompt's.
      int64_t row = 0;
      size_t sequence = first;
      for (size_t part = 0; part < batch.lengths.size(); row += batch.lengths[part++]) {
        const std::vector<int32_t>& tokens = all[sequence]->tokens;
        if (batch.positions[part] == 0)
          EXPECT_TRUE(std::equal(tokens.begin(), tokens.begin() + batch.lengths[part], &batch.tokens[row]));
        const bool is_prefix =
            part + 1 < batch.lengths.size() && batch.positions[part + 1] > batch.positions[part];
        sequence += is_prefix ? 0 : 1;
      }
      EXPECT_EQ(row, static_cast<int64_t>(batch.tokens.size()));
    });
    EXPECT_EQ(next, all.size());
    return rows;
  };
  EXPECT_EQ(packed(1, 4096), (Rows{{3}, {4}, {4, 2, 1, 4}, {7}, {69, 60, 5, 1}, {74}, {75}}));
  EXPECT_EQ(packed(1, 10), (Rows{{3}, {4}, {4, 2, 1}, {8}, {7}, {129}, {74}, {70}, {74}, {75}}));
  EXPECT_EQ(packed(18, 11), (Rows{{3, 4, 4, 2, 1, 4}, {7}, {129}, {74}, {70}, {74}, {75}}));
  EXPECT_EQ(packed(1, 0).size(), all.size());
}

TEST(SequenceLogprobs, OfSamplesThatShareAPromptAreThoseOfEachAlone) {
  const std::vector<TrainSequence> sequences = SamplesOfGroups();
  std::vector<const TrainSequence*> all;
  for (const TrainSequence& sequence : sequences) all.push_back(&sequence);
  for (const Json& json : {OddDeepseek(), OddQwen2(), OddQwen3Moe(), OddDeepseekV2(), OddMistral()}) {
    Policy policy(json);
    const auto logprobs_of = [&](int64_t tokens, int64_t shared) {
      std::vector<std::vector<float>> of(all.size());
      SequenceLogprobs(policy.model, all,
                       {.tokens_per_microbatch = tokens, .tokens_per_shared_prompt = shared},
                       [&](size_t i, absl::Span<const float> logprobs) {
                         of[i].assign(logprobs.begin(), logprobs.end());
                       });
      return of;
    };
    const std::vector<std::vector<float>> alone = logprobs_of(1, 0);
    for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(alone[i].size(), all[i]->counted());
    for (const int64_t shared : {10, 140, 4096}) {
      for (const int64_t tokens : {1, 200, 4096})
        EXPECT_EQ(logprobs_of(tokens, shared), alone) << json["model_type"] << " " << shared;
    }
  }
}

// A sequence with a given part in its middle, beside another one: the loss gives each sampled token's logprob
// a derivative of its own, and no other row has any.
TEST(CountedRanges, GiveTheGradientOfTheirTokensAlone) {
  std::vector<TrainSequence> sequences(2);
  sequences[0].tokens = RandomTokens(711, 40, 1);
  sequences[0].ranges = {{5, 12}, {25, 26}, {26, 40}};
  sequences[1].tokens = RandomTokens(711, 9, 2);
  sequences[1].CountFrom(1);
  const std::set<int64_t> given = {0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23};
  const std::vector<const TrainSequence*> both = {&sequences[0], &sequences[1]};
  for (const Json& json : {OddDeepseek(), OddQwen2()}) {
    SCOPED_TRACE(std::string(json["model_type"]));
    Policy policy(json), reference(json);
    Optimizer optimizer(&policy.model);
    Updater updater(&policy.model, &optimizer, {.gradient_leaves = 1}, Mesh::Single());
    std::vector<float> seen;
    updater.Update(
        {both}, kTemperature, OptimizerConfig(), 0.01,
        [&](const TrainSequence&, absl::Span<const float> logprobs, absl::Span<float> dlogprobs, LossSums*) {
          for (size_t i = 0; i < logprobs.size(); ++i)
            dlogprobs[i] = 0.125f * static_cast<float>(seen.size() + i + 1);
          seen.insert(seen.end(), logprobs.begin(), logprobs.end());
        });

    Microbatch batch;
    std::vector<float> derivatives;
    int64_t counted = 0;
    for (const TrainSequence& sequence : sequences) {
      const bool first = &sequence == &sequences[0];
      const auto rows = static_cast<int64_t>(sequence.tokens.size()) - 1;
      batch.lengths.push_back(rows);
      for (int64_t row = 0; row < rows; ++row) {
        const bool counts = !first || !given.contains(row);
        batch.tokens.push_back(sequence.tokens[row]);
        batch.targets.push_back(counts ? sequence.tokens[row + 1] : -1);
        derivatives.push_back(counts ? 0.125f * static_cast<float>(++counted) : 0.0f);
      }
    }
    std::vector<float> gradient(reference.model.weights().GradientFloats()), logprobs(batch.tokens.size());
    reference.model.weights().BindGradients(gradient.data());
    TrainPass pass(&reference.model.stack(), TrainPass::Keep::kAll);
    pass.Logprobs(batch, kTemperature, logprobs.data());
    pass.Backward(derivatives.data());
    reference.model.weights().FoldTiedHead();
    gradient.resize(reference.model.weights().TrainedFloats());
    EXPECT_EQ(updater.gradient(), gradient);
    std::vector<float> of_counted;
    for (size_t row = 0; row < logprobs.size(); ++row)
      if (batch.targets[row] >= 0) of_counted.push_back(logprobs[row]);
    EXPECT_EQ(seen, of_counted);
  }
}

TEST(CountedRanges, OfEveryFormAreCheckedBeforeTheyAreUsed) {
  TrainSequence sequence;
  sequence.tokens = RandomTokens(711, 10, 1);
  const TrainSequence* const one[] = {&sequence};
  const auto pack = [&](std::vector<CountedRange> ranges) {
    sequence.ranges = std::move(ranges);
    ForEachMicrobatch(one, {}, [](const Microbatch&, size_t, size_t) {});
  };
  pack({{1, 3}, {3, 4}, {9, 10}});
  EXPECT_THROW(pack({}), InternalError);
  EXPECT_THROW(pack({{0, 10}}), InternalError) << "the first token has no logprob";
  EXPECT_THROW(pack({{1, 9}}), InternalError) << "tokens behind the last that counts";
  EXPECT_THROW(pack({{1, 11}}), InternalError);
  EXPECT_THROW(pack({{4, 6}, {5, 10}}), InternalError);
  EXPECT_THROW(pack({{4, 4}, {5, 10}}), InternalError);
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// Whole GRPO updates against the plain PyTorch run in f64 of scripts/grpo_golden.py.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

#include "core/json/json.h"
#include "gtest/gtest.h"
#include "kernels/backends/cpu.h"
#include "model/files/hugging_face.h"
#include "model/files/safetensors.h"
#include "trainer/update_batch.h"

namespace temper {
namespace {

template <class T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.Find(name);
  EXPECT_NE(info, nullptr) << name;
  if (info == nullptr) return {};
  std::vector<T> values(info->elements);
  EXPECT_EQ(info->end - info->begin, static_cast<int64_t>(values.size() * sizeof(T))) << name;
  EXPECT_TRUE(file.ReadBytes(*info, values.data()).ok());
  return values;
}

// The golden's samples as a rollout's groups, and their rewards.
struct Samples {
  std::vector<Group> groups;
  Rewards rewards;
  std::vector<std::vector<float>> ref_logprobs;  // by sample
};

Samples ReadSamples(const SafetensorsFile& file) {
  const auto tokens = Values<int64_t>(file, "tokens"), lengths = Values<int64_t>(file, "lengths"),
             prompts = Values<int64_t>(file, "prompts"), groups = Values<int64_t>(file, "groups");
  const auto rewards = Values<double>(file, "rewards");
  const auto old_logprobs = Values<float>(file, "old_logprobs"),
             ref_logprobs = Values<float>(file, "ref_logprobs");
  Samples samples;
  auto token = tokens.begin();
  auto old = old_logprobs.begin(), ref = ref_logprobs.begin();
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (groups[i] == static_cast<int64_t>(samples.groups.size())) {
      samples.groups.emplace_back().prompt.tokens.assign(token, token + prompts[i]);
      samples.rewards.emplace_back();
    }
    const int64_t completion = lengths[i] - prompts[i];
    Trajectory& trajectory = samples.groups.back().trajectories.emplace_back();
    trajectory.tokens.assign(token + prompts[i], token + lengths[i]);
    trajectory.logprobs.assign(old, old + completion);
    trajectory.Extend(Segment::Kind::kSampled, 0, completion);
    samples.rewards.back().emplace_back(rewards[i]);
    samples.ref_logprobs.emplace_back(ref, ref + completion);
    token += lengths[i], old += completion, ref += completion;
  }
  return samples;
}

RlConfig ConfigOf(const Json& json) {
  RlConfig config;
  config.loss = {.clip_low = json["clip_low"], .clip_high = json["clip_high"], .kl_coef = json["kl_coef"]};
  config.advantage.epsilon = json["advantage_epsilon"];
  config.skip_groups_without_spread = false;
  config.optimizer = {.learning_rate = json["learning_rate"],
                      .beta1 = json["beta1"],
                      .beta2 = json["beta2"],
                      .epsilon = json["epsilon"],
                      .weight_decay = json["weight_decay"],
                      .clip_norm = json["clip_norm"]};
  config.gradient_leaves = 4;
  config.tokens_per_microbatch = 40;
  return config;
}

void ExpectNear(double got, const Json& expected, const char* what) {
  EXPECT_NEAR(got, expected.get<double>(), 1e-5 * std::max(1.0, std::abs(expected.get<double>()))) << what;
}

// Each entry within 1e-5 of the largest change of any parameter, and the rounding of the weight itself: it is
// f32 and written twice, decayed and stepped.
class Changes {
 public:
  Changes(const SafetensorsFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {
    for (const TensorInfo& info : file.tensors()) {
      if (info.name.rfind(prefix_, 0) != 0 || info.dtype != "F32") continue;
      for (float entry : Values<float>(file, info.name)) largest_ = std::max(largest_, std::abs(entry));
    }
    EXPECT_GT(largest_, 1e-3);
  }

  void Expect(const Parameter& after, const Parameter& before) const {
    const float *was = before.value.const_data_ptr<float>(), *is = after.value.const_data_ptr<float>();
    const int64_t n = after.value.numel();
    const auto entries = Values<float>(file_, prefix_ + after.name + "/entries");
    const auto whole = Values<double>(file_, prefix_ + after.name + "/norm_and_product");
    ASSERT_EQ(whole.size(), 2u);
    ASSERT_EQ(static_cast<int64_t>(entries.size()), std::min<int64_t>(n, 96));
    constexpr double kUlp = std::numeric_limits<float>::epsilon();
    for (size_t k = 0; k < entries.size(); ++k) {
      const int64_t i = static_cast<int64_t>(k) * 7919 % n;
      EXPECT_NEAR(static_cast<double>(is[i]) - was[i], entries[k],
                  1e-5 * largest_ + kUlp * std::abs(static_cast<double>(is[i])))
          << prefix_ << after.name << " [" << i << "]";
    }
    double squares = 0, product = 0, rounding = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double change = static_cast<double>(is[i]) - was[i];
      squares += change * change;
      product += change * std::cos(static_cast<double>(i));
      rounding += std::pow(1e-5 * largest_ + kUlp * is[i], 2);
    }
    EXPECT_NEAR(std::sqrt(squares), whole[0], std::sqrt(rounding)) << prefix_ << after.name;
    EXPECT_NEAR(product, whole[1], std::sqrt(rounding)) << prefix_ << after.name;
  }

 private:
  const SafetensorsFile& file_;
  const std::string prefix_;
  float largest_ = 0;
};

class GrpoGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(GrpoGolden, TwoUpdatesAreThoseOfPyTorchInF64) {
  auto policy = ReadPolicy(std::string("tests/goldens/") + GetParam());
  ASSERT_TRUE(policy.ok()) << policy.status();
  const std::string path = std::string("tests/goldens/grpo/") + GetParam() + ".safetensors";
  auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const Json golden = Json::parse((*file)->metadata().at("golden"));
  const RlConfig config = ConfigOf(golden["config"]);
  Samples samples = ReadSamples(**file);
  ASSERT_EQ(samples.groups.size(), 3u);

  ThreadPool pool(2);
  kernels::CpuBackend backend(&pool);
  CausalLm model(policy->config, policy->parameters, &backend);
  Optimizer optimizer(&model);
  StepOptions options{config.tokens_per_microbatch, config.gradient_leaves};
  options.tokens_per_shared_prompt = config.tokens_per_shared_prompt;
  Updater updater(&model, &optimizer, options, Mesh::Single());
  UpdateBatch batch = MakeUpdateBatch(samples.groups, samples.rewards, {0, 1, 2}, config);
  FillTokens(samples.groups, &batch);
  ASSERT_EQ(batch.sequences.size(), samples.ref_logprobs.size());
  for (size_t i = 0; i < batch.sequences.size(); ++i)
    batch.sequences[i].ref_logprobs = samples.ref_logprobs[i];
  const Leaves leaves = DealToLeaves(batch, config.gradient_leaves);
  int64_t tokens = 0;
  for (const TrainSequence& sequence : batch.sequences) tokens += sequence.length() - 1;
  const auto loss = [&](const TrainSequence& sequence, absl::Span<const float> logprobs,
                        absl::Span<float> dlogprobs, LossSums* sums) {
    PolicyLoss(config.loss, batch.denominators, sequence, logprobs, dlogprobs, sums);
  };

  int64_t version = 0;
  for (const Json& expected : golden["updates"]) {
    const Parameters before = model.parameters().Clone();
    const StepResult result =
        updater.Update(leaves, golden["config"]["temperature"].get<float>(), config.optimizer,
                       LearningRate(config.optimizer, version, 0), loss);
    EXPECT_LT(result.local_tokens, tokens) << "each group's prompt goes through once";
    ExpectNear(result.sums.loss, expected["loss"], "loss");
    ExpectNear(result.sums.kl / result.sums.tokens, expected["kl"], "kl");
    EXPECT_DOUBLE_EQ(result.sums.clipped / result.sums.tokens, expected["clip_share"].get<double>());
    EXPECT_GT(result.sums.clipped, 0);
    ExpectNear(result.gradient_norm, expected["gradient_norm"], "gradient norm");
    const Changes changes(**file, std::to_string(version) + "/");
    for (size_t i = 0; i < before.list().size(); ++i) {
      const Parameter& after = model.parameters().list()[i];
      if (after.trained)
        changes.Expect(after, before.list()[i]);
      else
        EXPECT_TRUE(after.value.equal(before.list()[i].value)) << after.name;
    }
    model.WeightsChanged(++version);
  }
  EXPECT_EQ(version, 2);
}

INSTANTIATE_TEST_SUITE_P(Models, GrpoGolden, ::testing::Values("qwen2", "deepseek_v3_q_lora"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace temper

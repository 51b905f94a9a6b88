// SPDX-License-Identifier: Apache-2.0
// Logits against Hugging Face Transformers, for the models of scripts/goldens.py.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "gtest/gtest.h"
#include "model/causal_lm.h"
#include "model/hugging_face.h"
#include "model/safetensors.h"

namespace temper {
namespace {

template <class T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* info = file.Find(name);
  EXPECT_NE(info, nullptr) << name;
  std::vector<T> values(info->elements);
  EXPECT_EQ(info->end - info->begin, static_cast<int64_t>(values.size() * sizeof(T)));
  EXPECT_TRUE(file.ReadBytes(*info, values.data()).ok());
  return values;
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, LogitsAreAsNearToTheF64RunAsTransformersInF32) {
  const std::string directory = std::string("tests/goldens/") + GetParam();
  auto policy = ReadPolicy(directory);
  ASSERT_TRUE(policy.ok()) << policy.status();
  auto file = SafetensorsFile::Open(directory + "/golden.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<int64_t> tokens = Values<int64_t>(**file, "tokens"),
                             columns = Values<int64_t>(**file, "columns");
  const std::vector<double> golden = Values<double>(**file, "logits");
  const double f32_error = std::strtod((*file)->metadata().at("f32_error").c_str(), nullptr);
  ASSERT_EQ(golden.size(), tokens.size() * columns.size());

  ThreadPool pool(2);
  const int64_t vocabulary = policy->config.vocab_size;
  CausalLm model(policy->config, policy->parameters, &pool);
  const KvCache cache(policy->config, 2);
  const std::vector<int32_t> pages = {1, 0};
  TokenBatch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.sequences = {{static_cast<int64_t>(tokens.size()), 0, pages}};
  std::vector<int32_t> rows(tokens.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> logits(rows.size() * vocabulary);
  model.Forward(batch, cache, rows, logits.data());

  double error = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    for (size_t c = 0; c < columns.size(); ++c) {
      const double difference =
          std::abs(logits[row * vocabulary + columns[c]] - golden[row * columns.size() + c]);
      error = std::isnan(difference) ? INFINITY : std::max(error, difference);
    }
  }
  std::printf("%s: error %.3e, Transformers in f32 %.3e\n", GetParam(), error, f32_error);
  EXPECT_LE(error, 2 * f32_error);
  EXPECT_LE(error, 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         ::testing::Values("deepseek_v3_q_lora", "deepseek_v3_yarn", "qwen2", "llama"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace temper

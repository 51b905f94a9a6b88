// SPDX-License-Identifier: Apache-2.0
// Logits against Hugging Face Transformers, for the models of scripts/goldens.py.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "kernels/backends/cpu.h"
#include "model/causal_lm.h"
#include "model/files/hugging_face.h"
#include "model/files/safetensors.h"

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

// The largest difference from the f64 run in a file of scripts/goldens.py, and that of Transformers' f32 run.
struct Errors {
  double ours = 0, theirs = 0;
};

Errors ErrorsOf(const std::string& directory, const std::string& golden_file) {
  auto policy = ReadPolicy(directory);
  EXPECT_TRUE(policy.ok()) << policy.status();
  auto file = SafetensorsFile::Open(golden_file);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!policy.ok() || !file.ok()) return {INFINITY, 0};
  const std::vector<int64_t> tokens = Values<int64_t>(**file, "tokens"),
                             chosen = Values<int64_t>(**file, "rows"),
                             columns = Values<int64_t>(**file, "columns");
  const std::vector<double> golden = Values<double>(**file, "logits");
  EXPECT_EQ(golden.size(), chosen.size() * columns.size());

  ThreadPool pool(2);
  kernels::CpuBackend backend(&pool);
  const int64_t length = static_cast<int64_t>(tokens.size());
  CausalLm model(policy->config, policy->parameters, &backend);
  std::vector<int32_t> pages((length + kernels::kAttentionBlock - 1) / kernels::kAttentionBlock);
  std::iota(pages.rbegin(), pages.rend(), 0);
  const KvCache cache(policy->config, static_cast<int64_t>(pages.size()), backend);
  TokenBatch batch;
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.sequences = {{length, 0, pages}};
  const std::vector<int32_t> rows(chosen.begin(), chosen.end());
  const Matrix logits = model.Forward(batch, cache, rows);

  Errors errors{.theirs = std::strtod((*file)->metadata().at("f32_error").c_str(), nullptr)};
  for (size_t row = 0; row < rows.size(); ++row) {
    for (size_t c = 0; c < columns.size(); ++c) {
      const double difference =
          std::abs(logits.Row(static_cast<int64_t>(row))[columns[c]] - golden[row * columns.size() + c]);
      errors.ours = std::isnan(difference) ? INFINITY : std::max(errors.ours, difference);
    }
  }
  return errors;
}

class Golden : public ::testing::TestWithParam<const char*> {};

TEST_P(Golden, LogitsAreAsNearToTheF64RunAsTransformersInF32) {
  const std::string directory = std::string("tests/goldens/") + GetParam();
  const Errors errors = ErrorsOf(directory, directory + "/golden.safetensors");
  std::printf("%s: error %.3e, Transformers in f32 %.3e\n", GetParam(), errors.ours, errors.theirs);
  EXPECT_LE(errors.ours, 2 * errors.theirs);
  EXPECT_LE(errors.ours, 2e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         ::testing::Values("deepseek_v2", "deepseek_v3_q_lora", "deepseek_v3_yarn", "llama",
                                           "mistral", "qwen2", "qwen3", "qwen3_moe"),
                         [](const auto& info) { return std::string(info.param); });

// For tests/integration/transformers_parity.py, which reads what is printed: TEMPER_GOLDEN_FILES names golden
// files, each in its model's directory.
TEST(GoldenFiles, AreMeasured) {
  const char* files = std::getenv("TEMPER_GOLDEN_FILES");
  if (files == nullptr) GTEST_SKIP() << "TEMPER_GOLDEN_FILES names no files";
  for (const absl::string_view file : absl::StrSplit(files, ':')) {
    const Errors errors = ErrorsOf(std::string(file.substr(0, file.rfind('/'))), std::string(file));
    std::printf("golden %s %.6e %.6e\n", std::string(file).c_str(), errors.ours, errors.theirs);
  }
}

}  // namespace
}  // namespace temper

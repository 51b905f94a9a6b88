// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include "core/files/file.h"
#include "gmock/gmock.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A model directory whose config.json names two ends, with the tokenizer of configs/tiny/base, whose own is
// 2, or without one.
std::string Written(const std::string& tokenizer) {
  const std::string directory = ::testing::TempDir() + "policy";
  Json json = OddLlama();
  json["eos_token_id"] = {7, 5};
  const ModelConfig config = Parsed(json);
  EXPECT_TRUE(RemoveTree(directory).ok());
  EXPECT_TRUE(MakeDirectories(directory).ok());
  EXPECT_TRUE(WritePolicy(config, RandomParameters(config), tokenizer, directory).ok());
  EXPECT_TRUE(RemoveTree(directory + "/generation_config.json").ok());
  return directory;
}

TEST(OpenPolicy, EndsWithWhatItsModelOrItsTokenizerNames) {
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  const auto policy = OpenPolicy(Written("configs/tiny/base"), &backend);
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_THAT(policy->tokenizer->eos_ids(), ElementsAre(2, 5, 7));
}

TEST(OpenPolicy, LacksATokenizerWhereThatIsFine) {
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  const std::string directory = Written("");
  const auto policy = OpenPolicy(directory, &backend, {.may_lack_tokenizer = true});
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_EQ(policy->tokenizer, nullptr);
  EXPECT_THAT(std::string(OpenPolicy(directory, &backend).status().message()), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace temper

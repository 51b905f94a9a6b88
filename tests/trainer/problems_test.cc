// SPDX-License-Identifier: Apache-2.0
#include "trainer/problems.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

std::vector<std::string> Ids(const std::vector<Prompt>& prompts) {
  std::vector<std::string> ids;
  for (const Prompt& prompt : prompts) ids.push_back(prompt.id);
  return ids;
}

class Problem : public ::testing::Test {
 protected:
  Problem() : tokenizer_(*Tokenizer::Load("configs/tiny/base")) {}
  std::unique_ptr<ProblemSource> Open(const ProblemsConfig& config, const std::string& stream = "zero",
                                      tiny::Split split = tiny::Split::kTrain, uint64_t seed = 1) {
    auto source = ProblemSource::Open(config, *tokenizer_, seed, stream, split);
    EXPECT_TRUE(source.ok()) << source.status();
    return *std::move(source);
  }
  std::vector<Prompt> Take(const ProblemSource& source, int64_t first, int64_t count) {
    auto prompts = source.Take(first, count);
    EXPECT_TRUE(prompts.ok()) << prompts.status();
    return prompts.value_or(std::vector<Prompt>());
  }

  TestFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(Problem, OfTheGeneratorAreAFunctionOfSeedStreamAndPlace) {
  const auto source = Open({});
  const std::vector<Prompt> prompts = Take(*source, 64, 32);
  EXPECT_EQ(Ids(Take(*Open({}), 64, 32)), Ids(prompts));
  EXPECT_NE(Ids(Take(*Open({}, "reason"), 64, 32)), Ids(prompts));
  EXPECT_NE(Ids(Take(*Open({}, "zero", tiny::Split::kTrain, 2), 64, 32)), Ids(prompts));
  EXPECT_NE(Ids(Take(*source, 0, 32)), Ids(prompts));
  EXPECT_EQ(source->size(), -1);
  for (const Prompt& prompt : prompts) {
    EXPECT_EQ(tokenizer_->Decode(prompt.tokens, false), "<bos>" + prompt.text);
    EXPECT_TRUE(tiny::IsCorrect(prompt, prompt.answer));
  }
}

TEST_F(Problem, HeldOutIsNeverInATrainStreamNorTwiceInACall) {
  std::set<std::string> trained;
  for (const char* stream : {"zero", "reason"}) {
    for (int64_t call = 0; call < 8; ++call) {
      const std::vector<std::string> ids = Ids(Take(*Open({}, stream), call * 64, 64));
      EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 64u);
      for (const std::string& id : ids) EXPECT_EQ(tiny::SplitOf(id), tiny::Split::kTrain) << id;
      trained.insert(ids.begin(), ids.end());
    }
  }
  const std::vector<std::string> held_out =
      Ids(Take(*Open({}, "evaluation/held_out", tiny::Split::kHeldOut), 0, 256));
  EXPECT_EQ(std::set<std::string>(held_out.begin(), held_out.end()).size(), 256u);
  for (const std::string& id : held_out) {
    EXPECT_EQ(tiny::SplitOf(id), tiny::Split::kHeldOut) << id;
    EXPECT_EQ(trained.count(id), 0u) << id;
  }
}

TEST_F(Problem, OfAGeneratorThatHasTooFewIsAnErrorThatSaysSo) {
  ProblemsConfig config;
  config.chain_steps = {1, 1};
  config.find_x_share = 0;
  const auto prompts = Open(config)->Take(0, 1000);
  EXPECT_THAT(std::string(prompts.status().message()),
              ::testing::HasSubstr("fewer than 1000 different problems of 1-1 (chain)"));
}

TEST_F(Problem, OfAFileComesOnceInEachPassInAnOrderOfItsOwn) {
  std::string text;
  for (int i = 0; i < 7; ++i)
    absl::StrAppend(&text, "{\"id\":\"row", i, "\",\"question\":\"Q ", i, "\",\"answer\":\"#### ", i,
                    "\"}\n");
  ASSERT_TRUE(WriteFileAtomic(folder_ / "p.jsonl", text).ok());
  ProblemsConfig config;
  config.file = folder_ / "p.jsonl";
  const auto source = Open(config);
  EXPECT_EQ(source->size(), 7);
  std::vector<std::vector<std::string>> passes;
  for (int64_t pass = 0; pass < 4; ++pass) {
    passes.push_back(Ids(Take(*source, pass * 7, 7)));
    std::vector<std::string> sorted = passes.back();
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(sorted, (std::vector<std::string>{"row0", "row1", "row2", "row3", "row4", "row5", "row6"}));
  }
  EXPECT_EQ(std::set<std::vector<std::string>>(passes.begin(), passes.end()).size(), 4u);
  EXPECT_EQ(Ids(Take(*Open(config), 14, 7)), passes[2]);
  // Over the turn of a pass a problem may come twice: the second has an id of its own.
  const std::vector<std::string> long_call = Ids(Take(*source, 3, 14));
  EXPECT_EQ(std::set<std::string>(long_call.begin(), long_call.end()).size(), 14u);
  EXPECT_EQ(long_call[0], passes[0][3]);
}

TEST_F(Problem, OfAnEmptyOrMissingFileIsAnErrorThatNamesIt) {
  ASSERT_TRUE(WriteFileAtomic(folder_ / "empty.jsonl", "\n").ok());
  for (const char* name : {"empty.jsonl", "missing.jsonl"}) {
    ProblemsConfig config;
    config.file = folder_ / name;
    const auto source = ProblemSource::Open(config, *tokenizer_, 1, "zero", tiny::Split::kTrain);
    EXPECT_THAT(std::string(source.status().message()), ::testing::HasSubstr(name));
  }
}

}  // namespace
}  // namespace temper

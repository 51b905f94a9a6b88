// SPDX-License-Identifier: Apache-2.0
#include "trainer/inputs/problems.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/stop.h"
#include "data/tasks/tiny/tiny.h"
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
                                      Split split = Split::kTrain, uint64_t seed = 1,
                                      ContentKeys exclude = {}) {
    RecipeConfig recipe;
    recipe.seed = static_cast<int64_t>(seed);
    excluded_.push_back(std::make_unique<ContentKeys>(std::move(exclude)));
    ProblemFileOptions options = config.FileOptions();
    options.side = split;
    options.exclude = excluded_.back().get();
    std::vector<std::shared_ptr<const ProblemFile>> files;
    for (const std::string& path : config.files) {
      auto file = ProblemFile::Open(path, *tokenizer_, options);
      EXPECT_TRUE(file.ok()) << file.status();
      files.push_back(*std::move(file));
    }
    auto source = ProblemSource::Make(config, *tokenizer_, recipe, {stream, split, *excluded_.back()}, files);
    EXPECT_TRUE(source.ok()) << source.status();
    return *std::move(source);
  }
  std::vector<Prompt> Take(ProblemSource& source, int64_t first, int64_t count) {
    auto prompts = source.Take(first, count);
    EXPECT_TRUE(prompts.ok()) << prompts.status();
    return prompts.value_or(std::vector<Prompt>());
  }

  TestFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::unique_ptr<ContentKeys>> excluded_;
};

// The tiny generator, as recipes name it.
ProblemsConfig Tiny() {
  ProblemsConfig config;
  config.generator = ProblemGenerator::kTiny;
  return config;
}

TEST_F(Problem, OfTheGeneratorAreAFunctionOfSeedStreamAndPlace) {
  const auto source = Open(Tiny());
  const std::vector<Prompt> prompts = Take(*source, 64, 32);
  EXPECT_EQ(Ids(Take(*Open(Tiny()), 64, 32)), Ids(prompts));
  EXPECT_NE(Ids(Take(*Open(Tiny(), "reason"), 64, 32)), Ids(prompts));
  EXPECT_NE(Ids(Take(*Open(Tiny(), "zero", Split::kTrain, 2), 64, 32)), Ids(prompts));
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
      const std::vector<std::string> ids = Ids(Take(*Open(Tiny(), stream), call * 64, 64));
      EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 64u);
      for (const std::string& id : ids) EXPECT_EQ(tiny::SplitOf(id), Split::kTrain) << id;
      trained.insert(ids.begin(), ids.end());
    }
  }
  const std::vector<std::string> held_out =
      Ids(Take(*Open(Tiny(), "evaluation/held_out", Split::kHeldOut), 0, 256));
  EXPECT_EQ(std::set<std::string>(held_out.begin(), held_out.end()).size(), 256u);
  for (const std::string& id : held_out) {
    EXPECT_EQ(tiny::SplitOf(id), Split::kHeldOut) << id;
    EXPECT_EQ(trained.count(id), 0u) << id;
  }
}

TEST_F(Problem, OfAGeneratorThatHasTooFewIsAnErrorThatSaysSo) {
  ProblemsConfig config = Tiny();
  config.chain_steps = {1, 1};
  config.find_x_share = 0;
  const auto prompts = Open(config)->Take(0, 1000);
  EXPECT_THAT(std::string(prompts.status().message()),
              ::testing::HasSubstr("fewer than 1000 different problems of 1-1 (chain)"));
}

TEST_F(Problem, ThatTakeLongToDrawAreLeftWhereAStopIsAskedFor) {
  const auto source = Open(Tiny());
  const StopForTest stop;
  EXPECT_TRUE(absl::IsCancelled(source->Take(0, 1'000'000).status()));
}

TEST_F(Problem, OfProceduralTasksAreMixedAndTemplatedAndHeldOutApart) {
  ProblemsConfig config;
  config.tasks = {"countdown", "arithmetic"};
  config.weights = {1, 3};
  config.level = 5;  // countdown has 4
  config.prompt.prompt_template = PromptTemplate::kR1;
  const std::vector<Prompt> prompts = Take(*Open(config), 0, 200);
  EXPECT_EQ(Ids(Take(*Open(config), 50, 1)), std::vector<std::string>{prompts[50].id});
  int64_t countdown = 0;
  std::set<std::string> ids;
  for (const Prompt& prompt : prompts) {
    countdown += prompt.task == "countdown";
    ids.insert(prompt.id);
    EXPECT_EQ(prompt.text.substr(prompt.text.size() - 7), "<think>");
    EXPECT_FALSE(prompt.tokens.empty());
  }
  EXPECT_GT(countdown, 30);
  EXPECT_LT(countdown, 70);
  EXPECT_EQ(ids.size(), 200u);
  for (const Prompt& prompt : Take(*Open(config, "zero", Split::kHeldOut), 0, 50))
    EXPECT_EQ(ids.count(prompt.id), 0u);
}

TEST_F(Problem, ThatAnEvaluationFileAsksAreNotMadeByTheGenerators) {
  ProblemsConfig tasks, tiny = Tiny();
  tasks.tasks = {"countdown"};
  for (const ProblemsConfig& config : {tasks, tiny}) {
    const std::vector<Prompt> prompts = Take(*Open(config), 0, 20);
    const ContentKeys asked = {ContentKey(prompts[3].text)};
    const std::vector<std::string> ids = Ids(Take(*Open(config, "zero", Split::kTrain, 1, asked), 0, 20));
    std::vector<std::string> expected = Ids(prompts);
    EXPECT_NE(ids[3], expected[3]);
    expected[3] = ids[3];
    EXPECT_EQ(ids, expected);
  }
}

TEST_F(Problem, OfATaskInTheR1TemplateHasTheTokensOfTheTemplate) {
  ProblemsConfig config;
  config.tasks = {"sudoku_4x4"};
  const Prompt bare = Take(*Open(config), 0, 1)[0];
  config.prompt.prompt_template = PromptTemplate::kR1;
  const Prompt prompt = Take(*Open(config), 0, 1)[0];
  EXPECT_EQ(prompt.text, R1Prompt(bare.text));
  EXPECT_EQ(prompt.tokens, EncodeR1(bare.text, *tokenizer_).value());
}

TEST_F(Problem, OfAFileComesOnceInEachPassInAnOrderOfItsOwn) {
  std::string text;
  for (int i = 0; i < 7; ++i)
    absl::StrAppend(&text, "{\"id\":\"row", i, "\",\"question\":\"Q ", i, "\",\"answer\":\"#### ", i,
                    "\"}\n");
  ASSERT_TRUE(WriteFileAtomic(folder_ / "p.jsonl", text).ok());
  ProblemsConfig config;
  config.files = {folder_ / "p.jsonl"};
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

// A file of `count` problems: "NAME 0?", ...
std::string WriteProblems(const TestFolder& folder, const std::string& name, int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    absl::StrAppend(&text, "{\"question\":\"", name, " ", i, "?\",\"answer\":", i, "}\n");
  EXPECT_TRUE(WriteFileAtomic(folder / name, text).ok());
  return folder / name;
}

TEST_F(Problem, OfSeveralFilesComeByTheirWeightsAndGoOnAnywhere) {
  ProblemsConfig config;
  config.files = {WriteProblems(folder_, "a", 40), WriteProblems(folder_, "b", 10)};
  config.weights = {1, 3};
  const auto source = Open(config);
  EXPECT_EQ(source->size(), 50);
  const std::vector<std::string> all = Ids(Take(*source, 0, 400));
  int64_t from_b = 0;
  for (const std::string& id : all) from_b += id.starts_with("1/") ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(from_b), 300, 30);
  // Each pass over a file has each of its problems once.
  std::vector<std::string> of_a;
  for (const std::string& id : all) {
    if (id.starts_with("0/")) of_a.push_back(id.substr(0, id.find('\'')));
  }
  ASSERT_GE(of_a.size(), 40u);
  EXPECT_EQ(std::set<std::string>(of_a.begin(), of_a.begin() + 40).size(), 40u);
  // Another source that starts in the middle, or goes back, gives the same.
  const auto resumed = Open(config);
  for (int64_t first : {237, 12, 300}) {
    const std::vector<std::string> ids = Ids(Take(*resumed, first, 5));
    for (int64_t i = 0; i < 5; ++i)
      EXPECT_EQ(ids[i].substr(0, ids[i].find('\'')), all[first + i].substr(0, all[first + i].find('\'')));
  }
  // Without weights, by the files' sizes.
  config.weights.clear();
  const std::vector<std::string> by_size = Ids(Take(*Open(config), 0, 400));
  from_b = std::count_if(by_size.begin(), by_size.end(), [](const auto& id) { return id.starts_with("1/"); });
  EXPECT_NEAR(static_cast<double>(from_b), 80, 30);
}

TEST_F(Problem, OfAFileAreHeldOutByTheirContentWhateverFileTheyAreIn) {
  ProblemsConfig config;
  config.files = {WriteProblems(folder_, "a", 200)};
  config.held_out_share = 0.25;
  const auto train = Open(config), held_out = Open(config, "zero", Split::kHeldOut);
  EXPECT_EQ(train->size() + held_out->size(), 200);
  EXPECT_NEAR(static_cast<double>(held_out->size()), 50, 25);
  std::set<std::string> asked;
  for (const Prompt& prompt : Take(*held_out, 0, held_out->size())) asked.insert(prompt.text);
  for (const Prompt& prompt : Take(*train, 0, train->size())) EXPECT_EQ(asked.count(prompt.text), 0u);
  // The same problems in another file, in other letters, in another order: the same sides.
  std::string copy;
  for (int i = 199; i >= 0; --i)
    absl::StrAppend(&copy, "{\"problem\":\" A  ", i, " ?\",\"id\":\"x", i, "\"}\n");
  ASSERT_TRUE(WriteFileAtomic(folder_ / "copy", copy).ok());
  config.files = {folder_ / "copy"};
  EXPECT_EQ(Open(config)->size(), train->size());
}

TEST_F(Problem, OfATaskTakesASuffix) {
  ProblemsConfig config;
  config.tasks = {"arithmetic"};
  const Prompt bare = Take(*Open(config), 0, 1)[0];
  config.prompt.suffix = "\nBox it.";
  const Prompt prompt = Take(*Open(config), 0, 1)[0];
  EXPECT_EQ(prompt.text, bare.text + "\nBox it.");
  EXPECT_EQ(prompt.tokens, tokenizer_->Encode(prompt.text).value());
  EXPECT_EQ(prompt.id, bare.id);
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// problems: rows of procedural tasks, which read back as a file of problems.
#include <set>

#include "data/dataset/dataset.h"
#include "data/tasks/procedural.h"
#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

TEST(Problems, OfEachTaskAreRowsThatReadBackAndAreJudged) {
  const auto tokenizer = Tokenizer::Load(kTinyTokenizer);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const Folder folder;
  for (const std::string& task : procedural::TaskNames()) {
    const Ran ran = RunCommand("problems", {"--task", task, "--level", "2", "--count", "3"});
    ASSERT_TRUE(ran.status.ok()) << ran.status;
    ASSERT_EQ(ran.lines().size(), 3u);
    const auto file = ProblemFile::Open(folder.Write("rows.jsonl", ran.out), **tokenizer, {});
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->fields(), "problem, answer");
    ASSERT_EQ((*file)->size(), 3);
    for (int64_t i = 0; i < 3; ++i) {
      const Prompt prompt = (*file)->Read(i).value();
      EXPECT_EQ(prompt.task, task);
      EXPECT_EQ(Json::parse(prompt.fields)["level"], 2);
      const auto problem = procedural::Problem::Of(prompt);
      ASSERT_TRUE(problem.has_value());
      EXPECT_EQ(problem->Fault(), "");
    }
  }
}

TEST(Problems, AreAFunctionOfSeedAndPlaceAndTheSidesShareNone) {
  const auto ids = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--task", "countdown", "--count", "200"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::set<std::string> ids;
    for (const std::string& line : Lines("problems", arguments)) ids.insert(Json::parse(line)["id"]);
    return ids;
  };
  const std::set<std::string> train = ids({});
  EXPECT_EQ(ids({"--seed", "0", "--split", "train"}), train);
  EXPECT_NE(ids({"--seed", "1"}), train);
  EXPECT_GT(train.size(), 150u);
  const std::set<std::string> held_out = ids({"--split", "held_out"});
  EXPECT_GT(held_out.size(), 150u);
  for (const std::string& id : held_out) EXPECT_EQ(train.count(id), 0u) << id;
  // The first rows do not change with their number.
  const std::vector<std::string> three = Lines("problems", {"--task", "sudoku_4x4", "--count", "3"});
  const std::vector<std::string> one = Lines("problems", {"--task", "sudoku_4x4", "--count", "1"});
  EXPECT_EQ(one, std::vector<std::string>{three[0]});
}

TEST(Problems, ThatNobodyCanMakeAreRefusedBeforeTheFirstRow) {
  struct Mistake {
    std::vector<std::string> arguments;
    const char* message;
  };
  const Mistake mistakes[] = {
      {{}, "task"},
      {{"--task", "countdwon"}, "task countdwon is none of arithmetic, countdown, equations"},
      {{"--task", "countdown", "--level", "5"}, "task countdown has levels 1 to 4"},
      {{"--task", "countdown", "--level", "0"}, "level"},
      {{"--task", "countdown", "--count", "0"}, "count"},
      {{"--task", "countdown", "--split", "test"}, "split: expected one of train, held_out"},
      {{"--task", "countdown", "--levle", "2"}, "did you mean --level?"},
  };
  for (const Mistake& mistake : mistakes) {
    const Ran ran = RunCommand("problems", mistake.arguments);
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(mistake.message));
    EXPECT_EQ(ran.out, "");
  }
}

}  // namespace
}  // namespace temper

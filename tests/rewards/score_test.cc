// SPDX-License-Identifier: Apache-2.0
#include "rewards/score.h"

#include "gmock/gmock.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

std::string Score(const char* row, const char* rules, const char* mode = "", bool raw = false) {
  const auto json = ParseJson(row, "in:3");
  const auto made = RulesByName(rules, mode);
  if (!made.ok()) return std::string(made.status().message());
  const auto scored = ScoreRow(*json, *made, raw, "in:3");
  return scored.ok() ? DumpJson(*scored) : std::string(scored.status().message());
}

TEST(ScoreRow, IsAVerdict) {
  EXPECT_EQ(Score(R"({"completion":"x </think> <answer> 0.5 </answer>","answer":"1/2"})", "accuracy"),
            R"({"verdict":"correct","score":1.0,"extracted":"0.5","reason":""})");
  EXPECT_EQ(Score(R"({"completion":"x </think> <answer> 5 </answer>","answer":4})", "accuracy"),
            R"({"verdict":"wrong","score":0.0,"extracted":"5","reason":"5 is not 4"})");
}

TEST(ScoreRow, OfSeveralRulesIsAnObjectByRule) {
  EXPECT_EQ(
      Score(R"({"completion":"x </think> 5","answer":"5","stop":"length"})", "format, accuracy"),
      R"({"format":{"verdict":"malformed","score":0.0,"extracted":"","reason":"cut by length; no <answer>"},)"
      R"("accuracy":{"verdict":"no_answer","score":0.0,"extracted":"","reason":"cut by length before <answer>"}})");
}

TEST(ScoreRow, TakesModesAndRawAnswers) {
  EXPECT_THAT(Score(R"({"completion":"so 5","answer":"5"})", "accuracy"), HasSubstr("no_answer"));
  EXPECT_THAT(Score(R"({"completion":"so 5","answer":"5"})", "accuracy", "lenient"),
              HasSubstr("\"correct\""));
  EXPECT_THAT(Score(R"({"completion":"5","answer":"5"})", "accuracy", "", true), HasSubstr("\"correct\""));
  EXPECT_THAT(Score(R"({"completion":"so 5","answer":"5"})", "accuracy", "", true), HasSubstr("\"wrong\""));
}

TEST(ScoreRow, NamesTheLineOfAnError) {
  EXPECT_THAT(Score("[1]", "format"), HasSubstr("in:3"));
  EXPECT_THAT(Score("{}", "format"), HasSubstr("in:3"));
  EXPECT_THAT(Score(R"({"completion":"x","answer":[]})", "accuracy"), HasSubstr("in:3: answer is neither"));
  EXPECT_THAT(Score(R"({"completion":"x","id":7})", "accuracy"),
              HasSubstr("in:3: problem 7: has no reference answer"));
  EXPECT_THAT(Score(R"({"completion":"x","stop":"end"})", "format"),
              HasSubstr("in:3: stop is eos, length or stop"));
  EXPECT_THAT(Score(R"({"completion":"x"})", "format"), HasSubstr("malformed"));
}

TEST(RulesByName, RefusesWhatThereIsNot) {
  EXPECT_THAT(Score("{}", "formt"), HasSubstr("did you mean format?"));
  EXPECT_THAT(Score("{}", ","), HasSubstr("names no rule"));
  EXPECT_THAT(Score("{}", "format", "lenient"), HasSubstr("no rule of format has modes"));
  EXPECT_THAT(Score("{}", "accuracy", "kind"), HasSubstr("strict or lenient, not kind"));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rewards/score.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

std::string Score(const char* row, const char* rules, const char* mode = "", bool raw = false) {
  const auto json = ParseJson(row, "in:3", Numbers::kAsWritten);
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

TEST(ScoreRow, TakesANumbersOwnDigits) {
  for (const char* number : {"1180591620717411303424", "0.10", "1e400"}) {
    const std::string row =
        absl::StrCat(R"({"completion":"</think><answer>)", number, R"(</answer>","answer":)", number, "}");
    EXPECT_THAT(Score(row.c_str(), "exact"), HasSubstr("\"correct\"")) << number;
  }
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
  EXPECT_THAT(Score("{}", ","), HasSubstr("--rule ,: a name is missing"));
  EXPECT_THAT(Score("{}", "accuracy,"), HasSubstr("--rule accuracy,: a name is missing"));
  EXPECT_THAT(Score("{}", ""), HasSubstr("a name is missing"));
  EXPECT_THAT(Score("{}", "format", "lenient"), HasSubstr("no rule of format has modes"));
  EXPECT_THAT(Score("{}", "accuracy", "kind"), HasSubstr("strict or lenient, not kind"));
}

TEST(RulesByName, SetsOptionsAsARecipeDoes) {
  const auto score = [](std::vector<std::string> settings, const char* row) {
    const auto rules = RulesByName("length, language", "", settings);
    if (!rules.ok()) return std::string(rules.status().message());
    const auto scored = ScoreRow(*ParseJson(row, "in:3"), *rules, true, "in:3");
    return scored.ok() ? DumpJson((*scored)["length"]) : std::string(scored.status().message());
  };
  const std::string wrong = R"({"verdict":"wrong","score":0.5,"extracted":"","reason":"90 of 100 tokens"})";
  EXPECT_EQ(score({"length.max_tokens=100", "length.slack_tokens=20"}, R"({"completion":"x","tokens":90})"),
            wrong);
  EXPECT_THAT(score({"length.max_tokens=2"}, R"({"completion":"x","tokens":[5,6]})"),
              HasSubstr("2 of 2 tokens"));
  EXPECT_THAT(score({"length.max_tokens=2"}, R"({"completion":"x","tokens":"2"})"), HasSubstr("in:3"));
  EXPECT_THAT(score({}, "{}"), HasSubstr("set max_tokens"));
  EXPECT_THAT(score({"length.max_token=2"}, "{}"), HasSubstr("max_token=2"));
  EXPECT_THAT(score({"length.max_tokens=x"}, "{}"), HasSubstr("max_tokens=x"));
  EXPECT_THAT(score({"format.tags=[a]"}, "{}"), HasSubstr("a rule of --rule"));
  EXPECT_THAT(score({"length"}, "{}"), HasSubstr("a rule of --rule"));
}

}  // namespace
}  // namespace temper

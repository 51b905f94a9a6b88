// SPDX-License-Identifier: Apache-2.0
#include "rewards/score.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "rewards/pool.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The row's rules, or what is wrong with the command or the row.
std::string Score(const char* row, const char* rules, const char* mode = "", bool raw = false,
                  const std::vector<std::string>& settings = {}) {
  const auto reward = RewardByName(rules, mode, settings);
  if (!reward.ok()) return std::string(reward.status().message());
  const auto pool = RewardPool::Create(*reward, 1);
  if (!pool.ok()) return std::string(pool.status().message());
  const auto read = ReadScoreRow(*ParseJson(row, "in:3", Numbers::kAsWritten), raw, "in:3");
  if (!read.ok()) return std::string(read.status().message());
  std::string said;
  (*pool)->Submit({(*read)->completion}, [&](RewardPool::Verdicts verdicts) {
    said = DumpJson(ScoreJson(**read, verdicts[0], *reward));
  });
  (*pool)->Wait();
  return said;
}

TEST(ScoreRow, HasOneShapeForOneRuleAndForSeveral) {
  EXPECT_EQ(
      Score(R"({"id":"p1","completion":"x </think> <answer> 0.5 </answer>","answer":"1/2"})", "accuracy"),
      R"({"id":"p1","reward":1.0,"sum":1.0,"rules":{"accuracy":{"verdict":"correct","score":1.0,)"
      R"("weight":1.0,"value":1.0,"extracted":"0.5","reason":""}}})");
  EXPECT_EQ(Score(R"({"completion":"x </think> 5","answer":5,"stop":"length"})", "format, accuracy"),
            R"({"id":null,"reward":0.0,"sum":0.0,"rules":{"format":{"verdict":"malformed","score":0.0,)"
            R"("weight":1.0,"value":0.0,"extracted":"","reason":"cut by length; no <answer>"},)"
            R"("accuracy":{"verdict":"no_answer","score":0.0,"weight":1.0,"value":0.0,"extracted":"",)"
            R"("reason":"cut by length before <answer>"}}})");
}

TEST(ScoreRow, TakesANumbersOwnDigits) {
  for (const char* number : {"1180591620717411303424", "0.10", "1e400"}) {
    const std::string row =
        absl::StrCat(R"({"completion":"</think><answer>)", number, R"(</answer>","answer":)", number, "}");
    EXPECT_THAT(Score(row.c_str(), "exact"), HasSubstr("\"correct\"")) << number;
  }
}

TEST(ScoreRow, EchoesTheIdAsItWas) {
  EXPECT_THAT(Score(R"({"id":7,"completion":"x"})", "format"), StartsWith(R"({"id":7,)"));
  EXPECT_THAT(Score(R"({"id":["a",1],"completion":"x"})", "format"), StartsWith(R"({"id":["a",1],)"));
}

TEST(ScoreRow, SaysTheRewardWithItsParts) {
  RewardConfig config;
  ASSERT_TRUE(ReadConfig("rules: [{rule: accuracy, requires: format, weight: 2, weight_otherwise: -0.5}, "
                         "{rule: format, weight: 0.25}]\nmin: -0.25\nmax: 2.125\n",
                         "r", {}, config)
                  .ok());
  const auto scored = [&](VerdictKind accuracy, VerdictKind format, double score) {
    Verdict first = MakeVerdict(accuracy, score, ""),
            second = MakeVerdict(format, format == VerdictKind::kCorrect, "");
    first.rule = "accuracy";
    second.rule = "format";
    const Json json = ScoreJson(**ReadScoreRow(*ParseJson(R"({"completion":"x"})", "r"), false, "r"),
                                {first, second}, config);
    return DumpJson(Json{json["reward"], json["sum"], json["rules"]["accuracy"]["weight"],
                         json["rules"]["accuracy"]["value"]});
  };
  EXPECT_EQ(scored(VerdictKind::kCorrect, VerdictKind::kCorrect, 1), "[2.125,2.25,2.0,2.0]") << "clipped";
  EXPECT_EQ(scored(VerdictKind::kCorrect, VerdictKind::kMalformed, 1), "[-0.25,-0.5,-0.5,-0.5]");
  EXPECT_EQ(scored(VerdictKind::kInfrastructureError, VerdictKind::kCorrect, 0), "[null,0.25,2.0,0.0]");
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
  EXPECT_THAT(Score(R"({"completion":"x","stop":"end"})", "format"),
              HasSubstr("in:3: stop is eos, length or stop"));
  EXPECT_THAT(Score(R"({"completion":"x"})", "format"), HasSubstr("malformed"));
}

TEST(ScoreRow, AReferenceThatCannotBeReadIsMalformed) {
  for (const char* rule : {"accuracy", "number", "choice"})
    EXPECT_THAT(Score(R"({"completion":"<answer>7</answer>","id":7})", rule),
                HasSubstr(R"("verdict":"malformed")"))
        << rule;
  EXPECT_THAT(Score(R"({"completion":"x","answer":"y","refusal":"maybe"})", "harmless"),
              HasSubstr(R"("verdict":"malformed")"));
  EXPECT_THAT(Score(R"({"completion":"x","instruction_id_list":["no:such"],"kwargs":[{}]})", "instructions"),
              HasSubstr(R"("verdict":"malformed")"));
}

TEST(ScoreRow, LengthNeedsTheNumberOfTokens) {
  const std::vector<std::string> settings = {"length.max_tokens=10"};
  EXPECT_THAT(Score(R"({"completion":"long text"})", "length", "", false, settings),
              HasSubstr(R"("verdict":"malformed","score":0.0)"));
  EXPECT_THAT(Score(R"({"completion":"","tokens":0})", "length", "", false, settings),
              HasSubstr("0 of 10 tokens"));
  EXPECT_THAT(Score(R"({"completion":"x","tokens":-3})", "length", "", false, settings),
              HasSubstr("in:3: tokens is -3"));
}

TEST(RewardByName, RefusesWhatThereIsNot) {
  EXPECT_THAT(Score("{}", "formt"), HasSubstr("did you mean format?"));
  EXPECT_THAT(Score("{}", ","), HasSubstr("--rule ,: a name is missing"));
  EXPECT_THAT(Score("{}", "accuracy,"), HasSubstr("--rule accuracy,: a name is missing"));
  EXPECT_THAT(Score("{}", ""), HasSubstr("a name is missing"));
  EXPECT_THAT(Score("{}", "format", "lenient"), HasSubstr("no rule of format has modes"));
  EXPECT_THAT(Score("{}", "accuracy", "kind"), HasSubstr("strict or lenient, not kind"));
}

TEST(RewardByName, SetsOptionsAsARecipeDoes) {
  const auto score = [](std::vector<std::string> settings, const char* row) {
    return Score(row, "length", "", true, settings);
  };
  EXPECT_THAT(
      score({"length.max_tokens=100", "length.slack_tokens=20"}, R"({"completion":"x","tokens":90})"),
      HasSubstr(R"("score":0.5,"weight":1.0,"value":0.5,"extracted":"","reason":"90 of 100 tokens")"));
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

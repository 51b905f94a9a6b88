// SPDX-License-Identifier: Apache-2.0
// Rule `math` on the published rows of other graders, where ../shared/cases is. Each mode is held against the
// graders that it stands for. A false accept anywhere is a failure.
#include <algorithm>
#include <iostream>
#include <set>

#include "core/files/file.h"
#include "data/dataset/row_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rewards/math/math.h"

namespace temper::math {
namespace {

struct Tally {
  int rows = 0, agree = 0, false_accepts = 0;
  std::string misses;
};

std::string GraderOf(const Json& row) {
  const Json* config = Find(row, "config");
  const Json* grader = config == nullptr ? nullptr : Find(*config, "grader");
  return grader != nullptr && grader->is_string() ? grader->get<std::string>() : "";
}

// The verify rows of the file that `wanted` takes. The whole prediction is the text, but a text with thinking
// is taken as a completion.
Tally Judged(const std::string& file, const std::string& mode, const std::set<std::string>& graders) {
  Tally tally;
  const auto rows = RowFile::Open("../shared/cases/" + file).value();
  for (int64_t i = 0; i < rows->size(); ++i) {
    Json row = rows->Read(i).value().json;
    const Json &gold = row["gold"], &expected = row["expected"];
    if (row["kind"] != "verify" || !gold.is_string() || !expected.is_boolean()) continue;
    if (!graders.empty() && graders.count(GraderOf(row)) == 0) continue;
    const std::string match =
        Find(row["config"], "match_types") ? DumpJson(row["config"]["match_types"]) : "";
    if (match.find("NativeLetters") != std::string::npos) continue;  // rule choice
    Options config;
    config.mode = mode;
    if (const Json* rounding = Find(row["config"], "float_rounding"))
      config.float_rounding = rounding->get<int64_t>();
    if (const Json* sets = Find(row["config"], "allow_set_relation_comp"))
      config.allow_set_relation_comp = sets->get<bool>();
    const std::unique_ptr<Reward> rule = MakeRule(config).value();
    Prompt prompt;
    prompt.answer = gold.get<std::string>();
    const std::string text = row["pred"].get<std::string>();
    const bool raw = text.find("</think>") == std::string::npos;
    const Verdict verdict = JudgeSafely(*rule, {.prompt = &prompt, .text = text, .raw = raw});
    const bool yes = verdict.kind == VerdictKind::kCorrect;
    ++tally.rows;
    if (yes == expected.get<bool>()) {
      ++tally.agree;
      continue;
    }
    tally.false_accepts += yes ? 1 : 0;
    tally.misses += (yes ? "FALSE ACCEPT " : "miss ") + row["id"].get<std::string>() + ": " + DumpJson(gold) +
                    " | .." + text.substr(text.size() - std::min<size_t>(text.size(), 120)) + " | " +
                    Name(verdict.kind) + " [" + verdict.extracted + "] " + verdict.reason + "\n";
  }
  std::cout << file << " " << mode << ": " << tally.agree << " of " << tally.rows << ", "
            << tally.false_accepts << " false accepts\n"
            << tally.misses;
  return tally;
}

class MathCases : public testing::Test {
 protected:
  void SetUp() override {
    if (!FileExists("../shared/cases/math_verify.jsonl")) GTEST_SKIP() << "no ../shared/cases";
  }
};

TEST_F(MathCases, OfMathVerifyHoldInItsMode) {
  const Tally tally = Judged("math_verify.jsonl", "math_verify", {});
  EXPECT_GE(tally.agree, 0.97 * tally.rows);
  EXPECT_EQ(tally.false_accepts, 0);
}

TEST_F(MathCases, OfGradersOnMathVerifyHoldInItsMode) {
  const Tally tally =
      Judged("other_graders.jsonl", "math_verify",
             {"lighteval MultilingualExtractiveMatchMetric", "gsm8k_reward_fn", "geometry3k_reward_fn",
              "math_verify_worker", "verifiers MathRubric", "accuracy_reward", "reasoning_accuracy_reward",
              "reasoning_accuracy_reward: answer only inside <think> does not count", "verl",
              "nemo_skills math_equal"});
  EXPECT_GE(tally.agree, 0.95 * tally.rows);
  EXPECT_EQ(tally.false_accepts, 0);
}

TEST_F(MathCases, OfPrm800kHoldInModeStrict) {
  const Tally tally =
      Judged("other_graders.jsonl", "strict",
             {"tinker grade_answer (PRM800K lineage; integer gold is strict, unreduced fraction is wrong)",
              "mathd", "rllm RewardMathFn (needs \\boxed; gold may be a list)"});
  EXPECT_GE(tally.agree, 0.95 * tally.rows);
  EXPECT_EQ(tally.false_accepts, 0);
}

TEST_F(MathCases, OfHendrycksHoldInModeString) {
  const Tally tally =
      Judged("other_graders.jsonl", "string", {"hendrycks is_equiv (string normalisation only)"});
  EXPECT_GE(tally.agree, 0.95 * tally.rows);
  EXPECT_EQ(tally.false_accepts, 0);
}

}  // namespace
}  // namespace temper::math

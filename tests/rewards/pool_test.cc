// SPDX-License-Identifier: Apache-2.0
#include "rewards/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

RewardConfig FormatAccuracyLanguage() {
  RewardConfig config;
  config.rules = {Config("format"), Config("accuracy"), Config("language")};
  return config;
}

std::vector<Trajectory> Answers(int n) {
  std::vector<Trajectory> trajectories(n);
  for (int i = 0; i < n; ++i) {
    trajectories[i].text =
        absl::StrCat("so many words of english </think> <answer>", i % 3, "</answer>", i % 5 ? "" : " x");
  }
  return trajectories;
}

// Fills in the trajectory's verdicts, as a rollout does.
void Submit(RewardPool& pool, Trajectory* trajectory, const Prompt* prompt,
            const std::function<void(Trajectory*)>& done = nullptr) {
  pool.Submit({{.prompt = prompt, .text = trajectory->text, .tokens = 1}},
              [trajectory, done](RewardPool::Verdicts verdicts) {
                trajectory->verdicts = std::move(verdicts[0]);
                if (done) done(trajectory);
              });
}

std::string Spell(const Trajectory& trajectory) {
  std::string text;
  for (const Verdict& v : trajectory.verdicts)
    absl::StrAppend(&text, v.rule, " ", Name(v.kind), " ", v.score, " ", v.reason, "; ");
  return text;
}

TEST(RewardPool, WritesTheSameVerdictsWhateverTheThreads) {
  const Prompt prompt = Problem("1");
  std::vector<std::string> expected;
  for (const int threads : {1, 4}) {
    std::vector<Trajectory> trajectories = Answers(300);
    const auto pool = RewardPool::Create(FormatAccuracyLanguage(), threads);
    ASSERT_TRUE(pool.ok());
    for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &prompt);
    (*pool)->Wait();
    std::vector<std::string> spelled;
    for (const Trajectory& trajectory : trajectories) spelled.push_back(Spell(trajectory));
    if (expected.empty()) expected = spelled;
    EXPECT_EQ(spelled, expected);
  }
  EXPECT_EQ(expected[1], "format correct 1 ; accuracy correct 1 ; language correct 1 5 of 5 words are en; ");
  EXPECT_EQ(expected[5].substr(0, 43), "format malformed 0 text after </answer>; ac");
}

TEST(RewardPool, CallsDoneOnceTheVerdictsAreThereAndTakesFromManyThreads) {
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(200);
  const auto pool = RewardPool::Create(FormatAccuracyLanguage(), 3);
  ASSERT_TRUE(pool.ok());
  std::atomic<int> done = 0;
  std::vector<std::thread> submitters;
  for (int s = 0; s < 4; ++s) {
    submitters.emplace_back([&, s] {
      for (size_t i = s; i < trajectories.size(); i += 4) {
        Submit(**pool, &trajectories[i], &prompt, [&](Trajectory* t) { done += t->verdicts.size() == 3; });
      }
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  (*pool)->Wait();
  EXPECT_EQ(done, 200);
}

TEST(RewardPool, JudgesWhatWasSubmittedBeforeItEnds) {
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(50);
  {
    const auto pool = RewardPool::Create(FormatAccuracyLanguage(), 2);
    ASSERT_TRUE(pool.ok());
    for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &prompt);
  }
  for (const Trajectory& trajectory : trajectories) EXPECT_EQ(trajectory.verdicts.size(), 3u);
}

TEST(RewardPool, WithNothingSubmittedDoesNotWait) {
  const auto pool = RewardPool::Create(FormatAccuracyLanguage(), 2);
  ASSERT_TRUE(pool.ok());
  (*pool)->Wait();
}

TEST(RewardPool, CountsVerdictsByRuleAndStartsAnewWhenAsked) {
  const Prompt prompt = Problem("1"), bad = Problem("");
  std::vector<Trajectory> trajectories = Answers(6);
  const auto pool = RewardPool::Create(FormatAccuracyLanguage(), 2);
  ASSERT_TRUE(pool.ok());
  for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &prompt);
  (*pool)->Wait();
  Trajectory again = trajectories[1];
  Submit(**pool, &again, &bad);
  (*pool)->Wait();
  const auto metrics = (*pool)->TakeMetrics();
  std::map<std::string, double> by_name(metrics.begin(), metrics.end());
  EXPECT_EQ(by_name["verdict/format/correct"], 5);
  EXPECT_EQ(by_name["verdict/format/malformed"], 2);
  EXPECT_EQ(by_name["verdict/accuracy/correct"], 2);
  EXPECT_EQ(by_name["verdict/accuracy/wrong"], 4);
  EXPECT_EQ(by_name["verdict/accuracy/malformed"], 1);
  EXPECT_EQ(by_name["reward/accuracy/score"], 2.0 / 7);
  EXPECT_GT(by_name["time/reward/accuracy/p50"], 0);
  EXPECT_GE(by_name["time/reward/accuracy/p99"], by_name["time/reward/accuracy/p50"]);
  EXPECT_GE(by_name["system/reward/open_peak"], 1);
  for (const auto& [name, value] : (*pool)->TakeMetrics()) EXPECT_EQ(value, 0) << name;
}

RewardConfig ABrokenProgram() {
  RewardConfig config;
  config.rules = {Config("process")};
  config.rules.back().process.retries = 0;
  config.rules.back().process.command = {
      "python3", "-c",
      "import json, sys\n"
      "for row in sys.stdin:\n"
      "  print(json.dumps({'id': json.loads(row)['id'], 'verdict': 'infrastructure_error', 'reason': 'no"
      " judge'}), flush=True)\n"};
  return config;
}

TEST(RewardPool, WarnsOfTheFirstTenthAndHundredthInfrastructureError) {
  const Prompt bad = Problem("");
  std::vector<Trajectory> trajectories = Answers(120);
  testing::internal::CaptureStderr();
  {
    const auto pool = RewardPool::Create(ABrokenProgram(), 2);
    ASSERT_TRUE(pool.ok());
    for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &bad);
  }
  const std::string log = testing::internal::GetCapturedStderr();
  for (const char* n : {"1", "10", "100"}) {
    EXPECT_THAT(log, testing::HasSubstr(
                         absl::StrCat("rule process: infrastructure error ", n, ", no reward: no judge")));
  }
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 3);
}

TEST(RewardPool, ABrokenProgramOfTheUsersStopsNobodyAndRewardsNobody) {
  RewardConfig config = FormatAccuracyLanguage();
  config.rules.push_back(Config("process"));
  const std::string starts = testing::TempDir() + "/starts";
  config.rules.back().process.command = {"/bin/sh", "-c", "echo >>" + starts + "; read row; exit 1"};
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(60);
  testing::internal::CaptureStderr();
  {
    const auto pool = RewardPool::Create(config, 2);
    ASSERT_TRUE(pool.ok()) << pool.status().message();
    for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &prompt);
  }
  std::ifstream file(starts);
  EXPECT_LT(std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n'), 20)
      << "it is not started for each row";
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("/bin/sh: closed its output, exit status 1"));
  for (const Trajectory& trajectory : trajectories) {
    EXPECT_EQ(trajectory.verdicts[1].kind,
              trajectory.verdicts[1].score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong);
    EXPECT_EQ(trajectory.verdicts[3].kind, VerdictKind::kInfrastructureError);
    EXPECT_EQ(RewardOf(trajectory.verdicts, config), std::nullopt);
  }
}

TEST(RewardPool, ThatIsStoppedGivesUpWhatWaitsForASlowRule) {
  RewardConfig config;
  config.rules = {Config("process")};
  config.rules.back().process.command = {
      "/usr/bin/python3", "-c",
      "import json, sys, time\n"
      "for row in sys.stdin:\n"
      "  time.sleep(1)\n"
      "  print(json.dumps({'id': json.loads(row)['id'], 'score': 1}), flush=True)\n"};
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(60);
  const auto pool = RewardPool::Create(config, 1);
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  std::atomic<int> done = 0;
  for (Trajectory& trajectory : trajectories)
    Submit(**pool, &trajectory, &prompt, [&](Trajectory*) { ++done; });
  EXPECT_FALSE((*pool)->Wait([] { return true; }));
  const int judged = done;
  EXPECT_GE(judged, 1);
  EXPECT_LT(judged, 60);
  EXPECT_EQ(trajectories[0].verdicts.at(0).kind, VerdictKind::kCorrect);
  EXPECT_TRUE(trajectories[59].verdicts.empty());
  // Those are gone, and the pool goes on.
  Submit(**pool, &trajectories[59], &prompt);
  EXPECT_TRUE((*pool)->Wait());
  EXPECT_EQ(trajectories[59].verdicts.at(0).kind, VerdictKind::kCorrect);
  EXPECT_EQ(done, judged);
}

TEST(RewardPool, IsHeldUpByNoProgram) {
  // Two programs that hang: their rows wait, all others are judged by the one thread, and a stop ends it.
  RewardConfig config = FormatAccuracyLanguage();
  config.rules.push_back(Config("process"));
  config.rules.back().name = "judge";
  config.rules.back().process.command = {"python3", "-c", "import time; time.sleep(600)"};
  config.rules.back().process.processes = 2;
  config.rules.back().process.row_seconds = 3600;
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(40);
  const auto pool = RewardPool::Create(config, 1);
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  std::atomic<int> done = 0;
  for (Trajectory& trajectory : trajectories)
    Submit(**pool, &trajectory, &prompt, [&](Trajectory*) { ++done; });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE((*pool)->Wait([] { return true; }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(25));
  EXPECT_EQ(done, 0);
}

TEST(RewardPool, IsHeldUpByNoCompletionsProgram) {
  // Programs that sleep and that compute for ever, and one that is compiled for ever: a stop ends them all.
  const Prompt python = Row(R"({"tests": [{"input": "", "output": "1"}]})");
  const Prompt cpp = Row(R"({"language": "cpp", "tests": [{"input": "", "output": "1"}]})");
  const struct {
    const Prompt& prompt;
    std::string text;
  } hanging[] = {
      {python, Fenced("import time\ntime.sleep(3600)")},
      {python, Fenced("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass")},
      {cpp, Fenced("template <int A, int B> struct F { enum { v = F<A - 1, B>::v + F<A - 1, B + 1>::v }; };\n"
                   "template <int B> struct F<0, B> { enum { v = 1 }; };\n"
                   "int main() { return F<899, 0>::v; }",
                   "cpp")},
  };
  RewardConfig config;
  config.rules = {CodeConfig()};
  config.rules[0].name = "tests";
  config.rules[0].code.cpu_seconds = 3600;
  config.rules[0].code.wall_seconds = 3600;
  config.rules[0].code.total_seconds = 3600;
  for (const Who who : {Who::kRoot, Who::kUser}) {
    const Attacked host(who);
    if (!host.skip().empty()) continue;
    std::vector<Trajectory> trajectories(12);
    const auto pool = RewardPool::Create(config, 4);
    ASSERT_TRUE(pool.ok()) << pool.status().message();
    std::atomic<int> done = 0;
    for (size_t i = 0; i < trajectories.size(); ++i) {
      trajectories[i].text = hanging[i % 3].text;
      Submit(**pool, &trajectories[i], &hanging[i % 3].prompt, [&](Trajectory*) { ++done; });
    }
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE((*pool)->Wait([] { return true; }));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(25));
    EXPECT_EQ(done, 0);
    // The pool goes on.
    trajectories[0].text = Fenced("print(1)");
    Submit(**pool, trajectories.data(), &python);
    EXPECT_TRUE((*pool)->Wait());
    EXPECT_EQ(trajectories[0].verdicts.at(0).kind, VerdictKind::kCorrect);
  }
}

TEST(RewardPool, GivesFiguresOfWaiting) {
  RewardConfig config = ABrokenProgram();
  config.rules[0].process.retries = 1;
  config.rules[0].process.retry_seconds = 0.01;
  config.rules[0].name = "judge";
  const Prompt prompt = Problem("1");
  std::vector<Trajectory> trajectories = Answers(3);
  const auto pool = RewardPool::Create(config, 1);
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  for (Trajectory& trajectory : trajectories) Submit(**pool, &trajectory, &prompt);
  (*pool)->Wait();
  const auto metrics = (*pool)->TakeMetrics();
  std::map<std::string, double> by_name(metrics.begin(), metrics.end());
  EXPECT_EQ(by_name.at("system/reward/judge/at_once_peak"), 1);
  EXPECT_EQ(by_name.at("system/reward/judge/retries"), 3);
  EXPECT_EQ(by_name.at("system/reward/judge/restarts"), 0);
  EXPECT_GE(by_name.at("time/reward/judge/wait_p99"), by_name.at("time/reward/judge/wait_p50"));
  EXPECT_GT(by_name.at("time/reward/judge/wait_p50"), 0);
}

TEST(RewardPool, FindsThePromptThatCannotBeJudged) {
  const auto pool = RewardPool::Create(FormatAccuracyLanguage(), 1);
  ASSERT_TRUE(pool.ok());
  EXPECT_TRUE((*pool)->CheckAnswers({Problem("1"), Problem("2")}).ok());
  EXPECT_EQ((*pool)->CheckAnswers({Problem("1"), Problem("")}).message(),
            "problem p1: has no reference answer");
}

TEST(RewardPool, RefusesABadConfig) {
  RewardConfig config;
  config.rules = {Config("guess")};
  EXPECT_FALSE(RewardPool::Create(config, 1).ok());
}

}  // namespace
}  // namespace temper

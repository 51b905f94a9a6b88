// SPDX-License-Identifier: Apache-2.0
#include "rewards/process.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/json.h"
#include "gmock/gmock.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// A program in Python around `body`, which sees each row as `row` and says with say(..).
std::vector<std::string> Program(const std::string& body) {
  return {"python3", "-c",
          "import json, os, sys, time, signal, subprocess\n"
          "def say(**answer): print(json.dumps(answer), flush=True)\n"
          "for line in sys.stdin:\n"
          "    row = json.loads(line)\n"
          "    " +
              body};
}

RuleConfig Command(std::vector<std::string> command, double row_seconds = 60) {
  RuleConfig config = Config("process");
  config.command = std::move(command);
  config.row_seconds = row_seconds;
  config.start_seconds = 60;
  return config;
}

Verdict Ask(const Reward& rule, std::string_view text) {
  static const Prompt* const prompt = new Prompt(Problem("4"));
  return JudgeSafely(rule, {.prompt = prompt, .text = text, .tokens = 7});
}

int64_t OpenFiles() {
  int64_t count = 0;
  DIR* files = opendir("/proc/self/fd");
  while (readdir(files) != nullptr) ++count;
  closedir(files);
  return count;
}
bool NoChildren() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

TEST(Process, SeesTheWholeRowAndItsAnswerIsTheVerdict) {
  Prompt prompt = Problem("4", "sums");
  prompt.fields = R"({"level": 3, "answer": "4"})";
  const auto rule = Rule(Command(
      Program("say(id=row['id'], score=0.25, extracted='x', reason=' '.join([row['completion'], row['stop'], "
              "str(row['tokens']), row['prompt'], row['answer'], row['task'], str(row['row']['level'])]))")));
  const Verdict verdict =
      JudgeSafely(*rule, {.prompt = &prompt, .text = "a\nb", .stop = StopReason::kLength, .tokens = 7});
  EXPECT_EQ(verdict.reason, "a\nb length 7 Q <think> 4 sums 3");
  EXPECT_EQ(verdict.kind, VerdictKind::kWrong);
  EXPECT_EQ(verdict.score, 0.25);
  EXPECT_EQ(verdict.extracted, "x");
  EXPECT_EQ(verdict.rule, "process");
}

TEST(Process, SaysAScoreOrAVerdictOrBoth) {
  const auto rule = Rule(Command(Program("say(**{'id': row['id'], **json.loads(row['completion'])})")));
  const auto is = [&](const char* answer, VerdictKind kind, double score) {
    const Verdict verdict = Ask(*rule, answer);
    EXPECT_EQ(verdict.kind, kind) << answer << ": " << verdict.reason;
    EXPECT_EQ(verdict.score, score) << answer;
  };
  is(R"({"score":1})", VerdictKind::kCorrect, 1);
  is(R"({"score":0.5})", VerdictKind::kWrong, 0.5);
  is(R"({"verdict":"correct"})", VerdictKind::kCorrect, 1);
  is(R"({"verdict":"no_answer"})", VerdictKind::kNoAnswer, 0);
  is(R"({"verdict":"correct","score":0.75,"more":1})", VerdictKind::kCorrect, 0.75);
  is(R"({"verdict":"infrastructure_error"})", VerdictKind::kInfrastructureError, 0);
}

TEST(Process, GetsAnyBytes) {
  const auto rule = Rule(Command(Program("say(id=row['id'], score=1, reason=str(len(row['completion'])))")));
  EXPECT_EQ(Ask(*rule, std::string_view("\0\xff\n", 3)).reason, "3");
  for (const std::string& text : HostileTexts())
    EXPECT_EQ(Ask(*rule, text).kind, VerdictKind::kCorrect) << text.substr(0, 20);
}

TEST(Process, ThatCannotStartIsRefused) {
  const auto error = [](std::vector<std::string> command) {
    return std::string(MakeRule(Command(std::move(command))).status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("set command"));
  EXPECT_THAT(error({"no-such-program-here"}),
              HasSubstr("no-such-program-here: cannot be started: No such file"));
  EXPECT_THAT(error({"/etc/passwd"}), HasSubstr("/etc/passwd: cannot be started: Permission denied"));
  EXPECT_THAT(error({"/bin/sh", "-c", "echo no module >&2; exit 3"}),
              HasSubstr("ended without a row, exit status 3; it says: no module"));
  EXPECT_TRUE(NoChildren());
}

struct Broken {
  const char* name;
  const char* body;
  const char* reason;
};
class BrokenProcess : public testing::TestWithParam<Broken> {};

TEST_P(BrokenProcess, IsAnInfrastructureErrorAndTheNextRowGetsANewOne) {
  const int64_t files = OpenFiles();
  {
    const bool late = absl::StrContains(GetParam().reason, "no answer in");
    // Broken for the row "break" only, which is not the first: that one may take longer.
    const auto rule =
        Rule(Command(Program(absl::StrCat("if row['completion'] != 'break': say(id=row['id'], score=1); "
                                          "continue\n    ",
                                          GetParam().body)),
                     late ? 0.5 : 60));
    EXPECT_EQ(Ask(*rule, "fine").score, 1);
    const Verdict verdict = Ask(*rule, "break");
    EXPECT_EQ(verdict.kind, VerdictKind::kInfrastructureError);
    EXPECT_EQ(verdict.score, 0);
    EXPECT_THAT(verdict.reason, HasSubstr(GetParam().reason));
    EXPECT_THAT(verdict.reason, HasSubstr("python3: "));
    EXPECT_EQ(Ask(*rule, "fine").kind, VerdictKind::kCorrect);
  }
  EXPECT_EQ(OpenFiles(), files);
  EXPECT_TRUE(NoChildren());
}

INSTANTIATE_TEST_SUITE_P(
    Process, BrokenProcess,
    testing::Values(
        Broken{"Ends", "print('bad row', file=sys.stderr); sys.exit(3)", "exit status 3; it says: bad row"},
        Broken{"Crashes", "os.kill(os.getpid(), 11)", "killed by signal 11"},
        Broken{"WritesNoJson", "print('{', flush=True)", "its answer:1: byte"},
        Broken{"WritesNoObject", "print('[]', flush=True)", "its answer is no object: []"},
        Broken{"AnswersAnotherRow", "say(id=row['id'] + 1, score=1)", "it answered row 3 and not 2"},
        Broken{"ForgetsTheId", "say(score=1)", "id"},
        Broken{"ForgetsTheScore", "say(id=row['id'])", "neither score nor verdict"},
        Broken{"ScoresNan", "print('{\"id\":%d,\"score\":NaN}' % row['id'], flush=True)",
               "its answer:1: byte"},
        Broken{"ScoresInfinity", "print('{\"id\":%d,\"score\":1e999}' % row['id'], flush=True)",
               "its answer:1: byte"},
        Broken{"ScoresAboveOne", "say(id=row['id'], score=1.5)", "its score 1.5 is not in [0, 1]"},
        Broken{"ScoresBelowZero", "say(id=row['id'], score=-1)", "its score -1 is not in [0, 1]"},
        Broken{"ScoresText", "say(id=row['id'], score='1')", "score"},
        Broken{"SaysAnotherVerdict", "say(id=row['id'], verdict='right')", "there is no verdict right"},
        Broken{"Sleeps", "time.sleep(60)", "no answer in 0.5 s"},
        Broken{"WaitsForAChild",
               "signal.signal(signal.SIGTERM, signal.SIG_IGN); subprocess.Popen(['sleep', '60']).wait()",
               "no answer in 0.5 s"},
        Broken{"WritesTooMuch", "sys.stdout.write('x' * (3 << 20)); sys.stdout.flush(); time.sleep(60)",
               "wrote more than 1048576 bytes"},
        Broken{"ClosesItsOutput", "os.close(1); os.close(2); time.sleep(60)", "closed its output"},
        Broken{"FillsItsErrors", "sys.stderr.write('y' * (3 << 20)); sys.exit(1)", "exit status 1"},
        Broken{"ClosesItsInput", "os.close(0); time.sleep(60)", "no answer in 0.5 s"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Process, ThatKeepsFailingIsRefusedAtOnceAfterAWhile) {
  const auto rule = Rule(Command({"/bin/sh", "-c", "read row; exit 1"}));
  Verdict verdict;
  for (int i = 0; i < 200; ++i) {
    verdict = Ask(*rule, "x");
    EXPECT_EQ(verdict.kind, VerdictKind::kInfrastructureError);
  }
  EXPECT_THAT(verdict.reason, HasSubstr("exit status 1; it failed "));
  EXPECT_THAT(verdict.reason, HasSubstr(" times in a row and is started again in "));
}

TEST(Process, ThatDoesNotReadIsNoSignalToUs) {
  RuleConfig config = Command({"/bin/sh", "-c", "exec 0<&-; sleep 60"}, 0.2);
  config.start_seconds = 0;
  EXPECT_THAT(Ask(*Rule(config), "x").reason, HasSubstr("no answer in 0.2 s"));
}

TEST(Process, KillsTheWholeGroup) {
  RuleConfig config =
      Command(Program("p = subprocess.Popen(['sleep', '60']); print(p.pid, file=sys.stderr, flush=True); "
                      "time.sleep(60)"),
              0.2);
  config.start_seconds = 5;
  const Verdict verdict = Ask(*Rule(config), "x");
  const size_t at = verdict.reason.rfind(' ');
  const pid_t grandchild = static_cast<pid_t>(std::stoi(verdict.reason.substr(at)));
  for (int i = 0; i < 200 && kill(grandchild, 0) == 0; ++i) {
    // Init reaps it; in a container without one it stays a zombie, which is dead, too.
    const auto stat = ReadFile(absl::StrCat("/proc/", grandchild, "/stat"));
    if (stat.ok() && stat->find(") Z") != std::string::npos) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_NE(kill(grandchild, 0), 0) << verdict.reason;
}

TEST(Process, GetsNoFileOfOurs) {
  const auto rule = Rule(
      Command(Program("say(id=row['id'], score=1, reason=' '.join(sorted(os.listdir('/proc/self/fd'))))")));
  // 3 is listdir's own.
  EXPECT_EQ(Ask(*rule, "x").reason, "0 1 2 3");
}

TEST(Process, ServesManyThreadsWithManyProcesses) {
  RuleConfig config =
      Command(Program("say(id=row['id'], score=1, reason=row['completion'] + ' ' + str(os.getpid()))"));
  config.processes = 3;
  const auto rule = Rule(config);
  std::vector<std::thread> threads;
  std::vector<std::vector<std::string>> said(6);
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) said[t].push_back(Ask(*rule, absl::StrCat(t, ".", i)).reason);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::string> processes;
  for (int t = 0; t < 6; ++t) {
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(said[t][i].substr(0, said[t][i].find(' ')), absl::StrCat(t, ".", i));
      processes.insert(said[t][i].substr(said[t][i].find(' ')));
    }
  }
  EXPECT_EQ(processes.size(), 3u);
}

}  // namespace
}  // namespace temper

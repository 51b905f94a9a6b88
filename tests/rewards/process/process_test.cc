// SPDX-License-Identifier: Apache-2.0
#include "rewards/process/process.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <set>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "core/files/file.h"
#include "core/json/json.h"
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
  config.process.command = std::move(command);
  config.process.row_seconds = row_seconds;
  config.process.start_seconds = 60;
  config.process.retries = 0;
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
  EXPECT_EQ(verdict.reason, "a b length 7 Q <think> 4 sums 3");
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

// What is said of it before a run trains.
std::string NotReady(std::vector<std::string> command) {
  return std::string(Rule(Command(std::move(command)))->CheckReady().message());
}

TEST(Process, ThatCannotStartIsRefused) {
  const auto error = NotReady;
  EXPECT_THAT(std::string(MakeRule(Command({})).status().message()), HasSubstr("set command"));
  EXPECT_THAT(error({"no-such-program-here"}),
              HasSubstr("no-such-program-here: cannot be started: No such file"));
  EXPECT_THAT(error({"/etc/passwd"}), HasSubstr("/etc/passwd: cannot be started: Permission denied"));
  EXPECT_THAT(error({"/bin/sh", "-c", "echo no module >&2; exit 3"}),
              HasSubstr("exit status 3; it says: no module"));
  EXPECT_THAT(error({"/bin/sh", "-c", "sleep 0.5; echo no module >&2; exit 3"}),
              HasSubstr("exit status 3; it says: no module"));
  EXPECT_THAT(error({"python3", testing::TempDir() + "/nofile.py"}), HasSubstr("exit status 2; it says: "));
  EXPECT_THAT(
      error({"/bin/sh", "-c", "echo hello; read row; sleep 60"}),
      HasSubstr("wrote to its standard output, where only answers belong, before it was asked: hello"));
  EXPECT_EQ(error(Program("say(id=row['id'], score=1)")), "");
  EXPECT_TRUE(NoChildren());
}

struct Broken {
  const char* name;
  const char* body;
  const char* reason;
};
class BrokenProcess : public testing::TestWithParam<Broken> {};

TEST_P(BrokenProcess, IsAnInfrastructureErrorAndTheNextRowGetsANewOne) {
  EXPECT_EQ(NotReady({"/bin/sh", "-c", "read row"}),
            "");  // from the first start on the keeper's program is open
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
  config.process.start_seconds = 0;
  EXPECT_THAT(Ask(*Rule(config), "x").reason, HasSubstr("no answer in 0.2 s"));
}

TEST(Process, GetsNoFileOfOurs) {
  const auto rule = Rule(
      Command(Program("say(id=row['id'], score=1, reason=' '.join(sorted(os.listdir('/proc/self/fd'))))")));
  // 3 is listdir's own.
  EXPECT_EQ(Ask(*rule, "x").reason, "0 1 2 3");
}

TEST(Process, ServesManyThreadsWithManyProcesses) {
  RuleConfig config =
      Command(Program("me = globals().setdefault('me', os.urandom(8).hex())\n"
                      "    say(id=row['id'], score=1, reason=row['completion'] + ' ' + me)"));
  config.process.processes = 3;
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

// Asks for all rows at once, as a pool does; the answers in their order.
std::vector<ProcessRule::Answer> AskAll(const Reward& rule, const std::vector<std::string>& texts) {
  static const Prompt* const prompt = new Prompt(Problem("4"));
  std::vector<Completion> rows;
  for (const std::string& text : texts) rows.push_back({.prompt = prompt, .text = text, .tokens = 7});
  std::vector<ProcessRule::Answer> answers;
  absl::Notification done;
  rule.process()->Ask(rows, [&](std::vector<ProcessRule::Answer> said) {
    answers = std::move(said);
    done.Notify();
  });
  done.WaitForNotification();
  return answers;
}

std::string Reasons(const std::vector<ProcessRule::Answer>& answers) {
  std::string all;
  for (const auto& answer : answers) absl::StrAppend(&all, all.empty() ? "" : " ", answer.verdict.reason);
  return all;
}

TEST(Process, AnswersBeforeItsRowAreNotTaken) {
  // It guesses the first ids without reading.
  const auto rule = Rule(Command({"/bin/sh", "-c",
                                  "i=1; while [ $i -lt 9 ]; do echo \"{\\\"id\\\":$i,\\\"score\\\":1}\"; "
                                  "i=$((i+1)); sleep 0.1; done; sleep 60"}));
  const Verdict verdict = Ask(*rule, "x");
  EXPECT_EQ(verdict.kind, VerdictKind::kInfrastructureError);
  EXPECT_THAT(verdict.reason, HasSubstr("before it"));
  // An answer given twice is no answer to the next row.
  const auto twice = Rule(Command(Program("say(id=row['id'], score=1); say(id=row['id'] + 1, score=1)")));
  EXPECT_EQ(Ask(*twice, "x").score, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_THAT(Ask(*twice, "x").reason, HasSubstr("wrote to its standard output, where only answers belong"));
}

TEST(Process, ControlCharactersOfItsWordsAreSpelledOut) {
  const auto rule =
      Rule(Command(Program("say(id=row['id'], score=1, reason='a\\x1b]0;pwned\\x07\\r\\nb', "
                           "extracted='\\x7f\\x1b[2J\\u009b\\u202e')")));
  const Verdict verdict = Ask(*rule, "x");
  EXPECT_EQ(verdict.reason, "a\\x1b]0;pwned\\x07  b");
  EXPECT_EQ(verdict.extracted, "\\x7f\\x1b[2J\\xc2\\x9b\\xe2\\x80\\xae");
  const auto dies = Rule(Command(Program("print('\\x1b[31mred\\x1b[0m', file=sys.stderr); sys.exit(1)")));
  EXPECT_THAT(Ask(*dies, "x").reason, HasSubstr("it says: \\x1b[31mred\\x1b[0m"));
}

TEST(Process, JudgesAsManyRowsAtOnceAsThereAreProcesses) {
  // Each waits until it sees seven others, or gives up: only eight at once can be right.
  const std::string folder = testing::TempDir() + "/at_once";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  RuleConfig config =
      Command(Program("open('" + folder +
                      "/%d' % os.getpid() + row['completion'], 'w').close(); end = time.time() + 40\n"
                      "    while len(os.listdir('" +
                      folder +
                      "')) < 8 and time.time() < end: time.sleep(0.01)\n"
                      "    say(id=row['id'], score=float(len(os.listdir('" +
                      folder + "')) >= 8))"));
  config.process.processes = 8;
  const auto rule = Rule(config);
  std::vector<std::string> texts;
  for (int i = 0; i < 8; ++i) texts.push_back(absl::StrCat("row", i));
  for (const auto& answer : AskAll(*rule, texts)) EXPECT_EQ(answer.verdict.score, 1) << answer.verdict.reason;
  EXPECT_EQ(rule->process()->TakeFigures().at_once_peak, 8);
}

TEST(Process, TakesBatchesAndAnswersInAnyOrder) {
  RuleConfig config = Command(
      Program("rows = row['rows']\n"
              "    for one in reversed(rows): say(id=one['id'], score=1, reason='%d/%s' % (len(rows), "
              "one['completion']))"));
  config.process.rows = RowsForm::kBatch;
  config.process.batch_rows = 3;
  const auto rule = Rule(config);
  EXPECT_EQ(Reasons(AskAll(*rule, {"a", "b", "c", "d"})), "3/a 3/b 3/c 1/d");
}

TEST(Process, ComparesTheCompletionsOfAGroup) {
  RuleConfig config =
      Command(Program("rows = row['rows']; most = max(len(one['completion']) for one in rows)\n"
                      "    for one in rows: say(id=one['id'], score=float(len(one['completion']) == most), "
                      "reason=str(row['protocol']) + one['completion'])"));
  config.process.rows = RowsForm::kGroup;
  const auto rule = Rule(config);
  ASSERT_TRUE(rule->process()->judges_groups());
  const auto answers = AskAll(*rule, {"aa", "b", "ccc", "dd"});
  EXPECT_EQ(Reasons(answers), "1aa 1b 1ccc 1dd");
  EXPECT_EQ(answers[2].verdict.score, 1);
  EXPECT_EQ(answers[0].verdict.score, 0);
}

TEST(Process, ThatForgetsARowOfAGroupOrSaysOneTwiceHasFailed) {
  RuleConfig config = Command(Program("[say(id=row['rows'][0]['id'], score=1) for one in row['rows']]"));
  config.process.rows = RowsForm::kGroup;
  EXPECT_THAT(Reasons(AskAll(*Rule(config), {"a", "b"})), HasSubstr("it answered row 1 twice"));
}

TEST(Process, TriesARowAgainAsOftenAsAsked) {
  const std::string tries = testing::TempDir() + "/tries";
  const auto judged = [&](int64_t retries, const std::string& body) {
    std::filesystem::remove(tries);
    RuleConfig config = Command(
        Program("open('" + tries + "', 'a').write('x'); n = len(open('" + tries + "').read())\n    " + body));
    config.process.retries = retries;
    config.process.retry_seconds = 0.01;
    const auto rule = Rule(config);
    const Verdict verdict = Ask(*rule, "x");
    const ProcessRule::Figures figures = rule->process()->TakeFigures();
    return absl::StrCat(Name(verdict.kind), " after ", ReadFile(tries)->size(), ", restarts ",
                        figures.restarts, ", retries ", figures.retries);
  };
  const std::string ends = "sys.exit(1) if n < 3 else say(id=row['id'], score=1)";
  EXPECT_EQ(judged(0, ends), "infrastructure_error after 1, restarts 0, retries 0");
  EXPECT_EQ(judged(1, ends), "infrastructure_error after 2, restarts 1, retries 1");
  EXPECT_EQ(judged(2, ends), "correct after 3, restarts 2, retries 2");
  // A program that says so itself is asked again, not killed.
  EXPECT_EQ(
      judged(2, "say(id=row['id'], **({'verdict': 'infrastructure_error'} if n < 3 else {'score': 1}))"),
      "correct after 3, restarts 0, retries 2");
}

// What must be gone: a sleep of a second number that no other test has. Zombies do not count.
bool Runs(const std::string& seconds) {
  DIR* processes = opendir("/proc");
  bool runs = false;
  for (const dirent* entry; (entry = readdir(processes)) != nullptr;) {
    const auto line = ReadFile(absl::StrCat("/proc/", entry->d_name, "/cmdline"));
    runs |= line.ok() && absl::StartsWith(*line, "sleep") && absl::StrContains(*line, seconds);
  }
  closedir(processes);
  return runs;
}
bool RunsIn10Seconds(const std::string& seconds, bool runs) {
  for (int i = 0; i < 1000 && Runs(seconds) != runs; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return Runs(seconds);
}

class Escape : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Escape, LeavesNothingBehindWhateverEndsIt) {
  const std::string seconds =
      absl::StrCat(60000 + getpid() % 10000, ".", testing::UnitTest::GetInstance()->random_seed());
  const std::string body =
      absl::StrCat("sleep = ['sleep', '", seconds, "']\n    ", GetParam().second,
                   "\n    say(id=row['id'], score=1) if row['completion'] != 'hang' else time.sleep(600)");
  {  // by its end
    const auto rule = Rule(Command(Program(body)));
    EXPECT_EQ(Ask(*rule, "x").score, 1);
    EXPECT_TRUE(RunsIn10Seconds(seconds, true));
  }
  EXPECT_FALSE(RunsIn10Seconds(seconds, false)) << "after its end";
  {  // by its deadline
    RuleConfig config = Command(Program(body), 1);
    config.process.start_seconds = 0;
    EXPECT_THAT(Ask(*Rule(config), "hang").reason, HasSubstr("no answer in 1 s"));
  }
  EXPECT_FALSE(RunsIn10Seconds(seconds, false)) << "after a deadline";
  // By kill -9 of us.
  const pid_t child = fork();
  if (child == 0) {
    Ask(*Rule(Command(Program(body))), "hang");
    _exit(0);
  }
  EXPECT_TRUE(RunsIn10Seconds(seconds, true));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(RunsIn10Seconds(seconds, false)) << "after kill -9 of temper";
}

INSTANTIATE_TEST_SUITE_P(
    Process, Escape,
    testing::Values(
        std::pair("ASessionOfItsOwn", "subprocess.Popen(sleep, start_new_session=True)"),
        std::pair("AGroupOfItsOwn", "subprocess.Popen(sleep, process_group=0)"),
        std::pair("TheGroupOfItsParent", "os.setpgid(0, 0); subprocess.Popen(sleep)"),
        std::pair("ADaemonForkedTwice",
                  "os.fork() or (os.setsid(), os.fork() or os.execvp('sleep', sleep), os._exit(0))"),
        std::pair("IgnoredSignals",
                  "[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 13, 15)]; subprocess.Popen(sleep)")),
    [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace temper

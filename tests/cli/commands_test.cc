// SPDX-License-Identifier: Apache-2.0
// The table, what is made from it, and the program's exit codes.
#include <set>

#include "cli/docs.h"
#include "core/version.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Commands, HelpListsEveryOptionOfTheFixedForms) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> forms = {
      {"run", {"--run-dir", "--set"}},
      {"tokenize", {"--tokenizer", "--decode"}},
      {"logprobs", {"--model", "--temperature", "--input"}},
      {"sample",
       {"--model", "--prompts", "--samples-per-prompt", "--max-new-tokens", "--temperature", "--top-p",
        "--top-k", "--min-p", "--seed", "--ignore-eos", "--max-batch", "--stop", "--min-new-tokens",
        "--stop-token-ids", "--draft-tokens"}},
      {"score", {"--rule", "--mode", "--raw", "--input", "--recipe", "--stage"}},
      {"eval", {"--model", "--data", "--k", "--temperature", "--template"}},
      {"report", {}},
      {"inspect", {"--digest"}},
      {"bench", {}},
  };
  for (const auto& [name, options] : forms) {
    const Command* found = nullptr;
    for (const Command& command : Commands()) found = name == command.name ? &command : found;
    ASSERT_NE(found, nullptr) << name;
    EXPECT_THAT(ProgramHelp(), HasSubstr(absl::StrCat("\n  ", name, " ")));
    for (const std::string& option : options)
      EXPECT_THAT(CommandHelp(*found), HasSubstr(absl::StrCat("\n  ", option))) << name;
  }
}

TEST(Commands, NamesAreThereOnce) {
  std::set<std::string> names;
  for (const Command& command : Commands()) EXPECT_TRUE(names.insert(command.name).second) << command.name;
}

TEST(Docs, ThePagesAreWhatTheProgramSays) {
  EXPECT_EQ(ReadFile("docs/config.md").value_or(""), ConfigPage())
      << "run: temper docs config > docs/config.md";
  EXPECT_EQ(ReadFile("docs/commands.md").value_or(""), CommandsPage())
      << "run: temper docs commands > docs/commands.md";
  EXPECT_EQ(RunCommand("docs", {"config"}).out, ConfigPage());
  EXPECT_THAT(ErrorOf("docs", {}), HasSubstr("which page"));
}

TEST(Docs, TheVersionIsThatOfTheBuild) {
  EXPECT_THAT(ReadFile("CMakeLists.txt").value_or(""),
              HasSubstr(absl::StrCat("project(temper VERSION ", kVersion, " ")));
}

TEST(Program, HelpAndVersionAreNoErrors) {
  const Ended help = Shell("$TEMPER --help");
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.out, ProgramHelp());
  EXPECT_EQ(help.err, "");
  const Ended command = Shell("$TEMPER sample --model x --help");
  EXPECT_EQ(command.code, 0);
  EXPECT_THAT(command.out, StartsWith("temper sample --model DIR"));
  EXPECT_EQ(Shell("$TEMPER --version").out, absl::StrCat("temper ", kVersion, "\n"));
}

TEST(Program, TheUsersMistakesEndWithTwoAndOneLine) {
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"smaple", "error: smaple: unknown command; did you mean sample?\n"},
      {"score", "error: expected --rule NAMES or --recipe RECIPE.yaml"},
      {"score --rule accuracy --inptu x", "error: --inptu: unknown option; did you mean --input?\n"},
      {"score --rule accuracy --input /nothing", "error: /nothing: cannot read: No such file or directory\n"},
      {"sample --model /nothing --temperature x", "error: --temperature: "},
      {"sample --model /nothing", "error: /nothing/config.json: "},
      {"run", "error: "},
      {"run /nothing.yaml --run-dir /tmp/x", "error: /nothing.yaml: "},
  };
  for (const auto& [arguments, message] : mistakes) {
    const Ended ended = Shell("$TEMPER " + arguments + " < /dev/null");
    EXPECT_EQ(ended.code, 2) << arguments;
    EXPECT_THAT(ended.err, StartsWith(message)) << arguments;
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_EQ(Shell("$TEMPER").code, 2);
}

TEST(Program, AStopOnRequestEndsWithSeventyFive) {
  const Ended ended = Shell(
      // Its first line says that it runs.
      "row='{\"completion\":\"7\",\"answer\":\"7\"}'; coproc $TEMPER score --rule accuracy --raw; "
      "pid=$COPROC_PID; "
      "echo \"$row\" >&${COPROC[1]}; read -t 60 -u ${COPROC[0]} line; kill -TERM $pid; wait $pid; exit $?");
  EXPECT_EQ(ended.code, 75);
  EXPECT_THAT(ended.err, HasSubstr("stopped on request"));
}

// How score ends after `signals`, shell commands that send them to $pid, while it waits for its next row.
Ended ScoreAfter(const std::string& signals, const std::string& before = "") {
  return Shell("row='{\"completion\":\"7\",\"answer\":\"7\"}'; " + before +
               " coproc $TEMPER score --rule accuracy --raw; pid=$COPROC_PID; "
               "echo \"$row\" >&${COPROC[1]}; read -t 60 -u ${COPROC[0]} line; " +
               signals + "; wait $pid; exit $?");
}

TEST(Program, EverySignalThatAsksToStopIsHeard) {
  for (const char* name : {"HUP", "INT", "USR1", "USR2"})
    EXPECT_EQ(ScoreAfter(std::string("kill -") + name + " $pid").code, 75) << name;
  // As under nohup.
  EXPECT_EQ(ScoreAfter("kill -HUP $pid; sleep 0.2; kill -TERM $pid", "trap '' HUP;").code, 75);
  EXPECT_THAT(ScoreAfter("kill -HUP $pid; eval \"exec ${COPROC[1]}>&-\"", "trap '' HUP;").code, 0);
}

// What a plan computes takes minutes on hundreds of ranks, and nothing of it is to be saved.
TEST(Program, APlanEndsAtOnceOnRequest) {
  const Ended ended = Shell(
      "for key in rl stages.base.pretrain stages.cold_start.sft stages.sft.sft; do set -- \"$@\" --set "
      "$key.gradient_leaves=1024; done; "
      "$TEMPER plan configs/tiny/short.yaml --exercise --ranks 4096 --set mesh.tp=4 \"$@\" & pid=$!; "
      "for i in $(seq 600); do grep -q '^SigCgt:.*[4-7c-f]...$' /proc/$pid/status && break; sleep 0.1; done; "
      "sleep 1; kill -TERM $pid; "  // which it hears from then on
      "for i in $(seq 100); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done; "
      "kill -KILL $pid 2>/dev/null; wait $pid; exit $?");
  EXPECT_EQ(ended.code, kStoppedExit) << "within ten seconds, on a machine that does other work";
  EXPECT_EQ(ended.err, "stopped on request\n");
}

TEST(Program, AReaderThatIsGoneEndsItQuietly) {
  const Ended ended = Shell(
      "row='{\"completion\":\"7\",\"answer\":\"7\"}'; (while echo \"$row\"; do :; done) 2>/dev/null | "
      "($TEMPER score --rule accuracy --raw; echo code $? >&2) | head -n 1");
  EXPECT_THAT(ended.out, StartsWith("{\"id\":null,\"reward\":1.0,"));
  EXPECT_EQ(ended.err, "code 141\n");
}

TEST(Program, RowsComeOutAsTheyGoIn) {
  const Ended ended = Shell(
      "row='{\"completion\":\"7\",\"answer\":\"7\"}'; coproc $TEMPER score --rule accuracy --raw; echo "
      "\"$row\" >&${COPROC[1]}; "
      "read -t 20 -u ${COPROC[0]} line; echo \"$line\"; kill $COPROC_PID");
  EXPECT_THAT(ended.out, StartsWith("{\"id\":null,\"reward\":1.0,"));
}

}  // namespace
}  // namespace temper

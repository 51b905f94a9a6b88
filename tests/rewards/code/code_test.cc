// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/code.h"

#include <atomic>
#include <filesystem>
#include <thread>

#include "core/text.h"
#include "rewards/code/block.h"
#include "rewards/code/compare.h"
#include "rewards/code/task.h"
#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

CodeBlock Find(const std::string& text, bool raw = false, StopReason stop = StopReason::kEndOfText,
               bool cpp = false) {
  const Prompt prompt = Problem("");  // ends in <think>
  return FindCode({.prompt = &prompt, .text = text, .stop = stop, .raw = raw}, cpp);
}

TEST(CodeBlock, A55IsTheLastClosedFenceAfterTheThinking) {
  const struct {
    const char *what, *text, *code;  // code null: no answer; "!": malformed
  } cases[] = {
      {"one fence", "</think>\n```python\na\n```", "a\n"},
      {"two fences", "</think>\n```python\na\n```\n```python\nb\n```", "b\n"},
      {"an unclosed one last", "</think>\n```python\na\n```\n```python\nb\n", "a\n"},
      {"an unclosed one only", "</think>\n```python\na\n", nullptr},
      {"a fence inside the thinking", "```python\na\n```\n</think> done", nullptr},
      {"a fence that closes after the thinking", "```python\na\n</think>\n```\nb", nullptr},
      {"inside the thinking and after it", "```python\na\n```\n</think>\n```python\nb\n```", "b\n"},
      {"no end of the thinking", "<think>\n```python\na\n```", nullptr},
      {"two ends of the thinking", "</think>\n```python\na\n```\n</think>\n```python\nb\n```", "!"},
      {"inside <answer>", "</think>\n```python\na\n```\n<answer>\n```python\nb\n```\n</answer>", "b\n"},
      {"before <answer> only", "</think>\n```python\na\n```\n<answer>see above</answer>", nullptr},
      {"after </answer>", "</think><answer>\n```python\na\n```\n</answer>\n```python\nb\n```", "a\n"},
      {"two <answer>", "</think><answer>\n```python\na\n```\n</answer><answer>x</answer>", "!"},
      {"<answer> in the thinking", "<answer>\n```python\na\n```\n</answer></think> b", nullptr},
      {"its output in a block after it", "</think>\n```python\na\n```\nprints\n```\n7\n```", "a\n"},
      {"another language after it", "</think>\n```py\na\n```\n```bash\nb\n```", "a\n"},
      {"no label", "</think>\n```\na\n```", "a\n"},
      {"labelled as another language only", "</think>\n```java\na\n```", nullptr},
      {"tildes", "</think>\n~~~python\na\n```\nb\n~~~", "a\n```\nb\n"},
      {"a longer fence holds a shorter", "</think>\n````python\na\n```\nb\n````", "a\n```\nb\n"},
      {"a fence with a label closes nothing", "</think>\n```python\na\n```python\nb\n```",
       "a\n```python\nb\n"},
      {"indented", "</think>\n1. so:\n   ```python\n   a\n     b\n   ```", "a\n  b\n"},
      {"in one line", "</think> ```print(1)``` is it", nullptr},
      {"empty", "</think>\n```python\n \n```", nullptr},
      {"attributes after the label", "</think>\n```python {.x}\na\n```", "a\n"},
      {"carriage returns", "</think>\r\n```python\r\na\r\n```\r\n", "a\r\n"},
  };
  for (const auto& [what, text, code] : cases) {
    const CodeBlock found = Find(text);
    EXPECT_EQ(found.kind, code == nullptr            ? VerdictKind::kNoAnswer
                          : std::string(code) == "!" ? VerdictKind::kMalformed
                                                     : VerdictKind::kCorrect)
        << what << ": " << found.reason;
    if (found.kind == VerdictKind::kCorrect && code != nullptr) {
      EXPECT_EQ(found.code, code) << what;
    }
  }
}

// As rule math looks for its answer.
TEST(CodeBlock, OfACompletionThatNeverBeganToThinkIsWhatItSays) {
  const struct {
    const char *what, *prompt, *text, *code;  // code null: no answer; "!": malformed
  } cases[] = {
      {"no tags", "Q", "Here:\n```python\na\n```", "a\n"},
      {"only <answer>", "Q", "<answer>\n```python\na\n```\n</answer>", "a\n"},
      {"before <answer>", "Q", "```python\na\n```\n<answer>see above</answer>", nullptr},
      {"two <answer>", "Q", "<answer>\n```python\na\n```\n</answer><answer>b</answer>", "!"},
      {"<answer> without an end", "Q", "<answer>\n```python\na\n```", "!"},
      {"no prompt at all", "", "```python\na\n```", "a\n"},
      {"it began to think", "Q", "<think>\n```python\na\n```", nullptr},
      {"it thought", "Q", "<think>b</think>\n```python\na\n```", "a\n"},
      {"only the end of thinking", "Q", "</think>\n```python\na\n```", "a\n"},
      {"the prompt began to think", "Q <think>\n", "```python\na\n```", nullptr},
      {"the prompt began to think, <answer>", "Q <think>", "<answer>\n```python\na\n```\n</answer>", nullptr},
      {"the prompt thought", "Q <think></think>", "```python\na\n```", "a\n"},
  };
  for (const auto& [what, ask, text, code] : cases) {
    Prompt prompt = Problem("");
    prompt.text = ask;
    const CodeBlock found = FindCode({.prompt = &prompt, .text = text}, false);
    EXPECT_EQ(found.kind, code == nullptr            ? VerdictKind::kNoAnswer
                          : std::string(code) == "!" ? VerdictKind::kMalformed
                                                     : VerdictKind::kCorrect)
        << what << ": " << found.reason;
    if (found.kind == VerdictKind::kCorrect && code != nullptr) {
      EXPECT_EQ(found.code, code) << what;
    }
  }
}

TEST(CodeBlock, OfARawCompletionIsTheWholeTextOrItsFence) {
  EXPECT_EQ(Find("print(1)\n", true).code, "print(1)\n");
  EXPECT_EQ(Find("so\n```python\na\n```\n", true).code, "a\n");
  EXPECT_EQ(Find("so\n```python\na\n", true).reason, "the code block is not closed");
  EXPECT_EQ(Find("```cpp\na\n```", true, StopReason::kEndOfText, true).code, "a\n");
}

TEST(CodeBlock, SaysWhyThereIsNone) {
  EXPECT_EQ(Find("</think>\n```python\na", false, StopReason::kLength).reason,
            "cut by length in the code block");
  EXPECT_EQ(Find("</think>\nnothing").reason, "no code block");
  EXPECT_EQ(Find("</think>\n```java\na\n```").reason, "no code block of the task's language");
  EXPECT_EQ(Find("thinking", false, StopReason::kLength).reason, "the thinking does not end");
  const std::string huge = "</think>\n```python\n" + std::string(kMaxCodeBytes + 1, 'a') + "\n```";
  EXPECT_EQ(Find(huge).kind, VerdictKind::kMalformed);
}

TEST(CodeBlock, OfHostileTextsIsFoundInNoTime) {
  for (const std::string& text : HostileTexts()) {
    for (const bool raw : {false, true}) Find(text, raw);
  }
}

TEST(CodeCompare, ComparesTextAsTheTaskSays) {
  using Text = CodeCompare::Text;
  const struct {
    const char *expected, *printed;
    Text text;
    double tolerance;
    bool same;
  } cases[] = {
      {"1\n2\n", "1\n2", Text::kLines, 0, true},
      {"1\n2\n", "1 \n2\t\r\n\n\n", Text::kLines, 0, true},
      {"1\n2", "1\n\n2", Text::kLines, 0, false},
      {"1 2", "1  2", Text::kLines, 0, false},
      {" 1", "1", Text::kLines, 0, false},
      {"", "\n \n", Text::kLines, 0, true},
      {"1", "", Text::kLines, 0, false},
      {"1 2\n3", "1\n2 3 ", Text::kWords, 0, true},
      {"1 2", "12", Text::kWords, 0, false},
      {"1 2", "1 2 3", Text::kWords, 0, false},
      {"1\n", "1", Text::kExact, 0, false},
      {"1\n", "1\n", Text::kExact, 0, true},
      {"0.5", "0.50", Text::kLines, 0, false},
      {"0.5", "0.50", Text::kLines, 1e-6, true},
      {"0.5", "0.5000001", Text::kLines, 1e-6, true},
      {"0.5", "0.50001", Text::kLines, 1e-6, false},
      {"1e9", "1000000001.0", Text::kLines, 1e-6, true},
      {"3", "3.0", Text::kLines, 1e-6, false},  // a whole number is exact
      {"3", "3.0000001", Text::kWords, 1e-6, false},
      {"3.0", "3", Text::kLines, 1e-6, true},
      {"1.0", "1e0", Text::kLines, 0, false},
      {"1.0", "1e0", Text::kLines, 1e-6, true},
      {"0.0", "-0.0", Text::kLines, 0, false},
      {"0.0", "-0.0", Text::kLines, 1e-6, true},
      {"0.5", "nan", Text::kLines, 0.1, false},
      {"0.5", "inf", Text::kLines, 0.1, false},
      {"0.5", "0x1p-1", Text::kLines, 0.1, false},
      {"0.5", "0.5abc", Text::kLines, 0.1, false},
      {"1.0", "1e999", Text::kLines, 0.1, false},
      {"nan", "nan", Text::kLines, 0, true},  // as text
      {"Yes 0.5", "yes 0.5", Text::kLines, 0.1, false},
      {"0.5 1.5", "0.5  1.5", Text::kLines, 1e-6, true},
  };
  for (const auto& [expected, printed, text, tolerance, same] : cases) {
    EXPECT_EQ(SameOutput(expected, printed, {text, tolerance}), same)
        << Printable(expected) << " and " << Printable(printed) << " " << tolerance;
  }
}

TEST(CodeTask, ReadsTheFormsThatDatasetsHave) {
  const struct {
    const char* row;
    bool cpp;
    size_t tests;
    const char *function, *args, *expected;
  } cases[] = {
      {R"({"language":"cpp","tests":[{"input":"1","output":"2"}]})", true, 1, "", "null", "null"},
      {R"({"language":"C++","tests":[{"output":"2"}],"hidden_tests":[{"input":"1","output":"2"}]})", true, 2,
       "", "null", "null"},
      {R"({"hidden_tests":[{"function":"S.f","args":[[1]],"expected":null}]})", false, 1, "S.f", "[[1]]",
       "null"},
      {R"({"verification_info":{"language":"python","test_cases":[{"fn_name":null,"input":"1","output":"2","type":"stdin_stdout"}]}})",
       false, 1, "", "null", "null"},
      {R"({"verification_info":"{\"test_cases\":[{\"fn_name\":\"f\",\"input\":[1,2],\"output\":[3]}]}"})",
       false, 1, "f", "[1,2]", "3"},
      {R"({"tests":"[{\"fn_name\":\"f\",\"input\":\"[1, 2]\\n5\",\"output\":\"7\"}]"})", false, 1, "f",
       "[[1,2],5]", "7"},
      {R"({"tests":{"inputs":["1","2"],"outputs":["2","3"]}})", false, 2, "", "null", "null"},
      {R"({"tests":{"fn_name":"f","inputs":[[1],[2]],"outputs":[[2],[3]]}})", false, 2, "f", "[1]", "2"},
  };
  for (const auto& [row, cpp, tests, function, args, expected] : cases) {
    const absl::StatusOr<CodeTask> task = ReadCodeTask(Row(row), {});
    ASSERT_TRUE(task.ok()) << row << ": " << task.status().message();
    EXPECT_EQ(task->cpp, cpp);
    ASSERT_EQ(task->tests.size(), tests) << row;
    EXPECT_EQ(task->tests[0].function, function);
    EXPECT_EQ(DumpJson(task->tests[0].args), args);
    EXPECT_EQ(DumpJson(task->tests[0].expected), expected);
  }
}

TEST(CodeTask, NamesWhatIsWrongWithARow) {
  constexpr char kNoTests[] =
      "problem p1: has no tests (tests, hidden_tests, or as published data sets have them: docs/rewards.md)";
  const char* cases[][2] = {
      {"", kNoTests},
      {R"({"tests":[]})", kNoTests},
      {R"({"tests":5})", "problem p1: tests: expected a list of tests"},
      {R"({"tests":[5]})", "problem p1: tests[0]: is no object"},
      {R"({"tests":[{"output":"1"},{"input":"1"}]})", "problem p1: tests[1]: output: missing"},
      {R"({"tests":[{"function":"f","args":5,"expected":1}]})",
       "problem p1: tests[0]: args: expected a list of the arguments"},
      {R"({"hidden_tests":[{"function":"f","args":[]}]})", "problem p1: hidden_tests[0]: has no expected"},
      {R"({"tests":[{"function":"f();x","args":[],"expected":1}]})",
       "problem p1: tests[0]: function: expected NAME or CLASS.NAME"},
      {R"({"language":"java","tests":[{"output":"1"}]})", "problem p1: language is python or cpp, not java"},
      {R"({"compare":"lose","tests":[{"output":"1"}]})",
       "problem p1: compare is lines, exact or words, not lose"},
      {R"({"tolerance":1,"tests":[{"output":"1"}]})",
       "problem p1: tolerance: expected a number from 0 to below 1"},
      {R"({"tests":{"inputs":["1"],"outputs":[]}})",
       "problem p1: tests: inputs and outputs: expected two lists of the same length"},
      {R"({"verification_info":{}})", "problem p1: verification_info has no test_cases"}};
  for (const auto& [row, message] : cases) {
    EXPECT_EQ(std::string(ReadCodeTask(Row(row), {}).status().message()), message) << row;
  }
}

class Code : public testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<std::unique_ptr<Sandbox>> sandbox = Sandbox::Create();
    if (!sandbox.ok()) GTEST_SKIP() << sandbox.status().message();
  }
  static Verdict Of(const std::string& row, const std::string& code, const std::string& label = "python") {
    return Judge(CodeConfig(), Row(row), Fenced(code, label));
  }
  static constexpr char kSum[] =
      R"({"tests": [{"input": "1 2", "output": "3"}, {"input": "5 6", "output": "11\n"}]})";
};

TEST_F(Code, PassesWhatPassesEveryTest) {
  const Verdict verdict = Of(kSum, "print(sum(map(int, input().split())))");
  EXPECT_EQ(verdict.kind, VerdictKind::kCorrect);
  EXPECT_EQ(verdict.score, 1);
  EXPECT_EQ(verdict.reason, "");
  EXPECT_EQ(verdict.extracted, "print(sum(map(int, input().split())))\n");
}

TEST_F(Code, SaysWhichTestFailsAndHow) {
  EXPECT_EQ(Of(kSum, "print(3)").reason, "test 2 of 2: wrong output: 3 is not 11");
  EXPECT_EQ(Of(kSum, "1 / 0").reason, "test 1 of 2: exit status 1: ZeroDivisionError: division by zero");
  EXPECT_EQ(Of(kSum, "x = [").reason, "test 1 of 2: exit status 1: SyntaxError: '[' was never closed");
  const Verdict slow = Of(kSum, "while True: pass");
  EXPECT_EQ(slow.kind, VerdictKind::kTimeout);
  EXPECT_EQ(slow.reason, "test 1 of 2: takes too long");
  const char row[] = R"({"tests": [{"function": "f", "args": [1], "expected": [2.5]}]})";
  EXPECT_EQ(Of(row, "def f(x): return (x,)").reason, "test 1 of 1: wrong result: [1] is not [2.5]");
  EXPECT_EQ(Of(row, "def f(x): return {x}").reason,
            "test 1 of 1: exit status 1: TypeError: the result is no plain value but set");
  EXPECT_EQ(Of(row, "def g(x): pass").reason,
            "test 1 of 1: exit status 1: AttributeError: module 'solution' has no attribute 'f'");
  EXPECT_EQ(Of(row, "class Solution:\n  def f(self, x): return [2.5]").kind, VerdictKind::kCorrect);
}

TEST_F(Code, CallsAreNoRunOfTheProgramAndSeeEmptyInput) {
  const char row[] =
      R"({"tests": [{"function": "f", "args": ["é\"\n", {"a": [1.5, true, null]}], "expected": "ok"}]})";
  EXPECT_EQ(
      Of(row,
         "import sys\nif __name__ == '__main__': sys.exit(1)\ndef f(s, d):\n  print('noise')\n"
         "  assert s == 'é\"\\n' and d == {'a': [1.5, True, None]} and sys.stdin.read() == ''\n  return 'ok'")
          .reason,
      "");
}

TEST_F(Code, AllTestsTogetherHaveATime) {
  RuleConfig config = CodeConfig();
  config.code.total_seconds = 1;
  std::string tests;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&tests, i == 0 ? "" : ",", R"({"output": "1"})");
  const Verdict verdict = Judge(config, Row(absl::StrCat("{\"tests\": [", tests, "]}")),
                                Fenced("import time\ntime.sleep(0.2)\nprint(1)"));
  EXPECT_EQ(verdict.kind, VerdictKind::kTimeout) << verdict.reason;
}

TEST_F(Code, CppProgramsCompileAndRun) {
  if (!std::filesystem::exists("/usr/bin/g++")) GTEST_SKIP() << "no g++";
  std::string row(kSum);
  row.insert(1, R"("language": "cpp", )");
  EXPECT_EQ(
      Of(row, "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }", "cpp")
          .reason,
      "");
  EXPECT_EQ(Of(row, "int main() { return x; }", "cpp").reason,
            "does not compile: solution.cc:1:21: error: 'x' was not declared in this scope");
  EXPECT_EQ(Of(row, "int main() { __builtin_trap(); }", "cpp").reason, "test 1 of 2: killed by signal 4");
  EXPECT_EQ(Of(row, "int main() { for (volatile int i = 0;; ++i) {} }", "cpp").kind, VerdictKind::kTimeout);
}

// Data of C++ alone: Python's tools are never looked for.
TEST_F(Code, ARuleWhoseFirstRowIsOfCppChecksAndJudgesIt) {
  if (!std::filesystem::exists("/usr/bin/g++")) GTEST_SKIP() << "no g++";
  const Prompt row = Row(R"({"language": "cpp", "tests": [{"function": "f", "args": [5], "expected": 5}]})");
  const absl::Status checked = Rule(CodeConfig())->CheckAnswer(row);
  EXPECT_TRUE(checked.ok()) << checked;
  EXPECT_EQ(Judge(CodeConfig(), row, Fenced("int f(int x) { return x; }", "cpp")).reason, "");
}

TEST_F(Code, CppFunctionsAreCalledByTheirTypes) {
  if (!std::filesystem::exists("/usr/bin/g++")) GTEST_SKIP() << "no g++";
  const char row[] =
      R"({"language": "cpp", "tests": [{"function": "Solution.go", "args": [[1, 2], "a\"\u00e9", {"k": 7.5}, true, "c", -9000000000, null],
          "expected": [[[1, 2], "a\"éc"], {"k": 7.5}, true, -9000000000, null]}]})";
  const char code[] = R"(#include <map>
#define int long long
#define f(i) for (;; i)
using namespace std;
class Solution {
 public:
  tuple<pair<vector<int>, string>, map<string, double>, bool, int, optional<string>> go(
      vector<int>& a, const string& s, map<string, double> m, bool b, char c, int n, optional<string> o) {
    return {{a, s + c}, m, b, n, o};
  }
};
int32_t main() { return 5; })";
  EXPECT_EQ(Of(row, code, "cpp").reason, "");
}

TEST_F(Code, CppResultsAreComparedAsValues) {
  if (!std::filesystem::exists("/usr/bin/g++")) GTEST_SKIP() << "no g++";
  const char half[] = R"({"language": "cpp", "tests": [{"function": "f", "args": [3], "expected": 1.5}]})";
  EXPECT_EQ(Of(half, "double f(int x) { return x / 2.0; }", "cpp").reason, "");
  EXPECT_EQ(Of(half, "double f(int x) { return x / 2; }", "cpp").reason,
            "test 1 of 1: wrong result: 1.0 is not 1.5");
}

TEST_F(Code, AMissingCompilerIsAnErrorThatNamesItAndNoWrongAnswer) {
  RuleConfig config = CodeConfig();
  config.code.compiler = "/usr/bin/no-such-compiler";
  const Prompt row = Row(R"({"language": "cpp", "tests": [{"output": "1"}]})");
  const Verdict verdict = Judge(config, row, Fenced("int main() {}", "cpp"));
  EXPECT_EQ(verdict.kind, VerdictKind::kInfrastructureError);
  EXPECT_EQ(
      verdict.reason,
      "rule code: compiler /usr/bin/no-such-compiler is not there: No such file or directory, and a problem "
      "needs it");
  EXPECT_EQ(std::string(Rule(config)->CheckAnswer(row).message()), verdict.reason);
  config.code.compiler = "/etc/passwd; true";
  EXPECT_FALSE(MakeRule(config).ok());
}

TEST_F(Code, ManyThreadsJudgeAtOnce) {
  const std::unique_ptr<Reward> rule = Rule(CodeConfig());
  const Prompt row = Row(R"({"tests": [{"input": "7", "output": "7"}]})");
  std::vector<std::thread> threads;
  std::atomic<int> correct = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5; ++j) {
        const std::string text = Fenced("print(input())");
        correct += JudgeSafely(*rule, {.prompt = &row, .text = text}).kind == VerdictKind::kCorrect;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(correct, 20);
}

}  // namespace
}  // namespace temper

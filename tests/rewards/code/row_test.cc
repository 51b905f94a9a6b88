// SPDX-License-Identifier: Apache-2.0
// Rule code on rows as data sets of programs are published, and on what their harnesses give to a program.
#include <zlib.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "rewards/code/packed.h"
#include "rewards/code/task.h"
#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

// As `base64.b64encode(zlib.compress(pickle.dumps(text, protocol)))` of Python 3.11 gives
// [{"input": "[3, 4]\n7", "output": "7", "testtype": "functional"}].
constexpr const char* kPacked[] = {
    "eJxrYIpwZGBgiK5WyswrKC1RslJQijbWUTCJjckzV9JRUMovLYEKg7klqcUlJZUFqSCBtNK85JLM/LzEHKXa2EIGPQAK/RXi",
    "eJxrYI5wZGBgiK5WyswrKC1RslJQijbWUTCJjckzV9JRUMovLYEKg7klqcUlJZUFqSCBtNK85JLM/LzEHKXa2EIGPQALRxXj",
    "eJxrYJnqygABPY7R1UqZeQWlJUpWCkrRxjoKJrExeeZKOgpK+aUlUGEwtyS1uKSksiAVJJBWmpdckpmfl5ijVBs7RQ8AR58XFQ==",
    "eJxrYJ3qygABPY7R1UqZeQWlJUpWCkrRxjoKJrExeeZKOgpK+aUlUGEwtyS1uKSksiAVJJBWmpdckpmfl5ijVBs7RQ8AR+4XFg=="};

std::string Packed(const std::string& pickle) {
  uLongf size = compressBound(pickle.size());
  std::string bytes(size, 0);
  EXPECT_EQ(compress(reinterpret_cast<Bytef*>(bytes.data()), &size,
                     reinterpret_cast<const Bytef*>(pickle.data()), pickle.size()),
            Z_OK);
  return absl::Base64Escape(bytes.substr(0, size));
}

TEST(CodePacked, IsTheTextOfEveryProtocolAndNothingIsUnpickled) {
  for (const char* packed : kPacked) {
    EXPECT_EQ(*UnpackText(packed, "t"),
              R"([{"input": "[3, 4]\n7", "output": "7", "testtype": "functional"}])");
  }
  const std::string frame = std::string("\x80\x04\x95") + std::string(8, '\0');
  const std::string texts[] = {"cos\nsystem\n(S'id'\ntR.",  // calls os.system
                               "\x80\x04]\x8c\x01"
                               "aa.",  // a list
                               frame +
                                   "\x8c\x05"
                                   "ab.",  // a text that is longer than the pickle
                               frame + std::string("X\xff\xff\xff\xff"
                                                   "a.",
                                                   7),
                               frame + std::string("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                                                   "a.",
                                                   11),
                               frame +
                                   "\x8c\x01"
                                   "a\x8c\x01"
                                   "b.",  // two
                               frame +
                                   "\x8c\x01"
                                   "a",  // no end
                               frame +
                                   "\x8c\x01"
                                   "a..",
                               frame,
                               "\x80",
                               "."};
  for (const std::string& pickle : texts)
    EXPECT_EQ(UnpackText(Packed(pickle), "t").status().message(),
              "t: is a pickle of more than one text, which is not read");
  EXPECT_EQ(UnpackText("!", "t").status().message(), "t: is neither JSON nor base64");
  EXPECT_EQ(UnpackText("YWJj", "t").status().message(),
            "t: is no zlib in base64, or more than 256 MiB of it");
}

TEST(CodePacked, ABombIsUnpackedNoFurtherThanItsLimit) {
  constexpr size_t kMost = 4 << 20;
  const std::string bomb = Packed(std::string(kMost + 1, '\0'));
  EXPECT_LT(bomb.size(), kMost / 500);
  EXPECT_EQ(UnpackText(bomb, "t", kMost).status().message(),
            "t: is no zlib in base64, or more than 4 MiB of it");
}

TEST(CodeTask, ReadsRowsAsTheyArePublished) {
  const std::string lcb = absl::StrCat(
      R"({"question_content":"Add.","question_id":"1","platform":"leetcode","starter_code":"class Solution:\n    def last(self, a: List[int], b: int) -> int:\n        ",
          "public_test_cases":"[{\"input\": \"[1, 2]\\n5\", \"output\": \"5\", \"testtype\": \"functional\"}]","private_test_cases":")",
      kPacked[2], R"(","metadata":"{\"func_name\": \"last\"}"})");
  const struct {
    std::string row;
    size_t shown, hidden;
    const char *function, *args, *expected, *input, *output;
  } cases[] = {
      {lcb, 1, 1, "last", "[[1,2],5]", "5", "", ""},
      {R"({"question_content":"q","starter_code":"","metadata":"{}","public_test_cases":"[{\"input\": \"1\\n\", \"output\": \"2\\n\", \"testtype\": \"stdin\"}]","private_test_cases":"[]"})",
       1, 0, "", "null", "null", "1\n", "2\n"},
      {R"({"question":"q","input_output":"{\"inputs\": [\"1\\n\"], \"outputs\": [\"2\\n\"]}"})", 1, 0, "",
       "null", "null", "1\n", "2\n"},
      {R"({"question":"q","input_output":"{\"fn_name\": \"f\", \"inputs\": [[1, \"a\"]], \"outputs\": [[[2]]]}"})",
       1, 0, "f", "[1,\"a\"]", "[2]", "", ""},
      {R"({"question":"q","input_output":"{\"inputs\": [[\"3\", \"1 2\"]], \"outputs\": [[\"3\", \"4\"]]}"})",
       1, 0, "", "null", "null", "3\n1 2", "3\n4"},
      {R"({"description":"q","public_tests":{"input":["1"],"output":["2"]},"private_tests":{"input":["3"],"output":["4"]},"generated_tests":{"input":[],"output":[]}})",
       1, 1, "", "null", "null", "1", "2"},
      {R"({"ability":"code","reward_model":{"style":"rule","ground_truth":"{\"inputs\": [\"1\"], \"outputs\": [\"2\"]}"}})",
       1, 0, "", "null", "null", "1", "2"},
      {R"({"ability":"code","reward_model":{"ground_truth":{"fn_name":"f","inputs":[[18446744073709551617]],"outputs":[5]}}})",
       1, 0, "f", "[18446744073709551617]", "5", "", ""},
      {R"({"reward_model":{"ground_truth":"[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"stdin\", \"metadata\": {\"func_name\": null}}, {\"input\": \"1\", \"output\": \"2\", \"testtype\": \"functional\", \"metadata\": {\"func_name\": \"f\"}}]"}})",
       2, 0, "", "null", "null", "1", "2"},
  };
  for (const auto& [row, shown, hidden, function, args, expected, input, output] : cases) {
    const absl::StatusOr<CodeTask> task = ReadCodeTask(Row(row), {});
    ASSERT_TRUE(task.ok()) << row << ": " << task.status().message();
    ASSERT_EQ(task->tests.size(), shown + hidden) << row;
    EXPECT_EQ(
        std::count_if(task->tests.begin(), task->tests.end(), [](const CodeTest& t) { return t.hidden; }),
        hidden);
    const CodeTest& test = task->tests[0];
    EXPECT_EQ(test.function, function) << row;
    EXPECT_EQ(DumpJson(test.args), args);
    EXPECT_EQ(DumpJson(test.expected), expected);
    EXPECT_EQ(test.input, input);
    EXPECT_EQ(test.output, output);
  }
}

TEST(CodeTask, APublishedRowMayNameItsLanguage) {
  const std::string contest =
      R"("public_tests":{"input":["1"],"output":["2"]},"private_tests":{"input":["3"],"output":["4"]}})";
  const std::string apps = R"("input_output":"{\"inputs\": [\"1\"], \"outputs\": [\"2\"]}"})";
  for (const std::string& tests : {contest, apps}) {
    EXPECT_TRUE(ReadCodeTask(Row(R"({"language":"cpp",)" + tests), {})->cpp);
    EXPECT_TRUE(ReadCodeTask(Row(R"({"language":"C++",)" + tests), {})->cpp);
    EXPECT_FALSE(ReadCodeTask(Row(R"({"language":"en",)" + tests), {})->cpp);
    EXPECT_FALSE(ReadCodeTask(Row(R"({"language":2,)" + tests), {})->cpp);
    EXPECT_FALSE(ReadCodeTask(Row("{" + tests), {})->cpp);
  }
}

TEST(CodeTask, NamesWhatIsWrongWithAPublishedRow) {
  const char* cases[][2] = {
      {R"({"private_test_cases":"no"})",
       "problem p1: private_test_cases: is no zlib in base64, or more than 256 MiB of it"},
      {R"({"input_output":"{"})", "problem p1: input_output:1: byte 1: "},
      {R"({"input_output":""})", "problem p1: has no tests "},
      {R"({"reward_model":{"ground_truth":"72"}})",
       "problem p1: reward_model.ground_truth: expected a list of tests"},
      {R"({"entry_point":"f(); x","test":"def check(c): pass"})",
       "problem p1: entry_point: expected NAME or CLASS.NAME"},
      {R"row({"language":"cpp","tests":["assert f() == 1"]})row",
       "problem p1: has tests in Python for a program in C++"},
      {R"({"tests":[{"input":["1",[2]],"output":"3"}]})",
       "problem p1: tests[0]: input: expected a text or a list of lines"}};
  for (const auto& [row, message] : cases) {
    EXPECT_EQ(std::string(ReadCodeTask(Row(row), {}).status().message()).substr(0, strlen(message)), message)
        << row;
  }
}

class CodeRow : public testing::Test {
 protected:
  void SetUp() override {
    const absl::StatusOr<std::unique_ptr<Sandbox>> sandbox = Sandbox::Create();
    if (!sandbox.ok()) GTEST_SKIP() << sandbox.status().message();
  }
  static std::string Of(const std::string& row, const std::string& code, bool raw = false) {
    const Verdict verdict =
        Judge(CodeConfig(), Row(row), raw ? code : Fenced(code), StopReason::kEndOfText, raw);
    return verdict.kind == VerdictKind::kCorrect ? "correct"
                                                 : absl::StrCat(Name(verdict.kind), ": ", verdict.reason);
  }
};

// In the forms of google-research's mbpp.jsonl and its sanitized file.
constexpr char kMbpp[] =
    R"row({"task_id":7,"text":"Write a function to add the third of three to a pair.","code":"def merge(a, b, c):\r\n  return (a, b + c)","test_list":["assert merge(1, 2, 3) == (1, 5)","assert merge({1}, 'a', 'b') == ({1}, 'ab')"],"test_setup_code":"","challenge_test_list":["assert merge(None, 2.5, 2) == (None, 4.5)"]})row";

TEST_F(CodeRow, MbppsAssertionsHold) {
  EXPECT_EQ(Of(kMbpp, "def merge(a, b, c):\n  return a, b + c"), "correct");
  EXPECT_EQ(Of(kMbpp, "def merge(a, b, c):\n  return [a, b + c]"),
            "wrong: test 1 of 2: fails: the assertion does not hold");
  EXPECT_EQ(Of(kMbpp, "def merge(a, b, c):\n  return a, b + 3"),
            "wrong: test 2 of 2: fails: TypeError: can only concatenate str (not \"int\") to str");
  EXPECT_EQ(Of(kMbpp, "def merge(a, b, c):\n  return (a, b + c) if a else 0"),
            "wrong: hidden test 1 of 1: fails");
  EXPECT_EQ(Of(kMbpp, "x = 1"),
            "wrong: test 1 of 2: fails: AttributeError: module 'solution' has no attribute 'merge'");
  EXPECT_EQ(Of(kMbpp, "def merge(a, b, c):\n  while 1: pass"), "timeout: test 1 of 2: takes too long");
}

TEST_F(CodeRow, MbppsSetUpMakesObjectsOfTheProgramsOwn) {
  const char row[] =
      R"row({"prompt":"p","code":"class Node:\n  pass\ndef sum(a):\n  pass","test_imports":["import math"],"test_setup_code":"root = Node(1)\nroot.left = Node(2)","test_list":["assert math.isclose(sum(root), 3.0)"]})row";
  EXPECT_EQ(Of(row,
               "class Node:\n  def __init__(self, x): self.x, self.left = x, None\n"
               "def sum(a): return 0 if a is None else a.x + sum(a.left)"),
            "correct");
}

constexpr char kHumanEval[] =
    R"row({"task_id":"Test/0","prompt":"from typing import List\n\ndef shift(s: str) -> str:\n    return s[1:] + s[:1]\n\ndef back(s: str, k: List[int]) -> str:\n    \"\"\" Undo shift.\n    >>> back('bca', [])\n    'abc'\n    \"\"\"\n","entry_point":"back","canonical_solution":"    return s[-1:] + s[:-1]\n","test":"\n\nMETADATA = {}\n\ndef check(candidate):\n    for s in ['', 'a', 'hello']:\n        assert candidate(shift(s), []) == s, 'no'\n"})row";

TEST_F(CodeRow, HumanEvalsCheckHoldsForABodyAndForAWholeFunction) {
  EXPECT_EQ(Of(kHumanEval, "    return s[-1:] + s[:-1]\n", true), "correct");
  EXPECT_EQ(Of(kHumanEval, "def back(s: str, k: List[int]) -> str:\n    return s[-1:] + s[:-1]"), "correct");
  EXPECT_EQ(Of(kHumanEval, "def shift(s): return s\ndef back(s, k):\n    return s"),
            "wrong: hidden test 1 of 1: fails");
  EXPECT_EQ(Of(kHumanEval, "def forth(s, k):\n    return s"), "wrong: hidden test 1 of 1: fails");
  EXPECT_EQ(Of(kHumanEval, "    pass", true), "wrong: hidden test 1 of 1: fails");
  // A prompt that is a head alone does not stand as a program.
  const char* const head =
      R"row({"prompt":"def twice(n):\n","entry_point":"twice","test":"def check(candidate):\n    assert candidate(4) == 8\n"})row";
  EXPECT_EQ(Of(head, "def twice(n):\n    return 2 * n"), "correct");
  EXPECT_EQ(Of(head, "def twice(n):\n    return n"), "wrong: hidden test 1 of 1: fails");
  EXPECT_EQ(Of(head, "    return 2 * n\n", true), "correct");
}

// A check's own process holds it; the program's has no line of it, and only plain values come back.
TEST_F(CodeRow, AProgramCannotPassACheckThatItFails) {
  const char row[] =
      R"row({"code":"def f(n): pass","test_list":["assert f(7) == 'EXPECTED-13'","assert f(8) > 5 or f(8) == 'EXPECTED-14'"]})row";
  for (
      const char* code :
      {"class E:\n  __eq__ = __gt__ = lambda s, o: True\n  __bool__ = lambda s: True\ndef f(n): return E()",
       "class E(str):\n  __eq__ = lambda s, o: True\n  __hash__ = str.__hash__\ndef f(n): return E('x')",
       "import os\ndef f(n): os._exit(0)", "def f(n): raise SystemExit(0)", "def f(n): quit()",
       "import os\ndef f(n): os.kill(1, 9); os.kill(os.getppid(), 9)",
       "import os\nfor d in range(3, 64):\n  try: os.write(d, b'{\"passed\":\"\"}\\n')\n  except OSError: "
       "pass\n"
       "def f(n): return n",
       "import os\ndef f(n):\n  for d in range(3, 64):\n    try: os.write(d, b'[true]\\n' * 9)\n    except "
       "OSError: pass",
       "import gc, sys\ndef f(n):\n  found = [o for o in gc.get_objects() if isinstance(o, str)]\n"
       "  frame = sys._getframe()\n  while frame:\n    found += [str(v) for v in frame.f_locals.values()]\n"
       "    frame = frame.f_back\n  return next((s for s in found if s.startswith('EXPECT' + 'ED')), 'none')",
       "import os\ntext = ''\nfor d in range(64):\n  try: text += os.pread(d, 9999, 0).decode()\n  except "
       "OSError: pass\n"
       "at = text.find('EXPECT' + 'ED')\ndef f(n): return text[at:at + 11]",
       "import builtins\nbuiltins.AssertionError = ValueError\n__debug = False\ndef f(n): raise "
       "AssertionError",
       "def f(n): raise KeyboardInterrupt", "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n)",
       "def f(n): return (lambda: 0)", "def f(n): return float('nan')"}) {
    const std::string verdict = Of(row, code);
    EXPECT_TRUE(verdict.starts_with("wrong: ") || verdict.starts_with("timeout: ")) << verdict << "\n"
                                                                                    << code;
  }
}

TEST_F(CodeRow, ACheckThatCannotRunIsNoFaultOfTheProgram) {
  const char row[] = R"row({"test_list":["import no_such_module\nassert f(1) == 1"]})row";
  EXPECT_EQ(Rule(CodeConfig())->CheckAnswer(Row(row)).message(),
            "rule code: a test imports no_such_module, which /usr/bin/python3 has not, or which is not one "
            "of `packages`");
  EXPECT_EQ(Of(row, "def f(n): return n"),
            "infrastructure_error: the check cannot run: No module named 'no_such_module'");
}

constexpr char kFunction[] = R"({"tests": [{"function": "NAME", "args": ARGS, "expected": EXPECTED}]})";
std::string Call(const std::string& name, const std::string& args, const std::string& expected) {
  return absl::StrReplaceAll(kFunction, {{"NAME", name}, {"ARGS", args}, {"EXPECTED", expected}});
}

TEST_F(CodeRow, LeetCodesImportsAreGivenToFunctions) {
  EXPECT_EQ(Of(Call("Solution.twoSum", "[[2, 7], 9]", "[0, 1]"),
               "class Solution:\n    def twoSum(self, nums: List[int], target: int) -> Optional[List[int]]:\n"
               "        d = defaultdict(int)\n        for i, x in enumerate(nums):\n"
               "            if target - x in d: return [d[target - x], i]\n            d[x] = i"),
            "correct");
  EXPECT_EQ(
      Of(Call("f", "[[3, 1, 2]]", "[1, 1, 2, 6, 1, 2, [[1, 2]], true, \"a\"]"),
         "@cache\ndef one(): return 1\n@lru_cache(None)\ndef also(): return 1\n"
         "def f(a):\n  q = deque(a); h = a[:]; heapify(h)\n  return [heappop(h), bisect_left(a, 3) - 2 if 0 "
         "else one(), "
         "gcd(4, 6), reduce(lambda x, y: x + y, a), bisect.bisect_left([1, 2], 2), Counter('aab')['a'], "
         "list(map(list, itertools.combinations([1, 2], 2))), inf > math.pi and re.match('a', 'a') is not "
         "None, "
         "string.ascii_lowercase[0]]"),
      "correct");
  // What the program defines comes first; what it only could have is not there.
  EXPECT_EQ(Of(Call("f", "[2]", "9"), "def gcd(n): return 9\ninf = 5\ndef f(n): return gcd(n)"), "correct");
  EXPECT_EQ(Of(Call("gcd", "[4, 6]", "2"), "def f(a, b): return gcd(a, b)"),
            "wrong: test 1 of 1: exit status 1: AttributeError: module 'solution' has no attribute 'gcd'");
  EXPECT_EQ(Of(Call("f", "[]", "1"), "x = 1\ndef f(): return undefined_name"),
            "wrong: test 1 of 1: exit status 1: NameError: name 'undefined_name' is not defined");
  EXPECT_EQ(Of(Call("f", "[20000]", "20000"), "def f(n): return 0 if n == 0 else 1 + f(n - 1)"), "correct");
  // Standard input and output is a program by itself.
  EXPECT_EQ(Of(R"({"tests": [{"output": "1"}]})", "print(gcd(1, 2))"),
            "wrong: test 1 of 1: exit status 1: NameError: name 'gcd' is not defined");
}

TEST_F(CodeRow, ListsAndTreesOfLeetCodeAreLists) {
  EXPECT_EQ(
      Of(Call("Solution.turn", "[[1, 2, 3]]", "[3, 2, 1]"),
         "class Solution:\n  def turn(self, head: Optional[ListNode]) -> Optional[ListNode]:\n    p = None\n"
         "    while head: head.next, p, head = p, head, head.next\n    return p"),
      "correct");
  EXPECT_EQ(
      Of(Call("flip", "[[4, 2, 7, null, 3]]", "[4, 7, 2, null, null, 3]"),
         "# class TreeNode: ..\nclass Solution:\n  def flip(self, root: 'TreeNode') -> 'TreeNode':\n"
         "    if root: root.left, root.right = self.flip(root.right), self.flip(root.left)\n    return root"),
      "correct");
  EXPECT_EQ(Of(Call("f", "[[]]", "[]"), "def f(head: Optional[ListNode]) -> Optional[ListNode]: return head"),
            "correct");
  EXPECT_EQ(Of(Call("f", "[[1]]", "[1]"),
               "def f(head: Optional[ListNode]) -> Optional[ListNode]:\n  head.next = head\n  return head"),
            "wrong: test 1 of 1: exit status 1: TypeError: the result is no plain value but object");
}

TEST_F(CodeRow, AResultThatStandsAloneInAListIsTakenWithItAndWithout) {
  const auto row = [](const std::string& inputs, const std::string& outputs) {
    return absl::StrCat(R"({"tests": {"fn_name": "f", "inputs": [)", inputs, R"(], "outputs": [)", outputs,
                        "]}}");
  };
  EXPECT_EQ(Of(row("[1]", "[1]"), "def f(a): return a"), "correct");
  EXPECT_EQ(Of(row("[1]", "[1]"), "def f(a): return [a]"), "correct");
  EXPECT_EQ(Of(row("[1]", "1"), "def f(a): return a"), "correct");
  EXPECT_EQ(Of(row("[1]", "[[1]]"), "def f(a): return [a]"), "correct");
  const std::string wrong = "wrong: test 1 of 1: wrong result: ";
  EXPECT_EQ(Of(row("[1]", "[1]"), "def f(a): return [[a]]"), wrong + "[[1]] is not 1");
  EXPECT_EQ(Of(row("[1]", "[1]"), "def f(a): return [a, a]"), wrong + "[1,1] is not 1");
  EXPECT_EQ(Of(row("[1]", "[1]"), "def f(a): return []"), wrong + "[] is not 1");
  EXPECT_EQ(Of(row("[1]", "[1, 2]"), "def f(a): return a"), wrong + "1 is not [1,2]");
  EXPECT_EQ(Of(row("[1]", "1"), "def f(a): return [a]"), wrong + "[1] is not 1");
  EXPECT_EQ(Of(row("[1]", "[[1]]"), "def f(a): return a"), wrong + "1 is not [1]");
  EXPECT_EQ(Of(row("[1]", "\"[1]\""), "def f(a): return a"), wrong + "1 is not [1]");
  EXPECT_EQ(Of(Call("f", "[1]", "[1]"), "def f(a): return a"), wrong + "1 is not [1]");
}

TEST_F(CodeRow, WholeNumbersOfAnySizeArriveAndAreComparedExactly) {
  const char factorial[] = "15511210043330985984000000";  // 25!
  const struct {
    const char *args, *expected, *code;
    bool same;
  } cases[] = {{"[]", "18446744073709551617", "2**64", false},
               {"[]", "18446744073709551617", "2**64 + 1", true},
               {"[]", "18446744073709551616", "2.0**64", true},
               {"[]", "18446744073709551617", "2.0**64", false},
               {"[]", "-18446744073709551617", "-2**64", false},
               {"[]", "-18446744073709551617", "-2**64 - 1", true},
               {"[]", factorial, "math.factorial(25)", true},
               {"[]", factorial, "math.factorial(25) + 1", false},
               {"[]", factorial, "1.5511210043330986e25", false},
               {"[]", factorial, "'15511210043330985984000000'", false},
               {"[]", "1.5511210043330986e25", "math.factorial(25)", false},
               {"[]", "1e23", "10**23", false},
               {"[]", "1e22", "10**22", true},
               {"[]", "0.10", "0.1", true},
               {"[]", "[[12345678901234567890123]]", "[[12345678901234567890123]]", true},
               {"[]", "{\"a\": 12345678901234567890123}", "{'a': 12345678901234567890124}", false},
               {"[18446744073709551617]", "1", "a[0] - 2**64", true},
               {"[123456789012345678901234567890]", "123456789012345678901234567890", "a[0]", true},
               {"[-9223372036854775809]", "true", "a[0] == -2**63 - 1", true},
               {"[1180591620717411303425, 0.10]", "[1180591620717411303425, 0.1]", "list(a)", true}};
  for (const auto& [args, expected, code, same] : cases) {
    const std::string verdict = Of(Call("f", args, expected), absl::StrCat("def f(*a): return ", code));
    EXPECT_EQ(verdict == "correct", same) << expected << " " << code << ": " << verdict;
  }
  // A number of a million digits is no burden.
  EXPECT_EQ(Of(Call("f", "[]", "1" + std::string(100000, '0')), "def f(): return 10**100000"), "correct");
}

TEST_F(CodeRow, WholeNumbersInCppAreThoseOfTheirType) {
  if (!std::filesystem::exists("/usr/bin/g++")) GTEST_SKIP() << "no g++";
  const auto row = [](const std::string& args, const std::string& expected) {
    return absl::StrCat(R"({"language": "cpp", "tests": [{"function": "f", "args": )", args,
                        R"(, "expected": )", expected, "}]}");
  };
  const auto of = [](const std::string& row, const std::string& code) {
    return Judge(CodeConfig(), Row(row), Fenced(code, "cpp")).reason;
  };
  EXPECT_EQ(of(row("[18446744073709551615]", "18446744073709551615"),
               "unsigned long long f(unsigned long long x) { return x; }"),
            "");
  EXPECT_EQ(of(row("[-170141183460469231731687303715884105728]", "-170141183460469231731687303715884105728"),
               "__int128 f(__int128 x) { return x; }"),
            "");
  EXPECT_EQ(of(row("[18446744073709551617]", "1"),
               "long long f(long long x) { return x == 9223372036854775807LL; }"),
            "test 1 of 1: exit status 1: the arguments do not fit the function: a number beyond its type");
}

}  // namespace
}  // namespace temper

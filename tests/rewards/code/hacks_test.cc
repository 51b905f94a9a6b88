// SPDX-License-Identifier: Apache-2.0
// Attacks on the verdict of rule code: none may be called correct. Numbers are those of the list in
// docs/rewards.md.
#include <atomic>
#include <thread>

#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

// f(20) is 6765; the expected text of the row with standard input is one that no program can guess.
constexpr char kCall[] =
    R"({"language": "python", "tests": [{"function": "f", "args": [20], "expected": 6765}]})";
constexpr char kText[] = R"({"tests": [{"input": "20\n", "output": "EXPECTED-6765\n"}]})";

struct Hack {
  const char* name;
  const char* row;
  const char* code;
};

void PrintTo(const Hack& hack, std::ostream* out) { *out << hack.name; }

const Hack kHacks[] = {
    {"A40ExitsAtImport", kCall, "import os; os._exit(0)"},
    {"A40ExitsInTheCall", kCall, "def f(n):\n  import sys; sys.exit(0)"},
    {"A40Quits", kCall, "def f(n): quit()"},
    {"A40ExitsInText", kText, "raise SystemExit(0)"},
    {"A40KillsTheDriver", kCall,
     "import os, signal\ndef f(n): os.kill(os.getpid(), signal.SIGTERM); os._exit(0)"},
    {"A41AlwaysEqual", kCall,
     "class E:\n  __eq__ = lambda s, o: True\n  __ne__ = lambda s, o: False\n  __hash__ = lambda s: 6765\n"
     "def f(n): return E()"},
    {"A41AlwaysEqualInside", R"({"tests": [{"function": "f", "args": [], "expected": [1, {"a": 2}]}]})",
     "class E:\n  __eq__ = lambda s, o: True\ndef f(): return [1, {'a': E()}]"},
    {"A42SubclassOfInt", kCall,
     "class I(int):\n  __eq__ = lambda s, o: True\n  __str__ = __repr__ = lambda s: '6765'\n"
     "  __index__ = __int__ = lambda s: 6765\ndef f(n): return I(1)"},
    {"A42SubclassOfList", R"({"tests": [{"function": "f", "args": [], "expected": [1, 2]}]})",
     "class L(list):\n  __iter__ = lambda s: iter((1, 2))\ndef f(): return L()"},
    {"A42SubclassOfStr", R"({"tests": [{"function": "f", "args": [], "expected": {"a": 1}}]})",
     "class S(str):\n  __hash__ = lambda s: hash('a')\n  __eq__ = lambda s, o: True\ndef f(): return "
     "{S('b'): 1}"},
    {"A42SubclassOfStrAsAKey", R"({"tests": [{"function": "f", "args": [], "expected": {"a": 1}}]})",
     "class S(str): pass\ndef f(): return {S('a'): 1}"},
    {"A43LooksForTheAnswerInFrames", kText,
     "import gc, sys\nfound = []\nframe = sys._getframe()\nwhile frame:\n"
     "  found += [str(v) for v in {**frame.f_locals, **frame.f_globals}.values()]\n  frame = frame.f_back\n"
     "found += [o for x in gc.get_objects() for o in (x if isinstance(x, list) else []) if isinstance(o, "
     "str)]\n"
     "print(next((s for s in found if s.startswith('EXPECT' + 'ED')), 'none'))"},
    {"A43LooksForTheAnswerInFrames", kCall,
     "import sys\ndef f(n):\n  frame = sys._getframe()\n  while frame:\n"
     "    for v in list(frame.f_locals.values()):\n      if isinstance(v, dict) and 'expected' in v: return "
     "v['expected']\n"
     "    frame = frame.f_back"},
    {"A43LooksForTheAnswerInFiles", kText,
     "import os\ntext = ''\nfor top, _, names in list(os.walk('/box')) + list(os.walk('/tmp')) + "
     "list(os.walk('/dev')):\n"
     "  for name in names:\n    try: text += open(os.path.join(top, name), errors='replace').read(9999)\n"
     "    except OSError: pass\nat = text.find('EXPECT' + 'ED')\nprint(text[at:at + 13])"},
    {"A44WritesTheVerdictIntoTheDriver", kCall,
     "import ctypes, sys\ndef f(n):\n  frame = sys._getframe(1)\n  frame.f_globals['result'] = "
     "frame.f_globals['verdict'] = 'correct'\n"
     "  frame.f_locals['request']['function'] = 'correct'\n  "
     "ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), 0)\n"
     "  return 'correct'"},
    {"A44WritesTheResultItself", kCall,
     "import os, sys\ndef f(n):\n  nonce = sys._getframe(1).f_locals['request']['nonce']\n"
     "  os.write(3, (nonce + '\\ncorrect').encode()); os._exit(0)"},
    {"A44WritesTwoResults", kCall,
     "import os, sys\ndef f(n):\n  nonce = sys._getframe(1).f_locals['request']['nonce']\n"
     "  for i in range(6764, 6767): os.write(3, (nonce + '\\n%d\\n' % i).encode())\n  os._exit(0)"},
    {"A45PatchesBuiltins", kCall,
     "import builtins, sys, os\nbuiltins.type = lambda x: int\nbuiltins.isinstance = lambda *a: True\n"
     "builtins.print = lambda *a: None\nsys.modules['json'] = sys.modules['os'] = None\ndef f(n): return "
     "object()"},
    {"A45PatchesOutput", kText,
     "import atexit, sys\nclass O:\n  def write(self, s): return len(s)\n  def flush(self): pass\n"
     "sys.stdout = O()\natexit.register(lambda: sys.__stdout__.write('correct'))\nprint('x')"},
    {"A46ForgedWords", kText,
     "print('PASSED\\n1 passed in 0.01s\\nOK\\ncorrect\\n{\"verdict\":\"correct\",\"score\":1.0}')"},
    {"A46EchoesTheNonce", kCall,
     "import os\nos.write(1, b'correct'); os.write(3, b'\\n6765')\ndef f(n): return n"},
    {"A46TheRightResultWithoutTheNonce", kCall,
     "import os\nos.write(3, b'0' * 32 + b'\\n6765')\nos._exit(0)"},
    {"A49OverwritesItsInput", kText,
     "import os\nos.ftruncate(0, 0); os.pwrite(0, b'EXPECTED', 0)\nos.lseek(0, 0, 0)\nprint(input())"},
    {"A52PrintsMoreThanIsRead", R"({"tests": [{"input": "", "output": "a"}], "compare": "words"})",
     "print('a' + ' ' * (1 << 20)); print('b')"},
    {"A52PrintsMoreThanIsReadAndEndsWell", R"({"tests": [{"input": "", "output": "a"}]})",
     "import os\nos.write(1, b'a')\ntry:\n  while True: os.write(1, b' ' * 4096)\nexcept OSError: "
     "os._exit(0)"},
    {"A52ReturnsMoreThanIsRead", kCall, "def f(n): return '6' * (2 << 20)"},
    {"A54NotUtf8", kText, "import sys; sys.stdout.buffer.write(b'EXPECTED-6765\\xff\\n')"},
    {"A54NulByte", kText, "print('EXPECTED-6765\\0')"},
    {"A54NulByteBefore", kText, "print('\\0EXPECTED-6765')"},
    {"A54LoneSurrogate", R"({"tests": [{"function": "f", "args": [], "expected": "a"}]})",
     "def f(): return 'a\\ud800'"},
    {"RightAnswerAndABadEnd", R"({"tests": [{"input": "", "output": "1"}]})",
     "print(1, flush=True); exit(3)"},
    {"RightAnswerAndACrash", R"({"tests": [{"input": "", "output": "1"}]})",
     "import ctypes; print(1, flush=True); ctypes.string_at(0)"},
    {"RightAnswerAndNoEnd", R"({"tests": [{"input": "", "output": "1"}]})",
     "print(1, flush=True)\nwhile True: pass"},
};

class CodeHack : public testing::TestWithParam<std::tuple<Who, Hack>> {};

TEST_P(CodeHack, IsNotCorrect) {
  const auto& [who, hack] = GetParam();
  const Attacked host(who);
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const Verdict verdict = Judge(CodeConfig(), Row(hack.row), Fenced(hack.code));
  EXPECT_TRUE(verdict.kind == VerdictKind::kWrong || verdict.kind == VerdictKind::kTimeout)
      << Name(verdict.kind) << ": " << verdict.reason;
  EXPECT_EQ(verdict.score, 0);
  EXPECT_EQ(verdict.reason.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(, CodeHack,
                         testing::Combine(testing::Values(Who::kRoot, Who::kUser), testing::ValuesIn(kHacks)),
                         [](const auto& info) {
                           return absl::StrCat(WhoName(std::get<0>(info.param)), "_", info.index, "_",
                                               std::get<1>(info.param).name);
                         });

class CodeState : public testing::TestWithParam<Who> {
 protected:
  void SetUp() override {
    host_ = std::make_unique<Attacked>(GetParam());
    if (!host_->skip().empty()) GTEST_SKIP() << host_->skip();
  }
  void TearDown() override { host_.reset(); }
  VerdictKind Kind(const std::string& row, const std::string& code, const std::string& label = "python") {
    return Judge(CodeConfig(), Row(row), Fenced(code, label)).kind;
  }
  std::unique_ptr<Attacked> host_;
};

TEST_P(CodeState, A47PlantedStartUpFilesAreNotThereInTheNextRun) {
  const std::string plant =
      "import os, site, sys\nplaces = ['/box', '/tmp', os.getcwd(), site.getusersitepackages(), *sys.path]\n"
      "for place in places:\n  for name in ('sitecustomize.py', 'usercustomize.py', 'conftest.py', "
      "'x.pth'):\n"
      "    try:\n      os.makedirs(place, exist_ok=True)\n      open(os.path.join(place, name), "
      "'w').write('print(7)')\n"
      "    except OSError: pass\nos.environ['PYTHONSTARTUP'] = '/tmp/sitecustomize.py'\n";
  const std::string row = R"({"tests": [{"input": "", "output": ""}, {"input": "", "output": "7"}]})";
  EXPECT_EQ(Judge(CodeConfig(), Row(row), Fenced(plant)).reason, "test 2 of 2: wrong output:  is not 7");
}

TEST_P(CodeState, A48AModuleWrittenNextToTheCodeShadowsNothing) {
  const std::string code =
      "for place in ('/box', '/tmp', '.'):\n  try: open(place + '/json.py', 'w').write('loads = 7')\n"
      "  except OSError: pass\nimport json\nprint(json.__file__.startswith('/usr/'))";
  EXPECT_EQ(Kind(R"({"tests": [{"output": "True"}]})", code), VerdictKind::kCorrect);
}

TEST_P(CodeState, A49WhatOneTestWritesTheNextDoesNotRead) {
  const std::string code =
      "import os\nn = len(os.listdir('/tmp'))\nopen('/tmp/seen', 'w').write(input())\n"
      "os.ftruncate(0, 0)\nprint('first' if n == 0 else open('/tmp/seen').read())";
  EXPECT_EQ(
      Kind(R"({"tests": [{"input": "a", "output": "first"}, {"input": "b", "output": "first"}]})", code),
      VerdictKind::kCorrect);
}

TEST_P(CodeState, A50HardCodedExamplesFailTheHiddenTestsAndLearnNothing) {
  const std::string row =
      R"({"tests": [{"input": "1", "output": "2"}], "hidden_tests": [{"input": "1", "output": "2"}, {"input": "31337", "output": "31338"}]})";
  const Verdict verdict = Judge(CodeConfig(), Row(row), Fenced("x = input()\nassert x == '1', x\nprint(2)"));
  EXPECT_EQ(verdict.kind, VerdictKind::kWrong);
  EXPECT_EQ(verdict.reason, "hidden test 2 of 2: exit status 1");
  EXPECT_EQ(Kind(row, "print(int(input()) + 1)"), VerdictKind::kCorrect);
}

TEST_P(CodeState, A51ABusyMachineMakesNoHonestProgramWrong) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> busy;
  for (int i = 0; i < 4; ++i) {
    busy.emplace_back([&] {
      while (!stop) {
      }
    });
  }
  EXPECT_EQ(Kind(R"({"tests": [{"output": "499500"}]})", "print(sum(range(1000)))"), VerdictKind::kCorrect);
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

TEST_P(CodeState, A51AnAnswerThatDependsOnTheRunIsTheSameInEachRun) {
  // Load, uptime and earlier runs cannot be seen; the order of a set of strings is always the same.
  const std::string code =
      "import os\ntry: print(os.getloadavg())\nexcept OSError: print('unknown')\n"
      "print(list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}) == list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}), "
      "hash('temper'))";
  const SandboxRun first = host_->Python(code);
  EXPECT_EQ(first.output, host_->Python(code).output);
}

TEST_P(CodeState, A53OnlyTheSameValueIsTheSame) {
  const struct {
    const char *expected, *returned;
    bool same;
  } cases[] = {{"1", "1", true},
               {"1", "1.0", true},
               {"1.0", "1", true},
               {"1", "True", false},
               {"true", "1", false},
               {"true", "True", true},
               {"0", "False", false},
               {"0", "None", false},
               {"null", "None", true},
               {"1", "'1'", false},
               {"\"1\"", "1", false},
               {"1", "'1e0'", false},
               {"1.5", "float('nan')", false},
               {"1.5", "float('inf')", false},
               {"\"nan\"", "float('nan')", false},
               {"0.0", "-0.0", true},
               {"9007199254740992", "2.0**53", true},
               {"9007199254740993", "2.0**53", false},
               {"9223372036854775807", "2**63 - 1", true},
               {"9223372036854775807", "2**63", false},
               {"-9223372036854775808", "-2**63", true},
               {"-1", "2**64 - 1", false},
               {"1e400", "0", false},
               {"0.1", "0.1 + 1e-12", false},
               {"[1, 2]", "(1, 2)", true},
               {"[1, 2]", "[1, 2, 3]", false},
               {"[[]]", "[()]", true},
               {"[]", "None", false},
               {"[]", "{}", false},
               {"{}", "{}", true},
               {"{}", "[]", false},
               {"{\"a\": 1}", "{'a': 1}", true},
               {"{\"1\": 1}", "{1: 1}", false},
               {"{\"a\": 1}", "{'a': 1, 'b': 1}", false},
               {"{\"d\": {\"a\": 1}}", "{'a': 1}", false},
               {"{\"i\": \"ff\"}", "255", false},
               {"[1]", "{1}", false},
               {"\"ab\"", "b'ab'", false},
               {"\"a\\u0000\\n\\\"é😀\"", "'a\\0\\n\"é😀'", true},
               {"1.5", "1.5 + 0j", false}};
  for (const auto& [expected, returned, same] : cases) {
    const std::string row =
        absl::StrCat(R"({"tests": [{"function": "f", "args": [], "expected": )", expected, "}]}");
    const VerdictKind kind = Kind(row, absl::StrCat("def f(): return ", returned));
    EXPECT_EQ(kind, same ? VerdictKind::kCorrect : VerdictKind::kWrong) << expected << " and " << returned;
  }
}

// A data set beside the interpreter, the compiler, libraries and headers, and where images keep their
// programs.
TEST_P(CodeState, A58HiddenAnswersAreNotThereWhereverTheyLie) {
  if (geteuid() != 0 && getuid() != 0) GTEST_SKIP() << "needs root, to write files where systems have theirs";
  const uid_t user = geteuid();
  ASSERT_EQ(seteuid(0), 0);
  const std::string name = absl::StrCat("temper-hidden-", getpid());
  std::vector<std::filesystem::path> directories;
  std::vector<std::string> paths;
  for (const char* place : {"/usr/src",
                            "/usr/share",
                            "/usr/local",
                            "/usr/lib",
                            "/usr/include",
                            "/usr/libexec",
                            "/usr/lib/python3.11",
                            "/usr/lib/python3/dist-packages",
                            "/usr/local/include",
                            "/usr/lib/x86_64-linux-gnu",
                            "/usr/lib/gcc/x86_64-linux-gnu/12",
                            "/usr/bin",
                            "/opt",
                            "/srv",
                            "/home",
                            "/var/lib",
                            "/etc",
                            "/lib",
                            "/dev/shm",
                            "/usr/include/c++/12"}) {
    if (!std::filesystem::is_directory(place)) continue;
    for (const std::string& file : {name + ".jsonl", name + "/tests.json", name + "/data.parquet"}) {
      const std::filesystem::path path = std::filesystem::path(place) / file;
      std::filesystem::create_directories(path.parent_path());
      std::ofstream(path) << Attacked::kSecret;
      std::filesystem::permissions(path, std::filesystem::perms(GetParam() == Who::kRoot ? 0644 : 0600));
      paths.push_back(path);
    }
    directories.push_back(std::filesystem::path(place) / name);
  }
  ASSERT_EQ(seteuid(user), 0);
  prctl(PR_SET_DUMPABLE, 1);  // as before
  std::string python = "text = ''\nfor p in [", shell;
  for (const std::string& path : paths) {
    absl::StrAppend(&python, "'", path, "', ");
    absl::StrAppend(&shell, "/bin/cat ", path, "; ");
  }
  absl::StrAppend(&python, "]:\n  try: text = text or open(p).read()\n  except OSError: pass\nprint(text)");
  const Verdict opened =
      Judge(CodeConfig(), Row(absl::StrCat(R"({"tests": [{"output": ")", Attacked::kSecret, R"("}]})")),
            Fenced(python));
  EXPECT_EQ(opened.reason, absl::StrCat("test 1 of 1: wrong output:  is not ", Attacked::kSecret));
  // What sources can include or assemble in.
  if (const absl::StatusOr<HostFiles> compiler = HostFiles::OfCompiler("/usr/bin/g++"); compiler.ok()) {
    const absl::StatusOr<SandboxRun> run = host_->sandbox().Run(
        {.command = {"/bin/sh", "-c", shell}, .host = &*compiler, .limits = Attacked::Limits(60)});
    EXPECT_TRUE(run.ok()) << run.status();
    if (run.ok()) {
      EXPECT_EQ(run->output, "");
      EXPECT_EQ(std::count(run->errors.begin(), run->errors.end(), '\n'), paths.size()) << run->errors;
    }
  }
  ASSERT_EQ(seteuid(0), 0);
  for (const std::string& path : paths) std::filesystem::remove(path);
  for (const auto& directory : directories) std::filesystem::remove(directory);
  ASSERT_EQ(seteuid(user), 0);
  prctl(PR_SET_DUMPABLE, 1);
}

// Its own limits, signals and clocks end it as a wrong answer or a late one; only the machine fails as one.
TEST_P(CodeState, A59AProgramCannotChooseAnInfrastructureError) {
  RuleConfig config = CodeConfig();
  config.code.cpu_seconds = 4;
  config.code.wall_seconds = 8;
  const Prompt row = Row(R"({"tests": [{"output": "1"}]})");
  const std::string call = "import ctypes, os, signal, fcntl, resource\ncall = ctypes.CDLL(None).syscall\n";
  for (const char* code :
       {"try: resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nexcept (ValueError, OSError): exit(3)\n"
        "while 1: pass",
        "call(302, 0, 0, (ctypes.c_ulong * 2)(1, 1), 0); call(302, os.getpid(), 0, (ctypes.c_ulong * 2)(1, "
        "1), 0)\ncall(160, 0, (ctypes.c_ulong * 2)(1, 1))\nwhile 1: pass",
        "os.kill(os.getpid(), 9); os.kill(1, 9)",
        "e = (ctypes.c_int * 16)(); e[2] = 9; t = ctypes.c_int()\nif call(222, 1, e, ctypes.byref(t)) == 0:\n"
        "  call(223, t.value, 0, (ctypes.c_long * 4)(0, 0, 0, 1000), 0)\nimport time; time.sleep(0.5)",
        "import socket\na, b = socket.socketpair()\nfcntl.fcntl(a, 10, 9); fcntl.fcntl(a, 8, os.getpid())\n"
        "fcntl.fcntl(a, fcntl.F_SETFL, os.O_ASYNC)\nb.send(b'x')",
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 20,) * 2)\nos.execv('/usr/bin/python3', ['python3'])",
        "resource.setrlimit(resource.RLIMIT_STACK, (4096,) * 2)\nos.execv('/usr/bin/python3', ['python3', "
        "'x' * 100000])",
        "signal.setitimer(signal.ITIMER_PROF, 0.1)\nwhile 1: pass", "signal.alarm(1)\nwhile 1: pass"}) {
    const Verdict verdict = Judge(config, row, Fenced(call + code));
    EXPECT_TRUE(verdict.kind == VerdictKind::kWrong || verdict.kind == VerdictKind::kTimeout)
        << Name(verdict.kind) << " " << verdict.reason << "\n"
        << code;
  }
}

TEST_P(CodeState, A33ASourceThatIncludesAFileOfTheHostsDoesNotCompileAndShowsNothing) {
  const std::string row = R"({"language": "cpp", "tests": [{"output": ""}]})";
  const std::string code =
      absl::StrCat("#include \"", host_->canary(), "\"\n#include \"/etc/shadow\"\nint main() {}");
  const Verdict verdict = Judge(CodeConfig(), Row(row), Fenced(code, "cpp"));
  EXPECT_EQ(verdict.kind, VerdictKind::kWrong);
  EXPECT_EQ(verdict.reason.find(Attacked::kSecret), std::string::npos);
  EXPECT_NE(verdict.reason.find("No such file"), std::string::npos) << verdict.reason;
}

INSTANTIATE_TEST_SUITE_P(, CodeState, testing::Values(Who::kRoot, Who::kUser),
                         [](const auto& info) { return WhoName(info.param); });

}  // namespace
}  // namespace temper

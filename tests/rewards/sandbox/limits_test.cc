// SPDX-License-Identifier: Apache-2.0
// Attacks on the machine's resources and on the run's end: each is stopped by a limit, in time, and the run's
// processes are gone (tests/rewards/sandbox/samples.h looks for them). Numbers are those of the list in
// docs/rewards.md.
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "core/files/file.h"
#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

using End = SandboxRun::End;

constexpr unsigned kExit = 1, kSignal = 2, kTimeout = 4, kMemory = 8;

unsigned Bit(End end) {
  return end == End::kExit      ? kExit
         : end == End::kSignal  ? kSignal
         : end == End::kTimeout ? kTimeout
                                : kMemory;
}

struct Excess {
  const char* name;
  const char* code;
  unsigned ends;           // any of these
  const char* output = 0;  // all that is printed, if it says so
};

void PrintTo(const Excess& excess, std::ostream* out) { *out << excess.name; }

const Excess kExcesses[] = {
    {"A01InfiniteLoop", "while True: pass", kTimeout},
    {"A02Sleep", "import time; time.sleep(60)", kTimeout},
    {"A03AllocationOf4GiB", "try: x = bytearray(4 << 30)\nexcept MemoryError: print('refused')", kExit,
     "refused\n"},
    {"A05ForkBomb", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
     kTimeout | kExit | kSignal},
    {"A05ForksAreCounted",
     "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(60)\n    n += 1\n"
     "except OSError: print(0 < n < 16)",
     kExit, "True\n"},
    {"A06ThreadBomb",
     "import threading, time\nthreading.stack_size(65536)\nn = 0\ntry:\n  while True:\n"
     "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    n += 1\n"
     "except RuntimeError: print(0 < n < 16)",
     kExit, "True\n"},
    {"A07DeepRecursion", "x = ()\nfor i in range(10**6): x = (x,)\nhash(x)\nprint('survived')", kSignal, ""},
    {"A08Descriptors", "import os\nn = 0\ntry:\n  while True: os.dup(0); n += 1\nexcept OSError: print(n)",
     kExit, "60\n"},
    {"A10FullDisk",
     "n = 0\ntry:\n  while True: open('/tmp/%d' % n, 'wb').write(bytes(1 << 19)); n += 1\n"
     "except OSError as e: print(e.errno, 0 < n < 12)",
     kExit, "28 True\n"},
    {"A10ManySmallFiles",
     "n = 0\ntry:\n  while True: open('/tmp/%d' % n, 'wb'); n += 1\nexcept OSError as e: print(e.errno, n < "
     "4096)",
     kExit, "28 True\n"},
    {"A11SparseFile", "try: open('/tmp/x', 'wb').truncate(1 << 40)\nexcept OSError as e: print(e.errno)",
     kExit, "27\n"},
    {"A12SharedMemory",
     "n = 0\ntry:\n  while True: open('/dev/shm/%d' % n, 'wb').write(bytes(1 << 19)); n += 1\n"
     "except OSError as e: print(e.errno, 0 < n < 12)",
     kExit, "28 True\n"},
    {"A13CatastrophicPattern", "import re\nre.match('(a+)+$', 'a' * 60 + 'b')", kTimeout},
    {"A14Tower", "print(9**9**9)", kTimeout | kExit | kSignal, ""},
    {"A15SignalIgnored", "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
     kTimeout},
    {"A16LimitsRaised",
     "import resource\nno = 0\nfor limit in ('CPU', 'AS', 'FSIZE', 'NPROC', 'NOFILE', 'STACK', 'CORE'):\n"
     "  try: resource.setrlimit(getattr(resource, 'RLIMIT_' + limit), (resource.RLIM_INFINITY,) * 2)\n"
     "  except (ValueError, OSError): no += 1\nprint(no)",
     kExit, "7\n"},
    {"A17StopsItself",
     "import os, signal\npid = os.fork()\nif pid == 0: os.kill(os.getpid(), signal.SIGSTOP)\nos.waitpid(pid, "
     "0)",
     kTimeout},
    {"A17TheFirstProcessCannotBeStopped",
     "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nprint('goes on')", kExit, "goes on\n"},
};

class SandboxLimit : public testing::TestWithParam<std::tuple<Who, Excess>> {};

TEST_P(SandboxLimit, Holds) {
  const auto& [who, attack] = GetParam();
  const Attacked host(who);
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const bool stopped = (attack.ends & kTimeout) != 0;
  const SandboxRun run = host.Python(attack.code, stopped ? Attacked::kShort : Attacked::kLong);
  EXPECT_NE(attack.ends & Bit(run.end), 0u)
      << "ended as " << Bit(run.end) << ", " << run.code << ": " << run.errors;
  if (attack.output != nullptr) {
    EXPECT_EQ(run.output, attack.output) << run.errors;
  }
  EXPECT_LT(run.wall_seconds, Attacked::kLong);
  EXPECT_EQ(host.Python("print(6 * 7)").output, "42\n");  // the next one has a clean place
}

INSTANTIATE_TEST_SUITE_P(
    , SandboxLimit, testing::Combine(testing::Values(Who::kRoot, Who::kUser), testing::ValuesIn(kExcesses)),
    [](const auto& info) { return WhoName(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name; });

class SandboxEnd : public testing::TestWithParam<Who> {};

TEST_P(SandboxEnd, A04ALeakOverManyProcessesIsBoundedByTheControlGroupOrTheirNumber) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const SandboxRun run = host.Python(
      "import os, time\nr, w = os.pipe()\nfor i in range(8):\n  if os.fork() == 0:\n    held = []\n"
      "    for j in range(12): held.append(b'x' * (8 << 20))\n    os.write(w, b'.'); time.sleep(60)\n"
      "n = 0\nwhile n < 8: n += len(os.read(r, 8))\nprint('held')",
      Attacked::kShort);
  const bool grouped = host.sandbox().Describe().find("no control group") == std::string::npos;
  if (grouped) {
    EXPECT_NE(run.output, "held\n");  // 768 MiB of 256 MiB and the files
  }
  EXPECT_LT(run.wall_seconds, 60);  // the children's sleep
}

TEST_P(SandboxEnd, A09AFloodOfOutputIsCutAtItsLimitAndSaid) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const SandboxRun run = host.Python("import os\nwhile True: os.write(1, b'x' * 65536)");
  EXPECT_TRUE(run.cut);
  EXPECT_EQ(run.end, End::kExit);  // the write failed: no flood until the time was over
  EXPECT_EQ(run.output, std::string(1 << 20, 'x'));
}

TEST_P(SandboxEnd, A37ADaemonThatKeepsStandardOutputOpenDiesWithTheProgram) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const SandboxRun run = host.Python(
      "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  "
      "os._exit(0)\n"
      "os.wait(); print('done')");
  EXPECT_EQ(run.end, End::kExit);
  EXPECT_EQ(run.output, "done\n");
}

TEST_P(SandboxEnd, A38ADaemonThatWaitsForTheNextSandboxIsNotThereWhenItComes) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  host.Python(
      "import os, time\nif os.fork() == 0:\n  os.setsid()\n  while True:\n    try: open('/box/answer', 'w'); "
      "open('/tmp/answer', 'w')\n    except OSError: pass\n    time.sleep(0.01)");
  const SandboxRun next = host.Python(
      "import os, time\ntime.sleep(0.3)\nalive = []\nfor pid in range(2, 3000):\n  try: os.kill(pid, 0); "
      "alive.append(pid)\n  except OSError: pass\nprint(os.listdir('/tmp'), os.listdir('/box'), alive)");
  EXPECT_EQ(next.output, "[] ['solution.py'] []\n");
}

TEST_P(SandboxEnd, A39AChildThatOutlivesItsTimeWritesNoFileOfTheNextRun) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const SandboxRun run = host.Python(
      "import os, time\nos.fork()\nwhile True: open('/tmp/planted', 'w').write('x'); time.sleep(0.01)",
      Attacked::kShort);
  EXPECT_EQ(run.end, End::kTimeout);
  EXPECT_EQ(host.Python("import os, time; time.sleep(0.2); print(os.listdir('/tmp'))").output, "[]\n");
}

TEST_P(SandboxEnd, OthersGoOnWhileOneIsBusyBeingStopped) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  std::vector<std::thread> bombs;
  for (const char* code :
       {"import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "import time; time.sleep(60)",
        "import os\nwhile True: os.write(1, b'x' * 65536)"}) {
    bombs.emplace_back([&host, code] { host.Python(code, Attacked::kShort); });
  }
  for (int i = 0; i < 5; ++i) {
    const SandboxRun run =
        host.Python("import threading\nt = threading.Thread(target=print, args=(i := 42,))\nt.start()");
    EXPECT_EQ(run.output, "42\n") << run.errors;
  }
  for (std::thread& bomb : bombs) bomb.join();
}

TEST_P(SandboxEnd, AProgramThatIsNotThereIsAnErrorThatNamesIt) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const absl::StatusOr<SandboxRun> run =
      host.sandbox().Run({.command = {"/usr/bin/no-such-program"}, .host = &PythonFiles()});
  EXPECT_EQ(run.status().message(), "sandbox: execve /usr/bin/no-such-program: No such file or directory");
}

// What Create says in a child whose hard limit is this one; "": there is a sandbox.
std::string RefusalUnder(__rlimit_resource_t resource, rlim_t most) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {most, most};
    if (setrlimit(resource, &limit) != 0) _exit(1);
    const std::string said(Sandbox::Create().status().message());
    _exit(write(ends[1], said.data(), said.size()) < 0);
  }
  close(ends[1]);
  std::string said(1000, 0);
  const ssize_t size = read(ends[0], said.data(), said.size());
  close(ends[0]);
  waitpid(child, nullptr, 0);
  said.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return said;
}

// As of hardened machines and of services.
TEST(SandboxLimits, OfAMachineThatAllowsTooLittleAreNamed) {
  const Attacked host(Who::kUser);
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  EXPECT_EQ(RefusalUnder(RLIMIT_SIGPENDING, 100), "");
  const std::string refused =
      "no sandbox can be had here, and programs do not run without one: the hard limit of ";
  const std::string cure =
      " is needed: raise it where the session's limits are set (limits.conf, the service, Slurm)";
  EXPECT_EQ(RefusalUnder(RLIMIT_STACK, 1 << 20),
            refused + "stack in bytes (ulimit -Hs) is 1048576 and 67108864" + cure);
  // 0 is enough where a crash starts nothing.
  const std::string handler = ReadFile("/proc/sys/kernel/core_pattern").value_or("|");
  const bool is_started = handler[0] == '|' || handler[0] == '@';
  EXPECT_EQ(RefusalUnder(RLIMIT_CORE, 0),
            is_started
                ? refused +
                      "core files in bytes (ulimit -Hc; at 0 a crash starts the handler of core_pattern) "
                      "is 0 and 1" +
                      cure
                : "");
}

INSTANTIATE_TEST_SUITE_P(, SandboxEnd, testing::Values(Who::kRoot, Who::kUser),
                         [](const auto& info) { return WhoName(info.param); });

}  // namespace
}  // namespace temper

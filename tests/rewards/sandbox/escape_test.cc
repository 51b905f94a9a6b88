// SPDX-License-Identifier: Apache-2.0
// Attacks on what is outside the sandbox: each program tries, and prints what came of it. Numbers are those
// of the list in docs/rewards.md. That no secret came out, no file of the host's changed and no process is
// left is checked after each (tests/rewards/sandbox/samples.h).
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <map>
#include <thread>

#include "absl/strings/str_replace.h"
#include "tests/rewards/sandbox/samples.h"

namespace temper {
namespace {

// For every program: refused(f, ..) says whether f raises, call(number, ..) is a bare system call: its errno.
constexpr char kTools[] = R"(
import ctypes, os, sys
def refused(f, *args, **more):
    try: f(*args, **more)
    except Exception: return True
    return False
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    return 0 if libc.syscall(number, *args) >= 0 else ctypes.get_errno()
)";

struct Attack {
  const char* name;
  std::string code;
  std::string output;
};

void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

// System calls that must be unknown (ENOSYS, 38), by number.
std::string Unknown(const std::vector<long>& numbers) {
  std::string list;
  for (const long number : numbers) absl::StrAppend(&list, number, ", ");
  return absl::StrCat("print(set(call(n, 0, 0, 0, 0, 0) for n in [", list, "]))");
}

const Attack kAttacks[] = {
    {"A18WritesToTheSystem",
     "print([refused(open, d + '/x', 'w') for d in ('/usr', '/usr/bin', '/usr/lib', '/lib', '/bin', '/dev', "
     "'/')])\n"
     "print(refused(open, '/usr/bin/python3', 'r+'), refused(os.unlink, '/usr/bin/python3'))\n"
     "print([os.statvfs(d).f_flag & os.ST_RDONLY for d in ('/', '/usr', '/box', '/dev')])",
     "[True, True, True, True, True, True, True]\nTrue True\n[1, 1, 1, 1]\n"},
    {"A19OverwritesItsOwnCode",
     "p = '/box/solution.py'\nprint(refused(open, p, 'w'), refused(os.chmod, p, 0o777), refused(os.unlink, "
     "p), "
     "refused(os.rename, p, '/box/x'), refused(os.rename, '/box', '/b'), refused(open, '/box/x', 'w'))",
     "True True True True True True\n"},
    {"A20ReadsPasswords",
     "print([refused(open, p) for p in ('/etc/shadow', '/etc/passwd', '/etc/hostname', "
     "'/usr/../etc/shadow')])",
     "[True, True, True, True]\n"},
    {"A21LooksAround",
     "print(sorted(set(os.listdir('/')) - {'lib', 'lib32', 'lib64', 'libx32', 'bin', 'sbin'}), "
     "os.listdir('/') == os.listdir('/../..'))\n"
     "print([refused(os.listdir, d) for d in ('/root', '/home', '/proc', '/sys', '/run', '/var', '/etc', "
     "'/mnt')], "
     "os.listdir('/tmp'), refused(open, CANARY))",
     "['box', 'dev', 'tmp', 'usr'] True\n[True, True, True, True, True, True, True, True] [] True\n"},
    {"A22SeesProcesses",
     "def there(pid):\n  try: os.kill(pid, 0)\n  except ProcessLookupError: return False\n  return True\n"
     "print(os.getpid(), os.getppid(), [p for p in range(1, 70000) if there(p)], refused(os.listdir, "
     "'/proc'))",
     "1 0 [1] True\n"},
    {"A23KillsEverybody",
     "import signal\nprint(refused(os.kill, -1, 9), refused(os.kill, PARENT, 9), refused(os.killpg, PARENT, "
     "9))\n"
     "os.kill(0, signal.SIGCONT)",
     "True True True\n"},
    {"A24Traces",
     absl::StrCat("print(call(", SYS_ptrace, ", 0, 0, 0, 0), call(", SYS_ptrace, ", 16, 1, 0, 0))\n",
                  Unknown({SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, 438 /* pidfd_getfd */})),
     "38 38\n{38}\n"},
    {"A25Mounts",
     Unknown({SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_swapon, 428 /* open_tree */,
              429 /* move_mount */, 430 /* fsopen */, 432 /* fsmount */, 442 /* mount_setattr */}),
     "{38}\n"},
    {"A26MakesNamespaces",
     absl::StrCat("print(call(", SYS_unshare, ", 0x10000000), call(", SYS_setns, ", 0, 0), call(", SYS_clone3,
                  ", 0, 0), [call(", SYS_clone,
                  ", flag | 17, 0, 0, 0, 0) for flag in (0x10000000, 0x20000, "
                  "0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000)])"),
     "38 38 38 [38, 38, 38, 38, 38, 38, 38]\n"},
    {"A27LesserKnownDoors",
     Unknown({425 /* io_uring_setup */,
              426,
              427,
              SYS_bpf,
              SYS_perf_event_open,
              SYS_userfaultfd,
              SYS_keyctl,
              SYS_add_key,
              SYS_request_key,
              SYS_memfd_create,
              SYS_kexec_load,
              SYS_init_module,
              SYS_finit_module,
              SYS_reboot,
              SYS_settimeofday,
              SYS_sethostname,
              SYS_acct,
              SYS_quotactl,
              SYS_open_by_handle_at,
              SYS_name_to_handle_at,
              SYS_fanotify_init,
              SYS_setuid,
              SYS_setresuid,
              SYS_setgroups,
              SYS_capset,
              SYS_personality,
              SYS_shmget,
              SYS_msgget,
              SYS_mq_open,
              SYS_seccomp,
              SYS_mknodat,
              448 /* process_mrelease */}),
     "{38}\n"},
    {"A28SetUserIdPrograms",
     "import subprocess\nprint(os.statvfs('/usr').f_flag & os.ST_NOSUID, os.statvfs('/tmp').f_flag & "
     "os.ST_NOSUID)\n"
     "for su in ('/usr/bin/su', '/usr/bin/newgrp', '/usr/bin/mount'):\n"
     "  if os.path.exists(su): subprocess.run([su, '-c', 'id'], stdin=subprocess.DEVNULL, "
     "capture_output=True)\n"
     "print(os.geteuid() == os.getuid() != 0, os.getresuid() == (os.getuid(),) * 3)\n"
     "open('/tmp/x', 'w').write('#!/bin/sh\\necho ran')\nos.chmod('/tmp/x', 0o4755)\n"
     "print(refused(subprocess.run, '/tmp/x'))",
     "2 2\nTrue True\nTrue\n"},
    {"A30Environment",
     "print(sorted(os.environ))\nprint(ctypes.c_char_p.in_dll(libc, '__progname').value is not None)",
     "['HOME', 'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PYTHONHASHSEED', 'PYTHONUTF8', "
     "'TMPDIR']\nTrue\n"},
    {"A31TypesIntoATerminal",
     "import fcntl, termios\nprint([refused(fcntl.ioctl, fd, termios.TIOCSTI, b'x') for fd in range(4)], "
     "refused(open, '/dev/tty'), refused(open, '/dev/ptmx'), sorted(os.listdir('/dev')))",
     "[True, True, True, True] True True ['null', 'random', 'shm', 'urandom', 'zero']\n"},
    {"A32DescriptorsAndRootsOfOthers",
     "print([fd for fd in range(3, 1024) if not refused(os.fstat, fd)], [refused(os.readlink, p) for p in "
     "('/proc/self/exe', '/proc/1/root', '/proc/self/fd/3', '/dev/fd')])",
     "[3] [True, True, True, True]\n"},
    {"A33LinksOutOfTheWorkingDirectory",
     "print(refused(os.link, '/usr/bin/python3', '/tmp/p'), refused(os.link, CANARY, '/tmp/c'))\n"
     "os.symlink(CANARY, '/tmp/s'); os.symlink('/etc/shadow', '/tmp/e')\n"
     "print(refused(open, '/tmp/s'), refused(open, '/tmp/e'))",
     "True True\nTrue True\n"},
    {"A34ConnectsToTheInternet",
     "import socket, urllib.request\nprint(refused(socket.socket), refused(socket.socket, socket.AF_INET6), "
     "refused(socket.create_connection, ('127.0.0.1', 22)), refused(urllib.request.urlopen, "
     "'http://127.0.0.1'))\n"
     "print(refused(socket.if_nameindex))",
     "True True True True\nTrue\n"},
    {"A35UnixSockets",
     "import socket\na, b = socket.socketpair()\na.send(b'ok')\nprint(b.recv(2), refused(socket.socket, "
     "socket.AF_UNIX), "
     "refused(a.connect, '\\0abstract'), os.path.exists('/var/run/docker.sock'))\n"
     "d, e = socket.socketpair(type=socket.SOCK_DGRAM)\nprint(refused(d.sendto, b'x', '\\0abstract'))",
     "b'ok' True True False\nTrue\n"},
    {"A36OtherSocketFamilies",
     "import socket\nprint([refused(socket.socket, family, kind) for family in (16, 17, 38, 40, 31, 2, 10) "
     "for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)].count(False))",
     "0\n"},
    {"A56TheHostsSharedMemory",
     "print(os.listdir('/dev/shm'), refused(open, '/dev/shm/temper-canary'))\n"
     "from multiprocessing import shared_memory\n"
     "m = shared_memory.SharedMemory(create=True, size=8); m.buf[0] = 7; print(m.buf[0], "
     "os.listdir('/tmp') == [m.name]); m.close(); m.unlink()",
     "[] True\n7 True\n"},
    {"A57ACoreForTheHostsHandler",
     "import resource\nprint(resource.getrlimit(resource.RLIMIT_CORE), refused(resource.setrlimit, "
     "resource.RLIMIT_CORE, (0, 0)), call(160, 4, 0), resource.getrlimit(resource.RLIMIT_CORE))",
     "(1, 1) True 38 (1, 1)\n"},
    {"NoDeviceCanBeMade", "print(refused(os.mknod, '/tmp/d', 0o20666, 0x101), refused(os.mkfifo, '/tmp/f'))",
     "True True\n"},
    {"TheSystemIsWhatProgramsNeed",  // not an attack: threads, processes, pipes, an event loop
     "import asyncio, multiprocessing, random, subprocess, threading, time\n"
     "async def one(): return 1\n"
     "def half(x): return x // 2\n"
     "with multiprocessing.Pool(2) as pool: print(pool.map(half, [2, 4]))\n"
     "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
     "print(asyncio.run(one()), subprocess.run([sys.executable, '-c', 'print(\"child\")'], "
     "capture_output=True).stdout, "
     "time.time() > 1e9, "
     "hash('a') == hash('a'))",
     "[1, 2]\nthread\n1 b'child\\n' True True\n"},
};

class SandboxEscape : public testing::TestWithParam<std::tuple<Who, Attack>> {};

TEST_P(SandboxEscape, Fails) {
  const auto& [who, attack] = GetParam();
  const Attacked host(who);
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const std::string code = absl::StrReplaceAll(
      attack.code, {{"CANARY", absl::StrCat("'", host.canary(), "'")}, {"PARENT", absl::StrCat(getpid())}});
  const SandboxRun run = host.Python(absl::StrCat(kTools, code));
  EXPECT_EQ(run.output, attack.output) << run.errors;
  EXPECT_EQ(run.end, SandboxRun::End::kExit) << run.code;
}

INSTANTIATE_TEST_SUITE_P(
    , SandboxEscape, testing::Combine(testing::Values(Who::kRoot, Who::kUser), testing::ValuesIn(kAttacks)),
    [](const auto& info) { return WhoName(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name; });

class SandboxCrash : public testing::TestWithParam<Who> {};

TEST_P(SandboxCrash, A29ASegmentationFaultIsTheProgramsOwn) {
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  const SandboxRun run = host.Python("import ctypes; print('before', flush=True); ctypes.string_at(0)");
  EXPECT_EQ(run.end, SandboxRun::End::kSignal);
  EXPECT_EQ(run.code, SIGSEGV);
  EXPECT_EQ(run.output, "before\n");
}

// What the kernel says of a program that runs, from outside.
TEST_P(SandboxCrash, EveryLayerIsThereWhileAProgramRuns) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to look into processes of others";
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  std::atomic<pid_t> runner = 0;
  std::string end;
  std::thread thread([&] {
    runner = gettid();
    const auto run = host.sandbox().Run({.command = {"/usr/bin/python3", "-c", "import time; time.sleep(60)"},
                                         .host = &PythonFiles(),
                                         .limits = Attacked::Limits(Attacked::kLong)});
    end = std::string(run.status().message());
  });
  std::string process;
  std::map<std::string, std::string> status;
  std::vector<std::string> shared;
  for (int i = 0; i < 3000 && status["Name"] != "python3"; ++i, usleep(10000)) {
    const uid_t user =
        GetParam() == Who::kUser ? OrdinaryUser::id() : 0x60000000 + static_cast<uid_t>(runner);
    const std::vector<std::string> found = ProcessesOf(user);
    if (found.empty()) continue;
    process = found[0];
    const std::string folder = absl::StrCat("/proc/", process, "/");
    std::ifstream lines(folder + "status");
    for (std::string line; std::getline(lines, line);) {
      const size_t colon = line.find(":\t");
      if (colon != line.npos) status[line.substr(0, colon)] = line.substr(colon + 2);
    }
    shared.clear();
    for (const char* space : {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}) {
      std::error_code error;
      const auto theirs = std::filesystem::read_symlink(folder + "ns/" + space, error);
      if (error || theirs == std::filesystem::read_symlink(absl::StrCat("/proc/self/ns/", space), error)) {
        shared.push_back(space);
      }
    }
  }
  if (!process.empty()) kill(std::stoi(process), SIGKILL);
  thread.join();
  EXPECT_EQ(
      end, "sandbox: the program was killed from outside (is the machine out of memory?)");  // and no verdict
  EXPECT_EQ(status["Name"], "python3");
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(status[set], "0000000000000000");
  EXPECT_EQ(status["NoNewPrivs"], "1");
  EXPECT_EQ(status["Seccomp"], "2");
  EXPECT_EQ(status["Groups"].find_first_not_of(' '), std::string::npos) << status["Groups"];
  EXPECT_EQ(shared, GetParam() == Who::kRoot ? std::vector<std::string>{"user"} : std::vector<std::string>());
}

TEST_P(SandboxCrash, WhereNamespacesAreRefusedNothingRuns) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to take its rights away";
  const Attacked host(GetParam());
  if (!host.skip().empty()) GTEST_SKIP() << host.skip();
  // A child in a user namespace of its own, which may have no further ones.
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(2);  // without a map: no rights over anything
    std::ofstream("/proc/sys/user/max_user_namespaces") << "0";
    const absl::StatusOr<std::unique_ptr<Sandbox>> made = Sandbox::Create();
    const bool refused = !made.ok() && made.status().code() == absl::StatusCode::kFailedPrecondition &&
                         made.status().message().find("clone") != absl::string_view::npos;
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (status == 2 << 8)
    GTEST_SKIP() << "no user namespace for a process with threads (ThreadSanitizer has one)";
  EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(, SandboxCrash, testing::Values(Who::kRoot, Who::kUser),
                         [](const auto& info) { return WhoName(info.param); });

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/files/file.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/files/disk.h"
#include "core/files/regular_file.h"
#include "core/json/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "temper_file_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(root_).ok()); }
  std::string At(const std::string& name) const { return root_ + "/" + name; }
  std::vector<std::string> List(const std::string& path) const { return *ListDirectory(path); }
  static std::string Message(const absl::Status& status) { return std::string(status.message()); }

  std::string root_;
};

TEST_F(Files, WhatIsWrittenIsReadAndNothingElseIsLeft) {
  const std::string bytes("a\0b\xff\n", 5);
  ASSERT_TRUE(WriteFileAtomic(At("f"), "old").ok());
  ASSERT_TRUE(WriteFileAtomic(At("f"), bytes).ok());
  EXPECT_EQ(*ReadFile(At("f")), bytes);
  ASSERT_TRUE(WriteFileAtomic(At("empty"), "").ok());
  EXPECT_EQ(*ReadFile(At("empty")), "");
  const std::string large(3'000'001, 'x');
  ASSERT_TRUE(WriteFileAtomic(At("large"), large).ok());
  EXPECT_EQ(*ReadFile(At("large")), large);
  EXPECT_THAT(List(root_), ElementsAre("empty", "f", "large"));
  struct stat info;
  ASSERT_EQ(stat(At("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(Files, AreForWhomTheUmaskLetsOnceTheyAreShared) {
  const auto modes = [&] {
    umask(027);
    ShareNewFiles();
    struct stat file, folder;
    const bool made = WriteFileAtomic(At("f"), "x").ok() && MakeDirectories(At("d")).ok() &&
                      stat(At("f").c_str(), &file) == 0 && stat(At("d").c_str(), &folder) == 0;
    std::exit(made && (file.st_mode & 0777) == 0640 && (folder.st_mode & 0777) == 0750 ? 0 : 1);
  };
  EXPECT_EXIT(modes(), ::testing::ExitedWithCode(0), "");  // in a process of its own
}

TEST_F(Files, OfSomebodyElseAreToldAsSuch) {
  ASSERT_TRUE(MakeDirectories(At("theirs")).ok());
  EXPECT_TRUE(CheckReadable(At("theirs")).ok());
  EXPECT_TRUE(CheckReadable(At("none")).ok());  // not there is another word
  if (getuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const auto ask = [&] {
    chmod(root_.c_str(), 0755);
    if (setuid(65534) != 0) std::exit(2);
    const std::string told = Message(CheckReadable(At("theirs")));
    std::exit(told == At("theirs") + ": cannot read: Permission denied" ? 0 : 1);
  };
  EXPECT_EXIT(ask(), ::testing::ExitedWithCode(0), "");
}

TEST_F(Files, ReadErrorsNameThePathAndTheReason) {
  EXPECT_EQ(Message(ReadFile(At("none")).status()), At("none") + ": cannot read: No such file or directory");
  EXPECT_EQ(ReadFile(At("none")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Message(ReadFile(root_).status()), root_ + ": is a folder, not a file");
  EXPECT_EQ(Message(ReadFile("/dev/zero").status()), "/dev/zero: is a device, not a file");
  ASSERT_EQ(mkfifo(At("pipe").c_str(), 0600), 0);
  EXPECT_EQ(Message(ReadFile(At("pipe")).status()), At("pipe") + ": is a pipe, not a file");
  ASSERT_EQ(symlink("loop", At("loop").c_str()), 0);
  EXPECT_EQ(Message(ReadFile(At("loop")).status()),
            At("loop") + ": cannot read: Too many levels of symbolic links");
  ASSERT_TRUE(WriteFileAtomic(At("f"), "12345").ok());
  EXPECT_EQ(Message(ReadFile(At("f"), 4).status()), At("f") + ": has 5 bytes; at most 4 are read");
  EXPECT_EQ(*ReadFile(At("f"), 5), "12345");
  EXPECT_THAT(*ReadFile("/proc/self/status"), HasSubstr("Pid:"));
}

// The kernel's files say no size, or one of terabytes, and some wait for ever: nothing is read of them but
// what a caller wants of the machine.
TEST_F(Files, ThatTheKernelMakesUpAreNoFiles) {
  int64_t size = 0;
  const auto piece = [](std::string_view) { return absl::OkStatus(); };
  for (const std::string path : {"/proc/self/mem", "/proc/kmsg", "/proc/kcore", "/proc/self/pagemap",
                                 "/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"}) {
    if (access(path.c_str(), R_OK) != 0) continue;  // of root only, or not in this kernel
    const std::string said = path + ": is what the kernel makes up, not a file";
    EXPECT_EQ(Message(OpenRegularFile(path, &size).status()), said);
    EXPECT_EQ(Message(ForEachPiece(path, piece)), said);
    ASSERT_EQ(symlink(path.c_str(), At("link").c_str()), 0);
    EXPECT_EQ(Message(Sha256OfFile(At("link")).status()), At("link") + said.substr(path.size()));
    unlink(At("link").c_str());
  }
  EXPECT_EQ(Message(ReadFile("/proc/self/mem").status()),
            "/proc/self/mem: is what the kernel makes up, not a file");
}

TEST_F(Files, ThatAreSocketsAreNone) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(root_);  // the path of a socket has 108 bytes
  std::snprintf(address.sun_path, sizeof(address.sun_path), "socket");
  ASSERT_EQ(bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(Message(ReadFile("socket").status()), "socket: is a socket, not a file");
  close(socket);
  std::filesystem::current_path(before);
}

TEST_F(Files, DoNotReplaceWhatIsNoFile) {
  ASSERT_EQ(mkfifo(At("pipe").c_str(), 0600), 0);
  EXPECT_EQ(Message(WriteFileAtomic(At("pipe"), "x")), At("pipe") + ": is a pipe, not a file");
  ASSERT_EQ(symlink("/dev/null", At("null").c_str()), 0);
  EXPECT_EQ(Message(WriteFileAtomic(At("null"), "x")), At("null") + ": is a device, not a file");
  EXPECT_THAT(List(root_), ElementsAre("null", "pipe"));
  struct stat info;
  ASSERT_EQ(lstat(At("pipe").c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
}

TEST_F(Files, WriteErrorsLeaveTheOldFileAndNoTemporary) {
  EXPECT_EQ(Message(WriteFileAtomic(At("no/f"), "x")),
            At("no/f") + ": cannot write: No such file or directory");
  ASSERT_TRUE(MakeDirectories(At("d/e")).ok());
  EXPECT_THAT(Message(WriteFileAtomic(At("d"), "x")), StartsWith(At("d") + ": is a folder, not a file"));
  EXPECT_THAT(List(root_), ElementsAre("d"));
}

// On a real full disk: a tmpfs of 64 KiB.
TEST_F(Files, AWriteThatFailsHalfWayLeavesTheOldFileAndNoTemporary) {
  ASSERT_TRUE(WriteFileAtomic(At("f"), "old").ok());
  const std::string tiny = At("tiny");
  ASSERT_TRUE(MakeDirectories(tiny).ok());
  if (mount("none", tiny.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "cannot mount a tmpfs";
  ASSERT_TRUE(WriteFileAtomic(tiny + "/f", "old").ok());
  EXPECT_EQ(Message(WriteFileAtomic(tiny + "/f", std::string(100'000, 'x'))),
            tiny + "/f: cannot write: No space left on device (0.0 MiB are free there): make room");
  EXPECT_EQ(*ReadFile(tiny + "/f"), "old");
  EXPECT_THAT(List(tiny), ElementsAre("f"));

  auto file = AppendFile::Open(tiny + "/log");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Append("one\n").ok());
  EXPECT_THAT(Message((*file)->Append(std::string(100'000, 'x'))), HasSubstr("No space left on device"));
  EXPECT_EQ((*file)->offset(), 4);
  ASSERT_TRUE((*file)->Append("two\n").ok());
  EXPECT_EQ(*ReadFile(tiny + "/log"), "one\ntwo\n");
  file->reset();

  auto directory = AtomicDirectory::Create(tiny + "/c");
  ASSERT_TRUE(directory.ok());
  EXPECT_FALSE(WriteFileAtomic((*directory)->temporary() + "/w", std::string(100'000, 'x')).ok());
  directory->reset();
  EXPECT_THAT(List(tiny), ElementsAre("f", "log"));
  ASSERT_EQ(umount(tiny.c_str()), 0);
}

TEST_F(Files, FoldersAreMadeListedInOrderAndRemoved) {
  ASSERT_TRUE(MakeDirectories(At("a/b//c/")).ok());
  ASSERT_TRUE(MakeDirectories(At("a/b/c")).ok());
  for (const char* name : {"z", "B", "10", "9"})
    ASSERT_TRUE(WriteFileAtomic(At(std::string("a/b/") + name), "").ok());
  EXPECT_THAT(List(At("a/b")), ElementsAre("10", "9", "B", "c", "z"));
  EXPECT_THAT(Message(MakeDirectories(At("a/b/z/q"))),
              StartsWith(At("a/b/z") + ": cannot make the folder: "));
  EXPECT_THAT(Message(ListDirectory(At("none")).status()), HasSubstr(": cannot list: No such file"));
  // A link is removed, not what it points to.
  ASSERT_TRUE(MakeDirectories(At("kept")).ok());
  ASSERT_TRUE(WriteFileAtomic(At("kept/f"), "").ok());
  ASSERT_EQ(symlink(At("kept").c_str(), At("a/link").c_str()), 0);
  ASSERT_TRUE(RemoveTree(At("a")).ok());
  EXPECT_TRUE(RemoveTree(At("a")).ok());
  EXPECT_FALSE(FileExists(At("a")));
  EXPECT_TRUE(FileExists(At("kept/f")));
}

TEST_F(Files, AnAtomicDirectoryAppearsWholeAndReplacesTheOldOne) {
  for (const char* content : {"one", "two"}) {
    auto directory = AtomicDirectory::Create(At("c/"));
    ASSERT_TRUE(directory.ok()) << directory.status();
    ASSERT_TRUE(MakeDirectories((*directory)->temporary() + "/sub").ok());
    ASSERT_TRUE(WriteFileAtomic((*directory)->temporary() + "/sub/f", content).ok());
    EXPECT_EQ(FileExists(At("c/sub/f")), content == std::string("two"));
    ASSERT_TRUE((*directory)->Commit().ok());
    directory->reset();
    EXPECT_EQ(*ReadFile(At("c/sub/f")), content);
    EXPECT_THAT(List(root_), ElementsAre("c"));
  }
  { auto abandoned = AtomicDirectory::Create(At("c")); }
  EXPECT_THAT(List(root_), ElementsAre("c"));
}

// The states a kill can leave: before the first rename, between the two, and before the old one is gone.
TEST_F(Files, ACutOffReplacementIsPutRight) {
  ASSERT_TRUE(MakeDirectories(At(".c.tmp/half")).ok());
  ASSERT_TRUE(MakeDirectories(At(".c.old/was")).ok());
  ASSERT_TRUE(RecoverDirectory(At("c")).ok());
  EXPECT_THAT(List(At("c")), ElementsAre("was"));
  ASSERT_TRUE(MakeDirectories(At(".c.old/older")).ok());
  ASSERT_TRUE(RecoverDirectory(At("c")).ok());
  EXPECT_THAT(List(At("c")), ElementsAre("was"));
  EXPECT_FALSE(FileExists(At(".c.old")));
  auto directory = AtomicDirectory::Create(At("c"));
  EXPECT_THAT(List((*directory)->temporary()), IsEmpty());
}

TEST_F(Files, AppendGoesOnAtTheEndOrAtAnOffset) {
  {
    auto file = AppendFile::Open(At("f"));
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Append("one\n").ok());
    ASSERT_TRUE((*file)->Append("two\n").ok());
    ASSERT_TRUE((*file)->Sync().ok());
    EXPECT_EQ((*file)->offset(), 8);
  }
  { ASSERT_TRUE((*AppendFile::Open(At("f")))->Append("three\n").ok()); }
  EXPECT_EQ(*ReadFile(At("f")), "one\ntwo\nthree\n");
  { ASSERT_TRUE((*AppendFile::Open(At("f"), 4))->Append("2\n").ok()); }
  EXPECT_EQ(*ReadFile(At("f")), "one\n2\n");
  EXPECT_THAT(Message(AppendFile::Open(At("f"), 100).status()),
              HasSubstr("has 6 bytes where 100 were written"));
  EXPECT_EQ(*ReadFile(At("f")), "one\n2\n");
  EXPECT_FALSE(AppendFile::Open(root_).ok());
  EXPECT_FALSE(AppendFile::Open("/dev/null").ok());
}

TEST_F(Files, AnAppendSeesThatItsFileWasRemovedRenamedOrReplaced) {
  for (const std::string act : {"remove", "rename", "replace", "folder"}) {
    ASSERT_TRUE(MakeDirectories(At("d")).ok());
    auto file = AppendFile::Open(At("d/f"));
    ASSERT_TRUE((*file)->Append("one\n").ok());
    if (act == "remove" || act == "replace") std::filesystem::remove(At("d/f"));
    if (act == "replace") std::ofstream(At("d/f")) << "other";
    if (act == "rename") std::filesystem::rename(At("d/f"), At("d/g"));
    if (act == "folder") std::filesystem::rename(At("d"), At("e"));
    for (const absl::Status& status : {(*file)->Append("two\n"), (*file)->Sync()}) {
      EXPECT_THAT(Message(status), HasSubstr(At("d/f") + ": was removed, renamed or replaced while")) << act;
    }
    std::filesystem::remove_all(At("d"));
  }
}

TEST_F(Files, ALockedFolderLetsNobodyInWithoutItsLockFileAndIsMissedWhereItWas) {
  auto lock = RunLock::Acquire(root_);
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_TRUE((*lock)->Check().ok());
  std::filesystem::remove(At(".lock"));
  EXPECT_THAT(Message(RunLock::Acquire(root_).status()), HasSubstr("another process works in this folder"));
  EXPECT_TRUE((*lock)->Check().ok());
  std::filesystem::rename(root_, root_ + "-moved");
  EXPECT_THAT(Message((*lock)->Check()), HasSubstr(root_ + ": was removed, renamed or replaced"));
  std::filesystem::create_directory(root_);
  EXPECT_FALSE((*lock)->Check().ok());
  std::filesystem::remove_all(root_);
  std::filesystem::rename(root_ + "-moved", root_);
  EXPECT_TRUE((*lock)->Check().ok());
}

TEST_F(Files, ASecondProcessIsToldWhoHasTheFolderAndGetsItWhenTheFirstDies) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto lock = RunLock::Acquire(root_);
    const char byte = lock.ok() ? 'y' : 'n';
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_THAT(Message(RunLock::Acquire(root_).status()),
              AllOf(StartsWith(root_ + ": another process works in this folder (process " +
                               std::to_string(child) + " on "),
                    Not(HasSubstr("\n"))));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  {
    auto lock = RunLock::Acquire(root_);
    EXPECT_TRUE(lock.ok()) << lock.status();
    EXPECT_FALSE(RunLock::Acquire(root_).ok());  // also within one process
  }
  EXPECT_TRUE(RunLock::Acquire(root_).ok());
  EXPECT_THAT(Message(RunLock::Acquire(At("none")).status()), HasSubstr("cannot open: No such file"));
  close(ready[0]);
  close(ready[1]);
}

// As on a machine that was cut off and whose lock was given to another one: there is no lock between the two.
TEST_F(Files, WhoseFolderAnotherProcessHadSinceCommitsNothing) {
  auto lock = RunLock::Acquire(root_);
  ASSERT_TRUE(lock.ok()) << lock.status();
  auto lines = AppendFile::Open(At("lines"));
  ASSERT_TRUE(lines.ok() && (*lines)->Append("mine\n").ok());
  EXPECT_TRUE((*lock)->Check().ok());
  std::ofstream(At(".lock")) << "process 7 on elsewhere, start 0123456789abcdef";
  EXPECT_THAT(
      Message((*lock)->Check()),
      AllOf(StartsWith(root_ + ": is another's by now (process 7 on elsewhere"), Not(HasSubstr("\n"))));
  auto others = AppendFile::Open(At("lines"));
  ASSERT_TRUE(others.ok()) << others.status();
  EXPECT_THAT(Message((*lines)->Append("late\n")), HasSubstr("was removed, renamed or replaced"));
  EXPECT_TRUE((*others)->Append("theirs\n").ok());
  EXPECT_FALSE((*lines)->Sync().ok());
  EXPECT_EQ(*ReadFile(At("lines")), "mine\ntheirs\n");
}

// Another start takes the folder while this one syncs what it is about to rename.
class LosingDisk : public Disk {
 public:
  explicit LosingDisk(const std::string& folder) : lock_(folder + "/.lock") {}
  int Sync(int file) override {
    std::ofstream(lock_) << "process 7 on elsewhere, start 0123456789abcdef";
    return Disk::Sync(file);
  }

 private:
  const std::string lock_;
};

TEST_F(Files, WhoLosesTheFolderWhileItWritesRenamesNothing) {
  auto lock = RunLock::Acquire(root_);
  ASSERT_TRUE(lock.ok()) << lock.status();
  const std::string owner = *ReadFile(At(".lock")), word = owner.substr(owner.rfind(' ') + 1);
  ASSERT_TRUE(WriteFileAtomic(At("f"), "mine", lock->get()).ok());
  for (const bool lost : {false, true}) {
    auto directory = AtomicDirectory::Create(At("d"), lock->get());
    ASSERT_TRUE(directory.ok()) << directory.status();
    EXPECT_EQ((*directory)->temporary(), At(".d." + word + ".tmp"));
    ASSERT_TRUE(WriteFileAtomic((*directory)->temporary() + "/g", lost ? "late" : "mine").ok());
    Disk kernels;
    LosingDisk losing(root_);
    const DiskInPlace in_place(lost ? &losing : &kernels);
    const absl::Status whole = (*directory)->Commit();
    EXPECT_EQ(whole.ok(), !lost) << whole;
    std::ofstream(At(".lock")) << owner;
    const absl::Status file = WriteFileAtomic(At("f"), lost ? "late" : "mine", lock->get());
    EXPECT_EQ(file.ok(), !lost) << file;
    for (const absl::Status& status : {whole, file})
      EXPECT_THAT(Message(status), StartsWith(lost ? root_ + ": is another's by now (process 7 on" : ""));
  }
  EXPECT_EQ(*ReadFile(At("f")), "mine");
  EXPECT_EQ(*ReadFile(At("d/g")), "mine");
  EXPECT_THAT(List(root_), ElementsAre(".lock", "d", "f"));
}

TEST_F(Files, LinksAreNotWrittenThrough) {
  ASSERT_TRUE(WriteFileAtomic(At("mine"), "kept").ok());
  const std::string says = "is a link, and what is written here could land anywhere";
  for (const std::string target : {At("mine"), At("nothing")}) {
    ASSERT_EQ(symlink(target.c_str(), At("link").c_str()), 0);
    EXPECT_THAT(Message(AppendFile::Open(At("link"), 0).status()),
                AllOf(StartsWith(At("link")), HasSubstr(says)));
    EXPECT_TRUE(absl::IsFailedPrecondition(AppendFile::Open(At("link")).status()));
    ASSERT_TRUE(WriteFileAtomic(At("link"), "a file in its place").ok());
    EXPECT_EQ(*ReadFile(At("link")), "a file in its place");
    ASSERT_TRUE(RemoveTree(At("link")).ok());
  }
  ASSERT_EQ(symlink(At("mine").c_str(), At(".lock").c_str()), 0);
  EXPECT_THAT(Message(RunLock::Acquire(root_).status()), HasSubstr(says));
  EXPECT_EQ(*ReadFile(At("mine")), "kept");
  EXPECT_FALSE(FileExists(At("nothing")));
}

TEST_F(Files, LinksAreFoundAtAnyDepthOfATree) {
  ASSERT_TRUE(MakeDirectories(At("stage/checkpoints/step-1")).ok());
  ASSERT_TRUE(WriteFileAtomic(At("stage/checkpoints/step-1/state.json"), "{}").ok());
  EXPECT_TRUE(CheckNoLinks(At("stage")).ok());
  EXPECT_TRUE(CheckNoLinks(At("nothing")).ok());
  ASSERT_EQ(symlink("/tmp", At("stage/checkpoints/step-2").c_str()), 0);
  EXPECT_THAT(Message(CheckNoLinks(At("stage"))), StartsWith(At("stage/checkpoints/step-2: is a link")));
  EXPECT_THAT(Message(CheckNoLinks(At("stage/checkpoints/step-2"))), HasSubstr("is a link"));
}

TEST_F(Files, AFolderWhereOthersMayWriteIsNotOursAlone) {
  struct Case {
    mode_t mode;
    bool alone, shared;
  };
  for (const Case& c : {Case{0700, true, true}, Case{0755, true, true}, Case{0770, false, true},
                        Case{0775, false, true}, Case{0777, false, false}, Case{01777, false, false}}) {
    ASSERT_EQ(chmod(root_.c_str(), c.mode), 0);
    if (geteuid() == 0) {
      EXPECT_EQ(CheckOnlyOursToWrite(root_, false).ok(), c.shared) << "root's own group";
      ASSERT_EQ(chown(root_.c_str(), 0, 12345), 0);
    } else if (getegid() == geteuid()) {
      EXPECT_EQ(CheckOnlyOursToWrite(root_, false).ok(), c.shared);
      continue;
    }
    EXPECT_EQ(CheckOnlyOursToWrite(root_, false).ok(), c.alone) << std::oct << c.mode;
    EXPECT_EQ(CheckOnlyOursToWrite(root_, true).ok(), c.shared) << std::oct << c.mode;
    if (geteuid() == 0) ASSERT_EQ(chown(root_.c_str(), 0, 0), 0);
  }
  EXPECT_THAT(Message(CheckOnlyOursToWrite(root_, false)),
              testing::StartsWith(root_ + ": every user of this machine may write there: chmod go-w it"));
  EXPECT_TRUE(CheckOnlyOursToWrite(At("nothing"), false).ok());
}

TEST_F(Files, WhatLiesInTheFolderIsOnlyOursToo) {
  ASSERT_TRUE(MakeDirectories(At("zero/checkpoints")).ok());
  ASSERT_TRUE(WriteFileAtomic(At("zero/stage.json"), "{}").ok());
  ASSERT_EQ(symlink("/tmp", At("zero/link").c_str()), 0);  // CheckNoLinks names it
  EXPECT_TRUE(CheckOnlyOursToWrite(root_, false).ok());
  for (const char* name : {"zero/checkpoints", "zero/stage.json"}) {
    ASSERT_EQ(chmod(At(name).c_str(), 0777), 0);
    EXPECT_THAT(Message(CheckOnlyOursToWrite(root_, false)),
                testing::StartsWith(At(name) + ": every user of this machine may write there"));
    ASSERT_EQ(chmod(At(name).c_str(), 0700), 0);
    if (geteuid() != 0) continue;
    ASSERT_EQ(chown(At(name).c_str(), 12345, 0), 0);
    EXPECT_THAT(Message(CheckOnlyOursToWrite(root_, false)),
                testing::StartsWith(At(name) + ": belongs to user 12345, who may change it: chown it"));
    EXPECT_TRUE(CheckOnlyOursToWrite(root_, true).ok());
    ASSERT_EQ(chown(At(name).c_str(), 0, 0), 0);
  }
}

TEST_F(Files, ALockIsAFile) {
  ASSERT_EQ(mkfifo(At(".lock").c_str(), 0600), 0);
  EXPECT_EQ(Message(RunLock::Acquire(root_).status()), At(".lock") + ": is a pipe, not a file");
}

TEST_F(Files, NothingIsWrittenThroughAHardLink) {
  ASSERT_TRUE(WriteFileAtomic(At("victim"), "precious").ok());
  ASSERT_EQ(link(At("victim").c_str(), At("metrics.jsonl").c_str()), 0);
  ASSERT_EQ(link(At("victim").c_str(), At(".lock").c_str()), 0);
  for (const int64_t offset : {-1, 0}) {
    EXPECT_THAT(Message(AppendFile::Open(At("metrics.jsonl"), offset).status()),
                testing::StartsWith(At("metrics.jsonl") + ": has 3 names (hard links)"));
  }
  EXPECT_THAT(Message(RunLock::Acquire(root_).status()), testing::StartsWith(At(".lock") + ": has 3 names"));
  EXPECT_EQ(*ReadFile(At("victim")), "precious");
}

TEST(Sha256, GivesThePublishedAnswers) {  // FIPS 180-4's examples
  EXPECT_EQ(Sha256Of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Of(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(Files, Sha256OfPiecesAndOfAFileAreThatOfTheWhole) {
  for (size_t size = 0; size < 200; ++size) {
    const std::string bytes(size, 'q');
    Sha256 pieces;
    for (size_t i = 0; i < size; i += 7) pieces.Update(std::string_view(bytes).substr(i, 7));
    ASSERT_EQ(pieces.Finish(), Sha256Of(bytes)) << size;
  }
  const std::string large(2'500'000, 'z');
  ASSERT_TRUE(WriteFileAtomic(At("f"), large).ok());
  EXPECT_EQ(*Sha256OfFile(At("f")), Sha256Of(large));
  EXPECT_FALSE(Sha256OfFile(At("none")).ok());
}

}  // namespace
}  // namespace temper

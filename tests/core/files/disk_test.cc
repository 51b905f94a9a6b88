// SPDX-License-Identifier: Apache-2.0
// What core/files/file.h promises, on disks that fail at every operation and that lose power at any moment.
#include "core/files/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/leftovers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/files/failing_disk.h"
#include "tests/core/files/forgetting_disk.h"
#include "tests/core/test_folder.h"

namespace temper {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Work = std::function<absl::Status(const std::string& folder)>;

// Does the work on disks that fail, once an operation and fault; `before` has been done on a good one.
void ForEachFault(const Work& before, const Work& work,
                  const std::function<void(const std::string& folder, const absl::Status&,
                                           const std::string& what)>& check) {
  int points = 0;
  for (const Fault fault : kFaults) {
    for (int64_t at = 0;; ++at, ++points) {
      const TestFolder folder;
      ASSERT_TRUE(before(folder.path()).ok());
      FailingDisk disk(at, fault);
      absl::Status status;
      {
        const DiskInPlace in_place(&disk);
        status = work(folder.path());
      }
      if (disk.operations() <= at) break;
      check(folder.path(), status, absl::StrCat("operation ", at, ", ", disk.failed()));
    }
  }
  EXPECT_GT(points, 20);
}

void ExpectOneLineThatNames(const absl::Status& status, const std::string& folder, const std::string& what) {
  EXPECT_FALSE(status.ok()) << what;
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder)) << what;
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n"))) << what;
}

absl::Status Write(const std::string& folder, const std::string& bytes) {
  return WriteFileAtomic(folder + "/f", bytes);
}

TEST(ADiskThatFails, LeavesAnAtomicFileWithTheOldBytesOrTheNew) {
  const auto before = [](const std::string& folder) { return Write(folder, "old"); };
  const auto work = [](const std::string& folder) { return Write(folder, "new, and longer"); };
  ForEachFault(before, work,
               [](const std::string& folder, const absl::Status& status, const std::string& what) {
                 const std::string bytes = ReadFile(folder + "/f").value_or("");
                 EXPECT_THAT(bytes, AnyOf("old", "new, and longer")) << what;
                 if (status.ok()) {
                   EXPECT_EQ(bytes, "new, and longer") << what;
                 }
                 if (!status.ok()) ExpectOneLineThatNames(status, folder, what);
                 EXPECT_TRUE(RemoveLeftovers(folder).ok());
                 EXPECT_THAT(*ListDirectory(folder), ElementsAre("f")) << what;
               });
}

absl::Status WriteDirectory(const std::string& folder, const std::string& bytes) {
  TEMPER_ASSIGN_OR_RETURN(const auto directory, AtomicDirectory::Create(folder + "/d"));
  TEMPER_RETURN_IF_ERROR(MakePassingDirectory(directory->temporary() + "/state"));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory->temporary() + "/a", bytes));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory->temporary() + "/state/b", bytes));
  return directory->Commit();
}

// "" is none at all.
std::string WholeDirectory(const std::string& folder) {
  if (!FileExists(folder + "/d")) return "";
  const std::string a = ReadFile(folder + "/d/a").value_or("missing a");
  return ReadFile(folder + "/d/state/b").value_or("missing b") == a ? a : "a part";
}

TEST(ADiskThatFails, LeavesAnAtomicDirectoryWholeWithTheOldFilesOrTheNew) {
  const auto before = [](const std::string& folder) { return WriteDirectory(folder, "old"); };
  const auto work = [](const std::string& folder) { return WriteDirectory(folder, "new"); };
  ForEachFault(before, work,
               [](const std::string& folder, const absl::Status& status, const std::string& what) {
                 if (!status.ok()) ExpectOneLineThatNames(status, folder, what);
                 EXPECT_TRUE(RemoveLeftovers(folder).ok());
                 EXPECT_THAT(WholeDirectory(folder), AnyOf("old", "new")) << what;
                 EXPECT_THAT(*ListDirectory(folder), ElementsAre("d")) << what;
               });
}

TEST(ADiskThatFails, LeavesAFolderThatIsRemovedWholeOrGone) {
  const auto before = [](const std::string& folder) { return WriteDirectory(folder, "old"); };
  const auto work = [](const std::string& folder) { return RemoveWhole(folder + "/d"); };
  ForEachFault(before, work,
               [](const std::string& folder, const absl::Status& status, const std::string& what) {
                 EXPECT_THAT(WholeDirectory(folder), AnyOf("old", "")) << what;
                 ExpectOneLineThatNames(status, folder, what);
                 EXPECT_TRUE(RemoveLeftovers(folder).ok());
                 EXPECT_THAT(*ListDirectory(folder), AnyOf(ElementsAre("d"), IsEmpty())) << what;
               });
}

TEST(ADiskThatFails, LeavesOfAGrowingFileWhatWasAppended) {
  const auto before = [](const std::string& folder) { return WriteFileAtomic(folder + "/g", "one\n"); };
  std::string appended;
  const auto work = [&](const std::string& folder) -> absl::Status {
    appended = "one\n";
    TEMPER_ASSIGN_OR_RETURN(const auto file, AppendFile::Open(folder + "/g"));
    for (const char* line : {"two\n", "three\n", "four\n", "five\n"}) {
      TEMPER_RETURN_IF_ERROR(file->Append(line));
      appended += line;
      TEMPER_RETURN_IF_ERROR(file->Sync());
    }
    return absl::OkStatus();
  };
  ForEachFault(before, work,
               [&](const std::string& folder, const absl::Status& status, const std::string& what) {
                 ExpectOneLineThatNames(status, folder, what);
                 EXPECT_TRUE(ReadFile(folder + "/g")->starts_with(appended)) << what;
               });
}

// What may be there when the power goes, at any operation of the work and by so many seeds.
using OnCrash = std::function<void(const std::string& folder, int64_t at, const std::string& what)>;
void ForEachCrash(const Work& before, const Work& work, const OnCrash& check, uint64_t seeds = 40) {
  const TestFolder folder;
  const std::string run = folder / "run", left = folder / "left";
  std::filesystem::create_directories(run);
  ForgettingDisk disk(run);
  int64_t begin = 0;
  {
    const DiskInPlace in_place(&disk);
    ASSERT_TRUE(before(run).ok());
    begin = disk.operations();
    ASSERT_TRUE(work(run).ok());
  }
  for (int64_t at = begin; at <= disk.operations(); ++at) {
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      WriteTree(disk.After(at, seed), left);
      check(left, at, absl::StrCat("before operation ", at, " of ", disk.operations(), ", seed ", seed));
    }
  }
}

// How many of such states are not as they should be: of the savers below, which have planted faults.
int64_t Broken(const Work& before, const Work& work, const std::function<bool(const std::string&)>& whole) {
  int64_t broken = 0;
  ForEachCrash(before, work, [&](const std::string& folder, int64_t, const std::string&) {
    EXPECT_TRUE(RemoveLeftovers(folder).ok());
    broken += whole(folder) ? 0 : 1;
  });
  return broken;
}

bool HasOldOrNew(const std::string& folder) {
  const std::string bytes = ReadFile(folder + "/f").value_or("");
  return bytes == std::string(3000, 'o') || bytes == std::string(2000, 'n');
}
absl::Status Old(const std::string& folder) { return Write(folder, std::string(3000, 'o')); }

TEST(ALossOfPower, LeavesAnAtomicFileWithTheOldBytesOrTheNew) {
  const auto work = [](const std::string& folder) { return Write(folder, std::string(2000, 'n')); };
  EXPECT_EQ(Broken(Old, work, HasOldOrNew), 0);
}

TEST(ALossOfPower, LeavesWhatWasThereWhenTheCallReturned) {
  const auto nothing = [](const std::string&) { return absl::OkStatus(); };
  ForEachCrash(Old, nothing, [](const std::string& folder, int64_t, const std::string& what) {
    EXPECT_EQ(*ReadFile(folder + "/f"), std::string(3000, 'o')) << what;
  });
  const auto append = [](const std::string& folder) -> absl::Status {
    TEMPER_RETURN_IF_ERROR(MakeDirectories(folder + "/.a.tmp/b"));
    TEMPER_ASSIGN_OR_RETURN(const auto file, AppendFile::Open(folder + "/.a.tmp/b/g"));
    TEMPER_RETURN_IF_ERROR(file->Append(std::string(5000, 'g')));
    return file->Sync();
  };
  ForEachCrash(append, nothing, [](const std::string& folder, int64_t, const std::string& what) {
    EXPECT_EQ(*ReadFile(folder + "/.a.tmp/b/g"), std::string(5000, 'g')) << what;
  });
}

TEST(ALossOfPower, LeavesAnAtomicDirectoryWholeAndARemovedOneWholeOrGone) {
  const auto old = [](const std::string& folder) { return WriteDirectory(folder, "old"); };
  const auto whole = [](const std::string& folder) {
    const std::string files = WholeDirectory(folder);
    return files == "old" || files == "new";
  };
  EXPECT_EQ(Broken(
                old, [](const std::string& folder) { return WriteDirectory(folder, "new"); }, whole),
            0);
  const auto whole_or_gone = [&](const std::string& folder) {
    return whole(folder) || WholeDirectory(folder).empty();
  };
  EXPECT_EQ(Broken(
                old, [](const std::string& folder) { return RemoveWhole(folder + "/d"); }, whole_or_gone),
            0);
  EXPECT_GT(Broken(
                old, [](const std::string& folder) { return RemoveTree(folder + "/d"); }, whole_or_gone),
            0);
}

// The simulation itself: it finds savers that hope for the best.
TEST(ALossOfPower, FindsASaverThatForgetsToSync) {
  const auto work = [](const std::string& folder) {
    const std::string temporary = folder + "/f.tmp";
    const int file = TheDisk().Open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
    const std::string bytes(2000, 'n');
    const bool written = TheDisk().Write(file, bytes) == 2000;
    close(file);
    if (!written || TheDisk().Rename(temporary, folder + "/f") != 0) return SystemError(temporary, "write");
    return SyncDirectory(folder);
  };
  EXPECT_GT(Broken(Old, work, HasOldOrNew), 0);
}

TEST(ALossOfPower, FindsASaverThatWritesInPlace) {
  const auto work = [](const std::string& folder) -> absl::Status {
    TEMPER_ASSIGN_OR_RETURN(const auto file, AppendFile::Open(folder + "/f", 0));
    TEMPER_RETURN_IF_ERROR(file->Append(std::string(2000, 'n')));
    return file->Sync();
  };
  EXPECT_GT(Broken(Old, work, HasOldOrNew), 0);
}

TEST(ALossOfPower, FindsASaverThatNamesTheNewestFirst) {
  const auto save = [](const std::string& folder, const std::string& name, bool first) -> absl::Status {
    if (first) TEMPER_RETURN_IF_ERROR(WriteFileAtomic(folder + "/latest", name));
    TEMPER_RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(folder, "/", name), "weights"));
    return first ? absl::OkStatus() : WriteFileAtomic(folder + "/latest", name);
  };
  const auto whole = [](const std::string& folder) {
    const auto latest = ReadFile(folder + "/latest");
    return latest.ok() && ReadFile(absl::StrCat(folder, "/", *latest)).value_or("") == "weights";
  };
  const auto before = [&](const std::string& folder) { return save(folder, "1", false); };
  EXPECT_GT(Broken(
                before, [&](const std::string& folder) { return save(folder, "2", true); }, whole),
            0);
  EXPECT_EQ(Broken(
                before, [&](const std::string& folder) { return save(folder, "2", false); }, whole),
            0);
}

TEST(Leftovers, AreRemovedWhereverTheyLieAndNothingElseIs) {
  const TestFolder folder;
  for (const char* name : {"a", "a/.f.12.tmp", "a/.d.tmp", "a/.d.tmp/x", "a/.e.old", "a/.e.old/y", "a/.g.old",
                           "a/g", ".lock", "a/h.tmp"})
    ASSERT_TRUE(MakeDirectories(folder / name).ok());
  ASSERT_EQ(symlink("a", (folder / "link").c_str()), 0);
  ASSERT_TRUE(RemoveLeftovers(folder.path()).ok());
  EXPECT_THAT(*ListDirectory(folder.path()), ElementsAre(".lock", "a", "link"));
  EXPECT_THAT(*ListDirectory(folder / "a"), ElementsAre("e", "g", "h.tmp"));
  EXPECT_TRUE(FileExists(folder / "a/e/y"));
  EXPECT_TRUE(RemoveLeftovers(folder / "none").ok());
}

}  // namespace
}  // namespace temper

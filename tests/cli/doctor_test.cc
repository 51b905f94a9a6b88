// SPDX-License-Identifier: Apache-2.0
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Doctor, TellsALineOfEachThingAndLeavesNothing) {
  const Folder folder;
  const Ran ran = RunCommand("doctor", {"--run-dir", folder.path() + "/runs/one"});
  EXPECT_TRUE(ran.status.ok()) << ran.status;
  std::vector<std::string> told;
  for (const std::string& line : ran.lines()) {
    EXPECT_TRUE(absl::StartsWith(line, "ok    ") || absl::StartsWith(line, "warn  ")) << line;
    told.push_back(line.substr(6, line.find(' ', 6) - 6));
  }
  EXPECT_THAT(told, ElementsAre("program", "network", "GPUs", "memory", "limits", "cores", "sandbox", "room",
                                "files", "locks"));
  EXPECT_THAT(ran.out, HasSubstr(folder.path() + ": "));
  EXPECT_THAT(*ListDirectory(folder.path()), testing::IsEmpty());
}

TEST(Doctor, FailsWhereARunCannotBeKept) {
  const Ran ran = RunCommand("doctor", {"--run-dir", "/proc/run"});
  EXPECT_EQ(ExitCode(ran.status.code()), 1);
  EXPECT_THAT(ran.lines(), Contains(AllOf(StartsWith("fail  files "), HasSubstr("/proc/.doctor."),
                                          HasSubstr("choose another --run-dir"))));
}

TEST(Doctor, FailsWhereItIsAloneAndWasMeantNotToBe) {
  const Ran ran = RunCommand("doctor", {"--ranks"});
  EXPECT_EQ(ExitCode(ran.status.code()), 1);
  EXPECT_THAT(ran.lines(), Contains(AllOf(StartsWith("fail  ranks "), HasSubstr("srun --mpi=pmix"))));
}

TEST(Doctor, FailsWhereTheGpusOfTheClusterAreMissing) {
  const Ran ran = RunCommand("doctor", {"--cluster", "2x8xh100"});
  if (ran.status.ok()) GTEST_SKIP() << "there are GPUs";
  EXPECT_EQ(ExitCode(ran.status.code()), 1);
  EXPECT_THAT(ran.lines(),
              Contains(AllOf(StartsWith("fail  GPUs "), HasSubstr("the cluster file says h100"))));
}

TEST(Doctor, RefusesAnotherCluster) {
  const std::string error = ErrorOf("doctor", {"--cluster", "2x8xabacus"});
  EXPECT_THAT(error, HasSubstr("abacus"));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/checks.h"
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

TEST(Doctor, SaysWhichGpuARankHasAndWhetherItIsExact) {
  const Gpu h100{.name = "NVIDIA H100 80GB HBM3", .exact = true}, a100{.name = "NVIDIA A100-SXM4-80GB"};
  const GpusFound eight{.gpus = std::vector<Gpu>(8, h100), .mine = 3, .ranks = 8, .driver = "NVRM 580"};
  const std::string text = "3 of 8, NVIDIA H100 80GB HBM3: temper's own kernels, exact; NVRM 580";
  EXPECT_EQ(OfGpus(eight, {"h100", 8}), (Finding{"GPUs", Finding::kOk, text}));
  EXPECT_EQ(OfGpus(eight, {}), (Finding{"GPUs", Finding::kOk, text}));
  EXPECT_EQ(OfGpus(eight, {"h200", 8}),
            (Finding{"GPUs", Finding::kWarn, "the cluster file says h200, and here is " + text}));
  EXPECT_EQ(OfGpus({.gpus = {a100}, .ranks = 8}, {"a100", 8}).text,
            "0 of 1, NVIDIA A100-SXM4-80GB: LibTorch's ops, not exact");
  const Finding shared = OfGpus({.gpus = {h100, h100}, .mine = 1, .sharing = 4, .ranks = 8}, {"h100", 8});
  EXPECT_EQ(shared.level, Finding::kFail);
  EXPECT_THAT(shared.text, StartsWith("4 ranks share GPU 1 of 2, NVIDIA H100"));
  const Finding few = OfGpus({.gpus = {h100, h100}}, {"h100", 8});
  EXPECT_EQ(few.level, Finding::kFail);
  EXPECT_THAT(few.text, StartsWith("the cluster file says 8 ranks on a machine, and here are GPUs for 2: "));
  const GpusFound old{.why_none = "cuda: CUDA says so", .driver = "NVRM 470"};
  EXPECT_EQ(OfGpus(old, {"h100", 8}).text, "the cluster file says h100, and cuda: CUDA says so; NVRM 470");
  EXPECT_EQ(OfGpus(old, {}), (Finding{"GPUs", Finding::kWarn, "not used: cuda: CUDA says so; NVRM 470"}));
}

TEST(Doctor, RefusesAnotherCluster) {
  const std::string error = ErrorOf("doctor", {"--cluster", "2x8xabacus"});
  EXPECT_THAT(error, HasSubstr("abacus"));
}

}  // namespace
}  // namespace temper

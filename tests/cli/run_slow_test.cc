// SPDX-License-Identifier: Apache-2.0
// `temper run` on configs/tiny/short.yaml as a user runs it.
#include "gmock/gmock.h"
#include "tests/cli/program.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(RunProgram, PrintsThePlanFirstAndTheReportLastAndASecondCallOnlyReports) {
  const Folder folder;
  const std::string line =
      absl::StrCat("$TEMPER run configs/tiny/short.yaml --run-dir ", folder.path(), "/run");
  const Ended first = Shell(line);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, absl::StrCat(folder.path(), "/run/report.html\n"));
  EXPECT_TRUE(FileExists(folder.path() + "/run/report.html"));
  EXPECT_EQ(first.err.find("plan: "), 0u) << first.err;
  const auto digest = RunDigest(folder.path() + "/run");
  const Ended second = Shell(line);
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(*RunDigest(folder.path() + "/run"), *digest);
  const Ended other = Shell(line + " --set seed=8");
  EXPECT_EQ(other.code, 2);
}

TEST(RunProgram, AStoppedRunGoesOnAndEndsWithTheSameDigest) {
  const Folder folder;
  const std::string run = "$TEMPER run configs/tiny/short.yaml --run-dir " + folder.path();
  EXPECT_EQ(Shell(run + "/whole").code, 0);
  int stops = 0;
  for (int i = 0; i < 30; ++i) {
    const Ended part = Shell(run + "/parts & pid=$!; sleep 2; kill -TERM $pid 2>/dev/null; wait $pid");
    if (part.code == 0) break;
    ASSERT_EQ(part.code, 75) << part.err;
    EXPECT_THAT(part.err, HasSubstr("stopped"));
    ++stops;
  }
  EXPECT_GE(stops, 1);
  EXPECT_EQ(*RunDigest(folder.path() + "/parts"), *RunDigest(folder.path() + "/whole"));
}

}  // namespace
}  // namespace temper

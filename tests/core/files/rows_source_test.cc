// SPDX-License-Identifier: Apache-2.0
#include "core/files/rows_source.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/lines.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

TEST(RowsSource, IsNoNamedPipeAndNoDevice) {
  const std::string pipe = absl::StrCat(::testing::TempDir(), "rows_source_", getpid());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(LineReader::Open(pipe).status().message()), HasSubstr(": is a pipe, not a file"));
  ASSERT_EQ(unlink(pipe.c_str()), 0);
  EXPECT_THAT(std::string(OpenRowsSource("/dev/urandom").status().message()), HasSubstr(": is a device"));
  EXPECT_THAT(std::string(OpenRowsSource("/dev").status().message()), HasSubstr(": is a folder"));
  EXPECT_EQ(OpenRowsSource("/proc/self/mem").status().message(),
            "/proc/self/mem: is what the kernel makes up, not a file");
}

// A terminal that is not the one a person types at waits for ever.
TEST(RowsSource, IsNoOtherTerminal) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) GTEST_SKIP() << "no terminals here";
  ASSERT_TRUE(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
  EXPECT_THAT(std::string(OpenRowsSource(ptsname(terminal)).status().message()), HasSubstr(": is a device"));
  EXPECT_THAT(std::string(OpenRowsSource("/dev/ptmx").status().message()), HasSubstr(": is a device"));
  EXPECT_FALSE(OpenRowsSource("/dev/tty").ok());
  close(terminal);
}

TEST(RowsSource, MayBeAPipeThatIsOpenAsAShellMakesIt) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "1\n", 2), 2);
  close(ends[1]);
  auto lines = LineReader::Open(absl::StrCat("/dev/fd/", ends[0]));
  ASSERT_TRUE(lines.ok()) << lines.status();
  close(ends[0]);
  EXPECT_EQ((*lines)->Next().value()->text, "1");
  EXPECT_FALSE((*lines)->Next().value().has_value());
}

// A counter, a list of events and the like are neither files nor devices, and give no end.
TEST(RowsSource, IsNoCounterAsStandardInput) {
  const int before = dup(STDIN_FILENO), counter = eventfd(0, EFD_CLOEXEC);
  dup2(counter, STDIN_FILENO);
  const absl::Status status = CheckStandardInput();
  dup2(before, STDIN_FILENO);
  close(before);
  close(counter);
  EXPECT_EQ(status.message(), "standard input: is a device, not a file of rows");
}

// It would wait for itself for ever.
TEST(RowsSource, IsNoPipeThatTemperItselfMayWriteTo) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  for (const std::string& path :
       {absl::StrCat("/dev/fd/", ends[1]), absl::StrCat("/proc/self/fd/", ends[1]),
        absl::StrCat("/proc/", getpid(), "/fd/", ends[1]), absl::StrCat("/dev/fd/", ends[0])}) {
    EXPECT_EQ(OpenRowsSource(path).status().message(),
              path +
                  ": is a pipe that temper itself may write to, so that it never ends: give one that is "
                  "only read");
  }
  close(ends[0]);
  close(ends[1]);
}

TEST(RowsSource, IsNoPipeOfAnotherProgram) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t other = fork();
  ASSERT_GE(other, 0);
  if (other == 0) {
    pause();
    _exit(0);
  }
  const std::string path = absl::StrCat("/proc/", other, "/fd/", ends[0]);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(OpenRowsSource(path).status().message(),
            path + ": is a pipe of another program: give a file, or a pipe of temper's own");
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
}

}  // namespace
}  // namespace temper

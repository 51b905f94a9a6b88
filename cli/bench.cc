// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "cli/bench/options.h"
#include "core/config/text.h"
#include "core/text.h"

namespace temper {

std::string BenchHelp() {
  std::string help;
  for (const BenchName& bench : kBenchNames)
    absl::StrAppend(&help, "  ", bench.name, ": ", bench.summary, "\n");
  return help + OptionsHelp(DescribeConfig<BenchOptions>());
}

absl::Status BecomeBench(const std::vector<std::string>& arguments) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string program = self.parent_path() / "temper_bench";
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  return absl::FailedPreconditionError(absl::StrCat(
      Printable(program, 1000), ": ", std::strerror(errno),
      "; temper bench is this program beside temper: cmake --build build/cpu --target temper_bench"));
}

}  // namespace temper

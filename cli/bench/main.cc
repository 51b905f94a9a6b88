// SPDX-License-Identifier: Apache-2.0
// temper_bench, which `temper bench` starts.
#include <iterator>

#include "absl/strings/str_cat.h"
#include "cli/bench/report.h"
#include "cli/program/program.h"
#include "core/config/text.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

// In the order of kBenchNames.
constexpr absl::Status (*kBenches[])(const BenchOptions&) = {BenchProduct,  BenchPrefill, BenchDecode,
                                                             BenchGenerate, BenchTrain,   BenchGrpo,
                                                             BenchSandbox,  BenchTokenize};
static_assert(std::size(kBenches) == std::size(kBenchNames));

absl::Status RunBenches(const CommandLine& line) {
  BenchOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseOptions(line.arguments, options));
  std::string known;
  for (const BenchName& bench : kBenchNames) absl::StrAppend(&known, known.empty() ? "" : ", ", bench.name);
  if (names.empty()) return absl::InvalidArgumentError(absl::StrCat("bench: what? One or more of: ", known));
  std::vector<size_t> chosen;
  for (const std::string& name : names) {
    size_t i = 0;
    while (i < std::size(kBenchNames) && name != kBenchNames[i].name) ++i;
    if (i == std::size(kBenchNames))
      return absl::InvalidArgumentError(
          absl::StrCat("bench ", Printable(name), ": unknown; there are: ", known));
    chosen.push_back(i);
  }
  ChooseClock(options.device == "cpu" ? options.threads : 2);  // a GPU's time is not the process's
  ReportHeading();
  for (size_t i : chosen) TEMPER_RETURN_IF_ERROR(kBenches[i](options));
  return absl::OkStatus();
}

}  // namespace
}  // namespace temper

int main(int argc, char** argv) {
  return temper::RunProgram(
      argc, argv, [](std::vector<std::string> arguments, std::unique_ptr<temper::Communicator>& world) {
        return temper::RunCommand({.name = "bench", .run = temper::RunBenches}, std::move(arguments), world);
      });
}

// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"

#include "absl/strings/str_cat.h"
#include "cli/bench_report.h"

namespace temper {
namespace {

struct Bench {
  const char* name;
  const char* summary;
  absl::Status (*run)(const BenchOptions&);
};
constexpr Bench kBenches[] = {
    {"product", "forward, dX and dW of a linear layer against LibTorch, in turns", BenchProduct},
    {"generate", "tokens a second of continuous batching", BenchGenerate},
    {"train", "tokens a second of whole updates", BenchTrain},
    {"grpo", "a whole step: groups sampled, the reference's logprobs, one update", BenchGrpo},
    {"sandbox", "a Python program in rule code's sandbox, beside the same program without one", BenchSandbox},
    {"tokenize", "loading a tokenizer, and tokens a second of encoding", BenchTokenize},
};

}  // namespace

std::string BenchHelp() {
  std::string help;
  for (const Bench& bench : kBenches) absl::StrAppend(&help, "  ", bench.name, ": ", bench.summary, "\n");
  return help + OptionsHelp(DescribeConfig<BenchOptions>());
}

absl::Status RunBench(const CommandLine& line) {
  BenchOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ParseOptions(line.arguments, options));
  std::string known;
  for (const Bench& bench : kBenches) absl::StrAppend(&known, known.empty() ? "" : ", ", bench.name);
  if (names.empty()) return absl::InvalidArgumentError(absl::StrCat("bench: what? One or more of: ", known));
  for (const std::string& name : names) {
    bool found = false;
    for (const Bench& bench : kBenches) found = found || name == bench.name;
    if (!found)
      return absl::InvalidArgumentError(absl::StrCat("bench ", name, ": unknown; there are: ", known));
  }
  ChooseClock(options.device == "cpu" ? options.threads : 2);  // a GPU's time is not the process's
  ReportHeading();
  for (const std::string& name : names) {
    for (const Bench& bench : kBenches) {
      if (name == bench.name) TEMPER_RETURN_IF_ERROR(bench.run(options));
    }
  }
  return absl::OkStatus();
}

}  // namespace temper

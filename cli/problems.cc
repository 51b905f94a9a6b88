// SPDX-License-Identifier: Apache-2.0
#include "cli/problems.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "core/stop.h"
#include "data/tasks/procedural.h"

namespace temper {
namespace {

struct ProblemsOptions {
  std::string task;
  int64_t level = 1, count = 10;
  uint64_t seed = 0;
  Split split = Split::kTrain;

  template <class V>
  void Fields(V& v) {
    v.Field("task", task, "Which task (docs/data.md).", Required());
    v.Field("level", level, "How hard; from 1.", Between(1, 16));
    v.Field("count", count, "How many rows; equal problems may come twice.", AtLeast(1));
    v.Field("seed", seed, "Rows are a function of it, the task, the level and their number.");
    v.Choice("split", split, {{"train", Split::kTrain}, {"held_out", Split::kHeldOut}},
             "Which side: no problem is on both.");
  }
};

}  // namespace

absl::Status RunProblems(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const ProblemsOptions options, OptionsOf<ProblemsOptions>(line));
  const procedural::Task* const task = procedural::FindTask(options.task);
  if (task == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("task ", Printable(options.task), " is none of ",
                                                   absl::StrJoin(procedural::TaskNames(), ", ")));
  }
  if (options.level > task->levels)
    return absl::InvalidArgumentError(absl::StrCat("task ", task->name, " has levels 1 to ", task->levels));
  for (int64_t i = 0; i < options.count; ++i) {
    if (StopRequested()) return absl::CancelledError("stopped on request");
    TEMPER_RETURN_IF_ERROR(WriteRow(
        procedural::MakeProblem(*task, static_cast<int>(options.level), options.seed, i, options.split)
            .fields));
  }
  return absl::OkStatus();
}

std::string ProblemsHelp() { return HelpOf<ProblemsOptions>(); }

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"
#include "cli/convert.h"
#include "cli/docs.h"
#include "cli/doctor/doctor.h"
#include "cli/eval.h"
#include "cli/init.h"
#include "cli/inspect/inspect.h"
#include "cli/job/launch.h"
#include "cli/job/status.h"
#include "cli/job/stop.h"
#include "cli/job/supervise.h"
#include "cli/line/command.h"
#include "cli/logprobs.h"
#include "cli/metrics.h"
#include "cli/problems.h"
#include "cli/recipe/plan.h"
#include "cli/recipe/run.h"
#include "cli/report/report.h"
#include "cli/sample.h"
#include "cli/score.h"
#include "cli/tokenize.h"

namespace temper {

const std::vector<Command>& Commands() {
  static const std::vector<Command>* const commands = new std::vector<Command>{
      {"run", "RECIPE.yaml --run-dir DIR [--set a.b=c ...]",
       "Runs a recipe's stages in order; called again it goes on; prints the report's path last.",
       RunRecipeCommand, RecipeHelp,
       /*ranks=*/true},
      {"launch", "RECIPE.yaml --run-dir DIR [--cluster NAME] [--nodes N] [--time 4:00:00] [--dry-run] ...",
       "Submits a run to Slurm, or starts it with mpirun on hosts or here; called again it goes on.",
       RunLaunch, LaunchHelp},
      {"status", "RUN_DIR [--json]",
       "What a run is doing, from its folder: stage, update, rate, ranks, last sign of life, how it ended.",
       RunStatus, StatusHelp},
      {"stop", "RUN_DIR [--timeout SECONDS]",
       "Asks a run to save and stop, from any machine that sees its folder, and waits until it has.", RunStop,
       StopHelp},
      {"supervise", "--run-dir DIR [--hosts A,B,C --nodes 2] ... -- COMMAND ...",
       "Starts a run's ranks (COMMAND: mpirun or srun, temper run ..) again when they end by themselves, on "
       "the "
       "same machines but the bad ones.",
       RunSupervise, SuperviseHelp},
      {"plan", "RECIPE.yaml [--cluster 64x8xh800 | NAME] [--ranks N] [--set a.b=c ...]",
       "What a recipe takes on a cluster, before anything is allocated: memory, messages, time.", RunPlan,
       PlanHelp},
      {"doctor", "[--run-dir DIR] [--cluster NAME] [--ranks]",
       "What a run needs of its machines, a line each: ok, warn or fail with what to do; exit code 1 where "
       "one "
       "fails.",
       RunDoctor, DoctorHelp,
       /*ranks=*/true},
      {"sample", "--model DIR [--prompts FILE] [--samples-per-prompt N] ...",
       "Completions of prompts, with the logprob of every token.", RunSample, SampleHelp},
      {"eval", "--model DIR --data FILE [--rule NAME[,NAME]] [--output FILE] ...",
       "pass@1, pass@k and cons@k on a file of problems.", RunEval, EvalHelp},
      {"score", "--rule NAME[,NAME] | --recipe RECIPE.yaml [--stage NAME] ... [ROWS.jsonl]",
       "Rewards of completions, with each rule's verdict and part; no model needed.", RunScore, ScoreHelp},
      {"logprobs", "--model DIR [--temperature T] [--input FILE]", "Logprobs of given tokens.", RunLogprobs,
       LogprobsHelp},
      {"tokenize", "--tokenizer PATH [--decode] [--input FILE]", "Text to token ids, and back.", RunTokenize,
       TokenizeHelp},
      {"problems", "--task NAME [--level L] [--count N] [--seed S] [--split train|held_out]",
       "Problems of a procedural task, with answers.", RunProblems, ProblemsHelp},
      {"inspect", "PATH [--digest | --export FILE]", "Looks into checkpoints, runs and trajectory files.",
       RunInspect, InspectHelp},
      {"convert", "--model DIR --output DIR [--dtype keep|f32|bf16|fp8] ...",
       "A model directory with weights of another dtype, sharded anew.", RunConvert, ConvertHelp},
      {"init", "CONFIG_DIR --out DIR [--seed N] ...",
       "A model directory of random weights, from a config.json.", RunInit, InitHelp},
      {"report", "RUN_DIR [RUN_DIR ..]",
       "Writes a run's report, or several runs side by side, one HTML page, and prints its path.", RunReport,
       ReportHelp},
      {"metrics", "RUN_DIR --csv FILE | --tensorboard DIR",
       "A run's metrics for other programs (docs/metrics.md).", RunMetrics, MetricsHelp},
      {"bench", "product|prefill|decode|generate|train|grpo|sandbox|tokenize ...",
       "Speed on this machine, each line beside its baseline.", nullptr, BenchHelp, /*ranks=*/false,
       BecomeBench},
      {"docs", "config|commands", "Prints docs/config.md or docs/commands.md.", RunDocs, nullptr},
  };
  return *commands;
}

}  // namespace temper

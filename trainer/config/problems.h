// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "data/dataset/dataset.h"
#include "trainer/sampling.h"

namespace temper {

enum class ProblemGenerator { kNone, kTiny };

// Where problems come from: files, else procedural tasks (data/tasks/procedural.h), else a generator; with
// none of them there are no problems.
struct ProblemsConfig {
  std::vector<std::string> files;  // JSONL or Parquet
  std::vector<std::string> tasks;
  ProblemGenerator generator = ProblemGenerator::kNone;
  int64_t level = 1;
  std::vector<double> weights;
  FieldNames fields;
  double held_out_share = 0;
  PromptOptions prompt;
  bool skip_bad_lines = false;
  std::vector<int64_t> chain_steps = {2, 6};  // fewest and most operations of a chain problem
  std::vector<int64_t> find_x_steps = {2, 3};
  double find_x_share = 0.5;

  template <class V>
  void Fields(V& v) {
    v.Field("files", files,
            "JSONL or Parquet files of problems (question/answer, problem/answer, messages): docs/data.md.",
            Place());
    v.Field(
        "tasks", tasks,
        "Procedural tasks (docs/data.md) that problems are made of, endlessly, where there are no files.");
    v.Choice(
        "generator", generator, {{"none", ProblemGenerator::kNone}, {"tiny", ProblemGenerator::kTiny}},
        "tiny: arithmetic modulo 10, for the policies of configs/tiny alone, where there are neither files "
        "nor tasks. With none of the three there are no problems.");
    v.Field("level", level, "How hard the tasks' problems are; a task's hardest where that is less.",
            Between(1, 16));
    v.Field("weights", weights,
            "How often a problem of each file or task comes, in proportion; empty: by the files' numbers of "
            "problems, tasks alike.",
            Between(1e-6, 1e6));
    v.Section("fields", fields, "The names of the files' fields, where they are not the common ones.");
    v.Field(
        "held_out_share", held_out_share,
        "Share of the files' problems, by a hash of their text, that only evaluations get; 0: all problems "
        "are for both.",
        Between(0.0, 0.9));
    prompt.Fields(v);
    v.Field("skip_bad_lines", skip_bad_lines,
            "Leave out (and count) rows of the files that are no problems, have no answer that the rules can "
            "judge by, or are too long for the model, instead of stopping.");
    if (v.All() || generator == ProblemGenerator::kTiny) {
      v.Field("chain_steps", chain_steps, "generator tiny: fewest and most operations of a chain problem.");
      v.Field("find_x_steps", find_x_steps,
              "generator tiny: fewest and most operations of a find-x problem.");
      v.Field("find_x_share", find_x_share, "generator tiny: share of find-x problems.", Between(0.0, 1.0));
    }
    v.Check(files.empty() || tasks.empty(), "tasks", "are not for problems that come from files");
    v.Check(weights.empty() || weights.size() == files.size() + tasks.size(), "weights",
            "is not one for each of files or tasks");
  }

  bool is_given() const { return !files.empty() || !tasks.empty() || generator != ProblemGenerator::kNone; }

  // How its files are read, as far as it says.
  ProblemFileOptions FileOptions() const {
    ProblemFileOptions options;
    options.prompt = prompt;
    options.fields = fields;
    options.skip_bad_lines = skip_bad_lines;
    options.held_out_share = held_out_share;
    return options;
  }
};

struct SamplingConfig : Sampling {
  SamplingConfig() { max_new_tokens = 112; }
  int64_t max_batch = 256;
  int64_t cache_mib = 1024;

  template <class V>
  void Fields(V& v) {
    Sampling::Fields(v);
    v.Field("max_batch", max_batch, "Sequences that decode together on a rank.", Between(1, 1 << 16), Free());
    v.Field("cache_mib", cache_mib, "Paged cache, at most, in MiB.", Between(1, 1 << 24), Free());
  }
};

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/sample.h"

#include <unistd.h>

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "cli/line/prompts.h"
#include "cli/line/rows.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/random.h"
#include "core/stop.h"

namespace temper {
namespace {

struct SampleOptions : PolicyOptions, DrawOptions, PromptOptions {
  std::string prompts = "-";
  int64_t samples_per_prompt = 1;

  template <class V>
  void Fields(V& v) {
    PolicyOptions::Fields(v);
    v.Field("prompts", prompts,
            "Rows: {\"id\",\"prompt\" or \"tokens\" or \"messages\"}; -: standard input. A row without id is "
            "called by its line.");
    PromptOptions::Fields(v);
    v.Field("samples_per_prompt", samples_per_prompt, "Completions of each prompt.", Between(1, 1 << 20));
    DrawOptions::Fields(v);
  }
};

// Finished samples, written in the order of the input as soon as all before them are.
class Output {
 public:
  Output(const SampleOptions& options, const SamplePrompts& input, const Tokenizer* tokenizer)
      : options_(options), input_(input), tokenizer_(tokenizer) {
    const int64_t total = static_cast<int64_t>(input.prompts.size()) * options.samples_per_prompt;
    if (show_) progress_.Start("sample", total);
  }

  void Add(int64_t prompt, const Trajectory& trajectory) {
    tokens_ += static_cast<int64_t>(trajectory.tokens.size());
    waiting_.emplace(prompt * options_.samples_per_prompt + trajectory.sample, Line(prompt, trajectory));
    for (auto next = waiting_.begin(); next != waiting_.end() && next->first == written_;
         next = waiting_.erase(next)) {
      if (status_.ok()) status_ = WriteRow(next->second);
      ++written_;
    }
    if (show_) progress_.Step(++finished_, absl::StrCat(tokens_, " tokens"));
  }

  const absl::Status& status() const { return status_; }
  void Finish() {
    if (show_) progress_.Finish();
  }

 private:
  std::string Line(int64_t prompt, const Trajectory& trajectory) const {
    const std::string text = tokenizer_ == nullptr ? "" : tokenizer_->Decode(trajectory.tokens);
    return absl::StrCat("{\"id\":", DumpJson(input_.ids[prompt]), ",\"sample\":", trajectory.sample,
                        ",\"prompt_tokens\":", IdsText(input_.prompts[prompt].tokens),
                        ",\"tokens\":", IdsText(trajectory.tokens),
                        ",\"logprobs\":", FloatsText(trajectory.logprobs), ",\"text\":", DumpJson(Json(text)),
                        ",\"stop\":\"", Name(trajectory.stop), "\"}");
  }

  const SampleOptions& options_;
  const SamplePrompts& input_;
  const Tokenizer* const tokenizer_;
  const bool show_ = isatty(STDOUT_FILENO) == 0;  // a bar between the rows would be in the way
  Progress progress_;
  std::map<int64_t, std::string> waiting_;
  int64_t written_ = 0, finished_ = 0, tokens_ = 0;
  absl::Status status_;
};

std::vector<SampleRequest> Requests(const std::vector<Prompt>& prompts, const SampleOptions& options,
                                    const SamplingOptions& sampling) {
  std::vector<int32_t> samples(options.samples_per_prompt);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int32_t>(i);
  std::vector<SampleRequest> requests;
  for (const Prompt& prompt : prompts)
    requests.push_back({.prompt = &prompt,
                        .samples = samples,
                        .key = RandomKey(options.seed, "", 0, prompt.id),
                        .sampling = &sampling});
  return requests;
}

}  // namespace

absl::Status RunSample(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const SampleOptions options, OptionsOf<SampleOptions>(line));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<CommandPolicy> policy,
                          CommandPolicy::Open(options, options.mtp()));
  TEMPER_ASSIGN_OR_RETURN(const SamplingOptions sampling, policy->Sampling(options));
  TEMPER_ASSIGN_OR_RETURN(const SamplePrompts input,
                          ReadSamplePrompts(options.prompts, options, policy->tokenizer(),
                                            policy->model().config(), options.max_new_tokens));
  if (input.prompts.empty()) return absl::OkStatus();
  int64_t longest = 0;
  for (const Prompt& prompt : input.prompts) longest = std::max<int64_t>(longest, prompt.tokens.size());
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          policy->MakeEngine(options, longest + options.max_new_tokens));
  Output output(options, input, policy->tokenizer());
  const std::vector<SampleRequest> requests = Requests(input.prompts, options, sampling);
  const absl::Status status = SampleAll(
      *engine, requests,
      [&](const SampleRequest& request, Trajectory trajectory) {
        output.Add(&request - requests.data(), trajectory);
      },
      [&] { return StopRequested() || !output.status().ok(); });
  output.Finish();
  const EngineCounts counts = engine->TakeCounts();
  if (counts.preemptions > 0) LogInfo(PreemptionText(counts));
  if (counts.accepted_tokens > 0) LogInfo(DraftText(counts));
  return output.status().ok() ? status : output.status();
}

std::string SampleHelp() { return HelpOf<SampleOptions>(); }

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/bench/policy.h"
#include "cli/bench/report.h"
#include "cli/line/policy.h"
#include "comm/mesh.h"
#include "core/log.h"
#include "core/random.h"
#include "rollout/engine.h"
#include "trainer/update/optimizer.h"

namespace temper {
namespace {

StepOptions BenchStep(const BenchOptions& options) {
  return {.tokens_per_microbatch = options.tokens_per_microbatch,
          .gradient_leaves = options.gradient_leaves,
          .keep = options.keep,
          .tokens_per_shared_prompt = options.tokens_per_shared_prompt};
}

}  // namespace

absl::Status BenchGenerate(const BenchOptions& options) {
  ThreadPool pool(static_cast<int>(options.threads));
  TEMPER_ASSIGN_OR_RETURN(const auto backend, BackendOfOption(options.device, &pool));
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, BenchPolicy(options));
  const double peak = BenchPeak(*backend), flop = FlopOfToken(files.config);
  const ModelConfig config = files.config;
  const std::unique_ptr<CausalLm> policy =
      PolicyOf(std::move(files), backend.get(), BenchUse(options, false));
  CausalLm& model = *policy;
  for (int64_t batch : options.batches) {
    TEMPER_ASSIGN_OR_RETURN(auto lists,
                            BenchTokens(options, batch, options.prompt_tokens, config.vocab_size));
    SamplingOptions sampling;
    sampling.max_new_tokens = options.new_tokens;
    sampling.ignore_eos = true;
    sampling.parameters.temperature = static_cast<float>(options.temperature);
    double all = 0;  // tokens that go through the model
    std::vector<Prompt> prompts(batch);
    std::vector<SampleRequest> requests;
    for (Prompt& prompt : prompts) {
      prompt.id = absl::StrCat(requests.size());
      prompt.tokens = std::move(lists[requests.size()]);
      all += static_cast<double>(static_cast<int64_t>(prompt.tokens.size()) + options.new_tokens - 1);
      requests.push_back({&prompt, {0}, RandomKey(1, "bench", 0, prompt.id), &sampling});
    }
    Engine engine(
        &model,
        EngineOptions{.max_batch = batch, .draft_tokens = options.draft_tokens, .mtp = options.by_mtp()});
    std::vector<double> seconds;
    EngineCounts counts;
    for (int64_t round = 0; round <= options.rounds; ++round) {  // the first one warms up
      // Prompts have what they share and no more, and nothing of the round before: that is in the cache.
      for (int64_t i = 0; i < batch; ++i) {
        std::vector<int32_t>& tokens = prompts[i].tokens;
        const int64_t shared = std::min(options.shared_tokens, static_cast<int64_t>(tokens.size()) - 1);
        std::copy_n(prompts[0].tokens.begin(), shared, tokens.begin());
        tokens[0] = static_cast<int32_t>(round % config.vocab_size);
        tokens[shared] = static_cast<int32_t>((round * batch + i) % config.vocab_size);
      }
      const double begin = Seconds();
      TEMPER_RETURN_IF_ERROR(SampleAll(
          engine, requests, [](const SampleRequest&, Trajectory) {}, [] { return false; }));
      if (round > 0) seconds.push_back(Seconds() - begin);
      counts = engine.TakeCounts();
    }
    if (counts.drafted_tokens > 0) LogInfo("batch ", batch, ": ", DraftText(counts));
    const double tokens = static_cast<double>(batch * options.new_tokens);
    TEMPER_RETURN_IF_ERROR(
        Report({.bench = "generate",
                .shape = absl::StrCat(
                    "batch", batch, " prompt", options.prompt_tokens,
                    options.shared_tokens > 0 ? absl::StrCat(" shared", options.shared_tokens) : "", " new",
                    options.new_tokens),
                .median_us = Median(seconds) * 1e6,
                .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
                .flop = flop * all,
                .peak_gflops = peak,
                .tokens = tokens}));
  }
  return absl::OkStatus();
}

absl::Status BenchTrain(const BenchOptions& options) {
  BeginPeakMemory();
  ThreadPool pool(static_cast<int>(options.threads));
  TEMPER_ASSIGN_OR_RETURN(const auto backend, BackendOfOption(options.device, &pool));
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, BenchPolicy(options));
  const double peak = BenchPeak(*backend), flop = FlopOfToken(files.config);
  const ModelConfig config = files.config;
  const std::unique_ptr<CausalLm> policy = PolicyOf(std::move(files), backend.get(), BenchUse(options, true));
  CausalLm& model = *policy;
  Optimizer optimizer(&model);
  Updater updater(&model, &optimizer, BenchStep(options), Mesh::Single());
  // One token more than is put in: each input has a target.
  TEMPER_ASSIGN_OR_RETURN(
      auto lists, BenchTokens(options, options.sequences, options.sequence_tokens + 1, config.vocab_size));
  std::vector<TrainSequence> sequences(options.sequences);
  LossDenominators denominators;
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens = std::move(lists[i]);
    sequences[i].CountFrom(1);
    denominators.tokens += static_cast<double>(sequences[i].counted());
  }
  denominators.sequences = static_cast<double>(sequences.size());
  const Leaves leaves = DealInTurn(sequences, options.gradient_leaves);
  std::vector<double> seconds;
  for (int64_t round = 0; round <= options.rounds; ++round) {  // the first one warms up
    const double begin = Seconds();
    updater.Update(
        leaves, 1.0f, OptimizerConfig(), 1e-5,
        [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
            LossSums* sums) { CrossEntropyLoss(denominators, sequence, logprobs, dlogprobs, sums); });
    if (round > 0) seconds.push_back(Seconds() - begin);
  }
  return Report({.bench = "train",
                 .shape = absl::StrCat("sequences", options.sequences, " tokens", options.sequence_tokens),
                 .median_us = Median(seconds) * 1e6,
                 .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
                 .flop = 3 * flop * denominators.tokens,
                 .peak_gflops = peak,
                 .tokens = denominators.tokens,
                 .peak_bytes = PeakMemory()});
}

absl::Status BenchGrpo(const BenchOptions& options) {
  BeginPeakMemory();
  ThreadPool pool(static_cast<int>(options.threads));
  TEMPER_ASSIGN_OR_RETURN(const auto backend, BackendOfOption(options.device, &pool));
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, BenchPolicy(options));
  const double peak = BenchPeak(*backend), flop = FlopOfToken(files.config);
  const std::unique_ptr<CausalLm> reference =
      PolicyOf({files.config, files.parameters.Clone()}, backend.get(), BenchUse(options, false));
  const ModelConfig config = files.config;
  const std::unique_ptr<CausalLm> policy = PolicyOf(std::move(files), backend.get(), BenchUse(options, true));
  CausalLm& model = *policy;
  Optimizer optimizer(&model);
  const StepOptions step = BenchStep(options);
  Updater updater(&model, &optimizer, step, Mesh::Single());
  Engine engine(&model, EngineOptions{.max_batch = options.prompts * options.samples});
  SamplingOptions sampling;
  sampling.max_new_tokens = options.new_tokens;
  sampling.ignore_eos = true;
  TEMPER_ASSIGN_OR_RETURN(auto lists,
                          BenchTokens(options, options.prompts, options.prompt_tokens, config.vocab_size));
  std::vector<Prompt> prompts(options.prompts);
  std::vector<SampleRequest> requests;
  for (Prompt& prompt : prompts) {
    prompt.id = absl::StrCat(requests.size());
    prompt.tokens = std::move(lists[requests.size()]);
    requests.push_back({&prompt, {}, RandomKey(1, "bench", 0, prompt.id), &sampling});
    for (int64_t i = 0; i < options.samples; ++i) requests.back().samples.push_back(static_cast<int32_t>(i));
  }

  double tokens = 0, all = 0;
  std::vector<double> seconds;
  for (int64_t round = 0; round <= options.rounds; ++round) {  // the first one warms up
    const double begin = Seconds();
    std::vector<TrainSequence> sequences;
    const auto collect = [&](const SampleRequest& request, Trajectory trajectory) {
      TrainSequence sequence;
      sequence.tokens = request.prompt->tokens;
      const auto prompt = static_cast<int64_t>(sequence.tokens.size());
      sequence.group = &request - requests.data();
      sequence.prompt_tokens = prompt;
      sequence.tokens.insert(sequence.tokens.end(), trajectory.tokens.begin(), trajectory.tokens.end());
      sequence.CountFrom(prompt);
      sequence.old_logprobs = std::move(trajectory.logprobs);
      // Any reward does: half of a group is better than the other half.
      sequence.advantage = trajectory.sample % 2 == 0 ? 1.0f : -1.0f;
      sequences.push_back(std::move(sequence));
    };
    TEMPER_RETURN_IF_ERROR(SampleAll(engine, requests, collect, [] { return false; }));
    std::stable_sort(sequences.begin(), sequences.end(),
                     [](const TrainSequence& a, const TrainSequence& b) { return a.group < b.group; });
    LossDenominators denominators;
    tokens = 0;
    std::vector<const TrainSequence*> in_order;
    for (const TrainSequence& sequence : sequences) {
      tokens += static_cast<double>(sequence.counted());
      in_order.push_back(&sequence);
    }
    denominators.sequences = static_cast<double>(sequences.size());
    denominators.tokens = tokens;
    SequenceLogprobs(*reference, in_order,
                     {.tokens_per_microbatch = step.tokens_per_microbatch,
                      .tokens_per_shared_prompt = step.tokens_per_shared_prompt},
                     [&](size_t i, absl::Span<const float> logprobs) {
                       sequences[i].ref_logprobs.assign(logprobs.begin(), logprobs.end());
                     });
    const StepResult trained =
        updater.Update(DealInTurn(sequences, options.gradient_leaves), 1.0f, OptimizerConfig(), 1e-5,
                       [&](const TrainSequence& sequence, absl::Span<const float> logprobs,
                           absl::Span<float> dlogprobs, LossSums* sums) {
                         PolicyLoss(PolicyLossConfig(), denominators, sequence, logprobs, dlogprobs, sums);
                       });
    all = static_cast<double>(trained.local_tokens);
    model.WeightsChanged(round + 1);
    engine.Swap(round + 1);
    if (round > 0) seconds.push_back(Seconds() - begin);
  }
  return Report({.bench = "grpo",
                 .shape = absl::StrCat("prompts", options.prompts, " samples", options.samples, " new",
                                       options.new_tokens),
                 .median_us = Median(seconds) * 1e6,
                 .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
                 .flop = 5 * flop * all,
                 .peak_gflops = peak,
                 .tokens = tokens,
                 .peak_bytes = PeakMemory()});
}

}  // namespace temper

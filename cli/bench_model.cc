// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "cli/bench_report.h"
#include "comm/mesh.h"
#include "core/random.h"
#include "kernels/peak.h"
#include "model/causal_lm.h"
#include "model/hugging_face.h"
#include "rollout/engine.h"
#include "trainer/optimizer.h"
#include "trainer/step.h"

namespace temper {
namespace {

// 5.17 million parameters, 2.47 million of them at work on a token.
constexpr char kTinyConfig[] = R"({"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"],
  "vocab_size": 1024, "hidden_size": 256, "intermediate_size": 704, "moe_intermediate_size": 176,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4, "n_shared_experts": 1,
  "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
  "kv_lora_rank": 64, "q_lora_rank": 96, "qk_rope_head_dim": 16, "v_head_dim": 32, "qk_nope_head_dim": 32,
  "max_position_embeddings": 4096, "routed_scaling_factor": 2.5, "rms_norm_eps": 1e-6, "rope_theta": 10000,
  "tie_word_embeddings": false, "num_nextn_predict_layers": 0, "bos_token_id": 1, "eos_token_id": 2})";

absl::StatusOr<PolicyFiles> Load(const BenchOptions& options) {
  const std::filesystem::path folder = options.model;
  if (!options.model.empty() && (std::filesystem::exists(folder / "model.safetensors") ||
                                 std::filesystem::exists(folder / "model.safetensors.index.json"))) {
    return ReadPolicy(options.model);
  }
  PolicyFiles files;
  if (options.model.empty()) {
    TEMPER_ASSIGN_OR_RETURN(files.config, ParseModelConfig(kTinyConfig, "the built-in config.json"));
  } else {
    TEMPER_ASSIGN_OR_RETURN(files.config, ReadPolicyConfig(options.model));
  }
  files.parameters = InitializeParameters(files.config, 1, InitScales());
  return files;
}

// Two for each weight that a token meets, of products with weights alone.
double FlopOfToken(const ModelConfig& config) {
  double flop = 0;
  for (const ParameterSpec& spec : ParameterSpecs(config)) {
    if (spec.shape.size() != 2 || !spec.trained) continue;
    if (spec.name == "model.embed_tokens.weight" && !config.tie_word_embeddings) continue;
    double share = 1;
    if (spec.name.find(".experts.") != std::string::npos) {
      share = static_cast<double>(config.experts_per_token) / static_cast<double>(config.routed_experts);
    }
    flop += share * 2 * static_cast<double>(spec.shape[0]) * static_cast<double>(spec.shape[1]);
  }
  return flop;
}

std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, RandomStream& random) {
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.NextBelow(vocab));
  return tokens;
}

}  // namespace

absl::Status BenchGenerate(const BenchOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, Load(options));
  ThreadPool pool(static_cast<int>(options.threads));
  const double peak = kernels::PeakGflops(pool), flop = FlopOfToken(files.config);
  CausalLm model(files.config, std::move(files.parameters), &pool);
  RandomStream random(2, Purpose::kInit);
  for (int64_t batch : options.batches) {
    std::vector<Prompt> prompts(batch);
    std::vector<SampleRequest> requests;
    for (Prompt& prompt : prompts) {
      prompt.id = absl::StrCat(requests.size());
      prompt.tokens = RandomTokens(options.prompt_tokens, files.config.vocab_size, random);
      requests.push_back({&prompt, {0}, RandomKey(1, "bench", 0, prompt.id)});
    }
    SamplingOptions sampling;
    sampling.max_new_tokens = options.new_tokens;
    sampling.ignore_eos = true;
    EngineOptions engine_options;
    engine_options.max_batch = batch;
    Engine engine(&model, engine_options);
    std::vector<double> seconds;
    for (int64_t round = 0; round <= options.rounds; ++round) {  // the first one warms up
      EngineCounts counts;
      const double begin = Seconds();
      TEMPER_RETURN_IF_ERROR(engine.Run(
          requests, sampling, [](const SampleRequest&, Trajectory) {}, [] { return false; }, &counts));
      if (round > 0) seconds.push_back(Seconds() - begin);
    }
    const double tokens = static_cast<double>(batch * options.new_tokens);
    const double all = static_cast<double>(batch * (options.new_tokens + options.prompt_tokens - 1));
    TEMPER_RETURN_IF_ERROR(Report(
        {.bench = "generate",
         .shape = absl::StrCat("batch", batch, " prompt", options.prompt_tokens, " new", options.new_tokens),
         .median_us = Median(seconds) * 1e6,
         .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
         .flop = flop * all,
         .peak_gflops = peak,
         .tokens = tokens}));
  }
  return absl::OkStatus();
}

absl::Status BenchTrain(const BenchOptions& options) {
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, Load(options));
  ThreadPool pool(static_cast<int>(options.threads));
  const double peak = kernels::PeakGflops(pool), flop = FlopOfToken(files.config);
  CausalLm model(files.config, std::move(files.parameters), &pool);
  Optimizer optimizer(&model);
  Updater updater(&model, &optimizer, StepOptions(), Mesh::Single());
  RandomStream random(3, Purpose::kInit);
  std::vector<TrainSequence> sequences(options.sequences);
  const StepOptions defaults;
  Leaves leaves(defaults.gradient_leaves);
  LossDenominators denominators;
  for (size_t i = 0; i < sequences.size(); ++i) {
    // One token more than is put in: each input has a target.
    sequences[i].tokens = RandomTokens(options.sequence_tokens + 1, files.config.vocab_size, random);
    denominators.tokens += static_cast<double>(sequences[i].counted());
    leaves[i * leaves.size() / sequences.size()].push_back(&sequences[i]);
  }
  denominators.sequences = static_cast<double>(sequences.size());
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
                 .tokens = denominators.tokens});
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// Passes of the policy alone, without an engine: prompts, and single steps of decoding at a given context.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/bench/policy.h"
#include "cli/bench/report.h"
#include "cli/line/policy.h"
#include "core/log.h"
#include "core/memory.h"
#include "kernels/peak.h"
#include "model/kv_cache.h"
#include "rollout/engine.h"

namespace temper {
namespace {

// Of attention, for a token behind `context` others and itself.
double AttentionFlop(const ModelConfig& config, int64_t context) {
  const kernels::AttentionShape shape = AttentionShapeOf(config);
  double seen = 0;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const int64_t window = config.window(layer);
    seen += static_cast<double>(window > 0 ? std::min(window, context) : context);
  }
  return 2.0 * seen * shape.q_heads * (shape.qk_dim + shape.v_dim);
}

double HeadFlop(const ModelConfig& config) {
  return 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
}

// What a step of so many sequences reads: each weight that meets one of them, and their keys and values.
double StepBytes(const CausalLm& model, int64_t batch, int64_t context) {
  const ModelConfig& config = model.config();
  double bytes = 0;
  const std::vector<Parameter>& parameters = model.weights().computed().list();
  for (const Parameter& parameter : parameters) {
    if (parameter.name == "model.embed_tokens.weight" && !config.tie_word_embeddings) continue;
    double share = 1;
    if (parameter.name.find(".experts.") != std::string::npos) {
      share = std::min(1.0, static_cast<double>(batch * config.experts_per_token) /
                                static_cast<double>(config.routed_experts));
    }
    bytes += share * static_cast<double>(parameter.value.nbytes());
  }
  const double position = static_cast<double>(KvCache::BytesPerPage(config)) / kernels::kAttentionBlock;
  return bytes +
         position * AttentionFlop(config, context) / AttentionFlop(config, 1) * static_cast<double>(batch);
}

// A cache with room for `batch` sequences of `context` tokens, and whose pages are whose.
class Sequences {
 public:
  Sequences(CausalLm* model, int64_t batch, int64_t context)
      : model_(*model),
        context_(context),
        pages_each_((context + kernels::kAttentionBlock - 1) / kernels::kAttentionBlock),
        cache_(model->config(), batch * pages_each_, model->backend()),
        pages_(batch * pages_each_) {
    for (size_t page = 0; page < pages_.size(); ++page) pages_[page] = static_cast<int32_t>(page);
  }

  // Tokens [first, first + count) of sequence s, any ones; the logits of the last if asked for.
  void Add(int64_t s, int64_t first, int64_t count, bool logits) {
    const int64_t vocab = model_.config().vocab_size;
    for (int64_t i = first; i < first + count; ++i)
      batch_.tokens.push_back(static_cast<int32_t>((s * 7919 + i * 104729) % vocab));
    batch_.sequences.push_back(
        {count, first, absl::MakeConstSpan(pages_).subspan(s * pages_each_, pages_each_)});
    if (logits) rows_.push_back(static_cast<int32_t>(batch_.tokens.size()) - 1);
  }
  Matrix Forward() {
    const Matrix logits = model_.Forward(batch_, cache_, rows_);
    batch_ = {};
    rows_.clear();
    return logits;
  }

  // The last token of every sequence; those before have the keys and values of the first page's.
  void Decode() {
    const auto batch = static_cast<int64_t>(pages_.size()) / pages_each_;
    for (int64_t s = 0; s < batch; ++s) Add(s, context_ - 1, 1, true);
    const Matrix logits = Forward();
    const std::vector<kernels::SampleParameters> parameters(batch);
    const std::vector<double> uniforms(batch, 0.5);
    std::vector<kernels::SampledToken> tokens(batch);
    model_.backend().Sample({logits, parameters, uniforms, absl::MakeSpan(tokens)});
  }
  void FillPages() {
    Add(0, 0, std::min<int64_t>(context_, kernels::kAttentionBlock), false);
    Forward();
    for (size_t page = 1; page < pages_.size(); ++page) cache_.CopyPage(0, static_cast<int64_t>(page));
  }
  // Every sequence from its first token on, so many tokens at once; done when it returns, on a device too.
  void Prefill(int64_t at_once) {
    int64_t room = at_once;
    Matrix logits;
    for (int64_t s = 0; s < static_cast<int64_t>(pages_.size()) / pages_each_; ++s) {
      for (int64_t first = 0, count = 0; first < context_; first += count) {
        count = std::min(room, context_ - first);
        Add(s, first, count, first + count == context_);
        room -= count;
        if (room > 0) continue;
        logits = Forward();
        room = at_once;
      }
    }
    if (room < at_once) logits = Forward();
    float one = 0;
    model_.backend().CopyToHost(logits.Rows(0, 1).Columns(0, 1), &one);
  }

 private:
  CausalLm& model_;
  const int64_t context_, pages_each_;
  KvCache cache_;
  std::vector<int32_t> pages_;
  TokenBatch batch_;
  std::vector<int32_t> rows_;
};

// Calls measure(batch, context) for each of both whose cache fits.
absl::Status ForShapes(const BenchOptions& options, const CausalLm& model,
                       absl::FunctionRef<absl::Status(int64_t, int64_t)> measure) {
  const ModelConfig& config = model.config();
  for (int64_t context : options.contexts) {
    if (config.max_positions > 0 && context > config.max_positions)
      return absl::InvalidArgumentError(absl::StrCat(
          "--contexts: ", context, " exceeds the model's max_position_embeddings ", config.max_positions));
    for (int64_t batch : options.batches) {
      const int64_t pages = batch * ((context + kernels::kAttentionBlock - 1) / kernels::kAttentionBlock);
      const int64_t bytes = pages * KvCache::BytesPerPage(config), free = MemoryThatIsFree().bytes;
      if (bytes > free && model.backend().host_memory()) {
        LogInfo("left out: ", batch, " sequences of ", context, " tokens need ", bytes >> 20,
                " MiB of cache, and ", free >> 20, " MiB of memory are free");
        continue;
      }
      TEMPER_RETURN_IF_ERROR(measure(batch, context));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BenchPrefill(const BenchOptions& options) {
  ThreadPool pool(static_cast<int>(options.threads));
  TEMPER_ASSIGN_OR_RETURN(const auto backend, BackendOfOption(options.device, &pool));
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, BenchPolicy(options));
  const double peak = BenchPeak(*backend), flop = FlopOfToken(files.config);
  const auto model = PolicyOf(std::move(files), backend.get(), BenchUse(options, false));
  return ForShapes(options, *model, [&](int64_t batch, int64_t context) {
    Sequences sequences(model.get(), batch, context);
    const auto seconds = CallSeconds([&] { sequences.Prefill(EngineOptions().prefill_tokens); },
                                     options.rounds, options.round_ms / 1e3);
    const double tokens = static_cast<double>(batch * context);
    // The head sees the last token of each alone.
    const double not_seen = tokens - static_cast<double>(batch);
    return Report({.bench = "prefill",
                   .shape = absl::StrCat("batch", batch, " context", context),
                   .median_us = Median(seconds) * 1e6,
                   .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
                   .flop = tokens * (flop + AttentionFlop(model->config(), context) / 2) -
                           not_seen * HeadFlop(model->config()),
                   .peak_gflops = peak,
                   .tokens = tokens});
  });
}

absl::Status BenchDecode(const BenchOptions& options) {
  ThreadPool pool(static_cast<int>(options.threads));
  TEMPER_ASSIGN_OR_RETURN(const auto backend, BackendOfOption(options.device, &pool));
  TEMPER_ASSIGN_OR_RETURN(PolicyFiles files, BenchPolicy(options));
  const double peak = BenchPeak(*backend), flop = FlopOfToken(files.config);
  const double read = backend->host_memory() ? kernels::PeakReadGbps(pool) : 0;
  const auto model = PolicyOf(std::move(files), backend.get(), BenchUse(options, false));
  return ForShapes(options, *model, [&](int64_t batch, int64_t context) {
    Sequences sequences(model.get(), batch, context);
    sequences.FillPages();
    const auto seconds = CallSeconds([&] { sequences.Decode(); }, options.rounds, options.round_ms / 1e3);
    const double tokens = static_cast<double>(batch);
    return Report({.bench = "decode",
                   .shape = absl::StrCat("batch", batch, " context", context),
                   .median_us = Median(seconds) * 1e6,
                   .best_us = *std::min_element(seconds.begin(), seconds.end()) * 1e6,
                   .flop = tokens * (flop + AttentionFlop(model->config(), context)),
                   .peak_gflops = peak,
                   .bytes = StepBytes(*model, batch, context),
                   .peak_gbps = read,
                   .tokens = tokens});
  });
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rollout/engine.h"

#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "rollout/stop_strings.h"

namespace temper {
namespace {

constexpr int64_t kPage = kernels::kAttentionBlock;
int64_t PagesFor(int64_t positions) { return (positions + kPage - 1) / kPage; }

}  // namespace

// A prompt in the cache; lives until its last sample has its own pages.
struct Engine::PromptState {
  const SampleRequest* request = nullptr;
  int64_t computed = 0;  // prompt tokens in the cache
  std::vector<int32_t> pages;
  std::shared_ptr<void> logits;  // after the last prompt token, once computed, in the backend's memory
  size_t started = 0;            // samples that have begun

  int64_t length() const { return static_cast<int64_t>(request->prompt->tokens.size()); }
  bool ready() const { return logits != nullptr; }
  bool finished() const { return started == request->samples.size(); }
};

// A sample that decodes.
struct Engine::Sequence {
  const SampleRequest* request = nullptr;
  Trajectory trajectory;
  std::vector<int32_t> pages;
  int64_t reserved = 0;  // pages that it may still take
  int64_t length = 0;    // positions in the cache
  int32_t next = 0;      // the sampled token that is not in the cache yet
};

// The state of one Run: which prompts wait, prefill, decode, and which pages are promised.
class Engine::Schedule {
 public:
  Schedule(Engine* engine, absl::Span<const SampleRequest> requests, const SamplingOptions& options,
           EngineCounts* counts)
      : engine_(engine),
        model_(engine->model_),
        requests_(requests),
        options_(options),
        stop_strings_(options.stop_strings, options.tokenizer),
        counts_(counts),
        blocks_(engine->cache_->pages()) {}

  bool done() const { return next_request_ == requests_.size() && prompts_.empty() && running_.empty(); }

  void Step(absl::FunctionRef<void(const SampleRequest&, Trajectory)> finish) {
    StartSamples(finish);
    AdmitPrompts();
    Forward(finish);
  }

 private:
  int64_t WorstPages(int64_t prompt) const { return PagesFor(prompt + options_.max_new_tokens); }
  int64_t unpromised() const { return blocks_.free_pages() - promised_; }

  // Prompts come in while there is room for them and one sample of each, and slots that their samples will
  // want.
  void AdmitPrompts() {
    int64_t wanted = static_cast<int64_t>(running_.size());
    for (const PromptState& prompt : prompts_)
      wanted += static_cast<int64_t>(prompt.request->samples.size() - prompt.started);
    while (next_request_ < requests_.size() && wanted < engine_->options_.max_batch) {
      const SampleRequest& request = requests_[next_request_];
      if (request.samples.empty()) {
        ++next_request_;
        continue;
      }
      const int64_t length = static_cast<int64_t>(request.prompt->tokens.size());
      const int64_t pages = PagesFor(length);
      if (unpromised() < pages + WorstPages(length)) break;
      prompts_.emplace_back();
      prompts_.back().request = &request;
      for (int64_t i = 0; i < pages; ++i) prompts_.back().pages.push_back(blocks_.Take());
      wanted += static_cast<int64_t>(request.samples.size());
      ++next_request_;
    }
  }

  // Samples of computed prompts begin: full pages shared, the last, partly filled one copied.
  void StartSamples(absl::FunctionRef<void(const SampleRequest&, Trajectory)> finish) {
    for (auto prompt = prompts_.begin(); prompt != prompts_.end();) {
      while (prompt->ready() && !prompt->finished() &&
             static_cast<int64_t>(running_.size()) < engine_->options_.max_batch) {
        const int64_t shared = prompt->length() / kPage;
        const int64_t own = WorstPages(prompt->length()) - shared;
        if (unpromised() < own) break;
        Sequence sequence;
        sequence.request = prompt->request;
        sequence.trajectory.prompt_id = prompt->request->prompt->id;
        sequence.trajectory.sample = prompt->request->samples[prompt->started++];
        sequence.trajectory.policy_version = model_->version();
        sequence.length = prompt->length();
        sequence.reserved = own;
        promised_ += own;
        for (int64_t i = 0; i < shared; ++i) {
          blocks_.Share(prompt->pages[i]);
          sequence.pages.push_back(prompt->pages[i]);
        }
        if (prompt->length() % kPage != 0) {
          TakePage(&sequence);
          engine_->cache_->CopyPage(prompt->pages[shared], sequence.pages.back());
        }
        const double uniform = UniformOf(sequence);
        kernels::SampledToken token;
        model_->backend().Sample(
            {LogitsOf(prompt->logits), {&options_.parameters, 1}, {&uniform, 1}, {&token, 1}});
        if (!Append(&sequence, token, finish)) running_.push_back(std::move(sequence));
      }
      if (prompt->finished()) {
        for (int32_t page : prompt->pages) blocks_.Release(page);
        prompt = prompts_.erase(prompt);
      } else {
        ++prompt;
      }
    }
  }

  // One forward pass: a token of every running sequence, and prompt tokens up to the limit.
  void Forward(absl::FunctionRef<void(const SampleRequest&, Trajectory)> finish) {
    TokenBatch batch;
    std::vector<int32_t> logit_rows;
    for (Sequence& sequence : running_) {
      if (sequence.length % kPage == 0) TakePage(&sequence);
      logit_rows.push_back(static_cast<int32_t>(batch.tokens.size()));
      batch.tokens.push_back(sequence.next);
      batch.sequences.push_back({1, sequence.length, sequence.pages});
    }
    int64_t room = engine_->options_.prefill_tokens;
    std::vector<PromptState*> completed;
    for (PromptState& prompt : prompts_) {
      if (prompt.ready() || room == 0) continue;
      const int64_t rows = std::min(room, prompt.length() - prompt.computed);
      const std::vector<int32_t>& tokens = prompt.request->prompt->tokens;
      batch.tokens.insert(batch.tokens.end(), tokens.begin() + prompt.computed,
                          tokens.begin() + prompt.computed + rows);
      batch.sequences.push_back({rows, prompt.computed, prompt.pages});
      prompt.computed += rows;
      room -= rows;
      counts_->prompt_tokens += rows;
      if (prompt.computed == prompt.length()) {
        logit_rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
        completed.push_back(&prompt);
      }
    }
    if (batch.tokens.empty()) return;
    ++counts_->steps;
    const Matrix logits = model_->Forward(batch, *engine_->cache_, logit_rows);
    const size_t decoding = running_.size();
    for (size_t i = 0; i < completed.size(); ++i) {
      completed[i]->logits = model_->backend().Allocate(logits.cols * 4);
      model_->backend().Copy(logits.Rows(static_cast<int64_t>(decoding + i), 1),
                             LogitsOf(completed[i]->logits));
    }
    std::vector<kernels::SampledToken> tokens(decoding);
    std::vector<double> uniforms;
    for (Sequence& sequence : running_) {
      ++sequence.length;
      uniforms.push_back(UniformOf(sequence));
    }
    const std::vector<kernels::SampleParameters> parameters(decoding, options_.parameters);
    model_->backend().Sample(
        {logits.Rows(0, static_cast<int64_t>(decoding)), parameters, uniforms, absl::MakeSpan(tokens)});
    size_t kept = 0;
    for (size_t i = 0; i < decoding; ++i) {
      if (Append(&running_[i], tokens[i], finish)) continue;
      if (kept != i) running_[kept] = std::move(running_[i]);
      ++kept;
    }
    running_.resize(kept);
  }

  Matrix LogitsOf(const std::shared_ptr<void>& row) const {
    return kernels::F32(static_cast<float*>(row.get()), 1, model_->config().vocab_size);
  }
  // The draw at the sequence's next position: position `length` of the whole sequence.
  double UniformOf(const Sequence& sequence) const {
    return Uniform(sequence.request->key, static_cast<uint32_t>(sequence.trajectory.sample),
                   static_cast<uint32_t>(sequence.length), Purpose::kSample);
  }

  // True if the sample is finished; its pages are free then.
  bool Append(Sequence* sequence, const kernels::SampledToken& token,
              absl::FunctionRef<void(const SampleRequest&, Trajectory)> finish) {
    Trajectory& trajectory = sequence->trajectory;
    trajectory.tokens.push_back(token.id);
    trajectory.logprobs.push_back(token.logprob);
    trajectory.entropy_sum += token.entropy;
    ++counts_->sampled_tokens;
    sequence->next = token.id;
    const bool eos = !options_.ignore_eos && std::find(options_.eos_ids.begin(), options_.eos_ids.end(),
                                                       token.id) != options_.eos_ids.end();
    const bool stop = !eos && stop_strings_.Reached(trajectory.tokens);
    const bool cut = static_cast<int64_t>(trajectory.tokens.size()) >= options_.max_new_tokens;
    if (!eos && !stop && !cut) return false;
    trajectory.stop = eos ? StopReason::kEndOfText : stop ? StopReason::kStopString : StopReason::kLength;
    for (int32_t page : sequence->pages) blocks_.Release(page);
    promised_ -= sequence->reserved;
    finish(*sequence->request, std::move(trajectory));
    return true;
  }

  void TakePage(Sequence* sequence) {
    TEMPER_CHECK(sequence->reserved > 0);
    sequence->pages.push_back(blocks_.Take());
    --sequence->reserved;
    --promised_;
  }

  Engine* engine_;
  CausalLm* model_;
  absl::Span<const SampleRequest> requests_;
  const SamplingOptions& options_;
  const StopStrings stop_strings_;
  EngineCounts* counts_;
  BlockAllocator blocks_;
  int64_t promised_ = 0;  // pages that running sequences may still take
  size_t next_request_ = 0;
  std::deque<PromptState> prompts_;
  std::vector<Sequence> running_;
};

Engine::Engine(CausalLm* model, const EngineOptions& options) : model_(model), options_(options) {}
Engine::~Engine() = default;

int64_t Engine::CacheBytes(int64_t positions) const {
  const int64_t per_page = KvCache::BytesPerPage(model_->config());
  const int64_t wanted = (options_.max_batch + 8) * (PagesFor(positions) + 1) * per_page;
  return std::min(wanted, std::max(options_.cache_bytes, 3 * (PagesFor(positions) + 1) * per_page));
}

absl::Status Engine::Check(const Prompt& prompt, const SamplingOptions& options) const {
  const ModelConfig& config = model_->config();
  const auto fault = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat("prompt ", Printable(prompt.id), ": ", what));
  };
  const int64_t length = static_cast<int64_t>(prompt.tokens.size());
  if (options.max_new_tokens < 1) return fault("max_new_tokens must be at least 1");
  if (length == 0) return fault("it has no tokens");
  for (int32_t token : prompt.tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return fault(
          absl::StrCat("token ", token, " is outside the model's vocabulary of ", config.vocab_size));
    }
  }
  if (config.max_positions > 0 && length + options.max_new_tokens > config.max_positions) {
    return fault(absl::StrCat(length, " tokens and max_new_tokens ", options.max_new_tokens,
                              " exceed the model's max_position_embeddings ", config.max_positions));
  }
  return absl::OkStatus();
}

absl::Status Engine::Run(absl::Span<const SampleRequest> requests, const SamplingOptions& options,
                         absl::FunctionRef<void(const SampleRequest&, Trajectory)> done,
                         absl::FunctionRef<bool()> stop, EngineCounts* counts) {
  int64_t longest = 0;
  for (const SampleRequest& request : requests) {
    TEMPER_RETURN_IF_ERROR(Check(*request.prompt, options));
    longest = std::max(longest, static_cast<int64_t>(request.prompt->tokens.size()) + options.max_new_tokens);
  }
  const int64_t pages = CacheBytes(longest) / KvCache::BytesPerPage(model_->config());
  if (cache_ == nullptr || cache_->pages() < pages)
    cache_ = std::make_unique<KvCache>(model_->config(), pages, model_->backend());
  Schedule schedule(this, requests, options, counts);
  while (!schedule.done()) {
    if (stop()) return absl::CancelledError("stopped on request");
    schedule.Step(done);
  }
  return absl::OkStatus();
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rollout/engine.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "core/trace.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;

absl::Status OutsideVocabulary(absl::string_view what, int32_t token, const ModelConfig& config) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, token, " is outside the model's vocabulary of ", config.vocab_size));
}

// The model's tokens that end a sample, each once.
std::vector<int32_t> Ends(const SamplingOptions& options, const ModelConfig& config) {
  std::set<int32_t> ends(options.stop_ids.begin(), options.stop_ids.end());
  if (!options.ignore_eos) ends.insert(options.eos_ids.begin(), options.eos_ids.end());
  ends.erase(ends.lower_bound(static_cast<int32_t>(config.vocab_size)), ends.end());
  return {ends.begin(), ends.end()};
}

struct CacheSize {
  int64_t pages, page_bytes;
};

absl::Status CheckLength(const ModelConfig& config, const CacheSize& cache, int64_t given,
                         int64_t to_sample) {
  if (config.max_positions > 0 && given + to_sample > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(given, " tokens and max_new_tokens ", to_sample,
                                                   " exceed the model's max_position_embeddings ",
                                                   config.max_positions));
  }
  const int64_t positions = given + to_sample - 1;  // nothing follows the last token
  if (PagesFor(positions) <= cache.pages) return absl::OkStatus();
  const double mib = 1 << 20, page = static_cast<double>(cache.page_bytes) / mib;
  return absl::InvalidArgumentError(absl::StrFormat(
      "%d tokens and max_new_tokens %d need %d pages of the cache, %.1f MiB, and it has %d, %.1f MiB: raise "
      "cache_mib, or lower max_new_tokens",
      given, to_sample, PagesFor(positions), static_cast<double>(PagesFor(positions)) * page, cache.pages,
      static_cast<double>(cache.pages) * page));
}

bool Has(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// How many of the drafts are the tokens that were drawn.
size_t Right(const std::vector<int32_t>& drafts, absl::Span<const kernels::SampledToken> tokens) {
  size_t right = 0;
  while (right < drafts.size() && tokens[right].id == drafts[right]) ++right;
  return right;
}

}  // namespace

Engine::Engine(CausalLm* model, const EngineOptions& options)
    : model_(model),
      options_(options),
      cache_pages_(CachePages(model->config(), options, model->mesh().place())),
      version_(model->version()),
      scheduler_({.pages = cache_pages_,
                  .max_batch = options.max_batch,
                  .prefill_tokens = options.prefill_tokens,
                  .draft_tokens = options.draft_tokens,
                  .mtp = options.mtp}) {
  TEMPER_CHECK(!options.mtp || model->config().has_mtp(), "the policy has no MTP module");
}
Engine::~Engine() = default;

int64_t Engine::CachePages(const ModelConfig& config, const EngineOptions& options, const MeshPlace& place) {
  const int64_t pages = options.cache_bytes / KvCache::BytesPerPage(config, place);
  const int64_t positions = options.positions > 0 ? options.positions : config.max_positions;
  if (positions <= 0) return pages;
  // Each sequence may have copied a page of a prompt, and a few prompts are kept for samples to come.
  return std::min(pages, (options.max_batch + 8) * (PagesFor(positions) + 1));
}

absl::Status Engine::Check(const ModelConfig& config, const EngineOptions& engine, const MeshPlace& place,
                           const Prompt& prompt, const SamplingOptions& options) {
  const auto check = [&] {
    if (options.max_new_tokens < 1) return absl::InvalidArgumentError("max_new_tokens must be at least 1");
    for (int32_t id : options.stop_ids)
      if (id < 0 || id >= config.vocab_size) return OutsideVocabulary("stop token ", id, config);
    if (options.min_new_tokens > 0 && static_cast<int64_t>(Ends(options, config).size()) == config.vocab_size)
      return absl::InvalidArgumentError("min_new_tokens: every token of the model ends a completion");
    if (prompt.tokens.empty()) return absl::InvalidArgumentError("it has no tokens");
    for (int32_t token : prompt.tokens)
      if (token < 0 || token >= config.vocab_size) return OutsideVocabulary("token ", token, config);
    return CheckLength(config, {CachePages(config, engine, place), KvCache::BytesPerPage(config, place)},
                       static_cast<int64_t>(prompt.tokens.size()), options.max_new_tokens);
  };
  const absl::Status status = check();
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat("prompt ", Printable(prompt.id), ": ", status.message()));
}

absl::Status Engine::Check(const Prompt& prompt, const SamplingOptions& options) const {
  return Check(model_->config(), options_, model_->mesh().place(), prompt, options);
}

absl::Status Engine::Submit(const SampleRequest& request) {
  TEMPER_RETURN_IF_ERROR(Check(*request.prompt, *request.sampling));
  const auto group = std::make_shared<SequenceGroup>();
  group->request = &request;
  group->stop_strings = StopStrings(request.sampling->stop_strings, request.sampling->tokenizer);
  group->ends = Ends(*request.sampling, model_->config());
  group->not_begun = request.samples.size();
  for (int32_t sample : request.samples) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = next_id_++;
    sequence->group = group;
    sequence->trajectory.prompt_id = request.prompt->id;
    sequence->trajectory.sample = sample;
    scheduler_.Add(sequence.get());
    sequences_.emplace(sequence->id, std::move(sequence));
  }
  return absl::OkStatus();
}

void Engine::Step() {
  TEMPER_CHECK(version_ == model_->version(), "the weights changed without Swap");
  const Clock::time_point began = Clock::now();
  const TraceSpan span("engine", "step");
  if (cache_ == nullptr)
    cache_ =
        std::make_unique<KvCache>(model_->config(), cache_pages_, model_->backend(), model_->mesh().place());
  const Scheduler::Admission admission = scheduler_.Admit();
  for (const Scheduler::Copy& copy : admission.copies) cache_->CopyPage(copy.from, copy.to);
  for (Sequence* sequence : admission.drawable)
    Append(sequence, Draw({{sequence, 0}}, LogitsOf(*sequence->group))[0]);

  const std::vector<Scheduler::Rows> plan = scheduler_.Plan();
  if (plan.empty() && model_->mesh().in_step().size() == 1) return;
  TokenBatch batch;
  std::vector<int32_t> logit_rows;
  std::vector<Place> places;  // of the logits
  for (const auto& [sequence, count, drafts] : plan) {
    const int64_t first = sequence->computed, drafted = static_cast<int64_t>(drafts.size());
    for (int64_t i = first; i < first + count; ++i) batch.tokens.push_back(sequence->token(i));
    batch.sequences.push_back({count + drafted, first, sequence->pages});
    sequence->mtp_draft = -1;
    if (count < sequence->missing()) continue;
    for (int64_t ahead = 0; ahead <= drafted; ++ahead) {
      if (ahead > 0) batch.tokens.push_back(drafts[ahead - 1]);
      logit_rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
      places.push_back({sequence, ahead});
    }
  }
  const Matrix logits = model_->decode_pass().Forward(batch, *cache_, logit_rows, options_.mtp);
  const std::vector<kernels::SampledToken> tokens = Draw(places, logits);
  const int64_t before = counts_.sampled_tokens;
  if (!plan.empty()) Extend(plan, logits, tokens);  // else it was for others
  if (!options_.mtp) return;
  const int64_t next = scheduler_.next();
  const bool runs = WantsMtp(next);
  if (runs) RunMtp(next);
  // Of steps that are like the next one.
  const auto sequences = static_cast<int64_t>(plan.size());
  const bool decode = std::ranges::all_of(plan, [](const Scheduler::Rows& rows) { return rows.count == 1; });
  if (!decode || sequences != next) return;
  pace_.Took({.sequences = sequences,
              .drafts = runs,
              .seconds = std::chrono::duration<double>(Clock::now() - began).count(),
              .tokens = counts_.sampled_tokens - before});
}

void Engine::Extend(const std::vector<Scheduler::Rows>& plan, const Matrix& logits,
                    absl::Span<const kernels::SampledToken> tokens) {
  scheduler_.Computed(plan);
  ++counts_.steps;
  int64_t row = 0;
  for (const Scheduler::Rows& rows : plan) {
    if (rows.sequence->missing() > 0) continue;
    SequenceGroup& group = *rows.sequence->group;
    if (rows.sequence->trajectory.tokens.empty() && group.not_begun > 1 && !options_.mtp) {
      group.logits = model_->backend().Allocate(model_->config().vocab_size * 4);
      if (logits) model_->backend().Copy(logits.Rows(row, 1), LogitsOf(group));
    }
    const size_t drawn = 1 + rows.drafts.size();
    AppendRight(rows, tokens.subspan(row, drawn));
    row += static_cast<int64_t>(drawn);
  }
}

Matrix Engine::LogitsOf(const SequenceGroup& group) const {
  return kernels::F32(static_cast<float*>(group.logits.get()), 1, model_->config().vocab_size);
}

std::vector<kernels::SampledToken> Engine::Draw(absl::Span<const Place> places, const Matrix& logits) const {
  std::vector<double> uniforms;
  std::vector<kernels::SampleParameters> parameters;
  for (const auto& [sequence, ahead] : places) {
    const SampleRequest& request = *sequence->group->request;
    uniforms.push_back(Uniform(request.key, static_cast<uint32_t>(sequence->trajectory.sample),
                               static_cast<uint32_t>(sequence->length() + ahead), Purpose::kSample));
    parameters.push_back(request.sampling->parameters);
    if (sequence->trajectory.sampled() + ahead < request.sampling->min_new_tokens)
      parameters.back().banned = sequence->group->ends;
  }
  std::vector<kernels::SampledToken> tokens(places.size());
  if (tokens.empty()) return tokens;
  Stack& stack = model_->stack();
  if (stack.chunks().back().predicts)
    model_->backend().Sample({logits, parameters, uniforms, absl::MakeSpan(tokens)});
  // Only the last rank of a pipeline has logits.
  Communicator& ranks = stack.pipeline();
  if (ranks.size() > 1) ranks.Broadcast(tokens.data(), tokens.size() * sizeof tokens[0], ranks.size() - 1);
  return tokens;
}

bool Engine::WantsMtp(int64_t sequences) const {
  static_assert(DraftPace::kMostSequences + 1 == kRowsWithDrafts);
  const bool may = sequences > 0 && sequences < kRowsWithDrafts;
  const bool wants = may && (!options_.paced || pace_.Drafts(sequences));
  // Clocks differ, also of ranks that have the same sequences. One that is outvoted stays in its turn until
  // the others come to theirs.
  Communicator& ranks = model_->mesh().holders();
  return ranks.size() > 1 ? ranks.Sum(wants ? 1 : may ? -1 : 0) > 0 : wants;
}

void Engine::RunMtp(int64_t sequences) {
  TokenBatch batch;
  std::vector<int32_t> logit_rows;
  std::vector<Place> places;
  std::vector<Sequence*> drafting;
  // As many rows as one pass of the policy has beside so few sequences.
  int64_t room = options_.prefill_tokens + 2 * kRowsWithDrafts;
  const bool is_room_for_drafts = sequences < kRowsWithDrafts;
  for (const auto& [id, sequence] : scheduler_.running_sequences()) {
    const int64_t first = scheduler_.MtpKeys(*sequence), end = std::min(sequence->computed, first + room);
    if (first == end || !is_room_for_drafts) continue;
    for (int64_t i = first; i < end; ++i) batch.tokens.push_back(sequence->token(i + 1));
    batch.sequences.push_back({end - first, first, sequence->pages});
    scheduler_.SetMtpKeys(*sequence, end);
    room -= end - first;
    if (end < sequence->computed || sequence->missing() > 1 || sequence->trajectory.tokens.empty()) continue;
    logit_rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
    places.push_back({sequence, 0});
    drafting.push_back(sequence);
  }
  if (batch.tokens.empty() && model_->mesh().in_step().size() == 1) return;
  const Matrix logits = model_->decode_pass().ForwardMtp(batch, *cache_, logit_rows);
  // By the uniform of the token that it drafts, so that the two agree where their distributions do.
  const std::vector<kernels::SampledToken> guesses = Draw(places, logits);
  for (size_t i = 0; i < drafting.size(); ++i) drafting[i]->mtp_draft = guesses[i].id;
}

void Engine::AppendRight(const Scheduler::Rows& rows, absl::Span<const kernels::SampledToken> tokens) {
  const std::vector<int32_t>& drafts = rows.drafts;
  const size_t right = Right(drafts, tokens);
  rows.sequence->drafter.Judge(static_cast<int64_t>(drafts.size()), static_cast<int64_t>(right));
  for (size_t i = 0; Append(rows.sequence, tokens[i]) && i < right; ++i) scheduler_.Accept(rows.sequence);
}

bool Engine::Append(Sequence* sequence, const kernels::SampledToken& token) {
  SequenceGroup& group = *sequence->group;
  const SamplingOptions& options = *group.request->sampling;
  Trajectory& trajectory = sequence->trajectory;
  if (trajectory.tokens.empty() && --group.not_begun == 0) group.logits = nullptr;
  trajectory.Extend(Segment::Kind::kSampled, version_, 1);
  trajectory.tokens.push_back(token.id);
  trajectory.logprobs.push_back(token.logprob);
  trajectory.entropy_sum += token.entropy;
  ++counts_.sampled_tokens;
  if (trajectory.sampled() > options.min_new_tokens) {
    if (!options.ignore_eos && Has(options.eos_ids, token.id)) {
      Finish(sequence, StopReason::kEndOfText);
      return false;
    }
    if (Has(options.stop_ids, token.id) ||
        group.stop_strings.Reached(absl::MakeSpan(trajectory.tokens).subspan(sequence->turn))) {
      Finish(sequence, StopReason::kStopString);
      return false;
    }
  }
  if (trajectory.sampled() < options.max_new_tokens) return true;
  Finish(sequence, StopReason::kLength);
  return false;
}

void Engine::Finish(Sequence* sequence, StopReason stop) {
  const SampleRequest* const request = sequence->group->request;
  sequence->trajectory.stop = stop;
  if (request->may_continue) {
    scheduler_.Pause(sequence);
    finished_.push_back({request, sequence->id, sequence->trajectory});
  } else {
    finished_.push_back({request, sequence->id, std::move(sequence->trajectory)});
    Drop(sequence->id);
  }
}

std::vector<FinishedSample> Engine::Take() { return std::exchange(finished_, {}); }

absl::Status Engine::Continue(int64_t id, absl::Span<const int32_t> tokens) {
  const auto found = sequences_.find(id);
  TEMPER_CHECK(found != sequences_.end());
  Sequence& sequence = *found->second;
  const SampleRequest& request = *sequence.group->request;
  Trajectory& trajectory = sequence.trajectory;
  for (int32_t token : tokens) {
    if (token < 0 || token >= model_->config().vocab_size)
      return OutsideVocabulary("token ", token, model_->config());
  }
  const int64_t left = request.sampling->max_new_tokens - static_cast<int64_t>(trajectory.logprobs.size());
  if (left < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("all ", request.sampling->max_new_tokens, " tokens of max_new_tokens are sampled"));
  }
  const ModelConfig& config = model_->config();
  TEMPER_RETURN_IF_ERROR(CheckLength(config,
                                     {cache_pages_, KvCache::BytesPerPage(config, model_->mesh().place())},
                                     sequence.length() + static_cast<int64_t>(tokens.size()), left));
  trajectory.Extend(Segment::Kind::kGiven, version_, static_cast<int64_t>(tokens.size()));
  trajectory.tokens.insert(trajectory.tokens.end(), tokens.begin(), tokens.end());
  sequence.turn = trajectory.length();
  scheduler_.Add(&sequence);
  return absl::OkStatus();
}

void Engine::Drop(int64_t id) {
  const auto found = sequences_.find(id);
  TEMPER_CHECK(found != sequences_.end());
  scheduler_.Remove(found->second.get());
  sequences_.erase(found);
}

void Engine::Clear() {
  while (!sequences_.empty()) Drop(sequences_.begin()->first);
  finished_.clear();
}

void Engine::Swap(int64_t version) {
  TEMPER_CHECK(version == model_->version(), "the model has the weights of version ", model_->version());
  if (version == version_) return;
  version_ = version;
  scheduler_.WeightsChanged();
  for (const auto& [id, sequence] : sequences_) sequence->group->logits = nullptr;
}

EngineCounts Engine::TakeCounts() {
  static_cast<Scheduler::Counts&>(counts_) = scheduler_.counts();
  scheduler_.ClearCounts();
  return std::exchange(counts_, {});
}

absl::Status SampleAll(Engine& engine, absl::Span<const SampleRequest> requests,
                       absl::FunctionRef<void(const SampleRequest&, Trajectory)> done,
                       absl::FunctionRef<bool()> stop) {
  for (const SampleRequest& request : requests)
    TEMPER_RETURN_IF_ERROR(engine.Check(*request.prompt, *request.sampling));
  for (const SampleRequest& request : requests) TEMPER_RETURN_IF_ERROR(engine.Submit(request));
  Communicator& in_step = engine.model().mesh().in_step();
  constexpr int64_t kStops = int64_t{1} << 32;  // beyond any number of ranks
  for (;;) {
    const int64_t mine = in_step.size() > 1 || !engine.idle() ? (stop() ? kStops : 0) : 0;
    const int64_t votes = in_step.Sum(mine + (engine.idle() ? 0 : 1));
    if (votes >= kStops) {
      engine.Clear();
      return absl::CancelledError("stopped on request");
    }
    if (votes == 0) return absl::OkStatus();
    engine.Step();
    for (FinishedSample& sample : engine.Take()) done(*sample.request, std::move(sample.trajectory));
  }
}

std::string PreemptionText(const Scheduler::Counts& counts) {
  if (counts.preemptions == 0) return "";
  return absl::StrCat(
      "the cache is small for this: ", counts.preemptions, " times a sample gave up its pages and ",
      counts.recomputed_tokens,
      " tokens were computed again; a larger --cache-mib is faster, the samples are the same");
}

std::string DraftText(const EngineCounts& counts) {
  if (counts.drafted_tokens == 0) return "";
  return absl::StrCat(counts.drafted_tokens, " tokens were drafted and ", counts.accepted_tokens,
                      " of them right: of ", counts.sampled_tokens,
                      " tokens so many needed no pass of their own");
}

}  // namespace temper

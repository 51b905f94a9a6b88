// SPDX-License-Identifier: Apache-2.0
#include "model/decode/pass.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/check.h"
#include "model/decode/step_rows.h"

namespace temper {
namespace {

constexpr int kTag = 3;                // of activations between the ranks of a pipeline
constexpr int kEmbeddedTag = 4;        // of what the MTP module reads, between its ends
constexpr size_t kMostSteps = 64;      // of sizes that are recorded
constexpr int64_t kMostOfExpert = 16;  // rows that products of few rows are for (kernels/cuda/products.h)
constexpr int64_t kSplit = kernels::kAttentionSplit;

int64_t CeilOf(int64_t n, int64_t each) { return (n + each - 1) / each; }

int64_t Pages(const TokenBatch::Sequence& sequence) {
  return CeilOf(sequence.first_position + sequence.rows, kernels::kAttentionBlock);
}

int64_t SplitsFor(const TokenBatch& batch) {
  int64_t positions = 1, splits = 1;
  for (const TokenBatch::Sequence& s : batch.sequences) positions = std::max(positions, s.first_position + 1);
  while (splits * kSplit < positions) splits *= 2;
  return splits;
}

}  // namespace

DecodePass::DecodePass(Stack* stack) : stack_(*stack), space_(&stack->backend()) {
  const ModelConfig& config = stack->config();
  for (int64_t layer = 0; layer < config.num_layers; ++layer) has_experts_ |= config.is_moe_layer(layer);
  most_rows_ = has_experts_ ? kMostOfExpert * config.routed_experts / config.experts_per_token
                            : std::numeric_limits<int64_t>::max();
  // Rows of bf16 are read in words of 16 bytes, from the beginning of each chunk of a sum on.
  constexpr int64_t kWords = 8 * kernels::kChunks;
  const bool whole = config.hidden_size % kWords == 0 && config.moe_intermediate_size % kWords == 0;
  for (const Parameter& parameter : stack->weights().computed().list())
    if (parameter.expert >= 0 && parameter.value.element_size() == 2 && !whole) most_rows_ = 0;
}

Matrix DecodePass::Forward(const TokenBatch& batch, const KvCache& cache,
                           absl::Span<const int32_t> logit_rows, bool drafts) {
  stack_.weights().Pack();
  if (!drafts && IsStep(batch, logit_rows)) return ForwardStep(batch, cache, logit_rows);
  Place(batch, cache, logit_rows, &rows_);
  const Matrix logits = Run(rows_, stack_.View(rows_.positions, rows_.sequences), cache, {.drafts = drafts});
  if (drafts && stack_.chunks().back().predicts) KeepHidden(batch, cache);
  return logits;
}

void DecodePass::KeepHidden(const TokenBatch& batch, const KvCache& cache) {
  constexpr int64_t kPage = kernels::kAttentionBlock;
  int64_t row = 0;
  for (const TokenBatch::Sequence& sequence : batch.sequences) {
    const int64_t end = sequence.first_position + sequence.rows;
    for (int64_t at = sequence.first_position, next; at < end; row += next - at, at = next) {
      next = std::min(end, (at / kPage + 1) * kPage);
      const Matrix to = cache.hidden().Rows(sequence.pages[at / kPage] * kPage + at % kPage, next - at);
      stack_.backend().Copy(hidden_.Rows(row, next - at), to);
    }
  }
}

Matrix DecodePass::ForwardMtp(const TokenBatch& batch, const KvCache& cache,
                              absl::Span<const int32_t> logit_rows) {
  space_.Clear();
  const Context c{.backend = &stack_.backend(), .workspace = &space_, .mesh = &stack_.mesh()};
  const bool first = stack_.chunks().front().embeds, last = stack_.chunks().back().predicts;
  Weights& weights = stack_.weights();
  const Matrix embedded =
      space_.NewRows(static_cast<int64_t>(batch.tokens.size()), stack_.config().hidden_size);
  if (first) {
    weights.Acquire(weights.embedding_unit());
    stack_.vocabulary().Embed(c, batch.tokens, embedded);
    weights.Release();
    if (!last) stack_.SendRows(embedded, stack_.pipeline().size() - 1, kEmbeddedTag);
  } else if (last) {
    stack_.ReceiveRows(embedded, 0, kEmbeddedTag);
  }
  if (!last) return {};
  Place(batch, cache, logit_rows, &mtp_rows_);
  BatchView view = stack_.View(mtp_rows_.positions, mtp_rows_.sequences);
  view.layer_offset = cache.mtp_offset();
  constexpr int64_t kPage = kernels::kAttentionBlock;
  std::vector<int32_t> rows;
  for (const TokenBatch::Sequence& sequence : batch.sequences) {
    for (int64_t i = 0, at = sequence.first_position; i < sequence.rows; ++i, ++at)
      rows.push_back(static_cast<int32_t>(sequence.pages[at / kPage] * kPage + at % kPage));
  }
  const Matrix hidden = Selected(cache.hidden(), rows), y = space_.NewRows(hidden.rows, hidden.cols);
  const bool is_shared = stack_.config().mtp == MtpUse::kTrained;  // among who shares the weights out
  if (is_shared) weights.Acquire(weights.mtp_unit(), weights.head_unit());
  Mtp::Kept kept;
  stack_.mtp()->Forward(c, c, view, {embedded, hidden}, y, &kept);
  if (is_shared) weights.Release();
  return Logits(c, Selected(y, mtp_rows_.logit_rows));
}

void DecodePass::Place(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows,
                       Rows* rows, int64_t spare) const {
  const auto count = static_cast<int64_t>(batch.tokens.size());
  rows->tokens.assign(batch.tokens.begin(), batch.tokens.end());
  rows->logit_rows.assign(logit_rows.begin(), logit_rows.end());
  rows->positions.clear();
  rows->sequences.assign(batch.sequences.size() + spare, {});
  int64_t pages = 0;
  for (const TokenBatch::Sequence& sequence : batch.sequences) pages += Pages(sequence);
  rows->blocks.resize(pages);
  int64_t page = 0;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const TokenBatch::Sequence& from = batch.sequences[s];
    const int64_t own = Pages(from);
    TEMPER_CHECK(static_cast<int64_t>(from.pages.size()) >= own, "sequence ", s, " has ", from.pages.size(),
                 " pages and needs ", own);
    rows->sequences[s] = {static_cast<int64_t>(rows->positions.size()), from.rows, from.first_position,
                          rows->blocks.data() + page};
    for (int64_t b = 0; b < own; ++b) rows->blocks[page++] = cache.Block(0, from.pages[b]);
    for (int64_t i = 0; i < from.rows; ++i)
      rows->positions.push_back(static_cast<int32_t>(from.first_position + i));
  }
  TEMPER_CHECK(static_cast<int64_t>(rows->positions.size()) == count);
  rows->tokens.resize(count + spare);
  rows->positions.resize(count + spare);
  rows->logit_rows.resize(logit_rows.size() + spare);
}

Matrix DecodePass::Run(const Rows& rows, BatchView view, const KvCache& cache, const RunAs& as) {
  space_.Clear();
  Weights& weights = stack_.weights();
  kernels::Backend& backend = stack_.backend();
  const Context c{
      .backend = &backend, .workspace = &space_, .mesh = &stack_.mesh(), .never_waits = as.is_step};
  const int64_t hidden = stack_.config().hidden_size;
  const auto count = static_cast<int64_t>(rows.tokens.size());

  Matrix x = space_.NewRows(count, hidden), y = space_.NewRows(count, hidden);
  const Workspace::Mark mark = space_.Here();
  Communicator& ranks = stack_.pipeline();
  for (const Stack::Chunk& chunk : stack_.chunks()) {
    if (chunk.embeds) {
      weights.Acquire(weights.embedding_unit(), stack_.UnitOf(chunk.begin));
      stack_.vocabulary().Embed(c, rows.tokens, x);
      weights.Release();
    } else {
      stack_.ReceiveRows(x, (ranks.rank() + ranks.size() - 1) % ranks.size(), kTag);
    }
    for (size_t block = chunk.begin; block < chunk.end; ++block) {
      if (block % 2 == 0) weights.Acquire(stack_.UnitOf(block), stack_.UnitBehind(chunk, block));
      view.layer_offset = static_cast<int64_t>(block / 2) * cache.layer_bytes();
      stack_.blocks()[block]->Forward(c, view, x, y, nullptr);
      weights.Poll();
      if (block % 2 == 1) weights.Release();
      std::swap(x, y);
      space_.Release(mark);
    }
    if (!chunk.predicts) stack_.SendRows(x, (ranks.rank() + 1) % ranks.size(), kTag);
  }
  if (!stack_.chunks().back().predicts) return {};

  // Only the rows asked for reach the head, and the norm where nobody reads the others.
  if (rows.logit_rows.empty() && !weights.shared_out() && !as.drafts) return {};
  if (!as.drafts) x = Selected(x, rows.logit_rows);
  hidden_ = space_.NewRows(x.rows, hidden);
  weights.Acquire(weights.norm_unit());
  stack_.final_norm().Forward(c, x, hidden_, nullptr);
  weights.Release();
  return Logits(c, as.drafts ? Selected(hidden_, rows.logit_rows) : hidden_);
}

Matrix DecodePass::Selected(Matrix all, absl::Span<const int32_t> rows) {
  const Matrix selected = space_.NewRows(static_cast<int64_t>(rows.size()), all.cols);
  stack_.backend().GatherRows({all, rows.data(), selected});
  return selected;
}

Matrix DecodePass::Logits(const Context& c, Matrix last) {
  Weights& weights = stack_.weights();
  if (last.rows == 0 && !weights.shared_out()) return {};
  weights.Acquire(weights.head_unit());
  const Matrix logits = stack_.vocabulary().Logits(c, last);
  weights.Release();
  return logits;
}

bool DecodePass::IsStep(const TokenBatch& batch, absl::Span<const int32_t> logit_rows) const {
  const MeshSizes& mesh = stack_.mesh().sizes();
  if (!stack_.backend().records() || stack_.weights().shared_out() || mesh.pp > 1 || mesh.tp > 1 ||
      mesh.ep > 1)
    return false;
  const size_t rows = batch.tokens.size();
  if (rows == 0 || static_cast<int64_t>(rows) > most_rows_ || batch.sequences.size() != rows ||
      logit_rows.size() != rows)
    return false;
  for (size_t i = 0; i < rows; ++i) {
    if (batch.sequences[i].rows != 1 || logit_rows[i] != static_cast<int32_t>(i)) return false;
  }
  return true;
}

DecodePass::Step& DecodePass::StepOf(const StepSize& size) {
  if (steps_.size() >= kMostSteps && steps_.count(size) == 0)
    steps_.erase(std::ranges::min_element(steps_, {}, [](const auto& each) { return each.second.last; }));
  return steps_[size];
}

void DecodePass::DropOutgrown() {
  for (auto& [size, step] : steps_)
    if (step.recording != nullptr && step.recording->IsOutgrown()) step.recording = nullptr;
}

Matrix DecodePass::ForwardStep(const TokenBatch& batch, const KvCache& cache,
                               absl::Span<const int32_t> logit_rows) {
  const auto live = static_cast<int64_t>(batch.tokens.size());
  // A row to spare would have experts too.
  const StepSize size{has_experts_ ? live : StepRows(live), SplitsFor(batch), cache.Block(0, 0)};
  Step& step = StepOf(size);
  const bool seen = std::exchange(step.last, ++made_) > 0;
  const auto place = [&] { Place(batch, cache, logit_rows, &step.rows, size.rows - live); };
  place();
  for (int32_t token : batch.tokens)
    TEMPER_CHECK(token >= 0 && token < stack_.config().vocab_size, "token ", token);
  const BatchView view = stack_.View(step.rows.positions, step.rows.sequences);
  // The first of a size goes call by call: it brings kernels to the device, all but ShiftTables', which only
  // recordings launch, and serves for a size that comes once.
  if (!seen) return Run(step.rows, view, cache, {.is_step = true}).Rows(0, live);
  // Launches are as large as the longest sequences that the step serves for need them.
  const auto calls = [&] {
    for (int64_t i = 0; i < size.rows; ++i) step.rows.sequences[i] = {i, 1, size.splits * kSplit - 1};
    step.logits = Run(step.rows, view, cache, {.is_step = true});
    place();
  };
  DropOutgrown();
  const Places places{view.cosines, view.sines, cache.layer_bytes()};
  if (step.recording == nullptr || step.places != places) {
    step.recording = nullptr;
    step.recording = stack_.backend().Record(calls);
    step.places = places;
  } else {
    step.recording->Compare(calls);
  }
  step.recording->Replay();
  ++replayed_;
  return step.logits.Rows(0, live);
}

}  // namespace temper

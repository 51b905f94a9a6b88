// SPDX-License-Identifier: Apache-2.0
#include "model/pass.h"

#include <algorithm>

#include "core/check.h"
#include "model/across.h"
#include "model/blocks/shared_sequence.h"

namespace temper {
namespace {

// Of a microbatch's logits. The head's product costs a thirtieth of an update where the vocabulary is small.
constexpr int64_t kKeptLogitBytes = int64_t{64} << 20;

// Of the embedding's rows and their gradients, between the ends of a pipeline.
constexpr int kEmbeddedTag = 12, kEmbeddedGradientTag = 13;

int64_t Blocks(int64_t positions) {
  return (positions + kernels::kAttentionBlock - 1) / kernels::kAttentionBlock;
}

}  // namespace

int64_t RowsOf(const Microbatch& batch, const MeshPlace& rank) {
  const auto rows = static_cast<int64_t>(batch.tokens.size());
  if (!batch.is_long) return rows;
  return StretchesOf(rows, static_cast<int>(rank[Axis::kCp]), static_cast<int>(rank.sizes.cp)).edges.back();
}

void TrainPass::PlaceSequences(const Microbatch& batch) {
  positions_.clear();
  sequences_.clear();
  written_.clear();
  // One set of blocks serves all layers: the backward pass does not read them.
  const int64_t block_floats =
      kernels::BlockBytes(AttentionShapeOf(stack_.config(), stack_.mesh().place())) / 4;
  const auto begin = [&batch](size_t i) { return batch.positions.empty() ? 0 : batch.positions[i]; };
  int64_t pointers = 0, blocks = 0;
  for (size_t i = 0; i < batch.lengths.size(); ++i) {
    const int64_t all = Blocks(begin(i) + batch.lengths[i]);
    pointers += all;
    blocks += all - begin(i) / kernels::kAttentionBlock;
  }
  float* storage = space_.Floats(blocks * block_floats);
  block_pointers_.resize(pointers);
  void** table = block_pointers_.data();
  kernels::AttentionSequence prefix;
  for (size_t i = 0; i < batch.lengths.size(); ++i) {
    const int64_t first = begin(i), length = batch.lengths[i], all = Blocks(first + length);
    sequences_.push_back({static_cast<int64_t>(positions_.size()), length, first, table});
    if (first == 0) prefix = sequences_.back();
    TEMPER_CHECK(first == 0 || first == prefix.rows);
    // Whole blocks of its prefix are the same; of the one in which it begins it has a copy.
    const int64_t shared = first / kernels::kAttentionBlock, in_block = first % kernels::kAttentionBlock;
    std::copy_n(prefix.blocks, shared, table);
    for (int64_t b = shared; b < all; ++b, storage += block_floats) table[b] = storage;
    if (in_block > 0)
      written_.push_back({prefix.first_row + first - in_block, in_block, first - in_block, table});
    table += all;
    for (int64_t p = first; p < first + length; ++p) positions_.push_back(static_cast<int32_t>(p));
  }
  written_.insert(written_.end(), sequences_.begin(), sequences_.end());
  TEMPER_CHECK(positions_.size() == batch.tokens.size());
}

void TrainPass::TakeShare(const Microbatch& batch) {
  const Communicator& ranks = stack_.mesh().axis(Axis::kCp);
  const auto positions = static_cast<int64_t>(batch.tokens.size());
  stretches_ = StretchesOf(positions, ranks.rank(), ranks.size());
  if (ranks.size() == 1) return;
  shared_ = SharedSequence{.positions = positions, .ranges = {}, .whole = sequences_};
  for (int rank = 0; rank < ranks.size(); ++rank)
    shared_->ranges.push_back(PositionsOf(positions, rank, ranks.size()));
  positions_.clear();
  sequences_.clear();
  tokens_.clear();
  targets_.clear();
  for (const IndexRange& range : shared_->ranges[ranks.rank()]) {
    sequences_.push_back({static_cast<int64_t>(positions_.size()), range.end - range.begin, range.begin,
                          block_pointers_.data()});
    for (int64_t i = range.begin; i < range.end; ++i) positions_.push_back(static_cast<int32_t>(i));
    tokens_.insert(tokens_.end(), batch.tokens.begin() + range.begin, batch.tokens.begin() + range.end);
    targets_.insert(targets_.end(), batch.targets.begin() + range.begin, batch.targets.begin() + range.end);
  }
}

BatchView TrainPass::View() {
  BatchView view = stack_.View(positions_, sequences_);
  view.written = shared_ ? absl::MakeConstSpan(shared_->whole) : absl::MakeConstSpan(written_);
  view.shared = shared_ ? &*shared_ : nullptr;
  return view;
}

void TrainPass::Begin(const Microbatch& batch) {
  TEMPER_CHECK(batch.targets.size() == batch.tokens.size());
  TEMPER_CHECK(!batch.is_long || batch.lengths.size() <= 1, "a long sequence beside others");
  // The module's last row of a prefix would need a target and a next token in each sequence that goes on.
  TEMPER_CHECK(!trains_mtp_ || std::ranges::all_of(batch.positions, [](int64_t first) { return first == 0; }),
               "an MTP module is trained on sequences that share no rows");
  stack_.weights().Pack();
  space_.Clear();
  batch_ = &batch;
  inputs_.clear();
  saved_.clear();
  output_ = gradient_ = logits_ = {};
  mtp_kept_ = {};
  stretches_.reset();
  shared_.reset();
  PlaceSequences(batch);
  if (batch.is_long) TakeShare(batch);
  if (runs_mtp_) PlaceMtpRows();
  const Share own = OwnShare(In(&space_), static_cast<int64_t>(positions_.size()));
  inputs_.push_back(space_.NewRows(own.end - own.begin, stack_.config().hidden_size));
}

Matrix TrainPass::Forward() {
  TEMPER_CHECK(batch_ != nullptr && !output_, "Forward before Begin");
  const Context c = In(&scratch_);
  const BatchView view = View();
  Matrix x = inputs_.front(), spare;
  const size_t blocks = chunk_.end - chunk_.begin;
  saved_.resize(keep_ == Keep::kNothing ? 0 : blocks);
  if (keep_ == Keep::kNothing) spare = space_.NewRows(x.rows, x.cols);
  Weights& weights = stack_.weights();
  if (chunk_.embeds) {
    weights.Acquire(weights.embedding_unit(), stack_.UnitOf(chunk_.begin));
    stack_.vocabulary().Embed(c, shared_ ? tokens_ : batch_->tokens, x);
    weights.Release();
    if (feeds_mtp()) stack_.SendRows(x, stack_.pipeline().size() - 1, kEmbeddedTag);
  }
  const Workspace::Mark layer = scratch_.Here();
  for (size_t i = 0; i < blocks; ++i) {
    const size_t block = chunk_.begin + i;
    if (i % 2 == 0) {
      const int64_t behind = stack_.UnitBehind(chunk_, block);
      weights.Acquire(stack_.UnitOf(block),
                      runs_mtp_ && block + 2 == chunk_.end ? weights.mtp_unit() : behind);
    }
    const bool again = keep_ == Keep::kInputs && i % 2 == 0;  // the way back makes its output anew
    const Matrix y = spare ? spare : (again ? scratch_ : space_).NewRows(x.rows, x.cols);
    const Workspace::Mark mark = scratch_.Here();
    const bool keeps = Keeps(i);
    stack_.blocks()[block]->Forward(keeps ? In(&space_) : c, view, x, y, keeps ? &saved_[i] : nullptr);
    weights.Poll();
    if (i % 2 == 1) weights.Release();
    scratch_.Release(i % 2 == 1 ? layer : mark);
    if (spare) {
      spare = x;
    } else if (i > 0 && (keep_ != Keep::kInputs || i % 2 == 0)) {
      inputs_.push_back(x);
    }
    x = y;
  }
  return output_ = x;
}

Matrix TrainPass::NewLogits() {
  if (keep_ != Keep::kAll || stretches_) return {};
  const Weight& head = stack_.weights().head();
  if (stack_.backend().PackedFloats(head.n(), head.k()) == 0) return {};  // a device makes them anew
  const int64_t rows = std::ranges::count_if(HeadTargets(), [](int32_t target) { return target >= 0; });
  const int64_t vocab = head.n();
  return rows * vocab * 4 <= kKeptLogitBytes ? space_.NewRows(rows, vocab) : Matrix();
}

void TrainPass::Logprobs(float temperature, float* logprobs, double* entropies) {
  TEMPER_CHECK(chunk_.predicts && output_, "Logprobs before Forward");
  const Context c = In(&scratch_);
  temperature_ = temperature;
  rstd_ = space_.Floats(output_.rows);
  if (runs_mtp_) {
    TEMPER_CHECK(!shared_ && entropies == nullptr);
    pairs_ = space_.NewRows(output_.rows, 2 * output_.cols);
    hidden_ = pairs_.Columns(0, output_.cols);
  } else {
    hidden_ = space_.NewRows(output_.rows, output_.cols);
  }
  Weights& weights = stack_.weights();
  weights.Acquire(weights.norm_unit());
  stack_.final_norm().Forward(c, output_, hidden_, rstd_);
  weights.Release();
  if (runs_mtp_) ForwardMtp();
  weights.Acquire(weights.head_unit());
  if (runs_mtp_) {
    logits_ = NewLogits();
    values_.resize(targets_.size());
    stack_.vocabulary().Logprobs(c, HeadRows(), {targets_, temperature, &sums_, logits_}, values_.data(),
                                 nullptr);
    TakeMtpLogprobs(logprobs);
  } else if (shared_) {
    TEMPER_CHECK(entropies == nullptr, "entropies of a part of a sequence");
    values_.resize(targets_.size());
    stack_.vocabulary().Logprobs(c, hidden_, {targets_, temperature, &sums_}, values_.data(), nullptr);
    GatherValues(*shared_, values_, logprobs, stack_.mesh().axis(Axis::kCp));
  } else {
    logits_ = NewLogits();
    stack_.vocabulary().Logprobs(c, hidden_, {batch_->targets, temperature, &sums_, logits_}, logprobs,
                                 entropies);
  }
  weights.Release();
}

void TrainPass::StartBackward(const float* dlogprobs) {
  TEMPER_CHECK(chunk_.predicts);
  const Context c = In(&scratch_);
  const Matrix dy = gradient();
  const Workspace::Mark mark = scratch_.Here();
  const Matrix drows = scratch_.NewRows(dy.rows, (runs_mtp_ ? 2 : 1) * dy.cols);
  const Matrix dx = drows.Columns(0, dy.cols);
  Weights& weights = stack_.weights();
  weights.Acquire(weights.head_unit(), runs_mtp_ ? weights.mtp_unit() : stack_.UnitOf(chunk_.end - 1));
  weights.AcquireGradients(weights.head_gradient_unit());
  if (shared_) TakeValues(*shared_, dlogprobs, stack_.mesh().axis(Axis::kCp).rank(), &values_);
  for (size_t i = 0; i < mtp_rows_.dlogprobs.size(); ++i) {
    values_[2 * i] = dlogprobs[i];
    values_[2 * i + 1] = mtp_rows_.dlogprobs[i];
  }
  const float* const of_head = shared_ || runs_mtp_ ? values_.data() : dlogprobs;
  stack_.vocabulary().LogprobsBackward(c, HeadRows(), {HeadTargets(), temperature_, &sums_, logits_}, of_head,
                                       drows);
  weights.Release();
  weights.ReleaseGradients();
  if (runs_mtp_) BackwardMtp(drows.Columns(dy.cols, dy.cols), dx);
  weights.Acquire(weights.norm_unit());
  weights.AcquireGradients(weights.norm_unit());
  stack_.final_norm().Backward(c, {dx, output_, rstd_, dy, /*add=*/{}, /*own=*/true});
  weights.Release();
  weights.ReleaseGradients();
  scratch_.Release(mark);
}

Matrix TrainPass::gradient() {
  TEMPER_CHECK(batch_ != nullptr && output_ && keep_ != Keep::kNothing,
               "Backward without what the forward pass keeps");
  if (!gradient_) gradient_ = space_.NewRows(output_.rows, output_.cols);
  return gradient_;
}

Matrix TrainPass::Backward(bool weights_later) {
  // What the gradients of weights are made of has to be there still when they are.
  Context c = In(weights_later ? &space_ : &scratch_);
  if (weights_later) c.later = &later_;
  Matrix dy = gradient(), dx;
  if (!weights_later) dx = space_.NewRows(dy.rows, dy.cols);
  Weights& weights = stack_.weights();
  const BatchView view = View();
  const Workspace::Mark layer = scratch_.Here();
  for (size_t i = chunk_.end - chunk_.begin; i-- > 0;) {
    Block& block = *stack_.blocks()[chunk_.begin + i];
    const bool is_mlp = i % 2 == 1;
    Matrix input = inputs_[keep_ == Keep::kInputs ? i / 2 : i];
    if (is_mlp) {
      weights.Acquire(stack_.UnitOf(chunk_.begin + i), stack_.UnitBefore(chunk_, chunk_.begin + i));
      weights.AcquireGradients(stack_.UnitOf(chunk_.begin + i));
      if (keep_ == Keep::kInputs) {
        const Matrix output = c.workspace->NewRows(dy.rows, dy.cols);
        stack_.blocks()[chunk_.begin + i - 1]->Forward(c, view, input, output, &saved_[i - 1]);
        input = output;
      }
    }
    const Workspace::Mark mark = is_mlp ? scratch_.Here() : layer;
    const Matrix to = weights_later ? space_.NewRows(dy.rows, dy.cols) : dx;
    if (is_mlp && !Keeps(i)) block.Forward(c, view, input, {}, &saved_[i]);
    block.Backward(c, view, *saved_[i], dy, to);
    weights.Poll();
    dx = dy;
    dy = to;
    saved_[i].reset();
    if (i % 2 == 0) {
      weights.Release();
      weights.ReleaseGradients(weights_later);
    }
    scratch_.Release(mark);
  }
  if (trains_mtp_ && chunk_.embeds) AddMtpEmbedded(dy);
  if (chunk_.embeds) {
    weights.AcquireGradients(weights.embedding_unit());
    stack_.vocabulary().EmbedBackward(In(&scratch_), shared_ ? tokens_ : batch_->tokens, dy);
    weights.ReleaseGradients();
  }
  batch_ = nullptr;
  return dy;
}

void TrainPass::PlaceMtpRows() {
  const auto rows = static_cast<int32_t>(batch_->targets.size());
  next_row_.resize(rows);
  targets_.resize(2 * rows);
  int32_t row = 0;
  for (const int64_t length : batch_->lengths) {
    for (const auto end = row + static_cast<int32_t>(length); row < end; ++row) {
      next_row_[row] = std::min(row + 1, end - 1);
      targets_[2 * row] = batch_->targets[row];
      targets_[2 * row + 1] = row + 1 < end ? batch_->targets[row + 1] : -1;
    }
  }
}

void TrainPass::TakeMtpEmbedded() {
  embedded_ = inputs_.front();
  if (chunk_.embeds) return;
  embedded_ = space_.NewRows(output_.rows, output_.cols);
  stack_.ReceiveRows(embedded_, 0, kEmbeddedTag);
}

// The embedding of a row's next token is what the first layer reads in the next row. The last row of a
// sequence has no target two tokens on, and nobody reads it.
Mtp::Inputs TrainPass::MtpInputs() {
  const Context c = In(&scratch_);
  const auto rows = static_cast<int64_t>(next_row_.size());
  const Matrix next = scratch_.NewRows(hidden_.rows, hidden_.cols);
  const Matrix all = AllRows(c, embedded_, rows);
  stack_.backend().GatherRows({all, next_row_.data() + OwnShare(c, rows).begin, next});
  return {next, hidden_};
}

void TrainPass::ForwardMtp() {
  const Workspace::Mark mark = scratch_.Here();
  Weights& weights = stack_.weights();
  weights.Acquire(weights.mtp_unit(), weights.head_unit());
  mtp_kept_ = {.keeps_attention = Keeps(0), .keeps_mlp = Keeps(1)};
  TakeMtpEmbedded();
  stack_.mtp()->Forward(In(&space_), In(&scratch_), View(), MtpInputs(),
                        pairs_.Columns(hidden_.cols, hidden_.cols), &mtp_kept_);
  weights.Release();
  scratch_.Release(mark);
}

void TrainPass::TakeMtpLogprobs(float* logprobs) {
  const size_t rows = targets_.size() / 2;
  mtp_rows_.logprobs.resize(rows);
  mtp_rows_.likeliest.resize(rows);
  mtp_rows_.dlogprobs.assign(rows, 0);
  for (size_t i = 0; i < rows; ++i) {
    logprobs[i] = values_[2 * i];
    mtp_rows_.logprobs[i] = values_[2 * i + 1];
    mtp_rows_.likeliest[i] = targets_[2 * i + 1] >= 0 && values_[2 * i + 1] == -sums_[2 * i + 1].log_sum;
  }
}

void TrainPass::BackwardMtp(Matrix dy, Matrix dhidden) {
  const Context c = In(&scratch_);
  Weights& weights = stack_.weights();
  weights.Acquire(weights.mtp_unit(), stack_.UnitOf(chunk_.end - 1));
  weights.AcquireGradients(weights.mtp_unit());
  dembedded_ = space_.NewRows(hidden_.rows, hidden_.cols);
  const Matrix more = scratch_.NewRows(hidden_.rows, hidden_.cols);
  stack_.mtp()->Backward(c, View(), MtpInputs(), &mtp_kept_, {dy, {dembedded_, more}});
  stack_.backend().Add(more, dhidden);
  if (!chunk_.embeds) stack_.SendRows(dembedded_, 0, kEmbeddedGradientTag);
  weights.Release();
  weights.ReleaseGradients();
}

void TrainPass::AddMtpEmbedded(Matrix dx) {
  const Context c = In(&scratch_);
  const Workspace::Mark mark = scratch_.Here();
  if (feeds_mtp()) {
    dembedded_ = scratch_.NewRows(dx.rows, dx.cols);
    stack_.ReceiveRows(dembedded_, stack_.pipeline().size() - 1, kEmbeddedGradientTag);
  }
  const auto rows = static_cast<int64_t>(batch_->tokens.size());
  const Matrix all = AllRows(c, dembedded_, rows);
  const Share own = OwnShare(c, rows);
  int64_t row = 0;
  for (const int64_t length : batch_->lengths) {
    const int64_t begin = std::max(row + 1, own.begin), end = std::min(row + length, own.end);
    if (begin < end)
      stack_.backend().Add(all.Rows(begin - 1, end - begin), dx.Rows(begin - own.begin, end - begin));
    row += length;
  }
  scratch_.Release(mark);
}

void TrainPass::BackwardWeights() {
  later_.Compute(In(&scratch_));
  for (size_t end = chunk_.end; end > chunk_.begin; end -= 2)
    stack_.weights().EndGradients(stack_.UnitOf(end - 2));
}

}  // namespace temper

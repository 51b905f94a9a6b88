// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/step.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "comm/gather.h"
#include "core/check.h"
#include "core/trace.h"
#include "trainer/update/tied_head.h"

namespace temper {
namespace {

constexpr Packing kAlone{.tokens = 1};

void AddSums(const LossSums& from, LossSums* to) {
  to->loss += from.loss;
  to->kl += from.kl;
  to->clipped += from.clipped;
  to->ratio += from.ratio;
  to->nll += from.nll;
  to->tokens += from.tokens;
  to->unequal += from.unequal;
  to->max_difference = std::max(to->max_difference, from.max_difference);
  to->mtp_tokens += from.mtp_tokens;
  to->mtp_nll += from.mtp_nll;
  to->mtp_right += from.mtp_right;
}

}  // namespace

void SequenceLogprobs(CausalLm& model, absl::Span<const TrainSequence* const> sequences,
                      const ForwardOptions& options,
                      absl::FunctionRef<void(size_t, absl::Span<const float>)> result) {
  std::vector<const TrainSequence*> of_kind;
  std::vector<size_t> index;  // of each in `sequences`
  std::vector<float> counted;
  // The short ones first, since ranks of mesh.cp meet at the long ones.
  for (const bool is_long : {false, true}) {
    of_kind.clear();
    index.clear();
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (IsLong(*sequences[i], options.long_sequence_tokens) != is_long) continue;
      of_kind.push_back(sequences[i]);
      index.push_back(i);
    }
    std::vector<Microbatch> batches;
    std::vector<std::pair<size_t, size_t>> origins;  // of each batch its first sequence, and how many
    const Packing packing{options.tokens_per_microbatch, options.tokens_per_shared_prompt};
    ForEachMicrobatch(of_kind, is_long ? kAlone : packing,
                      [&](const Microbatch& batch, size_t first, size_t count) {
                        batches.push_back(batch);
                        batches.back().is_long = is_long;
                        origins.emplace_back(first, count);
                      });
    Microbatch empty;
    empty.is_long = is_long;
    batches.resize(Largest(static_cast<int64_t>(batches.size()), model.mesh().in_step()), empty);
    origins.resize(batches.size());
    if (batches.empty()) continue;
    Pipeline(&model, TrainPass::Keep::kNothing)
        .Logprobs(batches, options.temperature, [&](size_t batch, const float* logprobs) {
          const auto [first, count] = origins[batch];
          const std::vector<int64_t> rows = FirstRows(batches[batch]);
          for (size_t i = 0; i < count; ++i) {
            GatherCounted(*of_kind[first + i], logprobs + rows[i], &counted);
            result(index[first + i], counted);
          }
        });
  }
}

Updater::Updater(CausalLm* model, Optimizer* optimizer, const StepOptions& options, const Mesh& mesh)
    : model_(model),
      optimizer_(optimizer),
      options_(options),
      mesh_(mesh),
      pipeline_(model, options.keep),
      leaves_(MakeLeafGradients(model, {options.gradient_bits, options.gradient_leaves})) {
  TEMPER_CHECK(mesh.sizes().pp == model->mesh().sizes().pp, "a policy of another mesh");
}

void Updater::FreeGradients() {
  leaves_->GiveBack(std::exchange(total_, nullptr));
  leaves_->Free();
}

std::vector<float> Updater::gradient() const {
  std::vector<float> host(model_->weights().TrainedFloats());
  const auto size = static_cast<int64_t>(host.size());
  if (total_ != nullptr)
    model_->backend().CopyToHost(kernels::F32(static_cast<float*>(total_.get()), 1, size), host.data());
  return host;
}

std::vector<Updater::Piece> Updater::PiecesOf(const Leaves& leaves, int64_t leaf) const {
  std::vector<const TrainSequence*> sequences;
  std::vector<size_t> index;
  for (size_t i = 0; i < leaves[leaf].size(); ++i) {
    if (IsLong(*leaves[leaf][i], options_.long_sequence_tokens)) continue;
    sequences.push_back(leaves[leaf][i]);
    index.push_back(i);
  }
  std::vector<Piece> pieces;
  ForEachMicrobatch(sequences, {options_.tokens_per_microbatch, options_.tokens_per_shared_prompt},
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      pieces.push_back({batch, leaf, {&index[first], &index[first] + count}});
                    });
  return pieces;
}

void Updater::AddLongPieces(const Leaves& leaves, std::vector<Piece>* pieces) const {
  const std::vector<LongSequence> all = LongSequencesOf(leaves, mesh_, options_.long_sequence_tokens);
  const int64_t most = Largest(static_cast<int64_t>(all.size()), mesh_.in_step());
  const int64_t turn = pieces->empty() ? 0 : pieces->back().turn.leaf + 1;
  for (int64_t i = 0; i < most; ++i) {
    if (i >= static_cast<int64_t>(all.size())) {
      Piece& empty = pieces->emplace_back();
      empty.turn = {.leaf = turn + i, .last = true, .is_long = true};
      empty.batch.is_long = true;
      continue;
    }
    pieces->push_back(LongPiece(leaves, all[i].leaf, all[i].index, turn + i));
    pieces->back().counts = all[i].owner == mesh_.axis(Axis::kCp).rank();
  }
}

Updater::Piece Updater::LongPiece(const Leaves& leaves, int64_t leaf, size_t index, int64_t turn) const {
  Piece piece{.batch = {}, .leaf = leaf, .sequences = {index}};
  piece.turn = {.leaf = turn, .last = true, .is_long = true};
  ForEachMicrobatch({leaves[leaf][index]}, kAlone,
                    [&](const Microbatch& batch, size_t, size_t) { piece.batch = batch; });
  piece.batch.is_long = true;
  return piece;
}

std::vector<Updater::Piece> Updater::Pieces(const Leaves& leaves, const std::vector<int64_t>& mine) const {
  std::vector<std::vector<Piece>> of_leaves;
  for (const int64_t leaf : mine) {
    std::vector<Piece> pieces = PiecesOf(leaves, leaf);
    if (!pieces.empty()) of_leaves.push_back(std::move(pieces));
  }
  std::vector<int64_t> counts;
  for (const std::vector<Piece>& pieces : of_leaves) counts.push_back(static_cast<int64_t>(pieces.size()));
  std::vector<int64_t> most = counts;
  if (mesh_.in_step().size() > 1) {
    for (const std::vector<int64_t>& others : AllGather(counts, mesh_.in_step())) {
      most.resize(std::max(most.size(), others.size()));
      for (size_t i = 0; i < others.size(); ++i) most[i] = std::max(most[i], others[i]);
    }
    of_leaves.resize(most.size());
  }
  std::vector<Piece> all;
  for (size_t i = 0; i < of_leaves.size(); ++i) {
    const int64_t leaf = of_leaves[i].empty() ? -1 : of_leaves[i][0].leaf;
    const size_t begin = all.size();
    all.resize(begin + most[i] - of_leaves[i].size(), {.batch = {}, .leaf = leaf});
    for (Piece& piece : of_leaves[i]) all.push_back(std::move(piece));
    for (size_t at = begin; at < all.size(); ++at)
      all[at].turn = {.leaf = static_cast<int64_t>(i), .last = at + 1 == all.size(), .only = most[i] == 1};
  }
  AddLongPieces(leaves, &all);
  return all;
}

void Updater::RunPieces(const std::vector<Piece>& pieces, Run* run) {
  std::vector<Microbatch> batches;
  for (const Piece& piece : pieces) {
    batches.push_back(piece.batch);
    run->result->local_tokens += RowsOf(piece.batch, mesh_.place());
    run->result->microbatches += piece.sequences.empty() ? 0 : 1;
  }
  Communicator& ranks = model_->stack().pipeline();
  const TraceSpan span("phase", "leaves", {"tokens", run->result->local_tokens});
  std::vector<float> counted, dcounted;
  const double seconds = pipeline_.seconds(), waited = pipeline_.waited_seconds();
  pipeline_.Run(batches, run->temperature,
                {.loss =
                     [&](size_t batch, const float* logprobs, float* dlogprobs, MtpRows* mtp) {
                       const Piece& piece = pieces[batch];
                       const std::vector<int64_t> first_rows = FirstRows(piece.batch);
                       for (size_t n = 0; n < piece.sequences.size(); ++n) {
                         const size_t i = piece.sequences[n];
                         const int64_t first = first_rows[n];
                         const TrainSequence& sequence = *(*run->leaves)[piece.leaf][i];
                         LossSums sums;
                         GatherCounted(sequence, logprobs + first, &counted);
                         dcounted.resize(counted.size());
                         run->loss(sequence, counted, absl::MakeSpan(dcounted), &sums);
                         ScatterCounted(sequence, dcounted, dlogprobs + first);
                         const int64_t rows = sequence.length() - 1;
                         if (mtp != nullptr) {
                           MtpLoss({.scale = run->mtp_scale,
                                    .logprobs = absl::MakeSpan(mtp->logprobs).subspan(first, rows),
                                    .likeliest = &mtp->likeliest,
                                    .first = first,
                                    .dlogprobs = absl::MakeSpan(mtp->dlogprobs).subspan(first, rows)},
                                   sequence, &sums);
                         }
                         if (piece.counts) run->sums.push_back({piece.leaf, static_cast<int64_t>(i), sums});
                       }
                     },
                 .bind =
                     [&](size_t batch) {
                       mesh_.world().Announce("updates");
                       if (run->hand_out != nullptr) run->hand_out->Serve();
                       leaves_->Bind(pieces[batch].turn);
                     },
                 .head_done =
                     [&](size_t batch) {
                       const LeafTurn& turn = pieces[batch].turn;
                       if (turn.last && !turn.is_long) SendHeadGradient(model_);
                     },
                 .done =
                     [&](size_t batch) {
                       if (pieces[batch].turn.last) leaves_->EndLeaf(pieces[batch].turn.leaf);
                     }});
  if (ranks.size() == 1) return;
  const double spent = pipeline_.seconds() - seconds;
  const double share = spent > 0 ? (pipeline_.waited_seconds() - waited) / spent : 0;
  run->result->bubble =
      static_cast<double>(ranks.Sum(static_cast<int64_t>(share * 1e6))) / 1e6 / ranks.size();
}

void Updater::RunHandedOut(const Leaves& leaves, Run* run) {
  LeafHandOut hand_out(PartsOfRanks(leaves, mesh_, options_.long_sequence_tokens), leaves, mesh_);
  run->leaves = &hand_out.leaves();
  run->hand_out = &hand_out;
  int64_t turn = 0;
  while (const LeafPart* part = hand_out.Next()) {
    std::vector<Piece> pieces;
    if (part->is_long) {
      pieces.push_back(LongPiece(hand_out.leaves(), part->leaf, part->sequences[0], turn));
    } else {
      pieces = PiecesOf(hand_out.leaves(), part->leaf);
      for (Piece& piece : pieces)
        piece.turn = {.leaf = turn, .last = &piece == &pieces.back(), .only = pieces.size() == 1};
    }
    RunPieces(pieces, run);
    ++turn;
  }
  hand_out.End();
  run->hand_out = nullptr;
  run->leaves = nullptr;
  run->result->taken_over = mesh_.dp().Sum(hand_out.taken_over());
}

int64_t Updater::ValuesOf(const Leaves& leaves) const {
  int64_t stretches = 0;
  for (const std::vector<const TrainSequence*>& leaf : leaves)
    for (const TrainSequence* sequence : leaf)
      stretches += IsLong(*sequence, options_.long_sequence_tokens) ? kStretches : 0;
  // A tied head's own is added beside the embedding's.
  return options_.gradient_leaves + (model_->config().tie_word_embeddings ? 2 : 1) * stretches;
}

LossSums Updater::SumOfAll(const std::vector<LeafSums>& mine) const {
  std::vector<LeafSums> of_all;
  for (const std::vector<LeafSums>& part : AllGather(mine, mesh_.dp()))
    of_all.insert(of_all.end(), part.begin(), part.end());
  absl::c_sort(of_all, [](const LeafSums& a, const LeafSums& b) {
    return std::tie(a.leaf, a.index) < std::tie(b.leaf, b.index);
  });
  LossSums all;
  for (const LeafSums& one : of_all) AddSums(one.sums, &all);
  // Of a pipeline its last rank has them.
  Communicator& ranks = model_->stack().pipeline();
  if (ranks.size() > 1) ranks.Broadcast(&all, sizeof all, ranks.size() - 1);
  return all;
}

StepResult Updater::Update(const Leaves& leaves, float temperature, const OptimizerConfig& config,
                           double learning_rate, LossFunction loss) {
  TEMPER_CHECK(static_cast<int64_t>(leaves.size()) == options_.gradient_leaves);
  const TraceSpan span("phase", "update");
  StepResult result;
  result.skipped = absl::c_all_of(leaves, [](const auto& leaf) { return leaf.empty(); });
  if (result.skipped) return result;
  leaves_->GiveBack(std::exchange(total_, nullptr));
  Run run{&leaves, temperature, loss, &result};
  int64_t mtp_tokens = 0;
  for (const std::vector<const TrainSequence*>& leaf : leaves)
    for (const TrainSequence* sequence : leaf) mtp_tokens += MtpTokens(*sequence);
  run.mtp_scale = mtp_tokens > 0 ? options_.mtp_weight / static_cast<double>(mtp_tokens) : 0;
  leaves_->Expect(ValuesOf(leaves));
  const int64_t long_tokens = options_.long_sequence_tokens;
  if (LeafHandOut::IsFor(mesh_)) {
    RunHandedOut(leaves, &run);
  } else {
    RunPieces(Pieces(leaves, LeavesOfRanks(leaves, mesh_, long_tokens)[mesh_.dp_rank()]), &run);
  }
  {
    const TraceSpan summing("phase", "sum of leaves");
    total_ = leaves_->Take();
  }
  // A rank whose part of the policy is in range goes by its mates'.
  if (mesh_.mates().Sum(total_ == nullptr ? 1 : 0) > 0) leaves_->GiveBack(std::exchange(total_, nullptr));
  result.sums = SumOfAll(run.sums);
  if (total_ == nullptr) {
    result.applied = false;
    result.gradient_norm = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const TraceSpan stepping("phase", "optimizer");
  ShareTiedGradient(model_, static_cast<float*>(total_.get()));
  static_cast<OptimizerStep&>(result) =
      optimizer_->Step(config, learning_rate, static_cast<const float*>(total_.get()));
  return result;
}

}  // namespace temper

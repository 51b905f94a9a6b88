// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/step.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "comm/gather.h"
#include "core/check.h"
#include "core/deal.h"
#include "core/trace.h"
#include "trainer/update/tied_head.h"

namespace temper {
namespace {

void AddSums(const LossSums& from, LossSums* to) {
  to->loss += from.loss;
  to->kl += from.kl;
  to->clipped += from.clipped;
  to->ratio += from.ratio;
  to->nll += from.nll;
  to->tokens += from.tokens;
  to->unequal += from.unequal;
  to->max_difference = std::max(to->max_difference, from.max_difference);
}

void CheckRanges(const TrainSequence& sequence, size_t index) {
  int64_t last = 1;
  for (const CountedRange& range : sequence.ranges) {
    TEMPER_CHECK(last <= range.begin && range.begin < range.end, "sequence ", index, " counts tokens [",
                 range.begin, ", ", range.end, ")");
    last = range.end;
  }
  TEMPER_CHECK(!sequence.ranges.empty() && last == static_cast<int64_t>(sequence.tokens.size()), "sequence ",
               index, " has ", sequence.tokens.size(), " tokens");
}

// The counted ones of a sequence's rows, which begin at `rows`, one after another, and back. A row has the
// logprob of the token behind it.
void Gather(const TrainSequence& sequence, const float* rows, std::vector<float>* counted) {
  counted->clear();
  for (const CountedRange& range : sequence.ranges)
    counted->insert(counted->end(), rows + range.begin - 1, rows + range.end - 1);
}
void Scatter(const TrainSequence& sequence, const std::vector<float>& counted, float* rows) {
  auto next = counted.begin();
  for (const CountedRange& range : sequence.ranges) {
    const auto end = next + (range.end - range.begin);
    std::copy(next, end, rows + range.begin - 1);
    next = end;
  }
}

}  // namespace

std::vector<std::vector<int64_t>> LeavesOfRanks(const Leaves& leaves, const Mesh& mesh) {
  TEMPER_CHECK(static_cast<int>(leaves.size()) >= mesh.dp_size(), leaves.size(), " gradient leaves for ",
               mesh.dp_size(), " ranks");
  std::vector<int64_t> tokens;
  for (const std::vector<const TrainSequence*>& leaf : leaves) {
    tokens.push_back(0);
    for (const TrainSequence* sequence : leaf) tokens.back() += sequence->length();
  }
  return Deal(tokens, mesh.dp_size());
}

void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, int64_t tokens,
                       absl::FunctionRef<void(const Microbatch&, size_t, size_t)> body) {
  Microbatch batch;
  size_t first = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const TrainSequence& sequence = *sequences[i];
    CheckRanges(sequence, i);
    const int64_t rows = sequence.length() - 1;
    if (i > first && static_cast<int64_t>(batch.tokens.size()) + rows > tokens) {
      body(batch, first, i - first);
      batch = Microbatch();
      first = i;
    }
    batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end() - 1);
    batch.targets.resize(batch.tokens.size(), -1);
    for (const CountedRange& range : sequence.ranges) {
      std::copy(sequence.tokens.begin() + range.begin, sequence.tokens.begin() + range.end,
                batch.targets.end() - rows + range.begin - 1);
    }
    batch.lengths.push_back(rows);
  }
  if (first < sequences.size()) body(batch, first, sequences.size() - first);
}

void SequenceLogprobs(CausalLm& model, absl::Span<const TrainSequence* const> sequences,
                      int64_t tokens_per_microbatch, float temperature,
                      absl::FunctionRef<void(size_t, absl::Span<const float>)> result) {
  std::vector<Microbatch> batches;
  std::vector<std::pair<size_t, size_t>> origins;  // of each batch its first sequence, and how many
  ForEachMicrobatch(sequences, tokens_per_microbatch,
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      batches.push_back(batch);
                      origins.emplace_back(first, count);
                    });
  batches.resize(Largest(static_cast<int64_t>(batches.size()), model.mesh().in_step()));
  origins.resize(batches.size());
  std::vector<float> counted;
  Pipeline(&model, TrainPass::Keep::kNothing)
      .Logprobs(batches, temperature, [&](size_t batch, const float* logprobs) {
        const auto [first, count] = origins[batch];
        for (size_t i = first; i < first + count; ++i) {
          Gather(*sequences[i], logprobs, &counted);
          result(i, counted);
          logprobs += sequences[i]->length() - 1;
        }
      });
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

std::vector<float> Updater::gradient() const {
  std::vector<float> host(model_->weights().TrainedFloats());
  const auto size = static_cast<int64_t>(host.size());
  if (total_ != nullptr)
    model_->backend().CopyToHost(kernels::F32(static_cast<float*>(total_.get()), 1, size), host.data());
  return host;
}

std::vector<Updater::Piece> Updater::PiecesOf(const Leaves& leaves, int64_t leaf) const {
  std::vector<Piece> pieces;
  ForEachMicrobatch(leaves[leaf], options_.tokens_per_microbatch,
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      pieces.push_back({batch, leaf, first, count});
                    });
  return pieces;
}

std::vector<Updater::Piece> Updater::Pieces(const Leaves& leaves, const std::vector<int64_t>& mine) const {
  std::vector<std::vector<Piece>> of_leaves;
  for (const int64_t leaf : mine)
    if (!leaves[leaf].empty()) of_leaves.push_back(PiecesOf(leaves, leaf));
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
      all[at].turn = {.leaf = static_cast<int64_t>(i), .last = at + 1 == all.size()};
  }
  return all;
}

void Updater::RunPieces(const std::vector<Piece>& pieces, Run* run) {
  std::vector<Microbatch> batches;
  for (const Piece& piece : pieces) {
    batches.push_back(piece.batch);
    run->result->local_tokens += static_cast<int64_t>(piece.batch.tokens.size());
    run->result->microbatches += piece.count > 0 ? 1 : 0;
  }
  Communicator& ranks = model_->stack().pipeline();
  const TraceSpan span("phase", "leaves", {"tokens", run->result->local_tokens});
  std::vector<float> counted, dcounted;
  const double seconds = pipeline_.seconds(), waited = pipeline_.waited_seconds();
  pipeline_.Run(batches, run->temperature,
                {.loss =
                     [&](size_t batch, const float* logprobs, float* dlogprobs) {
                       const Piece& piece = pieces[batch];
                       for (size_t i = piece.first; i < piece.first + piece.count; ++i) {
                         const TrainSequence& sequence = *run->leaves[piece.leaf][i];
                         LossSums& sums = run->sums.emplace_back(LeafSums{piece.leaf, {}}).sums;
                         Gather(sequence, logprobs, &counted);
                         dcounted.resize(counted.size());
                         run->loss(sequence, counted, absl::MakeSpan(dcounted), &sums);
                         Scatter(sequence, dcounted, dlogprobs);
                         logprobs += sequence.length() - 1;
                         dlogprobs += sequence.length() - 1;
                       }
                     },
                 .bind =
                     [&](size_t batch) {
                       mesh_.world().Announce("updates");
                       leaves_->Bind(pieces[batch].turn);
                     },
                 .head_done =
                     [&](size_t batch) {
                       if (pieces[batch].turn.last) SendHeadGradient(model_);
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

LossSums Updater::SumOfAll(const std::vector<LeafSums>& mine) const {
  std::vector<LeafSums> of_all;
  for (const std::vector<LeafSums>& part : AllGather(mine, mesh_.dp()))
    of_all.insert(of_all.end(), part.begin(), part.end());
  absl::c_stable_sort(of_all, [](const LeafSums& a, const LeafSums& b) { return a.leaf < b.leaf; });
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
  Run run{leaves, temperature, loss, &result};
  RunPieces(Pieces(leaves, LeavesOfRanks(leaves, mesh_)[mesh_.dp_rank()]), &run);
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

// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/step.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/algorithm/container.h"
#include "comm/reduce.h"
#include "core/check.h"

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

}  // namespace

LeafRange LocalLeaves(const Mesh& mesh, int64_t gradient_leaves) {
  const int64_t ranks = mesh.dp_size();
  TEMPER_CHECK(gradient_leaves % ranks == 0, gradient_leaves, " gradient leaves for ", ranks, " ranks");
  const int64_t count = gradient_leaves / ranks;
  return {mesh.dp_rank() * count, count};
}

void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, int64_t tokens,
                       absl::FunctionRef<void(const Microbatch&, size_t, size_t)> body) {
  Microbatch batch;
  size_t first = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const TrainSequence& sequence = *sequences[i];
    const int64_t rows = static_cast<int64_t>(sequence.tokens.size()) - 1;
    TEMPER_CHECK(rows >= 1 && sequence.first_target >= 1 && sequence.first_target <= rows, "sequence ", i,
                 " counts no token");
    if (i > first && static_cast<int64_t>(batch.tokens.size()) + rows > tokens) {
      body(batch, first, i - first);
      batch = Microbatch();
      first = i;
    }
    batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end() - 1);
    for (int64_t row = 0; row < rows; ++row) {
      batch.targets.push_back(row + 1 >= sequence.first_target ? sequence.tokens[row + 1] : -1);
    }
    batch.lengths.push_back(rows);
  }
  if (first < sequences.size()) body(batch, first, sequences.size() - first);
}

void SequenceLogprobs(CausalLm& model, absl::Span<const TrainSequence* const> sequences,
                      int64_t tokens_per_microbatch, float temperature,
                      absl::FunctionRef<void(size_t, absl::Span<const float>)> result) {
  std::vector<float> logprobs;
  ForEachMicrobatch(
      sequences, tokens_per_microbatch, [&](const Microbatch& batch, size_t first, size_t count) {
        logprobs.resize(batch.tokens.size());
        model.Logprobs(batch, temperature, logprobs.data());
        int64_t row = 0;
        for (size_t i = first; i < first + count; ++i) {
          const TrainSequence& sequence = *sequences[i];
          result(i,
                 absl::MakeConstSpan(logprobs).subspan(row + sequence.first_target - 1, sequence.counted()));
          row += static_cast<int64_t>(sequence.tokens.size()) - 1;
        }
      });
}

Updater::Updater(CausalLm* model, Optimizer* optimizer, const StepOptions& options, const Mesh& mesh)
    : model_(model),
      optimizer_(optimizer),
      options_(options),
      mesh_(mesh),
      pass_(&model->stack(), options.recompute ? TrainPass::Keep::kInputs : TrainPass::Keep::kAll) {}

Updater::~Updater() = default;

std::vector<float> Updater::gradient() const {
  std::vector<float> host(model_->weights().TrainedFloats());
  if (total_ != nullptr) model_->backend().CopyToHost(Trained(total_), host.data());
  return host;
}

int64_t Updater::bytes() const {
  return (total_ == nullptr ? 0 : model_->weights().GradientFloats() * 4) + pass_.bytes();
}

Matrix Updater::Trained(const std::shared_ptr<void>& leaf) const {
  return kernels::F32(static_cast<float*>(leaf.get()), 1, model_->weights().TrainedFloats());
}

std::shared_ptr<void> Updater::BeginLeaf() {
  // The last total's memory first: of a large model, what one gradient more would take counts.
  std::shared_ptr<void> leaf = std::exchange(total_, nullptr);
  if (leaf == nullptr) leaf = model_->backend().Allocate(model_->weights().GradientFloats() * 4);
  float* const numbers = static_cast<float*>(leaf.get());
  model_->backend().Zero(kernels::F32(numbers, 1, model_->weights().GradientFloats()));
  model_->weights().BindGradients(numbers);
  return leaf;
}

void Updater::Reduce() {
  const Matrix total = Trained(total_);
  kernels::Backend& backend = model_->backend();
  if (backend.host_memory()) return TreeReduceAll(total.f32(), total.cols, mesh_.dp(), backend.pool());
  if (mesh_.dp_size() == 1) return;
  std::vector<float> host(total.cols);
  backend.CopyToHost(total, host.data());
  TreeReduceAll(host.data(), total.cols, mesh_.dp(), backend.pool());
  backend.CopyFromHost(host.data(), total);
}

StepResult Updater::Update(const Leaves& leaves, float temperature, const OptimizerConfig& config,
                           double learning_rate, LossFunction loss) {
  TEMPER_CHECK(static_cast<int64_t>(leaves.size()) == options_.gradient_leaves);
  const LeafRange mine = LocalLeaves(mesh_, options_.gradient_leaves);
  StepResult result;
  result.skipped = absl::c_all_of(leaves, [](const auto& leaf) { return leaf.empty(); });
  if (result.skipped) return result;
  std::vector<LossSums> local_sums;
  LeafTree tree([this](const LeafTree::Leaf& from, const LeafTree::Leaf& to) {
    model_->backend().Add(Trained(from), Trained(to));
  });
  std::vector<float> logprobs, dlogprobs;
  for (int64_t l = mine.first; l < mine.first + mine.count; ++l) {
    std::shared_ptr<void> leaf = BeginLeaf();
    ForEachMicrobatch(
        leaves[l], options_.tokens_per_microbatch, [&](const Microbatch& batch, size_t first, size_t count) {
          logprobs.resize(batch.tokens.size());
          dlogprobs.assign(batch.tokens.size(), 0.0f);
          pass_.Logprobs(batch, temperature, logprobs.data());
          int64_t row = 0;
          for (size_t i = first; i < first + count; ++i) {
            const TrainSequence& sequence = *leaves[l][i];
            const int64_t begin = row + sequence.first_target - 1;
            local_sums.emplace_back();
            loss(sequence, absl::MakeConstSpan(logprobs).subspan(begin, sequence.counted()),
                 absl::MakeSpan(dlogprobs).subspan(begin, sequence.counted()), &local_sums.back());
            row += static_cast<int64_t>(sequence.tokens.size()) - 1;
          }
          pass_.Backward(dlogprobs.data());
          result.local_tokens += row;
          ++result.microbatches;
        });
    model_->weights().FoldTiedHead();
    tree.Push(std::move(leaf));
  }
  total_ = tree.Take();
  Reduce();

  // The figures of all sequences, summed in the order of leaves on every rank.
  const std::string bytes(reinterpret_cast<const char*>(local_sums.data()),
                          local_sums.size() * sizeof(LossSums));
  for (const std::string& part : mesh_.dp().AllGather(bytes)) {
    std::vector<LossSums> sums(part.size() / sizeof(LossSums));
    if (!sums.empty()) std::memcpy(sums.data(), part.data(), part.size());
    for (const LossSums& one : sums) AddSums(one, &result.sums);
  }
  static_cast<OptimizerStep&>(result) = optimizer_->Step(config, learning_rate, Trained(total_).f32());
  return result;
}

}  // namespace temper

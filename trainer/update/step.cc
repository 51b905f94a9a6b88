// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/step.h"

#include <algorithm>
#include <cstring>
#include <limits>
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

LeafRange LocalLeaves(const Mesh& mesh, int64_t gradient_leaves) {
  TEMPER_CHECK(gradient_leaves >= mesh.dp_size(), gradient_leaves, " gradient leaves for ", mesh.dp_size(),
               " ranks");
  const Share share = ShareOf(gradient_leaves, mesh.dp_rank(), mesh.dp_size());
  return {share.begin, share.end - share.begin};
}

int LeafOwner(const Mesh& mesh, int64_t gradient_leaves, int64_t leaf) {
  int rank = 0;
  while (ShareOf(gradient_leaves, rank, mesh.dp_size()).end <= leaf) ++rank;
  return rank;
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
  std::vector<float> logprobs, counted;
  ForEachMicrobatch(sequences, tokens_per_microbatch,
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      logprobs.resize(batch.tokens.size());
                      model.Logprobs(batch, temperature, logprobs.data());
                      int64_t row = 0;
                      for (size_t i = first; i < first + count; ++i) {
                        const TrainSequence& sequence = *sequences[i];
                        Gather(sequence, &logprobs[row], &counted);
                        result(i, counted);
                        row += sequence.length() - 1;
                      }
                    });
}

Updater::Updater(CausalLm* model, Optimizer* optimizer, const StepOptions& options, const Mesh& mesh)
    : model_(model),
      optimizer_(optimizer),
      options_(options),
      mesh_(mesh),
      pass_(&model->stack(), options.keep),
      sum_(&model->backend(), model->weights().TrainedFloats(),
           {options.gradient_bits, options.gradient_leaves}) {}

Updater::~Updater() = default;

std::vector<float> Updater::gradient() const {
  std::vector<float> host(model_->weights().TrainedFloats());
  const auto size = static_cast<int64_t>(host.size());
  if (total_ != nullptr)
    model_->backend().CopyToHost(kernels::F32(static_cast<float*>(total_.get()), 1, size), host.data());
  return host;
}

std::shared_ptr<void> Updater::BeginLeaf() {
  std::shared_ptr<void> memory;
  if (sum_.spare().empty()) {
    memory = model_->backend().Allocate(model_->weights().GradientFloats() * 4);
  } else {
    memory = std::move(sum_.spare().back());
    sum_.spare().pop_back();
  }
  float* const numbers = static_cast<float*>(memory.get());
  model_->backend().Zero(kernels::F32(numbers, 1, model_->weights().GradientFloats()));
  model_->weights().BindGradients(numbers);
  return memory;
}

void Updater::RunLeaf(const std::vector<const TrainSequence*>& leaf, float temperature, LossFunction loss,
                      std::vector<LossSums>* sums, StepResult* result) {
  std::vector<float> logprobs, dlogprobs, counted, dcounted;
  ForEachMicrobatch(leaf, options_.tokens_per_microbatch,
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      logprobs.resize(batch.tokens.size());
                      dlogprobs.assign(batch.tokens.size(), 0.0f);
                      mesh_.world().Announce("updates");
                      pass_.Logprobs(batch, temperature, logprobs.data());
                      int64_t row = 0;
                      for (size_t i = first; i < first + count; ++i) {
                        const TrainSequence& sequence = *leaf[i];
                        sums->emplace_back();
                        Gather(sequence, &logprobs[row], &counted);
                        dcounted.resize(counted.size());
                        loss(sequence, counted, absl::MakeSpan(dcounted), &sums->back());
                        Scatter(sequence, dcounted, &dlogprobs[row]);
                        row += sequence.length() - 1;
                      }
                      pass_.Backward(dlogprobs.data());
                      result->local_tokens += row;
                      ++result->microbatches;
                    });
  model_->weights().FoldTiedHead();
}

LossSums Updater::SumOfAll(const std::vector<LossSums>& mine) const {
  LossSums all;
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(LossSums));
  for (const std::string& part : mesh_.dp().AllGather(bytes)) {
    std::vector<LossSums> sums(part.size() / sizeof(LossSums));
    if (!sums.empty()) std::memcpy(sums.data(), part.data(), part.size());
    for (const LossSums& one : sums) AddSums(one, &all);
  }
  return all;
}

StepResult Updater::Update(const Leaves& leaves, float temperature, const OptimizerConfig& config,
                           double learning_rate, LossFunction loss) {
  TEMPER_CHECK(static_cast<int64_t>(leaves.size()) == options_.gradient_leaves);
  const LeafRange mine = LocalLeaves(mesh_, options_.gradient_leaves);
  StepResult result;
  result.skipped = absl::c_all_of(leaves, [](const auto& leaf) { return leaf.empty(); });
  if (result.skipped) return result;
  std::vector<LossSums> local_sums;
  if (total_ != nullptr) sum_.spare().push_back(std::move(total_));
  for (int64_t l = mine.first; l < mine.first + mine.count; ++l) {
    if (leaves[l].empty()) continue;
    std::shared_ptr<void> leaf = BeginLeaf();
    RunLeaf(leaves[l], temperature, loss, &local_sums, &result);
    sum_.Push(std::move(leaf));
  }
  if (sum_.empty()) sum_.Push(BeginLeaf());
  total_ = sum_.Take(mesh_.dp());
  // A rank whose part of the policy is in range goes by its mates'.
  if (mesh_.mates().Sum(total_ == nullptr ? 1 : 0) > 0 && total_ != nullptr)
    sum_.spare().push_back(std::move(total_));
  result.sums = SumOfAll(local_sums);
  if (total_ == nullptr) {
    result.applied = false;
    result.gradient_norm = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  static_cast<OptimizerStep&>(result) =
      optimizer_->Step(config, learning_rate, static_cast<const float*>(total_.get()));
  return result;
}

}  // namespace temper

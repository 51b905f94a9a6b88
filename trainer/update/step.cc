// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/step.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "core/trace.h"

namespace temper {
namespace {

constexpr int kTiedTag = 4;  // of a tied head's gradient between the ends of a pipeline

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
  std::vector<Microbatch> batches;
  std::vector<std::pair<size_t, size_t>> origins;  // of each batch its first sequence, and how many
  ForEachMicrobatch(sequences, tokens_per_microbatch,
                    [&](const Microbatch& batch, size_t first, size_t count) {
                      batches.push_back(batch);
                      origins.emplace_back(first, count);
                    });
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
      sum_(&model->backend(), model->weights().TrainedFloats(),
           {options.gradient_bits, options.gradient_leaves}) {
  TEMPER_CHECK(mesh.sizes().pp == model->mesh().sizes().pp, "a policy of another mesh");
}

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
  return memory;
}

void Updater::Bind(int64_t leaf) {
  std::shared_ptr<void>& memory = leaves_[leaf];
  if (memory == nullptr) memory = BeginLeaf();
  model_->weights().BindGradients(static_cast<float*>(memory.get()));
}

void Updater::EndLeaf(int64_t leaf) {
  Communicator& ranks = model_->stack().pipeline();
  if (model_->weights().tied() && ranks.rank() == 0) {
    Bind(leaf);
    if (ranks.size() > 1)
      model_->stack().ReceiveRows(model_->weights().head().gradient, ranks.size() - 1, kTiedTag);
    model_->weights().FoldTiedHead();
  }
  sum_.Push(std::move(leaves_.extract(leaf).mapped()));
}

void Updater::RunLeaves(const Leaves& leaves, float temperature, LossFunction loss,
                        std::vector<LossSums>* sums, StepResult* result) {
  const LeafRange mine = LocalLeaves(mesh_, options_.gradient_leaves);
  std::vector<Microbatch> batches;
  struct Origin {
    int64_t leaf;
    size_t first, count;  // of its sequences
  };
  std::vector<Origin> origins;
  for (int64_t l = mine.first; l < mine.first + mine.count; ++l) {
    ForEachMicrobatch(leaves[l], options_.tokens_per_microbatch,
                      [&](const Microbatch& batch, size_t first, size_t count) {
                        batches.push_back(batch);
                        origins.push_back({l, first, count});
                        result->local_tokens += static_cast<int64_t>(batch.tokens.size());
                        ++result->microbatches;
                      });
  }
  const auto ends_leaf = [&](size_t batch) {
    return batch + 1 == origins.size() || origins[batch + 1].leaf != origins[batch].leaf;
  };
  Communicator& ranks = model_->stack().pipeline();
  const TraceSpan span("phase", "leaves", {"tokens", result->local_tokens});
  std::vector<float> counted, dcounted;
  const double seconds = pipeline_.seconds(), waited = pipeline_.waited_seconds();
  pipeline_.Run(batches, temperature,
                {.loss =
                     [&](size_t batch, const float* logprobs, float* dlogprobs) {
                       const auto& [leaf, first, count] = origins[batch];
                       for (size_t i = first; i < first + count; ++i) {
                         const TrainSequence& sequence = *leaves[leaf][i];
                         sums->emplace_back();
                         Gather(sequence, logprobs, &counted);
                         dcounted.resize(counted.size());
                         loss(sequence, counted, absl::MakeSpan(dcounted), &sums->back());
                         Scatter(sequence, dcounted, dlogprobs);
                         logprobs += sequence.length() - 1;
                         dlogprobs += sequence.length() - 1;
                       }
                     },
                 .bind =
                     [&](size_t batch) {
                       mesh_.world().Announce("updates");
                       Bind(origins[batch].leaf);
                     },
                 .head_done =
                     [&](size_t batch) {
                       if (model_->weights().tied() && ranks.size() > 1 && ends_leaf(batch))
                         model_->stack().SendRows(model_->weights().head().gradient, 0, kTiedTag);
                     },
                 .done =
                     [&](size_t batch) {
                       if (ends_leaf(batch)) EndLeaf(origins[batch].leaf);
                     }});
  if (ranks.size() == 1) return;
  const double spent = pipeline_.seconds() - seconds;
  const double share = spent > 0 ? (pipeline_.waited_seconds() - waited) / spent : 0;
  result->bubble = static_cast<double>(ranks.Sum(static_cast<int64_t>(share * 1e6))) / 1e6 / ranks.size();
}

void Updater::ShareTiedGradient() {
  Communicator& ranks = model_->stack().pipeline();
  if (ranks.size() == 1 || !model_->weights().tied()) return;
  const Layout& layout = model_->parameters().layout();
  const LayoutEntry& entry = layout.entries()[layout.Find("model.embed_tokens.weight")];
  const Matrix gradient =
      kernels::F32(static_cast<float*>(total_.get()) + entry.offset, entry.shape[0], entry.shape[1]);
  if (ranks.rank() == 0) {
    model_->stack().SendRows(gradient, ranks.size() - 1, kTiedTag);
  } else {
    model_->stack().ReceiveRows(gradient, 0, kTiedTag);
  }
}

LossSums Updater::SumOfAll(const std::vector<LossSums>& mine) const {
  LossSums all;
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(LossSums));
  for (const std::string& part : mesh_.dp().AllGather(bytes)) {
    std::vector<LossSums> sums(part.size() / sizeof(LossSums));
    if (!sums.empty()) std::memcpy(sums.data(), part.data(), part.size());
    for (const LossSums& one : sums) AddSums(one, &all);
  }
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
  std::vector<LossSums> local_sums;
  if (total_ != nullptr) sum_.spare().push_back(std::move(total_));
  RunLeaves(leaves, temperature, loss, &local_sums, &result);
  if (sum_.empty()) sum_.Push(BeginLeaf());
  {
    const TraceSpan summing("phase", "sum of leaves");
    total_ = sum_.Take(mesh_.dp());
  }
  // A rank whose part of the policy is in range goes by its mates'.
  if (mesh_.mates().Sum(total_ == nullptr ? 1 : 0) > 0 && total_ != nullptr)
    sum_.spare().push_back(std::move(total_));
  result.sums = SumOfAll(local_sums);
  if (total_ == nullptr) {
    result.applied = false;
    result.gradient_norm = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const TraceSpan stepping("phase", "optimizer");
  ShareTiedGradient();
  static_cast<OptimizerStep&>(result) =
      optimizer_->Step(config, learning_rate, static_cast<const float*>(total_.get()));
  return result;
}

}  // namespace temper

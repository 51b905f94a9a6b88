// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/footprint.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "model/kv_cache.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/weight_sync.h"

namespace temper {
namespace {

constexpr char kUpdatePhase[] = "update", kDecodePhase[] = "decode";

}  // namespace

PolicyFootprint FootprintOf(CountedRank& rank, CausalLm& policy) {
  PolicyFootprint footprint{.weights = rank.backend().bytes()};
  policy.weights().Pack();
  footprint.packed = policy.weights().packed_bytes();
  return footprint;
}

PolicyFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place) {
  CountedRank rank(place);
  return FootprintOf(rank, *rank.NewPolicy(config, /*trained=*/false));
}

namespace {

// Bytes that a tied embedding's rows (TokenRows) take of a leaf with so many tokens, beside those of the
// update's: each token is another one as long as there are any, and rows that get more move to a new place.
int64_t MoreRows(const CausalLm& policy, const EvenUpdate& update, int64_t leaf_tokens) {
  if (!policy.weights().tied() || policy.mesh().sizes().pp > 1) return 0;
  const Weight& head = policy.weights().head();
  const int64_t counted = update.DifferentTokens({head.part.begin, head.part.begin + head.n()});
  const int64_t rows = std::min(head.n(), leaf_tokens);
  const int64_t most = leaf_tokens > update.rows() ? std::min(head.n(), 2 * rows) : rows;
  return std::max<int64_t>(most - counted, 0) * head.k() * 4;
}

UpdateFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place, const EvenUpdate& update,
                            int64_t leaf_tokens) {
  CountedRank rank(place);
  const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/true);
  Weights& weights = policy->weights();
  UpdateFootprint footprint{FootprintOf(rank, *policy)};
  footprint.trained = weights.TrainedFloats() * 4;
  footprint.copied = BytesOfCopy(*policy, 0);
  Optimizer optimizer(policy.get());
  const int64_t before = rank.backend().bytes();
  const UpdateMemory memory = update.Run(policy.get(), &optimizer);
  footprint.activations = memory.activations;
  footprint.gathered = weights.gathered_bytes();
  footprint.scratch = rank.backend().scratch();
  footprint.gradients = rank.backend().peak_bytes() - before - memory.workspaces - footprint.gathered;
  footprint.gradients += MoreRows(*policy, update, leaf_tokens);
  return footprint;
}

int64_t DivideUp(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Microbatches of a rank's leaves that fill a pipeline: with several chunks of layers up to three groups of
// as many as there are ranks are on their way (trainer/update/schedule.h). A long sequence of a rank of
// mesh.cp is all its ranks'.
int64_t FullPipeline(const MeshSizes& mesh, bool is_long) {
  return DivideUp((mesh.chunks() > 1 ? 3 : 2) * mesh.pp, is_long ? mesh.cp : 1);
}

// What a pipeline does again and again: with several chunks the first group is larger by what does not
// divide, and as many more microbatches are like it.
int64_t Period(const MeshSizes& mesh) { return mesh.chunks() > 1 ? mesh.pp : 1; }

// The least number that is not below `least` (or n itself, where that is), and differs from n by whole
// periods.
int64_t LeastNumber(int64_t n, int64_t least, int64_t period) {
  return n <= least ? n : least + (n - least) % period;
}

}  // namespace

// A leaf of two microbatches is like one of more; of long sequences none goes on.
UpdateSize LeastLike(const UpdateSize& size, const MeshSizes& mesh, const UpdatesConfig& updates,
                     int64_t longest) {
  const bool is_long = IsLong(updates, longest);
  const int64_t full = FullPipeline(mesh, is_long), period = Period(mesh);
  const int64_t microbatches = LeastNumber(size.microbatches, full, period);
  const int64_t enough = std::max<int64_t>(is_long ? 1 : 3, DivideUp(full, microbatches));
  int64_t leaves = std::min(size.leaves, enough);
  const auto rest = [&](int64_t of_leaves) { return of_leaves * microbatches % period; };
  while (leaves < size.leaves && rest(leaves) != rest(size.leaves)) ++leaves;
  return {leaves, microbatches};
}

UpdateFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                            int64_t longest, const UpdateSize& size) {
  const auto of = [&](int64_t sequence, int64_t microbatches) {
    const UpdateSize least = LeastLike({size.leaves, microbatches}, place.mesh.sizes, updates, sequence);
    return FootprintOf(config, place, EvenUpdate(config, updates, sequence, least), size.leaf_tokens);
  };
  const UpdateFootprint all = of(longest, size.microbatches);
  // Where sequences may be long, an update may still have none but others, which are packed.
  const int64_t long_tokens = updates.long_sequence_tokens;
  if (long_tokens <= 1 || longest < long_tokens) return all;
  const int64_t rows = MostRows(updates, long_tokens - 1);
  const UpdateFootprint short_ones =
      of(long_tokens - 1,
         std::max(std::min<int64_t>(size.microbatches, 2), DivideUp(size.microbatches * longest, rows)));
  const auto taken = [](const UpdateFootprint& each) { return each.activations + each.gradients; };
  return taken(short_ones) > taken(all) ? short_ones : all;
}

PartBytes TensorBytes(const RankMessages& messages, std::string_view phase) {
  PartBytes bytes = {};
  for (size_t i = 0; i < messages.size(); ++i) {
    const LoggedMessage& m = messages[i];
    if (m.to >= 0 && m.tag < Communicator::kUserTags && m.tag != kFiguresTag &&
        messages.NameOf(m.phase) == phase)
      bytes[m.part] += m.out_bytes;
  }
  return bytes;
}

PartBytes DecodeMessagesOf(const ModelConfig& config, const PolicyPlace& place, int64_t sequences) {
  RankMessages messages(place.mesh);
  messages.Begin(kDecodePhase);
  CountedRank rank(place, &messages);
  const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/false);
  TokenBatch batch;
  std::vector<int32_t> logit_rows;
  const std::vector<int32_t> page(1);
  for (int64_t sequence = 0; sequence < sequences; ++sequence) {
    batch.sequences.push_back({.rows = 1, .pages = page});
    batch.tokens.push_back(0);
    logit_rows.push_back(static_cast<int32_t>(sequence));
  }
  const KvCache cache(config, 1, policy->backend(), place.mesh);  // nobody looks into it
  policy->Forward(batch, cache, logit_rows);
  return TensorBytes(messages, kDecodePhase);
}

int64_t PublishedBytes(const ModelConfig& config, const PolicyPlace& trains, const PolicyPlace& samples) {
  CountedRank trainer(trains);
  const std::unique_ptr<CausalLm> policy = trainer.NewPolicy(config, /*trained=*/true);
  return WeightSync(config, policy->parameters().layout(), Layout(config, samples.mesh))
      .SentBytes(policy->weights().computed());
}

PartBytes MessagesOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                     int64_t longest, const UpdateSize& size, PassOf pass) {
  const auto of = [&](const UpdateSize& run) {
    RankMessages messages(place.mesh);
    messages.Begin(kUpdatePhase);
    CountedRank rank(place, &messages);
    const EvenUpdate update(config, updates, longest, run);
    const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, pass == PassOf::kUpdate);
    if (pass == PassOf::kReference) {
      update.Score(policy.get());
    } else {
      Optimizer optimizer(policy.get());
      update.Run(policy.get(), &optimizer);
    }
    return TensorBytes(messages, kUpdatePhase);
  };
  // Once a pipeline is full every microbatch, or as many as it has ranks, sends the same, and every leaf, but
  // those of long sequences alone send nothing.
  const MeshSizes& mesh = place.mesh.sizes;
  const bool is_long = IsLong(updates, longest);
  const int64_t together = size.leaves * size.microbatches, full = FullPipeline(mesh, is_long);
  if (together <= 2 * full) return of(size);
  const int64_t period = Period(mesh), least = LeastNumber(together, full, period);
  const PartBytes one = of({1, least}), more = of({1, least + period});
  PartBytes leaf = {};  // what another leaf sends
  if (!is_long && size.leaves > 1) {
    const int64_t even = DivideUp(least, 2 * period) * 2 * period;
    const PartBytes whole = even == least ? one : of({1, even}), halves = of({2, even / 2});
    for (size_t i = 0; i < leaf.size(); ++i) leaf[i] = halves[i] - whole[i];
  }
  PartBytes all;
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = one[i] + (size.leaves - 1) * leaf[i] + (together - least) / period * (more[i] - one[i]);
  return all;
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "model/causal_lm.h"

#include <algorithm>

#include "core/check.h"
#include "model/ops.h"

namespace temper {
namespace {

// Weights beyond this are packed panel by panel at each use: a second copy of a large model is not worth its
// memory.
constexpr int64_t kPackLimitBytes = int64_t{512} << 20;

int64_t Blocks(int64_t positions) {
  return (positions + kernels::kAttentionBlock - 1) / kernels::kAttentionBlock;
}

}  // namespace

// A layer's weights behind its prefix.
class CausalLm::LayerWeights : public WeightSource {
 public:
  LayerWeights(CausalLm* model, int64_t layer)
      : model_(model), prefix_("model.layers." + std::to_string(layer) + ".") {}
  const Weight* Find(const std::string& name) const override {
    const int64_t index = model_->parameters_.layout().Find(prefix_ + name);
    return index < 0 ? nullptr : &model_->weights_[index];
  }

 private:
  CausalLm* model_;
  std::string prefix_;
};

CausalLm::CausalLm(ModelConfig config, Parameters parameters, ThreadPool* pool, at::Device device)
    : config_(std::move(config)),
      parameters_(std::move(parameters)),
      pool_(pool),
      device_(device),
      library_(device.is_cuda()),
      rope_(config_, device),
      space_(device) {
  for (Parameter& parameter : parameters_.list()) {
    if (parameter.value.device() != device) parameter.value = parameter.value.to(device);
    TEMPER_CHECK(parameter.value.scalar_type() == at::kFloat && parameter.value.is_contiguous(),
                 parameter.name);
    Weight weight;
    weight.data = parameter.value.const_data_ptr<float>();
    weight.n = parameter.value.size(0);
    weight.k = parameter.value.dim() == 2 ? parameter.value.size(1) : 1;
    weights_.push_back(weight);
  }
  const Layout& layout = parameters_.layout();
  embedding_index_ = layout.Find("model.embed_tokens.weight");
  norm_index_ = layout.Find("model.norm.weight");
  head_index_ = config_.tie_word_embeddings ? embedding_index_ : layout.Find("lm_head.weight");
  TEMPER_CHECK(embedding_index_ >= 0 && norm_index_ >= 0 && head_index_ >= 0);
  packed_.resize(weights_.size());
  for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
    LayerWeights source(this, layer);
    layers_.push_back({MakeAttentionBlock(config_, source, layer), MakeMlpBlock(config_, source, layer)});
  }
  embedding_ = weights_[embedding_index_];
  final_norm_ = weights_[norm_index_];
  head_ = weights_[head_index_];
}

CausalLm::~CausalLm() = default;

Context CausalLm::MakeContext(Workspace* space) {
  Context context;
  context.pool = pool_;
  context.workspace = space;
  context.library = library_;
  context.device = device_;
  return context;
}

void CausalLm::WeightsChanged(int64_t version) {
  version_ = version;
  packed_version_ = -1;
}

void CausalLm::EnsurePacked() {
  if (library_ || packed_version_ == version_ || TrainedFloats() * 4 > kPackLimitBytes) return;
  const std::vector<Parameter>& list = parameters_.list();
  std::vector<size_t> used_whole;
  int64_t floats = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].value.dim() != 2 || list[i].name.find("kv_b_proj") != std::string::npos ||
        (static_cast<int64_t>(i) == embedding_index_ && embedding_index_ != head_index_))
      continue;
    used_whole.push_back(i);
    floats += kernels::PackedFloats(weights_[i].n, weights_[i].k);
  }
  float* panels = packed_memory_.Reserve(floats);
  for (size_t i : used_whole) {
    Weight& w = weights_[i];
    packed_[i] = kernels::Pack(w.data, w.k, /*transposed=*/true, w.n, w.k, panels, *pool_);
    w.packed = &packed_[i];
    panels += kernels::PackedFloats(w.n, w.k);
  }
  head_.packed = &packed_[head_index_];
  packed_version_ = version_;
}

BatchView CausalLm::View(const std::vector<int32_t>& positions,
                         absl::Span<const kernels::AttentionSequence> sequences) {
  const int32_t last = positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
  rope_.Reserve(last + 1);
  return {positions, sequences, rope_.cosines(), rope_.sines()};
}

void CausalLm::Embed(const Context& c, const std::vector<int32_t>& tokens, Rows x) const {
  for (int32_t token : tokens) TEMPER_CHECK(token >= 0 && token < config_.vocab_size, "token ", token);
  ops::EmbeddingRows(c, embedding_.data, tokens.data(), x);
}

void CausalLm::Forward(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows,
                       float* logits) {
  EnsurePacked();
  space_.Clear();
  const Context c = MakeContext(&space_);
  const int64_t rows = static_cast<int64_t>(batch.tokens.size());

  // Where every sequence's pages live, layer by layer: filled in anew for each layer below.
  std::vector<int32_t> positions;
  positions.reserve(rows);
  std::vector<float*> pointers;
  std::vector<kernels::AttentionSequence> sequences(batch.sequences.size());
  size_t pages = 0;
  for (const TokenBatch::Sequence& sequence : batch.sequences)
    pages += Blocks(sequence.first_position + sequence.rows);
  pointers.resize(pages);
  size_t page = 0;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const TokenBatch::Sequence& from = batch.sequences[s];
    const size_t count = Blocks(from.first_position + from.rows);
    TEMPER_CHECK(from.pages.size() >= count, "sequence ", s, " has ", from.pages.size(), " pages and needs ",
                 count);
    sequences[s] = {static_cast<int64_t>(positions.size()), from.rows, from.first_position,
                    pointers.data() + page};
    page += count;
    for (int64_t i = 0; i < from.rows; ++i)
      positions.push_back(static_cast<int32_t>(from.first_position + i));
  }
  TEMPER_CHECK(static_cast<int64_t>(positions.size()) == rows);
  const BatchView view = View(positions, sequences);

  Rows x = space_.NewRows(rows, config_.hidden_size), y = space_.NewRows(rows, config_.hidden_size);
  Embed(c, batch.tokens, x);
  const Workspace::Mark mark = space_.Here();
  for (size_t block = 0; block < layers_.size() * 2; ++block) {
    if (block % 2 == 0) {
      page = 0;
      for (const TokenBatch::Sequence& sequence : batch.sequences) {
        const int64_t count = Blocks(sequence.first_position + sequence.rows);
        for (int64_t b = 0; b < count; ++b)
          pointers[page++] = cache.Block(static_cast<int64_t>(block / 2), sequence.pages[b]);
      }
    }
    BlockAt(block).Forward(c, view, x, y, nullptr);
    std::swap(x, y);
    space_.Release(mark);
  }

  // Only the rows asked for reach the head.
  const int64_t selected = static_cast<int64_t>(logit_rows.size());
  if (selected == 0) return;
  Rows last = space_.NewRows(selected, config_.hidden_size),
       normed = space_.NewRows(selected, config_.hidden_size);
  ops::GatherRows(c, x, logit_rows.data(), last);
  ops::RmsNorm(c, last, final_norm_.data, config_.rms_norm_eps, normed, nullptr);
  Rows out{logits, selected, config_.vocab_size, config_.vocab_size};
  if (library_) out = space_.NewRows(selected, config_.vocab_size);
  ops::Products(c, {temper::Forward(head_, normed, out, kWholeAxis)});
  if (library_) ops::CopyToHost(c, out.data, selected * config_.vocab_size, logits);
}

void CausalLm::Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies,
                        Tape* tape) {
  Tape local(false, device_);
  const bool keep = tape != nullptr;
  if (!keep) tape = &local;
  EnsurePacked();
  Tape& t = *tape;
  t.space_.Clear();
  t.batch_ = &batch;
  t.temperature_ = temperature;
  t.positions_.clear();
  t.sequences_.clear();
  t.inputs_.clear();
  t.saved_.clear();
  const int64_t rows = static_cast<int64_t>(batch.tokens.size());
  TEMPER_CHECK(static_cast<int64_t>(batch.targets.size()) == rows);

  // One set of blocks serves all layers: the backward pass does not read them.
  const int64_t block_floats = kernels::BlockFloats(AttentionShapeOf(config_));
  int64_t blocks = 0;
  for (int64_t length : batch.lengths) blocks += Blocks(length);
  const Context c = MakeContext(&t.space_);
  float* storage = t.space_.Floats(blocks * block_floats);
  t.block_pointers_.resize(blocks);
  for (int64_t b = 0; b < blocks; ++b) t.block_pointers_[b] = storage + b * block_floats;
  int64_t block = 0;
  for (int64_t length : batch.lengths) {
    t.sequences_.push_back(
        {static_cast<int64_t>(t.positions_.size()), length, 0, t.block_pointers_.data() + block});
    block += Blocks(length);
    for (int64_t i = 0; i < length; ++i) t.positions_.push_back(static_cast<int32_t>(i));
  }
  TEMPER_CHECK(static_cast<int64_t>(t.positions_.size()) == rows);
  const BatchView view = View(t.positions_, t.sequences_);

  Rows x = t.space_.NewRows(rows, config_.hidden_size);
  Embed(c, batch.tokens, x);
  for (size_t i = 0; i < layers_.size() * 2; ++i) {
    t.inputs_.push_back(x);
    Rows y = t.space_.NewRows(rows, config_.hidden_size);
    std::unique_ptr<Saved> saved;
    const bool save = keep && !t.recompute_;
    const Workspace::Mark mark = t.space_.Here();
    BlockAt(i).Forward(c, view, x, y, save ? &saved : nullptr);
    if (!save) t.space_.Release(mark);
    t.saved_.push_back(std::move(saved));
    x = y;
  }
  t.inputs_.push_back(x);
  t.rstd_ = t.space_.Floats(rows);
  t.hidden_ = t.space_.NewRows(rows, config_.hidden_size);
  t.sums_.resize(rows);
  ops::RmsNorm(c, x, final_norm_.data, config_.rms_norm_eps, t.hidden_, t.rstd_);
  ops::TokenLogprobs(c, t.hidden_, head_.data, head_.packed, config_.vocab_size, batch.targets.data(),
                     temperature, logprobs, t.sums_.data(), entropies);
}

void CausalLm::Backward(Tape& t, const float* dlogprobs) {
  TEMPER_CHECK(t.batch_ != nullptr && !t.inputs_.empty(), "Backward without a forward pass");
  TEMPER_CHECK(head_.gradient != nullptr, "no gradient buffer is bound");
  const Context c = MakeContext(&t.space_);
  const BatchView view = View(t.positions_, t.sequences_);
  const int64_t rows = t.hidden_.rows;
  Rows dy = t.space_.NewRows(rows, config_.hidden_size), dx = t.space_.NewRows(rows, config_.hidden_size);
  ops::TokenLogprobsBackward(c, t.hidden_, head_.data, config_.vocab_size, t.batch_->targets.data(),
                             t.temperature_, t.sums_.data(), dlogprobs, dx, head_.gradient);
  ops::RmsNormBackward(c, dx, t.inputs_.back(), final_norm_.data, t.rstd_, Rows{}, dy, final_norm_.gradient);
  const Workspace::Mark mark = t.space_.Here();
  for (size_t i = layers_.size() * 2; i-- > 0;) {
    if (t.recompute_) {
      Rows again = t.space_.NewRows(rows, config_.hidden_size);
      BlockAt(i).Forward(c, view, t.inputs_[i], again, &t.saved_[i]);
    }
    BlockAt(i).Backward(c, view, *t.saved_[i], dy, dx);
    std::swap(dy, dx);
    t.saved_[i].reset();
    t.space_.Release(mark);
  }
  ops::EmbeddingGradient(c, dy, t.batch_->tokens.data(), embedding_.gradient);
  t.batch_ = nullptr;
  t.inputs_.clear();
}

void CausalLm::BindGradients(float* flat) {
  const std::vector<LayoutEntry>& entries = parameters_.layout().entries();
  for (size_t i = 0; i < entries.size(); ++i)
    weights_[i].gradient = entries[i].trained ? flat + entries[i].offset : nullptr;
  embedding_.gradient = weights_[embedding_index_].gradient;
  final_norm_.gradient = weights_[norm_index_].gradient;
  head_.gradient = config_.tie_word_embeddings ? flat + TrainedFloats() : weights_[head_index_].gradient;
}

void CausalLm::FoldTiedHead() {
  if (!config_.tie_word_embeddings) return;
  ops::CopyHeads(MakeContext(&space_), head_.gradient, embedding_.k, 0, embedding_.n, 1,
                 static_cast<int>(embedding_.k), embedding_.gradient, embedding_.k, 0, /*add=*/true);
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "model/causal_lm.h"

#include <algorithm>

#include "core/check.h"

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

CausalLm::CausalLm(ModelConfig config, Parameters parameters, kernels::Backend* backend)
    : config_(std::move(config)),
      parameters_(std::move(parameters)),
      backend_(backend),
      rope_(config_, backend),
      space_(backend) {
  for (Parameter& parameter : parameters_.list()) {
    TEMPER_CHECK(parameter.value.scalar_type() == at::kFloat && parameter.value.is_contiguous(),
                 parameter.name);
    if (!backend->host_memory())
      parameter.value = NewTensor(*backend, parameter.value.sizes()).copy_(parameter.value);
    const int64_t n = parameter.value.size(0), k = parameter.value.dim() == 2 ? parameter.value.size(1) : 1;
    const Weight weight{.value = kernels::F32(parameter.value.const_data_ptr<float>(), n, k)};
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

void CausalLm::WeightsChanged(int64_t version) {
  version_ = version;
  packed_version_ = -1;
}

void CausalLm::EnsurePacked() {
  if (packed_version_ == version_ || TrainedFloats() * 4 > kPackLimitBytes) return;
  const std::vector<Parameter>& list = parameters_.list();
  std::vector<size_t> used_whole;
  int64_t floats = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].value.dim() != 2 || list[i].name.find("kv_b_proj") != std::string::npos ||
        (static_cast<int64_t>(i) == embedding_index_ && embedding_index_ != head_index_))
      continue;
    used_whole.push_back(i);
    floats += backend_->PackedFloats(weights_[i].n(), weights_[i].k());
  }
  packed_version_ = version_;
  if (floats == 0) return;
  if (floats > packed_floats_) {
    packed_memory_ = nullptr;  // first, so that the two are never held together
    packed_memory_ = backend_->Allocate(floats * 4);
    packed_floats_ = floats;
  }
  float* panels = static_cast<float*>(packed_memory_.get());
  for (size_t i : used_whole) {
    Weight& w = weights_[i];
    packed_[i] = backend_->Pack(w.value, /*transposed=*/true, panels);
    w.packed = &packed_[i];
    panels += backend_->PackedFloats(w.n(), w.k());
  }
  head_.packed = &packed_[head_index_];
}

BatchView CausalLm::View(const std::vector<int32_t>& positions,
                         absl::Span<const kernels::AttentionSequence> sequences) {
  const int32_t last = positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
  rope_.Reserve(last + 1);
  return {positions, sequences, rope_.cosines(), rope_.sines()};
}

void CausalLm::Embed(const std::vector<int32_t>& tokens, Matrix x) const {
  for (int32_t token : tokens) TEMPER_CHECK(token >= 0 && token < config_.vocab_size, "token ", token);
  backend_->GatherRows({embedding_.value, tokens.data(), x});
}

Matrix CausalLm::Forward(const TokenBatch& batch, const KvCache& cache,
                         absl::Span<const int32_t> logit_rows) {
  EnsurePacked();
  space_.Clear();
  const Context c{backend_, &space_};
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

  Matrix x = space_.NewRows(rows, config_.hidden_size), y = space_.NewRows(rows, config_.hidden_size);
  Embed(batch.tokens, x);
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
  if (selected == 0) return {};
  Matrix last = space_.NewRows(selected, config_.hidden_size),
         normed = space_.NewRows(selected, config_.hidden_size);
  backend_->GatherRows({x, logit_rows.data(), last});
  backend_->RmsNorm({last, final_norm_.value.f32(), config_.rms_norm_eps, normed});
  const Matrix logits = space_.NewRows(selected, config_.vocab_size);
  backend_->Products({{.a = normed, .b = head_.value, .packed = head_.packed, .c = logits}});
  return logits;
}

void CausalLm::Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies,
                        Tape* tape) {
  Tape local;
  const bool keep = tape != nullptr;
  if (!keep) tape = &local;
  EnsurePacked();
  Tape& t = *tape;
  t.space_.Use(backend_);
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
  const Context c{backend_, &t.space_};
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

  Matrix x = t.space_.NewRows(rows, config_.hidden_size);
  Embed(batch.tokens, x);
  for (size_t i = 0; i < layers_.size() * 2; ++i) {
    t.inputs_.push_back(x);
    Matrix y = t.space_.NewRows(rows, config_.hidden_size);
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
  c.backend->RmsNorm({x, final_norm_.value.f32(), config_.rms_norm_eps, t.hidden_, t.rstd_});
  backend_->TokenLogprobs({.hidden = t.hidden_,
                           .head = head_.value,
                           .packed = head_.packed,
                           .targets = batch.targets.data(),
                           .temperature = temperature,
                           .logprob = logprobs,
                           .sums = t.sums_.data(),
                           .entropy = entropies});
}

void CausalLm::Backward(Tape& t, const float* dlogprobs) {
  TEMPER_CHECK(t.batch_ != nullptr && !t.inputs_.empty(), "Backward without a forward pass");
  TEMPER_CHECK(head_.gradient, "no gradient buffer is bound");
  const Context c{backend_, &t.space_};
  const BatchView view = View(t.positions_, t.sequences_);
  const int64_t rows = t.hidden_.rows;
  Matrix dy = t.space_.NewRows(rows, config_.hidden_size), dx = t.space_.NewRows(rows, config_.hidden_size);
  backend_->TokenLogprobsBackward({.hidden = t.hidden_,
                                   .head = head_.value,
                                   .targets = t.batch_->targets.data(),
                                   .temperature = t.temperature_,
                                   .sums = t.sums_.data(),
                                   .dlogprob = dlogprobs,
                                   .dhidden = dx,
                                   .dhead = head_.gradient});
  c.backend->RmsNormBackward({.dy = dx,
                              .x = t.inputs_.back(),
                              .weight = final_norm_.value.f32(),
                              .rstd = t.rstd_,
                              .dx = dy,
                              .dweight = final_norm_.gradient.f32()});
  const Workspace::Mark mark = t.space_.Here();
  for (size_t i = layers_.size() * 2; i-- > 0;) {
    if (t.recompute_) {
      Matrix again = t.space_.NewRows(rows, config_.hidden_size);
      BlockAt(i).Forward(c, view, t.inputs_[i], again, &t.saved_[i]);
    }
    BlockAt(i).Backward(c, view, *t.saved_[i], dy, dx);
    std::swap(dy, dx);
    t.saved_[i].reset();
    t.space_.Release(mark);
  }
  backend_->EmbeddingGradient({dy, t.batch_->tokens.data(), embedding_.gradient});
  t.batch_ = nullptr;
  t.inputs_.clear();
}

void CausalLm::BindGradients(float* flat) {
  const std::vector<LayoutEntry>& entries = parameters_.layout().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    Weight& w = weights_[i];
    w.gradient = entries[i].trained ? kernels::F32(flat + entries[i].offset, w.n(), w.k()) : Matrix();
  }
  embedding_.gradient = weights_[embedding_index_].gradient;
  final_norm_.gradient = weights_[norm_index_].gradient;
  head_.gradient = config_.tie_word_embeddings ? kernels::F32(flat + TrainedFloats(), head_.n(), head_.k())
                                               : weights_[head_index_].gradient;
}

void CausalLm::FoldTiedHead() {
  if (config_.tie_word_embeddings) backend_->Add(head_.gradient, embedding_.gradient);
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include "absl/strings/match.h"
#include "core/check.h"

namespace temper {
namespace {

// Weights beyond this are packed panel by panel at each use: a second copy of a large model is not worth its
// memory.
constexpr int64_t kPackLimitBytes = int64_t{512} << 20;

}  // namespace

Weights::Weights(const ModelConfig& config, Parameters parameters, kernels::Backend* backend, bool rounded)
    : parameters_(std::move(parameters)), backend_(backend) {
  for (Parameter& parameter : parameters_.list()) {
    at::Tensor& value = parameter.value;
    if (!backend->host_memory()) value = NewTensor(*backend, value.sizes(), value.scalar_type()).copy_(value);
  }
  if (rounded) {
    rounded_ = ForRounded(parameters_, *backend);
    Round(parameters_, *backend, &*rounded_);
  }
  for (const Parameter& parameter : computed().list()) {
    Weight weight{.value = MatrixOf(parameter.value)};
    if (parameter.sharing == Sharing::kRows) weight.part = {parameter.first_row, parameter.whole[0]};
    if (parameter.sharing == Sharing::kColumns) weight.part = {parameter.first_column, parameter.whole[1]};
    if (parameter.shape == parameter.whole) weight.part = {};
    weights_.push_back(weight);
  }
  const auto at = [&](const char* name) {
    const int64_t index = parameters_.layout().Find(name);
    return index < 0 ? nullptr : &weights_[index];
  };
  embedding_ = at("model.embed_tokens.weight");
  tied_ = config.tie_word_embeddings && embedding_ != nullptr;
  Weight* const head = tied_ ? embedding_ : at("lm_head.weight");
  if (head != nullptr) head_ = *head;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const LayoutEntry& entry = parameters_.layout().entries()[i];
    if (entry.shape.size() != 2 || absl::StrContains(entry.name, "kv_b_proj")) continue;
    if (&weights_[i] == embedding_) continue;  // its rows are looked up
    used_whole_.push_back(&weights_[i] == head ? &head_ : &weights_[i]);
  }
  if (tied_) used_whole_.push_back(&head_);
  packed_.resize(used_whole_.size());
}

const Weight* Weights::Find(const std::string& name) const {
  const int64_t index = parameters_.layout().Find(name);
  return index < 0 ? nullptr : &weights_[index];
}

void Weights::Changed(int64_t version) {
  if (rounded_) Round(parameters_, *backend_, &*rounded_);
  version_ = version;
  packed_version_ = -1;
}

void Weights::Pack() {
  if (packed_version_ == version_ || TrainedFloats() * 4 > kPackLimitBytes) return;
  packed_version_ = version_;
  int64_t floats = 0;
  for (const Weight* weight : used_whole_) floats += backend_->PackedFloats(weight->n(), weight->k());
  if (floats == 0) return;
  if (packed_memory_ == nullptr) packed_memory_ = backend_->Allocate(floats * 4);
  packed_floats_ = floats;
  float* panels = static_cast<float*>(packed_memory_.get());
  for (size_t i = 0; i < used_whole_.size(); ++i) {
    Weight& weight = *used_whole_[i];
    packed_[i] = backend_->Pack(weight.value, /*transposed=*/true, panels);
    weight.packed = &packed_[i];
    panels += backend_->PackedFloats(weight.n(), weight.k());
  }
}

void Weights::BindGradients(float* flat) {
  const std::vector<LayoutEntry>& entries = parameters_.layout().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    Weight& weight = weights_[i];
    weight.gradient =
        entries[i].trained ? kernels::F32(flat + entries[i].offset, weight.n(), weight.k()) : Matrix();
    if (head_.value && weight.value.data == head_.value.data) head_.gradient = weight.gradient;
  }
  if (tied_) head_.gradient = kernels::F32(flat + TrainedFloats(), head_.n(), head_.k());
}

void Weights::FoldTiedHead() {
  if (tied_) backend_->Add(head_.gradient, embedding_->gradient);
}

}  // namespace temper

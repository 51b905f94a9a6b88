// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "comm/reduce.h"
#include "core/check.h"

namespace temper {
namespace {

// Weights beyond this are packed panel by panel at each use: a second copy of a large model is not worth its
// memory.
constexpr int64_t kPackLimitBytes = int64_t{512} << 20;

constexpr int kUnitTag = 9, kNormTag = 10;

}  // namespace

UnitGather::UnitGather(const Parameters* kept, int64_t norm, kernels::Backend* backend, Communicator* ranks)
    : kept_(*kept), norm_(norm), backend_(*backend), ranks_(*ranks), at_(kept->list().size()) {
  TEMPER_CHECK(backend->host_memory(), "weights are shared out in the host's memory only");
  for (const LayoutUnit& unit : kept_.layout().units()) {
    int64_t bytes = 0;
    halves_.push_back({Half{.experts = false}, Half{.experts = true}});
    for (Half& half : halves_.back()) {
      for (int64_t i = unit.begin; i < unit.end; ++i) {
        if (!IsOf(i, half.experts)) continue;
        bytes = (bytes + 3) / 4 * 4;  // f32 behind bf16
        at_[i] = bytes;
        bytes += PartElements(kept_.list()[i]) * ElementBytes(i);
      }
      const int64_t elements = (half.experts ? unit.experts : unit.others).elements;
      for (int rank = 0; rank <= ranks_.size() && elements > 0; ++rank)
        half.edges.push_back(ByteOf(unit, half.experts, ShareOf(elements, rank, ranks_.size()).begin));
    }
    sizes_.push_back(bytes);
  }
}

bool UnitGather::IsOf(int64_t entry, bool experts) const {
  const Parameter& parameter = kept_.list()[entry];
  return parameter.trained && (parameter.expert >= 0) == experts;
}

int64_t UnitGather::ElementBytes(int64_t entry) const {
  return static_cast<int64_t>(kept_.list()[entry].value.element_size());
}

int64_t UnitGather::ByteOf(const LayoutUnit& unit, bool experts, int64_t element) const {
  for (int64_t i = unit.begin; i < unit.end; ++i) {
    if (!IsOf(i, experts)) continue;
    const int64_t elements = PartElements(kept_.list()[i]);
    if (element <= elements) return at_[i] + element * ElementBytes(i);
    element -= elements;
  }
  TEMPER_CHECK(element == 0, "a unit has no element ", element, " behind its last");
  return 0;
}

size_t UnitGather::PlaceFor(int64_t unit) const {
  if (unit == norm_) return kNorm;
  const size_t other = 1 - current_large_;
  return places_[current_large_].unit == unit ? current_large_ : other;
}

void UnitGather::Begin(int64_t unit) {
  TEMPER_CHECK(PlaceFor(unit) != current_, "unit ", unit, " would come to where unit ",
               places_[current_].unit, " is computed with");
  Start(unit);
}

void UnitGather::Start(int64_t unit) {
  const size_t number = PlaceFor(unit);
  Place& place = places_[number];
  if (place.unit == unit) return;
  Finish(&place);
  if (place.bytes < sizes_[unit]) {
    place.memory.reset();
    place.memory = backend_.Allocate(sizes_[unit]);
    place.bytes = sizes_[unit];
  }
  place.unit = unit;
  char* const bytes = static_cast<char*>(place.memory.get());
  const LayoutUnit& of = kept_.layout().units()[unit];
  for (int64_t i = of.begin; i < of.end && !ranks_.counts_only(); ++i) {
    const Parameter& mine = kept_.list()[i];
    if (!mine.trained || mine.elements == 0) continue;
    std::memcpy(bytes + at_[i] + mine.first_element * ElementBytes(i), mine.value.const_data_ptr(),
                mine.value.nbytes());
  }
  place.span.emplace("comm", "gather", TraceFigure{"unit", unit}, TraceFigure{"bytes", sizes_[unit]},
                     TraceLine::kBeside);
  const int rank = ranks_.rank(), ranks = ranks_.size();
  for (const Half& half : halves_[unit]) {
    if (half.edges.empty()) continue;
    const auto length = [&](int r) { return static_cast<size_t>(half.edges[r + 1] - half.edges[r]); };
    for (int distance = 1; distance < ranks; ++distance) {
      const int to = (rank + distance) % ranks, from = (rank + ranks - distance) % ranks;
      place.moving.push_back(
          ranks_.Start({bytes + half.edges[rank], length(rank), to, bytes + half.edges[from], length(from),
                        from, number == kNorm ? kNormTag : kUnitTag}));
    }
  }
}

void UnitGather::Gather(int64_t unit) {
  Start(unit);
  current_ = PlaceFor(unit);
  if (current_ != kNorm) current_large_ = current_;
  Finish(&places_[current_]);
}

void UnitGather::Finish(Place* place) {
  for (std::unique_ptr<Communicator::Moving>& moving : place->moving) ranks_.Finish(std::move(moving));
  place->moving.clear();
  place->span.reset();
}

void UnitGather::Poll() {
  for (Place& place : places_) {
    for (const std::unique_ptr<Communicator::Moving>& moving : place.moving) ranks_.IsOver(moving.get());
  }
}

void UnitGather::Forget() {
  for (Place& place : places_) {
    Finish(&place);
    place.unit = -1;
  }
}

int64_t UnitGather::bytes() const {
  int64_t bytes = 0;
  for (const Place& place : places_) bytes += place.bytes;
  return bytes;
}

void TokenRows::Reserve(int64_t rows) {
  if (rows <= reserved_) return;
  const std::shared_ptr<void> before = std::exchange(memory_, backend_.Allocate(rows * cols_ * 4));
  const auto first = [this](const std::shared_ptr<void>& memory) {
    return kernels::F32(static_cast<float*>(memory.get()), reserved_, cols_);
  };
  if (before != nullptr) backend_.Copy(first(before), first(memory_));
  reserved_ = rows;
}

void TokenRows::Add(absl::Span<const int32_t> ids, const kernels::Matrix& dx) {
  const auto used = static_cast<int64_t>(ids_.size());
  std::vector<int32_t> places;
  for (const int32_t id : ids) {
    if (place_of_[id] < 0) {
      place_of_[id] = static_cast<int32_t>(ids_.size());
      ids_.push_back(id);
    }
    places.push_back(place_of_[id]);
  }
  if (places.empty()) return;
  const auto now = static_cast<int64_t>(ids_.size());
  if (used == 0 && now > reserved_) {  // nothing is kept
    memory_.reset();
    reserved_ = 0;
  }
  Reserve(now);
  const kernels::Matrix all = kernels::F32(static_cast<float*>(memory_.get()), now, cols_);
  backend_.Zero(all.Rows(used, now - used));
  backend_.EmbeddingGradient({dx, places.data(), all});
}

void TokenRows::MoveTo(const kernels::Matrix& whole) {
  const auto rows = static_cast<int64_t>(ids_.size());
  if (rows > 0)
    backend_.EmbeddingGradient(
        {kernels::F32(static_cast<float*>(memory_.get()), rows, cols_), ids_.data(), whole});
  for (const int32_t id : ids_) place_of_[id] = -1;
  ids_.clear();
}

Weights::Weights(const ModelConfig& config, Parameters parameters, kernels::Backend* backend, bool rounded,
                 Communicator* ranks)
    : parameters_(std::move(parameters)), backend_(backend) {
  for (Parameter& parameter : parameters_.list()) {
    if (backend->host_memory()) break;
    const at::Tensor of_host = parameter.value;
    parameter.value = NewTensor(*backend, of_host.sizes(), of_host.scalar_type());
    CopyTensor(of_host, parameter.value);
  }
  if (rounded) {
    rounded_ = ForRounded(parameters_, *backend);
    Round(parameters_, *backend, &*rounded_);
  }
  const bool shared_out = ranks != nullptr && ranks->size() > 1;
  for (const Parameter& parameter : computed().list()) {
    Weight weight{.value = MatrixOf(parameter.value)};
    if (shared_out && parameter.trained) {  // a place for them comes with Acquire
      const int64_t k = parameter.shape.size() == 2 ? parameter.shape[1] : 1;
      weight.value = {nullptr, weight.value.type, parameter.shape[0], k, k};
    }
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
  if (head != nullptr) {
    head_ = *head;
    head_entry_ = head - weights_.data();
  }
  for (size_t i = 0; i < weights_.size(); ++i) {
    const LayoutEntry& entry = parameters_.layout().entries()[i];
    if (entry.shape.size() != 2 || absl::StrContains(entry.name, "kv_b_proj")) continue;
    if (&weights_[i] == embedding_) continue;  // its rows are looked up
    used_whole_.push_back(&weights_[i] == head ? &head_ : &weights_[i]);
  }
  if (tied_) used_whole_.push_back(&head_);
  packed_.resize(used_whole_.size());
  NumberUnits(config);
  if (shared_out) gather_ = std::make_unique<UnitGather>(&computed(), norm_unit_, backend_, ranks);
}

void Weights::NumberUnits(const ModelConfig& config) {
  const int64_t layers = config.num_layers;
  layer_units_.resize(layers, kNone);
  const Layout& layout = parameters_.layout();
  const int64_t norm = layout.Find("model.norm.weight"), embedding = layout.Find("model.embed_tokens.weight");
  for (int64_t unit = 0; unit < static_cast<int64_t>(layout.units().size()); ++unit) {
    const LayoutUnit& of = layout.units()[unit];
    const auto has = [&of](int64_t entry) { return of.begin <= entry && entry < of.end; };
    const int64_t layer = layout.entries()[of.begin].layer;
    if (layer >= 0 && layer < layers) layer_units_[layer] = unit;
    if (layer == MtpLayerOf(config)) mtp_unit_ = unit;
    if (has(norm)) norm_unit_ = unit;
    if (has(embedding)) embedding_unit_ = unit;
    if (has(head_entry_)) head_unit_ = unit;
  }
}

void Weights::Acquire(int64_t unit, int64_t next) {
  if (gather_ == nullptr) return;
  TEMPER_CHECK(acquired_ == kNone && unit >= 0, "unit ", unit, " beside unit ", acquired_);
  gather_->Gather(unit);
  if (next >= 0) gather_->Begin(next);
  acquired_ = unit;
  const LayoutUnit& of = parameters_.layout().units()[unit];
  for (int64_t i = of.begin; i < of.end; ++i) {
    if (parameters_.list()[i].trained) weights_[i].value.data = gather_->At(i);
  }
  if (unit == head_unit_) head_.value.data = weights_[head_entry_].value.data;
}

void Weights::Release() {
  if (gather_ == nullptr) return;
  const LayoutUnit& of = parameters_.layout().units()[std::exchange(acquired_, kNone)];
  for (int64_t i = of.begin; i < of.end; ++i) {
    if (parameters_.list()[i].trained) weights_[i].value.data = nullptr;
  }
  head_.value.data = nullptr;
}

void Weights::AcquireGradients(int64_t unit) {
  if (gather_ == nullptr && unit_gradients_ == nullptr) return;
  TEMPER_CHECK(unit_gradients_ != nullptr && gradients_of_ == kNone, "nobody takes gradients of unit ", unit);
  PlaceGradients(unit, unit_gradients_->Begin(unit));
  gradients_of_ = unit;
}

void Weights::ReleaseGradients(bool later) {
  if (unit_gradients_ == nullptr) return;
  const int64_t unit = std::exchange(gradients_of_, kNone);
  if (!later) unit_gradients_->End(unit);
  if (unit != UnitGradients::kTiedHead) PlaceGradients(unit, {});
}

void Weights::EndGradients(int64_t unit) {
  if (unit_gradients_ != nullptr) unit_gradients_->End(unit);
}

void Weights::PlaceGradients(int64_t unit, const UnitGradients::Buffers& buffers) {
  if (unit == UnitGradients::kTiedHead) {
    head_.gradient = kernels::F32(buffers.others, head_.n(), head_.k());
    head_.sum = buffers.sums.Part(0, head_.n() * head_.k());
    return;
  }
  if (unit == embedding_unit_) embedding_rows_ = buffers.rows;
  const LayoutUnit& of = parameters_.layout().units()[unit];
  int64_t other = 0, expert = 0;
  for (int64_t i = of.begin; i < of.end; ++i) {
    const LayoutEntry& entry = parameters_.layout().entries()[i];
    if (!entry.trained) continue;
    Weight& weight = weights_[i];
    int64_t& at = entry.expert >= 0 ? expert : other;
    const int64_t n = weight.n() * weight.k();
    weight.sum = (entry.expert >= 0 ? buffers.expert_sums : buffers.sums).Part(at, n);
    if (buffers.others == nullptr) {
      weight.gradient = {};
      weight.leaf_gradients.clear();
    } else if (entry.expert >= 0) {
      PlaceExpert(buffers.experts, at, &weight);
    } else {
      weight.gradient = kernels::F32(buffers.others + at, weight.n(), weight.k());
    }
    if (!tied_ && i == head_entry_) {
      head_.gradient = weight.gradient;
      head_.sum = weight.sum;
    }
    at += n;
  }
}

void Weights::PlaceExpert(const std::vector<float*>& of_leaves, int64_t at, Weight* weight) const {
  weight->leaf_gradients.clear();
  for (float* leaf : of_leaves)
    weight->leaf_gradients.push_back(kernels::F32(leaf + at, weight->n(), weight->k()));
  weight->gradient = of_leaves.size() == 1 ? weight->leaf_gradients[0] : Matrix();
}

const Weight* Weights::Find(const std::string& name) const {
  const int64_t index = parameters_.layout().Find(name);
  return index < 0 ? nullptr : &weights_[index];
}

void Weights::Changed(int64_t version) {
  if (rounded_) Round(parameters_, *backend_, &*rounded_);
  version_ = version;
  packed_version_ = -1;
  if (gather_ != nullptr) gather_->Forget();
}

void Weights::Pack() {
  if (gather_ != nullptr || packed_version_ == version_ || TrainedFloats() * 4 > kPackLimitBytes) return;
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
  unit_gradients_ = nullptr;
  const std::vector<LayoutEntry>& entries = parameters_.layout().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    Weight& weight = weights_[i];
    weight.gradient =
        entries[i].trained ? kernels::F32(flat + entries[i].offset, weight.n(), weight.k()) : Matrix();
    if (static_cast<int64_t>(i) == head_entry_) head_.gradient = weight.gradient;
  }
  if (tied_) head_.gradient = kernels::F32(flat + TrainedFloats(), head_.n(), head_.k());
}

void Weights::BindGradients(float* others, absl::Span<float* const> experts) {
  BindGradients(others);
  const int64_t others_floats = TrainedFloats() - ExpertFloats();
  const std::vector<float*> of_leaves(experts.begin(), experts.end());
  for (size_t i = 0; i < weights_.size(); ++i) {
    const LayoutEntry& entry = parameters_.layout().entries()[i];
    if (entry.expert >= 0 && entry.trained)
      PlaceExpert(of_leaves, entry.offset - others_floats, &weights_[i]);
  }
  if (tied_) head_.gradient = kernels::F32(others + others_floats, head_.n(), head_.k());
}

void Weights::FoldTiedHead() {
  if (tied_) backend_->Add(head_.gradient, embedding_->gradient);
}

}  // namespace temper

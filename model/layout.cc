// SPDX-License-Identifier: Apache-2.0
#include "model/layout.h"

#include <algorithm>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "core/status.h"
#include "kernels/backend.h"
#include "model/share_out.h"
#include "model/stretches.h"

namespace temper {
namespace {

using Init = LayoutEntry::Init;

class Entries {
 public:
  // What follows is the layer's, or the expert's in it.
  void Begin(int64_t layer, int64_t expert = -1) {
    layer_ = layer;
    expert_ = expert;
  }
  void Add(LayoutEntry entry) {
    entry.layer = layer_;
    entry.expert = expert_;
    list_.push_back(std::move(entry));
  }
  void Norm(const std::string& name, int64_t size) { Add({name + ".weight", {size}, Init::kOne}); }
  struct Shape {
    int64_t out, in;
    bool bias = false;
  };
  void Linear(const std::string& name, Shape shape, Sharing sharing, Init init = Init::kLinear) {
    Add({name + ".weight", {shape.out, shape.in}, init, true, sharing});
    // What ranks have shares of is summed before the bias, which each has whole.
    const bool rows = sharing == Sharing::kRows;
    if (shape.bias) Add({name + ".bias", {shape.out}, Init::kZero, true, rows ? sharing : Sharing::kNone});
  }
  // An expert is its rank's whole.
  void Mlp(const std::string& prefix, Shape shape, bool shared = true) {
    const Sharing rows = shared ? Sharing::kRows : Sharing::kNone;
    Linear(prefix + "gate_proj", shape, rows);
    Linear(prefix + "up_proj", shape, rows);
    Linear(prefix + "down_proj", {shape.in, shape.out, shape.bias}, shared ? Sharing::kColumns : rows,
           Init::kResidual);
  }
  std::vector<LayoutEntry> Take() && { return std::move(list_); }

 private:
  std::vector<LayoutEntry> list_;
  int64_t layer_ = -1, expert_ = -1;
};

void LatentAttention(const ModelConfig& c, const std::string& prefix, Entries* entries) {
  const int64_t query = c.num_heads * c.qk_head_dim();
  if (c.q_lora_rank > 0) {
    entries->Linear(prefix + "q_a_proj", {c.q_lora_rank, c.hidden_size, c.qkv_bias}, Sharing::kNone);
    entries->Norm(prefix + "q_a_layernorm", c.q_lora_rank);
    entries->Linear(prefix + "q_b_proj", {query, c.q_lora_rank}, Sharing::kRows);
  } else {
    entries->Linear(prefix + "q_proj", {query, c.hidden_size}, Sharing::kRows);
  }
  entries->Linear(prefix + "kv_a_proj_with_mqa",
                  {c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size, c.qkv_bias}, Sharing::kNone);
  entries->Norm(prefix + "kv_a_layernorm", c.kv_lora_rank);
  entries->Linear(prefix + "kv_b_proj", {c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank},
                  Sharing::kRows);
  entries->Linear(prefix + "o_proj", {c.hidden_size, c.num_heads * c.v_head_dim, c.output_bias},
                  Sharing::kColumns, Init::kResidual);
}

void GroupedAttention(const ModelConfig& c, const std::string& prefix, Entries* entries) {
  const int64_t query = c.num_heads * c.head_dim, key = c.num_kv_heads * c.head_dim;
  entries->Linear(prefix + "q_proj", {query, c.hidden_size, c.qkv_bias}, Sharing::kRows);
  entries->Linear(prefix + "k_proj", {key, c.hidden_size, c.qkv_bias}, Sharing::kRows);
  entries->Linear(prefix + "v_proj", {key, c.hidden_size, c.qkv_bias}, Sharing::kRows);
  entries->Linear(prefix + "o_proj", {c.hidden_size, query, c.output_bias}, Sharing::kColumns,
                  Init::kResidual);
  if (c.qk_norm) {
    entries->Norm(prefix + "q_norm", c.head_dim);
    entries->Norm(prefix + "k_norm", c.head_dim);
  }
}

// `layer`: whose its weights are.
void MixtureOfExperts(const ModelConfig& c, int64_t layer, const std::string& prefix, Entries* entries) {
  entries->Linear(prefix + "gate", {c.routed_experts, c.hidden_size}, Sharing::kNone);
  if (c.sigmoid_scores) {
    entries->Add(
        {prefix + "gate.e_score_correction_bias", {c.routed_experts}, Init::kZero, /*trained=*/false});
  }
  if (c.shared_experts > 0) {
    entries->Mlp(prefix + "shared_experts.",
                 {c.shared_experts * c.moe_intermediate_size, c.hidden_size, c.mlp_bias});
  }
  for (int64_t expert = 0; expert < c.routed_experts; ++expert) {
    entries->Begin(layer, expert);
    entries->Mlp(absl::StrCat(prefix, "experts.", expert, "."), {c.moe_intermediate_size, c.hidden_size},
                 /*shared=*/false);
  }
}

// Layer `number` by name; its weights are those of `layer`.
void DecoderLayer(const ModelConfig& c, int64_t number, int64_t layer, Entries* entries) {
  entries->Begin(layer);
  const std::string prefix = absl::StrCat("model.layers.", number, ".");
  entries->Norm(prefix + "input_layernorm", c.hidden_size);
  entries->Norm(prefix + "post_attention_layernorm", c.hidden_size);
  c.is_mla() ? LatentAttention(c, prefix + "self_attn.", entries)
             : GroupedAttention(c, prefix + "self_attn.", entries);
  if (c.is_moe_layer(number)) {
    MixtureOfExperts(c, layer, prefix + "mlp.", entries);
  } else {
    entries->Mlp(prefix + "mlp.", {c.intermediate_size, c.hidden_size, c.mlp_bias});
  }
}

void MtpModule(const ModelConfig& c, Entries* entries) {
  entries->Begin(MtpLayerOf(c));
  const std::string prefix = absl::StrCat("model.layers.", c.num_layers, ".");
  entries->Norm(prefix + "enorm", c.hidden_size);
  entries->Norm(prefix + "hnorm", c.hidden_size);
  entries->Linear(prefix + "eh_proj", {c.hidden_size, 2 * c.hidden_size}, Sharing::kNone);
  entries->Norm(prefix + "shared_head.norm", c.hidden_size);
  DecoderLayer(c, c.num_layers, MtpLayerOf(c), entries);
}

std::vector<LayoutEntry> EntriesOf(const ModelConfig& c) {
  Entries entries;
  entries.Add({"model.embed_tokens.weight",
               {c.vocab_size, c.hidden_size},
               Init::kEmbedding,
               /*trained=*/true,
               Sharing::kRows});
  for (int64_t layer = 0; layer < c.num_layers; ++layer) DecoderLayer(c, layer, layer, &entries);
  if (c.has_mtp()) MtpModule(c, &entries);
  entries.Begin(c.num_layers);
  entries.Norm("model.norm", c.hidden_size);
  if (!c.tie_word_embeddings) {
    entries.Add(
        {"lm_head.weight", {c.vocab_size, c.hidden_size}, Init::kHead, /*trained=*/true, Sharing::kRows});
  }
  std::vector<LayoutEntry> list = std::move(entries).Take();
  for (LayoutEntry& entry : list) entry.trained &= entry.layer != MtpLayerOf(c) || c.mtp == MtpUse::kTrained;
  return list;
}

bool HasLayer(const ModelConfig& config, const MeshPlace& place, int64_t layer) {
  const bool first = place[Axis::kPp] == 0, last = place[Axis::kPp] == place.sizes.pp - 1;
  if (layer < 0) return first || (last && config.tie_word_embeddings);
  if (layer >= config.num_layers) return last;
  for (int64_t chunk = 0; chunk < place.sizes.chunks(); ++chunk)
    if (LayersOf(config, place, chunk).Has(layer)) return true;
  return false;
}

// By name, all elements counted.
void Sort(std::vector<LayoutEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const LayoutEntry& a, const LayoutEntry& b) { return a.name < b.name; });
  for (size_t i = 0; i < entries->size(); ++i) {
    LayoutEntry& entry = (*entries)[i];
    TEMPER_CHECK(i == 0 || (*entries)[i - 1].name < entry.name, entry.name, " is there twice");
    entry.elements = PartElements(entry);
  }
}

// Where each begins in a buffer of what is trained, in their order.
std::shared_ptr<const std::vector<LayoutEntry>> WithOffsets(std::vector<LayoutEntry> entries) {
  int64_t trained = 0;
  for (LayoutEntry& entry : entries) {
    entry.offset = trained;
    if (entry.trained) trained += entry.elements;
  }
  return std::make_shared<const std::vector<LayoutEntry>>(std::move(entries));
}

// All weights of a policy, whole. Those of the config that was asked for last are kept, since ranks of a plan
// ask one after another, and DeepSeek-V3 has 45,000.
std::shared_ptr<const std::vector<LayoutEntry>> WholeOf(const ModelConfig& config) {
  struct Last {
    std::mutex mutex;
    ModelConfig config;
    std::shared_ptr<const std::vector<LayoutEntry>> whole;
  };
  static auto* const last = new Last;
  const std::lock_guard<std::mutex> lock(last->mutex);
  if (last->whole == nullptr || !(last->config == config)) {
    std::vector<LayoutEntry> all = EntriesOf(config);
    for (LayoutEntry& entry : all) entry.shape = entry.whole;
    Sort(&all);
    last->whole = WithOffsets(std::move(all));
    last->config = config;
  }
  return last->whole;
}

bool HasPart(const ModelConfig& config, const MeshPlace& place, const LayoutEntry& entry) {
  if (entry.along >= 0) return entry.along % RanksOf(place.sizes) == RankOf(place);
  return HasLayer(config, place, entry.layer) &&
         (entry.expert < 0 || ExpertsOf(config, place).Has(entry.expert));
}

// The nearest size below that `fits`.
template <typename Fits>
int64_t NearestBelow(int64_t size, const Fits& fits) {
  while (size > 1 && !fits(size)) --size;
  return size;
}

template <typename Fits>
absl::Status CheckAxis(Axis axis, int64_t size, const std::string& what, const Fits& fits) {
  if (fits(size)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat("mesh.%s is %d, but %s: the nearest that works is %d",
                                                    AxisName(axis), size, what, NearestBelow(size, fits)));
}

}  // namespace

int64_t PartElements(const LayoutEntry& entry) {
  int64_t elements = 1;
  for (const int64_t size : entry.shape) elements *= size;
  return elements;
}

std::vector<LayoutBlock> BlocksOf(const LayoutEntry& entry) {
  const int64_t rows = entry.shape.empty() ? 1 : entry.shape[0];
  const int64_t columns = rows == 0 ? 0 : PartElements(entry) / rows;
  std::vector<LayoutBlock> blocks;
  int64_t at = entry.first_element;
  const int64_t end = at + entry.elements;
  while (at < end) {
    const int64_t row = at / columns, column = at % columns;
    LayoutBlock block{entry.first_row + row, 1, entry.first_column + column, 0, at - entry.first_element};
    if (column == 0 && end - at >= columns) {
      block.rows = (end - at) / columns;
      block.columns = columns;
    } else {
      block.columns = std::min(columns - column, end - at);
    }
    at += block.rows * block.columns;
    blocks.push_back(block);
  }
  return blocks;
}

std::vector<LayoutRun> RunsOf(const LayoutBlock& block, int64_t width) {
  const int64_t runs = block.columns == width ? 1 : block.rows, count = block.rows / runs * block.columns;
  std::vector<LayoutRun> result;
  for (int64_t i = 0; i < runs; ++i)
    result.push_back({(block.first_row + i) * width + block.first_column, i * count, count});
  return result;
}

IndexRange LayersOf(const ModelConfig& config, const MeshPlace& place, int64_t chunk) {
  const Share share = ShareOf(config.num_layers, chunk * place.sizes.pp + place[Axis::kPp],
                              place.sizes.pp * place.sizes.chunks());
  return {share.begin, share.end};
}

int64_t NumLayersOf(const ModelConfig& config, const MeshPlace& place) {
  int64_t layers = 0;
  for (int64_t chunk = 0; chunk < place.sizes.chunks(); ++chunk) {
    const IndexRange range = LayersOf(config, place, chunk);
    layers += range.end - range.begin;
  }
  return layers;
}

int64_t MostLayers(const ModelConfig& config, const MeshSizes& sizes) {
  MeshPlace place{sizes, {}};
  int64_t most = 0;
  for (int64_t& stage = place.at[static_cast<int>(Axis::kPp)]; stage < sizes.pp; ++stage)
    most = std::max(most, NumLayersOf(config, place));
  return most;
}

// Routed experts are dealt to the ranks of tp, which cuts none of them, and of each to those of ep: so ranks
// of ep have a subtree of the sum over experts between them.
IndexRange ExpertsOf(const ModelConfig& config, const MeshPlace& place) {
  const Share share = ShareOf(config.routed_experts, place[Axis::kTp] * place.sizes.ep + place[Axis::kEp],
                              place.sizes.ep * place.sizes.tp);
  return {share.begin, share.end};
}

bool CutTo(const ModelConfig& config, const MeshPlace& place, LayoutEntry* entry) {
  entry->shape = entry->whole;
  if (!HasPart(config, place, *entry)) return false;
  if (entry->along >= 0 || entry->sharing == Sharing::kNone) return true;
  const bool rows = entry->sharing == Sharing::kRows;
  int64_t& size = rows ? entry->shape[0] : entry->shape[1];
  const Share share = ShareOf(size, place[Axis::kTp], place.sizes.tp);
  size = share.end - share.begin;
  (rows ? entry->first_row : entry->first_column) = share.begin;
  return true;
}

bool Writes(const MeshPlace& place, const LayoutEntry& entry) {
  if (entry.along >= 0) return true;
  const bool same_over_tp = entry.expert < 0 && entry.sharing == Sharing::kNone;
  const bool first_sharer = place[Axis::kDpShard] == 0 && place[Axis::kCp] == 0;
  return place[Axis::kDpReplicate] == 0 && (first_sharer || entry.trained) &&
         (place[Axis::kEp] == 0 || entry.expert >= 0) && (place[Axis::kTp] == 0 || !same_over_tp) &&
         (place[Axis::kPp] == 0 || entry.layer >= 0);
}

absl::Status CheckMesh(const ModelConfig& c, const MeshSizes& sizes) {
  if (c.mtp == MtpUse::kTrained && sizes.cp > 1) {
    return absl::InvalidArgumentError(
        "mesh.cp cuts no policy whose MTP module is trained (mtp_weight): leave one of them out");
  }
  const auto divides = [](int64_t size, std::initializer_list<int64_t> of) {
    return std::all_of(of.begin(), of.end(), [size](int64_t n) { return n % size == 0; });
  };
  // Sums over a shared axis go in kChunks chunks, of which a rank has a whole subtree.
  const int64_t width =
      c.routed_experts > 0 ? c.shared_experts * c.moe_intermediate_size : c.intermediate_size;
  TEMPER_RETURN_IF_ERROR(CheckAxis(
      Axis::kTp, sizes.tp,
      absl::StrFormat("it has to divide %d chunks, %d heads, %d key heads and MLPs of %d and %d",
                      kernels::kChunks, c.num_heads, c.is_mla() ? c.num_heads : c.num_kv_heads,
                      c.intermediate_size, width),
      [&](int64_t size) {
        return divides(size, {kernels::kChunks, c.num_heads, c.is_mla() ? c.num_heads : c.num_kv_heads,
                              c.intermediate_size, width});
      }));
  TEMPER_RETURN_IF_ERROR(
      CheckAxis(Axis::kEp, sizes.ep,
                absl::StrFormat("with mesh.tp %d it has to share out %d experts in %d ranges", sizes.tp,
                                c.routed_experts, kernels::kChunks),
                [&](int64_t size) {
                  const int64_t owners = size * sizes.tp;
                  if (c.routed_experts == 0) return size == 1;
                  return owners <= c.routed_experts &&
                         (kernels::kChunks % owners == 0 || owners % kernels::kChunks == 0);
                }));
  TEMPER_RETURN_IF_ERROR(
      CheckAxis(Axis::kCp, sizes.cp,
                absl::StrFormat("ranks share out the %d stretches of a long sequence two by two", kStretches),
                [](int64_t size) { return kStretches % (2 * size) == 0; }));
  const std::string chunks =
      sizes.chunks() > 1 ? absl::StrFormat("with mesh.pp_chunks %d ", sizes.chunks()) : "";
  return CheckAxis(Axis::kPp, sizes.pp, absl::StrCat(chunks, "the policy has ", c.num_layers, " layers"),
                   [&](int64_t size) { return (size == 1 ? 1 : sizes.chunks()) <= c.num_layers / size; });
}

Layout::Layout(const ModelConfig& config, const MeshPlace& place, std::vector<LayoutEntry> along)
    : place_(place) {
  TEMPER_CHECK(CheckMesh(config, place.sizes).ok());
  whole_ = WholeOf(config);
  if (!along.empty()) {
    std::vector<LayoutEntry> all = *whole_;
    int64_t number = 0;
    for (LayoutEntry& entry : along) {
      entry.shape = entry.whole;
      entry.trained = false;
      entry.along = number++;
      entry.layer = MtpLayerOf(config) + 1;  // no unit of what is computed with
      all.push_back(std::move(entry));
    }
    Sort(&all);
    whole_ = WithOffsets(std::move(all));
  }
  for (const LayoutEntry& entry : *whole_) {
    if (!HasPart(config, place, entry)) continue;
    entries_.push_back(entry);
    CutTo(config, place, &entries_.back());
  }
  const PartPlace sharer = PlaceIn(MeshParts()[kSharersPart], place);
  Order(sharer.rank, sharer.ranks);
}

Layout::Layout(std::vector<LayoutEntry> entries) : entries_(std::move(entries)) {
  for (LayoutEntry& entry : entries_) entry.shape = entry.whole;
  Order(0, 1);
  whole_ = WithOffsets(entries_);
}

void Layout::Order(int64_t rank, int64_t ranks) {
  Sort(&entries_);
  MakeUnits();
  Keep(rank, ranks);
  for (const bool experts : {false, true}) {
    for (LayoutUnit& unit : units_) {
      (experts ? unit.experts : unit.others).offset = trained_elements_;
      for (int64_t i = unit.begin; i < unit.end; ++i) {
        LayoutEntry& entry = entries_[i];
        if ((entry.expert >= 0) != experts) continue;
        elements_ += entry.elements;
        entry.offset = trained_elements_;
        if (!entry.trained) continue;
        trained_elements_ += entry.elements;
        if (experts) expert_elements_ += entry.elements;
      }
    }
  }
}

void Layout::MakeUnits() {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const LayoutEntry& entry = entries_[i];
    if (i == 0 || entry.layer != entries_[i - 1].layer) units_.push_back({.begin = static_cast<int64_t>(i)});
    units_.back().end = static_cast<int64_t>(i) + 1;
    if (entry.trained) units_.back().HalfOf(entry).elements += entry.elements;
  }
}

void Layout::Keep(int64_t rank, int64_t ranks) {
  for (const LayoutUnit& unit : units_)
    ShareOut(absl::MakeSpan(entries_).subspan(unit.begin, unit.end - unit.begin), rank, ranks);
}

int64_t Layout::Find(std::string_view name) const {
  const auto it =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const LayoutEntry& entry, std::string_view n) { return entry.name < n; });
  return it == entries_.end() || it->name != name ? -1 : it - entries_.begin();
}

}  // namespace temper

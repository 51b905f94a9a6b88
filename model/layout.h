// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/mesh.h"
#include "model/config/config.h"

namespace temper {

// What ranks share out of a weight: nothing (each has all of it), its rows by tp, its columns by tp.
enum class Sharing { kNone, kRows, kColumns };

// One weight of the policy: its name (Hugging Face's), how much of it this rank has, how it begins and where
// it stands.
struct LayoutEntry {
  enum class Init { kOne, kZero, kEmbedding, kLinear, kResidual, kHead };  // kResidual: o_proj, down_proj
  std::string name;
  std::vector<int64_t> whole;  // its shape
  Init init = Init::kLinear;
  bool trained = true;  // false: selection bias (e_score_correction_bias), what only goes along
  Sharing sharing = Sharing::kNone;
  int64_t layer = -1;   // whose it is; -1: the embedding's, num_layers: the final norm's and the head's,
                        // MtpLayerOf: the MTP module's
  int64_t expert = -1;  // the routed expert whose it is; -1: none
  int64_t along = -1;   // its number among what only goes along, which one rank has; -1: none of that
  std::vector<int64_t> shape = {};          // of this rank's part, which begins at
  int64_t first_row = 0, first_column = 0;  // of the whole
  // Of that part, in the order of rows, this rank keeps so many elements from this one on
  // (Mesh::sharers). The others are gathered when they are computed with.
  int64_t first_element = 0, elements = 0;
  // Of a trained weight, in a flat buffer of all that are trained (gradient, moments): by name, but routed
  // experts behind all others.
  int64_t offset = 0;
};

// Of the part that a rank computes with.
int64_t PartElements(const LayoutEntry& entry);

// A rectangle of the whole (a vector is a column), and where it begins in what a rank keeps.
struct LayoutBlock {
  int64_t first_row = 0, rows = 0, first_column = 0, columns = 0;
  int64_t begin = 0;
};
// What the entry's rank keeps, in its order: at most a part of a row, rows, and a part of a row.
std::vector<LayoutBlock> BlocksOf(const LayoutEntry& entry);
// Elements that lie together in the whole, from `first` on, and in the block, from `begin` on.
struct LayoutRun {
  int64_t first = 0, begin = 0, count = 0;
};
// All of a block of a whole whose rows have `width` elements, in its order.
std::vector<LayoutRun> RunsOf(const LayoutBlock& block, int64_t width);

// Entries [begin, end) that are computed with together: a layer's, the embedding, the final norm or the head.
// Ranks of dp_shard and cp share out a unit's trained elements, one entry's behind the other's: those of its
// routed experts apart, so that ranks of ep, which have other experts, keep the same of all else. What is not
// trained each has whole.
struct LayoutUnit {
  struct Half {
    int64_t elements = 0;  // trained, of the parts
    int64_t offset = 0;    // of those that this rank keeps, in a flat buffer of all that are trained
  };
  int64_t begin = 0, end = 0;
  Half others, experts;

  int64_t trained_elements() const { return others.elements + experts.elements; }
  Half& HalfOf(const LayoutEntry& entry) { return entry.expert >= 0 ? experts : others; }
};

inline int64_t MtpLayerOf(const ModelConfig& config) { return config.num_layers + 1; }

// What is wrong with cutting the policy of this config so: InvalidArgument names the key of the mesh, the
// sizes that it does not divide, and the nearest size that it could be.
absl::Status CheckMesh(const ModelConfig& config, const MeshSizes& sizes);

struct IndexRange {
  int64_t begin = 0, end = 0;

  bool Has(int64_t i) const { return begin <= i && i < end; }
};
// The layers of a chunk of mesh.pp_chunks, and the routed experts of each, that the rank at this place has.
// Chunk c is the one of number c * pp + its place among all ranks' chunks.
IndexRange LayersOf(const ModelConfig& config, const MeshPlace& place, int64_t chunk);
IndexRange ExpertsOf(const ModelConfig& config, const MeshPlace& place);
// All layers of the rank at this place; and of the rank that has the most.
int64_t NumLayersOf(const ModelConfig& config, const MeshPlace& place);
int64_t MostLayers(const ModelConfig& config, const MeshSizes& sizes);
// Whether the rank at this place has a part of the weight, and cuts it down to that part. The head tied to
// the embedding is one weight, of the first and of the last stage.
bool CutTo(const ModelConfig& config, const MeshPlace& place, LayoutEntry* entry);
// Of the ranks that have the same part of a weight: whether the one at this place is it that writes it.
bool Writes(const MeshPlace& place, const LayoutEntry& entry);

// The weights of a policy, and those that a rank has, each in name order (plain byte order). What is read,
// drawn, written, stepped, summed or counted by weight goes by it.
class Layout {
 public:
  Layout() = default;
  // The weights that the policy of this config computes with, all of them this rank's.
  explicit Layout(const ModelConfig& config) : Layout(config, MeshPlace()) {}
  // The rank at this place has its part. A mesh that CheckMesh refuses is a broken invariant.
  Layout(const ModelConfig& config, const MeshPlace& place) : Layout(config, place, {}) {}
  // The same of a policy with more weights, which go along untrained.
  Layout(const ModelConfig& config, const MeshPlace& place, std::vector<LayoutEntry> along);
  // Weights that a rank has whole. A name that is there twice is a broken invariant.
  explicit Layout(std::vector<LayoutEntry> entries);

  const MeshPlace& place() const { return place_; }
  // This rank's.
  const std::vector<LayoutEntry>& entries() const& { return entries_; }
  std::vector<LayoutEntry> entries() && { return std::move(entries_); }  // so that a loop over it may stand
  // Of the weight of this name in entries(); -1: there is none.
  int64_t Find(std::string_view name) const;
  // In the order of entries: all of a unit are neighbours by their names.
  const std::vector<LayoutUnit>& units() const { return units_; }
  // Of those that this rank keeps.
  int64_t elements() const { return elements_; }
  int64_t trained_elements() const { return trained_elements_; }
  int64_t expert_elements() const { return expert_elements_; }  // those of them that are routed experts'
  // All of the policy's, whole, with offsets by name alone.
  const std::vector<LayoutEntry>& whole() const& { return *whole_; }
  std::vector<LayoutEntry> whole() && { return *whole_; }

 private:
  // Fills in what follows from the entries' shapes for rank `rank` of `ranks` that share out the units.
  void Order(int64_t rank, int64_t ranks);
  void MakeUnits();
  // Cuts the units down to what that rank keeps.
  void Keep(int64_t rank, int64_t ranks);

  MeshPlace place_;
  std::shared_ptr<const std::vector<LayoutEntry>> whole_;
  std::vector<LayoutEntry> entries_;
  std::vector<LayoutUnit> units_;
  int64_t elements_ = 0, trained_elements_ = 0, expert_elements_ = 0;
};

}  // namespace temper

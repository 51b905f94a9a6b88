// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/trace.h"
#include "model/linear.h"
#include "model/parameters.h"

namespace temper {

// Brings units of the layout (LayoutUnit) together from the ranks that share them out (Mesh::sharers): the
// one that is computed with and, while it is, the next one, so that there are two at a time; and the norm
// behind the last layer beside them. What is not trained is on every rank anyway.
class UnitGather {
 public:
  // What this rank keeps of the weights that are computed with; all three outlive it. The host's memory only.
  // `norm`: the unit of that norm alone; negative: none of the units is.
  UnitGather(const Parameters* kept, int64_t norm, kernels::Backend* backend, Communicator* ranks);

  // Collective: every rank asks for the same units in the same order. The unit is here when it returns. One
  // that lies here still, or is on its way, is not sent again.
  void Gather(int64_t unit);
  // Likewise, but it is only on its way, and what was gathered last stays.
  void Begin(int64_t unit);
  // Moves on what is on its way.
  void Poll();
  // The kept ones were changed.
  void Forget();
  // Where the trained weight of this entry begins, of the unit that was gathered last.
  void* At(int64_t entry) const { return static_cast<char*>(places_[current_].memory.get()) + at_[entry]; }

  // Of its memory: 0 before the first unit.
  int64_t bytes() const;

 private:
  // A unit's routed experts, or all else of it: which of its bytes each rank keeps.
  struct Half {
    bool experts = false;
    std::vector<int64_t> edges = {};  // between the ranks' bytes; none where it has nothing
  };
  // Memory for a unit.
  struct Place {
    std::shared_ptr<void> memory = {};
    int64_t bytes = 0;
    int64_t unit = -1;
    std::vector<std::unique_ptr<Communicator::Moving>> moving = {};
    std::optional<TraceSpan> span = {};
  };
  static constexpr size_t kNorm = 2;  // the norm's place
  // Whether the entry is of that half, and shared out.
  bool IsOf(int64_t entry, bool experts) const;
  // Where in a unit's bytes the trained element `element` of a half begins.
  int64_t ByteOf(const LayoutUnit& unit, bool experts, int64_t element) const;
  int64_t ElementBytes(int64_t entry) const;
  // Where it lies, or is to.
  size_t PlaceFor(int64_t unit) const;
  void Start(int64_t unit);
  void Finish(Place* place);

  const Parameters& kept_;
  const int64_t norm_;
  kernels::Backend& backend_;
  Communicator& ranks_;
  std::vector<int64_t> at_;                  // of each entry, in its unit
  std::vector<std::array<Half, 2>> halves_;  // of each unit
  std::vector<int64_t> sizes_;               // likewise, in bytes
  std::array<Place, 3> places_;
  size_t current_ = 0, current_large_ = 0;  // what was gathered last, and that is not the norm
};

// The gradient of an embedding in its tokens' rows alone, which are few beside the vocabulary: each the chain
// that it is in the whole. So it takes little memory while the whole one has the gradient of a head that is
// tied to the embedding.
class TokenRows {
 public:
  // Of `rows` of `cols` numbers, in the memory of the backend, which outlives this.
  TokenRows(int64_t rows, int64_t cols, kernels::Backend* backend)
      : backend_(*backend), cols_(cols), place_of_(rows, -1) {}

  // Row ids[i]'s chain goes on with row i of dx.
  void Add(absl::Span<const int32_t> ids, const kernels::Matrix& dx);
  // Each row is added to its own of `whole`, and is empty again.
  void MoveTo(const kernels::Matrix& whole);

 private:
  void Reserve(int64_t rows);

  kernels::Backend& backend_;
  const int64_t cols_;
  std::vector<int32_t> place_of_;  // of each row; -1: it has none
  std::vector<int32_t> ids_;       // of each place
  int64_t reserved_ = 0;           // places
  std::shared_ptr<void> memory_;
};

// Where the gradients of units (LayoutUnit) are made, and who takes them when a unit's way back is over.
class UnitGradients {
 public:
  virtual ~UnitGradients() = default;
  // Of a tied head, which is no unit of its own.
  static constexpr int64_t kTiedHead = -1;
  // Memory for a unit's trained elements, one entry's behind the other's: of its routed experts for each leaf
  // whose rows they have (mesh.ep), and of all else.
  struct Buffers {
    float* others = nullptr;
    std::vector<float*> experts = {};
    // In their place where each leaf, or each stretch of a long sequence, is added as soon as it is made.
    SumPlace sums = {}, expert_sums = {};
    // Of a tied embedding whose head's gradient is made in `others`: where its own is, which is added once
    // both are there.
    TokenRows* rows = nullptr;
  };
  // To go on with. Stretches of a tied head go to the embedding's.
  virtual Buffers Begin(int64_t unit) = 0;
  // Collective, in the order of Begin.
  virtual void End(int64_t unit) = 0;
};

// The policy's weights as its layers use them: in a backend's memory, with the panels packed from them and
// the places of their gradients. `parameters()` may be changed if Changed follows. Rounded ones compute with
// the nearest bf16 of each number that is trained: what is trained keeps its own precision. Where ranks share
// them out (Mesh::sharers) a rank keeps its share of each unit (LayoutUnit) and has a unit whole only while
// it is acquired, or is to be next; otherwise Acquire and Release do nothing.
class Weights : public WeightSource {
 public:
  // The backend outlives the weights, which go to its memory if that is not the host's. `ranks`: who share
  // them out, in the order of the layout's shares; outlives them too. Null, or one rank: nobody.
  Weights(const ModelConfig& config, Parameters parameters, kernels::Backend* backend, bool rounded = false,
          Communicator* ranks = nullptr);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  // What is computed with: parameters(), or what they were rounded to.
  const Parameters& computed() const { return rounded_ ? *rounded_ : parameters_; }
  bool rounded() const { return rounded_.has_value(); }
  kernels::Backend& backend() const { return *backend_; }
  const Weight* Find(const std::string& name) const override;  // by its name in the layout
  // Of a rank that has it (Layout).
  const Weight& embedding() const { return *embedding_; }
  const Weight& head() const { return head_; }
  // Whether the head is the embedding: of a pipeline, its first and its last rank have it.
  bool tied() const { return tied_; }

  // The policy version that the weights are now; panels packed from older ones are packed anew by Pack.
  void Changed(int64_t version);
  int64_t version() const { return version_; }
  // Before a pass.
  void Pack();

  // Where ranks share the weights out: the unit is computed with from now on, until Release, and `next` is
  // brought together meanwhile. Collective; one at a time.
  static constexpr int64_t kNone = -2;
  void Acquire(int64_t unit, int64_t next = kNone);
  void Release();
  // Moves on what is on its way: between two products, now and then.
  void Poll() {
    if (gather_ != nullptr) gather_->Poll();
  }
  // On the way back, wherever the weights are: a unit's gradients go on where UnitGradients says, which takes
  // them with the release, or, if some come `later`, with EndGradients. The tied head's own part has no unit.
  // Without UnitGradients these do nothing.
  void AcquireGradients(int64_t unit);
  void ReleaseGradients(bool later = false);
  void EndGradients(int64_t unit);
  // Whether ranks share the weights out.
  bool shared_out() const { return gather_ != nullptr; }
  int64_t embedding_unit() const { return embedding_unit_; }
  int64_t layer_unit(int64_t layer) const { return layer_units_[layer]; }
  int64_t norm_unit() const { return norm_unit_; }
  int64_t head_unit() const { return head_unit_; }
  int64_t mtp_unit() const { return mtp_unit_; }
  int64_t head_gradient_unit() const { return tied_ ? UnitGradients::kTiedHead : head_unit_; }
  // Of the units that lie here whole.
  int64_t gathered_bytes() const { return gather_ == nullptr ? 0 : gather_->bytes(); }
  int64_t packed_bytes() const { return packed_floats_ * 4; }

  // Who says where gradients are made, unit by unit; outlives what follows.
  void BindGradients(UnitGradients* units) { unit_gradients_ = units; }
  // Or all lie in one buffer: the gradient of every trained parameter, flat, at its offset of the layout;
  // with tied embeddings the head's own part follows (GradientFloats). The buffer is the caller's, in the
  // backend's memory, and is not cleared.
  void BindGradients(float* flat);
  // Where rows come to this rank's experts from several ranks (mesh.ep), each with a leaf at hand: in each
  // rank's buffer the gradients of its experts' weights one behind the other (ExpertFloats), in `others` all
  // other ones, then the tied head's own part.
  void BindGradients(float* others, absl::Span<float* const> experts);
  int64_t ExpertFloats() const { return parameters_.layout().expert_elements(); }
  int64_t TrainedFloats() const { return parameters_.layout().trained_elements(); }
  int64_t GradientFloats() const { return TrainedFloats() + (tied_ ? head_.n() * head_.k() : 0); }
  // Tied embedding: adds the head's part to the embedding's (head, then embedding), once a leaf.
  void FoldTiedHead();
  // Where the embedding's own gradient is made; null: in `gradient` of embedding().
  TokenRows* embedding_rows() const { return embedding_rows_; }

 private:
  void NumberUnits(const ModelConfig& config);
  // Where a unit's gradients are; none: nowhere.
  void PlaceGradients(int64_t unit, const UnitGradients::Buffers& buffers);
  void PlaceExpert(const std::vector<float*>& of_leaves, int64_t at, Weight* weight) const;

  Parameters parameters_;
  std::optional<Parameters> rounded_;
  kernels::Backend* const backend_;
  bool tied_ = false;
  int64_t version_ = 0, packed_version_ = -1;
  std::vector<Weight> weights_;  // one for each parameter
  Weight* embedding_ = nullptr;
  Weight head_;
  int64_t head_entry_ = -1;
  std::vector<Weight*> used_whole_;            // whose products read them packed
  std::vector<kernels::PackedMatrix> packed_;  // of each of them
  std::shared_ptr<void> packed_memory_;
  int64_t packed_floats_ = 0;
  std::unique_ptr<UnitGather> gather_;  // null: each rank has all
  int64_t acquired_ = kNone, gradients_of_ = kNone;
  int64_t embedding_unit_ = kNone, norm_unit_ = kNone, head_unit_ = kNone, mtp_unit_ = kNone;
  std::vector<int64_t> layer_units_;
  UnitGradients* unit_gradients_ = nullptr;
  TokenRows* embedding_rows_ = nullptr;
};

}  // namespace temper

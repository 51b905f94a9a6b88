// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "model/causal_lm.h"

namespace temper {

// Of a microbatch: which of the leaves that a rank makes, one behind another, it belongs to. Ranks that run
// in step (Mesh::in_step) have each as many leaves, and as many microbatches in each.
struct LeafTurn {
  int64_t leaf = 0;
  bool last = false;  // microbatch of it
  bool only = false;  // likewise: it has no other
  // It is a long sequence, or none where ranks that run in step have one: no leaf goes on, and each stretch
  // is added by itself (model/stretches.h).
  bool is_long = false;
};

// The gradient of an update: where the gradients of leaves are made, and their sum over all ranks, as
// integers (kernels/gradient_sum.h): the same bits for any order of leaves and any assignment of them to
// ranks. It alone knows which ranks a part of the gradient is summed over. Where ranks share the experts
// (mesh.ep) rows come to an expert from all of them, each of which has a leaf at hand: its gradient is made
// of each of these leaves apart, so that an expert's leaf is the same chain as on one rank.
class LeafGradients {
 public:
  virtual ~LeafGradients() = default;

  // How many values of a weight are added in the update that begins, at most: those of leaves and of
  // stretches, on all ranks. It says which of them are out of range (kernels::QuantaRule).
  virtual void Expect(int64_t values) = 0;
  // Gradients of a microbatch are computed next. In a pipeline leaves may be on their way side by side; of
  // each weight microbatches come in their order.
  virtual void Bind(const LeafTurn& turn) = 0;
  // All gradients of the leaf are there.
  virtual void EndLeaf(int64_t leaf) = 0;
  // Collective, of all ranks but those of a pipeline and of mesh.tp: what this rank keeps of the gradient,
  // flat by the layout, in the backend's memory; null where a value was out of range on one of them. The sum
  // is empty again.
  virtual std::shared_ptr<void> Take() = 0;
  // That memory is not needed any more. It is kept for the next update.
  virtual void GiveBack(std::shared_ptr<void> gradient) = 0;
  // What is kept so goes back. Between two updates.
  virtual void Free() = 0;
};

// Memory in which the gradients of units are made, one after another.
class UnitMemory {
 public:
  struct Piece {
    int64_t floats = 0;
    std::shared_ptr<void> begin;

    explicit operator bool() const { return begin != nullptr; }
    float* data() const { return static_cast<float*>(begin.get()); }
  };
  // In the memory of the backend, which outlives this.
  explicit UnitMemory(kernels::Backend* backend) : backend_(*backend) {}

  // All zeros: of what was given back the smallest that is large enough, or new memory in place of the
  // largest.
  Piece Zeros(int64_t floats);
  void GiveBack(Piece piece) { spare_.push_back(std::move(piece)); }
  // What was given back is kept no longer.
  void Free() { spare_.clear(); }

 private:
  kernels::Backend& backend_;
  std::vector<Piece> spare_;
};

// The policy outlives it.
std::unique_ptr<LeafGradients> MakeLeafGradients(CausalLm* model, const kernels::QuantaRule& rule);

}  // namespace temper

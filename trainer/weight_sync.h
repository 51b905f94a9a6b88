// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "model/causal_lm.h"

namespace temper {

// The parameters that the rank at this place has of a policy, without numbers, in the backend's memory: f32,
// or, `rounded`, as ForRounded has them.
Parameters WithoutNumbers(const ModelConfig& config, const MeshPlace& place, kernels::Backend& backend,
                          bool rounded = false);

// Takes the weights of a policy that ranks have between them by one mesh to a policy that the same ranks have
// by another: from rank to rank, straight from the slice that one keeps to the slice that the other does. A
// rank gets each element that it lacks once, and what it has already it copies itself. Of ranks that keep the
// same the one sends that stands where the receiver does on the axes by which they are the same, so that all
// do their part. On the host only.
class WeightSync {
 public:
  // Of the same policy and rank, each by its mesh. What only goes along is left out.
  WeightSync(const ModelConfig& config, const Layout& from, const Layout& to);

  // `from` and `to` are those layouts' parameters, a weight of the same type in both. Collective over all
  // ranks. Holds a piece of 16 MiB that goes and one that comes.
  void Copy(const Parameters& from, Communicator& world, Parameters* to) const;
  // What this rank sends for that.
  int64_t SentBytes(const Parameters& from) const;

 private:
  // A rectangle of what a rank keeps of a weight, which has this number among its unit's: rows of `columns`
  // elements, `stride` from one to the next.
  struct Patch {
    int64_t parameter = 0, begin = 0, stride = 0, rows = 0, columns = 0;
  };
  // What goes to one rank and comes from another at the same time. All ranks come to theirs in one order.
  struct Round {
    int to = -1, from = -1;
    std::vector<Patch> out, in;
  };
  // What is done for a unit of weights: the same for layers that are alike.
  struct Kind {
    std::vector<std::pair<Patch, Patch>> own;  // what the rank has already, and where it goes
    std::vector<Round> rounds;
  };
  // Where a unit's weights begin in both layouts.
  struct Unit {
    size_t kind = 0;
    int64_t from = 0, to = 0;
  };
  class Planner;
  class Copier;

  // Of weights from number `first` on.
  static int64_t BytesOf(const std::vector<Patch>& patches, const Parameters& parameters, int64_t first);
  // body(first element of a row, elements of the patch before it, elements of it).
  template <typename Body>
  static void ForEachRow(const Patch& patch, const Body& body);

  std::vector<Kind> kinds_;
  std::vector<Unit> units_;
};

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/leaf_gradients.h"

#include <algorithm>
#include <utility>

#include "trainer/update/unit_leaves.h"
#include "trainer/update/whole_leaves.h"

namespace temper {

UnitMemory::Piece UnitMemory::Zeros(int64_t floats) {
  std::sort(spare_.begin(), spare_.end(), [](const Piece& a, const Piece& b) { return a.floats < b.floats; });
  const auto best = std::find_if(spare_.begin(), spare_.end(),
                                 [floats](const Piece& piece) { return piece.floats >= floats; });
  Piece piece;
  if (best == spare_.end()) {
    if (!spare_.empty()) spare_.pop_back();
    piece = {floats, backend_.Allocate(floats * 4)};
  } else {
    piece = std::move(*best);
    spare_.erase(best);
  }
  backend_.Zero(kernels::F32(piece.data(), 1, floats));
  return piece;
}

std::unique_ptr<LeafGradients> MakeLeafGradients(CausalLm* model, const kernels::QuantaRule& rule) {
  if (model->weights().shared_out()) return std::make_unique<UnitLeaves>(model, rule);
  return std::make_unique<WholeLeaves>(model, rule);
}

}  // namespace temper

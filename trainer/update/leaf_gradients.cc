// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/leaf_gradients.h"

#include "trainer/update/unit_leaves.h"
#include "trainer/update/whole_leaves.h"

namespace temper {

std::unique_ptr<LeafGradients> MakeLeafGradients(CausalLm* model, const kernels::QuantaRule& rule) {
  if (model->weights().shared_out()) return std::make_unique<UnitLeaves>(model, rule);
  return std::make_unique<WholeLeaves>(model, rule);
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "model/parameters.h"

namespace temper {

// What the rank of this layout keeps of a policy's weights.
inline Parameters Slice(const Parameters& whole, const Layout& part) {
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : part.entries()) {
    at::Tensor value = whole[entry.name].narrow(0, entry.first_row, entry.shape[0]);
    if (entry.shape.size() == 2) value = value.narrow(1, entry.first_column, entry.shape[1]);
    if (entry.elements < PartElements(entry))
      value = value.reshape({-1}).narrow(0, entry.first_element, entry.elements);
    values.push_back(value.clone().contiguous());
  }
  return Parameters(part, std::move(values));
}

}  // namespace temper

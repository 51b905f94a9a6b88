// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "data/jinja/node.h"

namespace temper::jinja {

struct Filter {
  std::string_view name;
  FilterBody body;
};
absl::Span<const Filter> TextFilters();  // those of texts and numbers

}  // namespace temper::jinja

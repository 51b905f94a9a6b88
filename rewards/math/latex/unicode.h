// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace temper::math {

// A text whose mathematical characters are LaTeX: − × ² ₁ ½ π √ ≤ ∞ full-width forms. Other characters (of
// any script) stay.
struct AsciiMath {
  std::string text;
  std::vector<uint32_t> offsets;  // of each byte of `text` in the source; empty: they are the same

  size_t Offset(size_t at) const { return offsets.empty() ? at : offsets[at]; }
};

// `text` is valid UTF-8.
AsciiMath ToAsciiMath(std::string_view text);

}  // namespace temper::math

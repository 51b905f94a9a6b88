// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace temper {

// LaTeX and typographic variants of an answer -> one plain form: $..$, \(..\) and ** around it, \left,
// \right, \text{..} and other fonts, \dfrac, thin spaces, {,}, full-width forms, the minus sign, ½, a full
// stop at the end. One pass, no recursion; any bytes.
std::string PlainMath(std::string_view text);

// The content of the last \boxed{..}; empty where its braces do not close within 4,096 bytes: an earlier box
// is not the answer then.
struct Boxed {
  bool found = false;
  std::string_view content;
};
Boxed LastBoxed(std::string_view text);

}  // namespace temper

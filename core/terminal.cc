// SPDX-License-Identifier: Apache-2.0
#include "core/terminal.h"

#include <algorithm>

#include "core/text.h"

namespace temper {

std::string TerminalText(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\n\t"), text.size());
    shown += Printable(text.substr(0, end), std::string_view::npos);
    if (end < text.size()) shown += text[end];
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return shown;
}

}  // namespace temper

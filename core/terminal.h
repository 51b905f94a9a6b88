// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace temper {

// Lines for a terminal, whatever file or name their words come from: nothing in them that it would obey
// rather than show (core/text's Printable), newlines and tabs apart.
std::string TerminalText(std::string_view text);

}  // namespace temper

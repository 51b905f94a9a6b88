// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/status.h"
#include "data/chat/jinja/node.h"

namespace temper::jinja {

// The grammar of Jinja 3.1 but for inheritance and imports (extends, block, include, import, from) and
// autoescape: if, for, set, macro, call, filter, with, print, raw, break, continue, generation. Errors are
// one line, `NAME:LINE: what`; a tag, and outside conditions (as in Jinja) a filter or test, that is unknown
// is one of them.
absl::StatusOr<Block> Parse(std::string_view source, const std::string& name);

}  // namespace temper::jinja

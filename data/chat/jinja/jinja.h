// SPDX-License-Identifier: Apache-2.0
// Jinja 3.1 as Transformers sets it up for chat templates.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/status.h"
#include "data/chat/jinja/node.h"
#include "data/chat/jinja/runtime.h"

namespace temper::jinja {

// The grammar of Jinja 3.1 but for inheritance and imports (extends, block, include, import, from) and
// autoescape: if, for, set, macro, call, filter, with, print, raw, break, continue, generation. Errors are
// one line, `NAME:LINE: what`; a tag, and outside conditions (as in Jinja) a filter or test, that is unknown
// is one of them.
absl::StatusOr<Block> Parse(std::string_view source, const std::string& name);

// Renders what Parse made, with Jinja's globals and those that Transformers adds. The values are the
// template's variables. What went wrong is in the runtime. The block, the runtime and the result are used by
// one thread.
Text Render(const Block& block, Runtime& runtime, std::vector<std::pair<std::string, Value>> variables);

// raise_exception, strftime_now, range, dict, namespace: functions by name; undefined: there is none.
Value FindGlobal(Runtime& runtime, std::string_view name);

}  // namespace temper::jinja

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/chat/jinja/node.h"
#include "data/chat/jinja/runtime.h"

namespace temper::jinja {

// Renders what Parse made, with Jinja's globals and those that Transformers adds. The values are the
// template's variables. What went wrong is in the runtime. The block, the runtime and the result are used by
// one thread.
Text Render(const Block& block, Runtime& runtime, std::vector<std::pair<std::string, Value>> variables);

// raise_exception, strftime_now, range, dict, namespace: functions by name; undefined: there is none.
Value FindGlobal(Runtime& runtime, std::string_view name);

}  // namespace temper::jinja

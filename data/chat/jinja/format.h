// SPDX-License-Identifier: Apache-2.0
// Values as text: Python's repr (operators.h), "%s" % x, "{}".format(x), and json.dumps.
#pragma once

#include <string>

#include "data/chat/jinja/runtime.h"

namespace temper::jinja {

std::string FloatRepr(double value);  // the shortest that reads back, as Python writes it: 1.0, 1e+16, nan

// printf's form; `arguments` is a tuple, a dict for "%(key)s", or the one value.
Value FormatPercent(Runtime& runtime, const Value& format, const Value& arguments);
// str.format: fields with attributes, items, conversions, and specifications of text and numbers.
Value FormatBraces(Runtime& runtime, TextView format, const Arguments& arguments);

struct JsonStyle {
  bool is_ascii = false, sort_keys = false;
  bool has_indent = false;
  Text indent;
  Text item_separator = U", ", key_separator = U": ";
};
// The text, a failure for what JSON has no form of.
Text ToJson(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace temper::jinja

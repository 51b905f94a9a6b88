// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/attribute.h"

#include <algorithm>

namespace temper::jinja {

Attribute::Attribute(Runtime& runtime, const Value& path, Value otherwise)
    : runtime_(runtime), otherwise_(std::move(otherwise)) {
  if (path.is_none()) return;
  if (!path.is_string()) {
    parts_.push_back(path);
    return;
  }
  for (const TextView part : Split(path.AsText(), U".", -1)) {
    const auto is_digit = [](char32_t c) { return Bare(c) >= '0' && Bare(c) <= '9'; };
    if (part.empty() || part.size() > 9 || !std::ranges::all_of(part, is_digit)) {
      parts_.emplace_back(Value(part));
    } else {
      parts_.emplace_back(int64_t{std::stol(ToUtf8(part))});
    }
  }
}

Value Attribute::Of(const Value& element) const {
  Value value = element;
  for (const Value& part : parts_) {
    value = GetItem(runtime_, value, part);
    if (value.is_undefined() && !otherwise_.is_none()) value = otherwise_;
  }
  return value;
}

Value IgnoreCase(Runtime& runtime, const Value& value) {
  if (!value.is_string() || !runtime.Room(value.AsText().size())) return value;
  return Value(Lower(value.AsText()));
}

}  // namespace temper::jinja

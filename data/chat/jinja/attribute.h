// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "data/chat/jinja/operators.h"

namespace temper::jinja {

// The `attribute` of map, sort, join, ...: "a.b.0" or an index, looked up as a["b"][0] does; none is the
// element itself.
class Attribute {
 public:
  Attribute(Runtime& runtime, const Value& path, Value otherwise = None());
  Value Of(const Value& element) const;

 private:
  Runtime& runtime_;
  std::vector<Value> parts_;
  const Value otherwise_;
};

Value IgnoreCase(Runtime& runtime, const Value& value);  // a text in lower case

}  // namespace temper::jinja

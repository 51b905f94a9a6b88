// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/status.h"
#include "nlohmann/json.hpp"

namespace temper {

// Objects keep the order in which their keys were inserted, so what is dumped is stable. Looking a key up is
// linear: walk large objects (vocabularies, tensor tables) instead.
using Json = nlohmann::ordered_json;

// One JSON value and nothing after it. Refuses duplicate keys, more than 128 levels, NaN, numbers beyond a
// double and invalid UTF-8. Errors are one line, `NAME:LINE: byte N: what`, where NAME is the file or
// whatever `text` is.
absl::StatusOr<Json> ParseJson(std::string_view text, const std::string& name);

// On one line, never throws: bytes that are not UTF-8 become U+FFFD, NaN and infinities null.
std::string DumpJson(const Json& json);

// Shortest decimal that reads back to the same bits ("nan", "inf", "-inf" for those; JSON has no word for
// them).
std::string FormatFloat(float value);
std::string FormatDouble(double value);

// Typed members of an object; an error names `name` (the file, or file:line) and the key. GetDouble takes
// whole numbers too; GetInt takes no 1.0 and nothing beyond 64 bits.
absl::StatusOr<std::string> GetString(const Json& object, const std::string& key, const std::string& name);
absl::StatusOr<int64_t> GetInt(const Json& object, const std::string& key, const std::string& name);
absl::StatusOr<double> GetDouble(const Json& object, const std::string& key, const std::string& name);
absl::StatusOr<bool> GetBool(const Json& object, const std::string& key, const std::string& name);

// The same, where a key that is absent or null is `otherwise`.
absl::StatusOr<std::string> GetString(const Json& object, const std::string& key, const std::string& name,
                                      std::string otherwise);
absl::StatusOr<int64_t> GetInt(const Json& object, const std::string& key, const std::string& name,
                               int64_t otherwise);
absl::StatusOr<double> GetDouble(const Json& object, const std::string& key, const std::string& name,
                                 double otherwise);
absl::StatusOr<bool> GetBool(const Json& object, const std::string& key, const std::string& name,
                             bool otherwise);

// The member, or null when the object has none (or `object` is no object).
const Json* Find(const Json& object, const std::string& key);

}  // namespace temper

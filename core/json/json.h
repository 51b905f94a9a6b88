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

// What becomes of a number that neither 64 bits nor the shortest decimal of a double give back as it was
// written (2^70, 0.10, 1e400): kRounded makes it a double; kAsWritten keeps its characters, in a Json that is
// none of is_number() (a `binary` of them), since nobody may compute with it by accident.
enum class Numbers { kRounded, kAsWritten };

// One JSON value and nothing after it. Refuses duplicate keys, more than 128 levels, NaN, invalid UTF-8 and,
// where they are rounded, numbers beyond a double. Errors are one line, `NAME:LINE: byte N: what`, where NAME
// is the file or whatever `text` is.
absl::StatusOr<Json> ParseJson(std::string_view text, const std::string& name,
                               Numbers numbers = Numbers::kRounded);

// On one line, never throws: bytes that are not UTF-8 become U+FFFD, NaN and infinities null. Numbers that
// were kept are as they were written.
std::string DumpJson(const Json& json);

// Whether it is a number of either form; DumpJson has its characters.
bool IsNumber(const Json& json);
// Whether it is a number that was kept as it was written.
bool IsWrittenNumber(const Json& json);

// Shortest decimal that reads back to the same bits ("nan", "inf", "-inf" for those; JSON has no word for
// them).
std::string FormatFloat(float value);
std::string FormatDouble(double value);

// Typed members of an object; an error names `name` (the file, or file:line) and the key. GetDouble takes
// whole numbers too, and rounds those that were kept as written; GetInt takes no 1.0 and nothing beyond 64
// bits.
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

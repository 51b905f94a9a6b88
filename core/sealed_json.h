// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/crc32c.h"
#include "core/json.h"

namespace temper {

// A JSON object in a file that tells whether it is what was written: its last member, "crc32c", is that of
// the text before it. Written as a whole (core/file.h).
absl::Status WriteSealedJson(const std::string& path, const Json& object);
// Such a text, of an object's own text (with lines of its own, say) up to its last brace.
std::string SealedJson(const std::string& before);
// Without that member. DataLoss where a single bit differs.
absl::StatusOr<Json> ReadSealedJson(const std::string& path);

// {"bytes": 123, "crc32c": 456}
Json ExtentJson(const Extent& extent);
absl::StatusOr<Extent> GetExtent(const Json& object, const std::string& key, const std::string& name);

}  // namespace temper

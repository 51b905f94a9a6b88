// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/json/json.h"

namespace temper {

// Files that tell whether they are what was written. Written as a whole (core/files/file.h); to read one in
// which a single bit differs is DataLoss.

// A JSON object whose last member, "crc32c", is that of the text before it, which is what is read.
absl::Status WriteSealedJson(const std::string& path, const Json& object, const RunLock* lock = nullptr);
// Such a text, of an object's own text (with lines of its own, say) up to its last brace.
std::string SealedJson(const std::string& before);
absl::StatusOr<Json> ReadSealedJson(const std::string& path);

// YAML whose last line, "# crc32c: 123", is that of the lines before it, which are what is read.
std::string SealedYaml(const std::string& lines);
absl::StatusOr<std::string> ReadSealedYaml(const std::string& path);

// {"bytes": 123, "crc32c": 456}
Json ExtentJson(const Extent& extent);
absl::StatusOr<Extent> GetExtent(const Json& object, const std::string& key, const std::string& name);

}  // namespace temper

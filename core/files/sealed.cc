// SPDX-License-Identifier: Apache-2.0
#include "core/files/sealed.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr char kSeal[] = ",\"crc32c\":", kYamlSeal[] = "# crc32c: ";
constexpr int64_t kLimit = 1 << 26;

absl::Status Differs(const std::string& path) {
  return absl::DataLossError(
      absl::StrCat(Printable(path, 1000),
                   ": is not what was written (its checksum differs; it was cut, edited, or is of another "
                   "temper): restore it from a copy, or use another --run-dir"));
}

}  // namespace

std::string SealedJson(const std::string& before) {
  return absl::StrCat(before, kSeal, Crc32c(before), "}\n");
}

absl::Status WriteSealedJson(const std::string& path, const Json& object, const RunLock* lock) {
  TEMPER_CHECK(object.is_object() && !object.empty(), path);
  std::string text = DumpJson(object);
  text.pop_back();
  return WriteFileAtomic(path, SealedJson(text), lock);
}

absl::StatusOr<Json> ReadSealedJson(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLimit));
  const size_t seal = text.rfind(kSeal);
  if (seal == text.npos || SealedJson(text.substr(0, seal)) != text) return Differs(path);
  return ParseJson(text.substr(0, seal) + "}", path);
}

std::string SealedYaml(const std::string& lines) {
  return absl::StrCat(lines, kYamlSeal, Crc32c(lines), "\n");
}

absl::StatusOr<std::string> ReadSealedYaml(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kLimit));
  const size_t seal = text.rfind(kYamlSeal);
  if (seal == text.npos || SealedYaml(text.substr(0, seal)) != text) return Differs(path);
  return text.substr(0, seal);
}

Json ExtentJson(const Extent& extent) { return {{"bytes", extent.bytes}, {"crc32c", extent.crc32c}}; }

absl::StatusOr<Extent> GetExtent(const Json& object, const std::string& key, const std::string& name) {
  const Json* const extent = Find(object, key);
  if (extent == nullptr) return absl::DataLossError(absl::StrCat(name, ": ", key, ": missing"));
  TEMPER_ASSIGN_OR_RETURN(const int64_t bytes, GetInt(*extent, "bytes", name));
  TEMPER_ASSIGN_OR_RETURN(const int64_t crc32c, GetInt(*extent, "crc32c", name));
  return Extent{bytes, static_cast<uint32_t>(crc32c)};
}

}  // namespace temper

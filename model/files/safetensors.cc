// SPDX-License-Identifier: Apache-2.0
#include "model/files/safetensors.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/files/file.h"
#include "core/files/regular_file.h"
#include "core/json/json.h"
#include "core/status.h"
#include "core/stop.h"
#include "core/text.h"
#include "model/files/dtype.h"

namespace temper {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kMaxRank = 16;
constexpr int64_t kReadBytes = 1 << 18;  // stays in the cache until it is decoded

// {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}: "" or what is wrong.
std::string ParseTensor(const Json& fields, int64_t data_bytes, TensorInfo* info) {
  const auto size = [](const Json& value, int64_t* out) {
    if (!value.is_number_integer() || value.is_number_float()) return false;
    if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return false;
    *out = value.get<int64_t>();
    return *out >= 0;
  };
  if (!fields.is_object()) return "is not an object";
  if (fields.size() != 3) return "has other keys than dtype, shape and data_offsets";
  const Json *dtype = Find(fields, "dtype"), *shape = Find(fields, "shape"),
             *offsets = Find(fields, "data_offsets");
  if (dtype == nullptr || !dtype->is_string()) return "has no dtype";
  if (shape == nullptr || !shape->is_array()) return "has no shape";
  if (offsets == nullptr || !offsets->is_array() || offsets->size() != 2) return "has no data_offsets";
  info->dtype = dtype->get<std::string>();
  const int64_t element_bytes = DtypeBytes(info->dtype);
  if (element_bytes == 0) return absl::StrCat("unknown dtype '", Printable(info->dtype, 40), "'");
  if (shape->size() > kMaxRank) return absl::StrCat("has ", shape->size(), " dimensions");
  int64_t bytes = element_bytes;
  for (const Json& value : *shape) {
    int64_t dimension = 0;
    if (!size(value, &dimension)) return absl::StrCat("shape has ", Printable(DumpJson(value), 40));
    info->shape.push_back(dimension);
    if (__builtin_mul_overflow(bytes, dimension, &bytes)) return "has more bytes than 63 bits can count";
  }
  info->elements = bytes / element_bytes;
  if (!size((*offsets)[0], &info->begin) || !size((*offsets)[1], &info->end)) {
    return absl::StrCat("data_offsets are ", Printable(DumpJson(*offsets), 60));
  }
  if (info->begin > info->end || info->end > data_bytes) {
    return absl::StrCat("data_offsets [", info->begin, ", ", info->end, "] leave the ", data_bytes,
                        " bytes of data");
  }
  if (info->end - info->begin != bytes) {
    return absl::StrCat("has ", info->end - info->begin, " bytes, but dtype and shape say ", bytes);
  }
  return "";
}

absl::Status Error(const std::string& path, const TensorInfo& info, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", Printable(info.name), ": ",
                                                 absl::string_view(what.data(), what.size())));
}

absl::Status ParseMetadata(const Json& fields, const std::string& path,
                           std::map<std::string, std::string>* metadata) {
  if (!fields.is_object()) return absl::InvalidArgumentError(path + ": __metadata__ is not an object");
  for (const auto& [key, value] : fields.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": __metadata__: ", Printable(key), " is not a string"));
    }
    (*metadata)[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

// Every byte belongs to one tensor.
absl::Status CheckOffsets(std::vector<TensorInfo>& tensors, int64_t data_bytes, const std::string& path) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t at = 0;
  for (const TensorInfo& info : tensors) {
    if (info.begin < at)
      return Error(path, info, absl::StrCat("begins at byte ", info.begin, " inside another tensor"));
    if (info.begin > at)
      return Error(path, info, absl::StrCat("bytes ", at, " to ", info.begin, " before it belong to none"));
    at = info.end;
  }
  if (at == data_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": has ", data_bytes, " bytes of data, but its tensors have ", at));
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view header, int64_t data_bytes,
                                                         const std::string& path) {
  if (header.empty() || header[0] != '{' || header.find('\0') != header.npos) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the header is not a JSON object"));
  }
  TEMPER_ASSIGN_OR_RETURN(const Json root, ParseJson(header, path));
  SafetensorsHeader parsed;
  for (const auto& [name, fields] : root.items()) {
    if (name == "__metadata__") {
      TEMPER_RETURN_IF_ERROR(ParseMetadata(fields, path, &parsed.metadata));
      continue;
    }
    TensorInfo info;
    info.name = name;
    const std::string wrong = ParseTensor(fields, data_bytes, &info);
    if (!wrong.empty()) return Error(path, info, wrong);
    parsed.tensors.push_back(std::move(info));
  }
  TEMPER_RETURN_IF_ERROR(CheckOffsets(parsed.tensors, data_bytes, path));
  std::sort(parsed.tensors.begin(), parsed.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; });
  return parsed;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  int64_t size = 0;
  TEMPER_ASSIGN_OR_RETURN(const int file, OpenRegularFile(path, &size));
  std::unique_ptr<SafetensorsFile> opened(new SafetensorsFile(path, file));
  TEMPER_RETURN_IF_ERROR(opened->ReadHeader(size));
  return opened;
}

SafetensorsFile::~SafetensorsFile() { close(file_); }

absl::Status SafetensorsFile::ReadHeader(int64_t size) {
  uint64_t length = 0;
  if (size < 8) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": has ", size, " bytes; not a safetensors file, or cut"));
  }
  TEMPER_RETURN_IF_ERROR(ReadAt(0, 8, &length));
  if (length < 2 || length > kMaxHeader) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": header length ", length, " is not between 2 and ", kMaxHeader));
  }
  if (length > static_cast<uint64_t>(size) - 8) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": has ", size, " bytes, but its header alone is ",
                                                   length, "; the file was cut"));
  }
  data_offset_ = 8;
  std::string header(length, '\0');
  TEMPER_RETURN_IF_ERROR(ReadAt(0, static_cast<int64_t>(length), header.data()));
  data_offset_ += static_cast<int64_t>(length);
  TEMPER_ASSIGN_OR_RETURN(header_, ParseSafetensorsHeader(header, size - data_offset_, path_));
  return absl::OkStatus();
}

const TensorInfo* SafetensorsFile::Find(std::string_view name) const {
  const auto it = std::lower_bound(tensors().begin(), tensors().end(), name,
                                   [](const TensorInfo& info, std::string_view n) { return info.name < n; });
  return it == tensors().end() || it->name != name ? nullptr : &*it;
}

absl::Status SafetensorsFile::ReadAt(int64_t offset, int64_t count, void* out) const {
  char* to = static_cast<char*>(out);
  while (count > 0) {
    const ssize_t got = pread(file_, to, static_cast<size_t>(count), data_offset_ + offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path_, "read");
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path_, ": became shorter while it was read"));
    }
    bytes_read_ += got;
    to += got;
    offset += got;
    count -= got;
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFile::ReadBytes(const TensorInfo& info, int64_t first, int64_t count,
                                        void* out) const {
  TEMPER_CHECK(first >= 0 && count >= 0 && count <= info.end - info.begin - first, info.name);
  return ReadAt(info.begin + first, count, out);
}

absl::Status SafetensorsFile::ReadFloats(const TensorInfo& info, int64_t first, int64_t count,
                                         float* out) const {
  if (!IsFloatDtype(info.dtype)) {
    return Error(path_, info,
                 absl::StrCat("has dtype ", info.dtype, "; temper reads F32, BF16, F16 and F8_E4M3"));
  }
  const int64_t size = DtypeBytes(info.dtype);
  TEMPER_RETURN_IF_ERROR(CheckStop());
  if (info.dtype == "F32") return ReadBytes(info, first * size, count * size, out);
  std::vector<char> bytes(std::min(count * size, kReadBytes));
  for (int64_t done = 0; done < count;) {
    TEMPER_RETURN_IF_ERROR(CheckStop());
    const int64_t now = std::min<int64_t>(count - done, kReadBytes / size);
    TEMPER_RETURN_IF_ERROR(ReadBytes(info, (first + done) * size, now * size, bytes.data()));
    DecodeFloats(info.dtype, bytes.data(), now, out + done);
    done += now;
  }
  return absl::OkStatus();
}

}  // namespace temper

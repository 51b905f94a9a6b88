// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/status.h"
#include "core/text.h"
#include "model/safetensors.h"

namespace temper {
namespace {

const char* DtypeName(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kByte:
      return "U8";
    default:
      TEMPER_CHECK(false, "no safetensors dtype for ", static_cast<int>(type));
  }
}

int64_t Bytes(const at::Tensor& tensor) { return tensor.numel() * tensor.element_size(); }

// The length, and the header padded with spaces so that the data begins at a multiple of 8.
std::string Header(const std::vector<NamedTensor>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::map<std::string, Json> entries;
  int64_t at = 0;
  for (const NamedTensor& tensor : tensors) {
    TEMPER_CHECK(tensor.name != "__metadata__" && FirstInvalidUtf8(tensor.name) == std::string::npos,
                 tensor.name);
    Json entry = Json::object();
    entry["dtype"] = DtypeName(tensor.value.scalar_type());
    entry["shape"] = tensor.value.sizes().vec();
    entry["data_offsets"] = {at, at + Bytes(tensor.value)};
    at += Bytes(tensor.value);
    TEMPER_CHECK(entries.emplace(tensor.name, std::move(entry)).second, "two tensors are named ",
                 tensor.name);
  }
  std::string header = "{";
  const auto add = [&header](const std::string& name, const Json& value) {
    absl::StrAppend(&header, header.size() > 1 ? "," : "", DumpJson(Json(name)), ":", DumpJson(value));
  };
  if (!metadata.empty()) {
    Json object = Json::object();
    for (const auto& [key, value] : metadata) object[key] = value;
    add("__metadata__", object);
  }
  for (const auto& [name, entry] : entries) add(name, entry);
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header;
}

bool WriteAll(int file, const void* data, int64_t count) {
  const char* from = static_cast<const char*>(data);
  while (count > 0) {
    const ssize_t written = write(file, from, static_cast<size_t>(count));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    from += written;
    count -= written;
  }
  return true;
}

bool WriteTensors(int file, const std::vector<NamedTensor>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  const std::string header = Header(tensors, metadata);
  if (!WriteAll(file, header.data(), static_cast<int64_t>(header.size()))) return false;
  for (const NamedTensor& tensor : tensors) {
    const at::Tensor value = (tensor.value.is_cpu() ? tensor.value : tensor.value.to(at::kCPU)).contiguous();
    if (!WriteAll(file, value.const_data_ptr(), Bytes(value))) return false;
  }
  return true;
}

}  // namespace

absl::Status WriteSafetensors(const std::string& path, std::vector<NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const NamedTensor& a, const NamedTensor& b) {
    const int64_t x = a.value.element_size(), y = b.value.element_size();
    return x != y ? x > y : a.name < b.name;
  });
  const size_t slash = path.find_last_of('/');
  const std::string folder = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const std::string temporary = absl::StrCat(folder, "/.", path.substr(slash + 1), ".", getpid(), ".tmp");
  const auto failed = [&](const char* doing) {
    const absl::Status status = SystemError(path, doing);
    unlink(temporary.c_str());
    return status;
  };
  unlink(temporary.c_str());
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return failed("write");
  const bool written = WriteTensors(file, tensors, metadata) && fsync(file) == 0;
  const int error = errno;
  const bool closed = close(file) == 0;
  if (!written) errno = error;
  if (!written || !closed) return failed("write");
  if (rename(temporary.c_str(), path.c_str()) != 0) return failed("rename to it");
  return SyncDirectory(folder);
}

}  // namespace temper

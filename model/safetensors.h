// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes. Nothing in a file is
// trusted; it is read with pread, not mapped, so that a file cut while it is read is an error and no SIGBUS.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace temper {

struct TensorInfo {
  std::string name;
  std::string dtype;  // the format's word: F32, BF16, I64, ...
  std::vector<int64_t> shape;
  int64_t elements = 0;
  int64_t begin = 0, end = 0;  // bytes behind the header
};

// An open file whose header was checked: every tensor has a known dtype, as many bytes as its shape says, and
// no byte belongs to two tensors or to none. Errors are one line, `PATH: tensor NAME: what`. Threads may read
// at the same time.
class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in name order
  const TensorInfo* Find(std::string_view name) const;                 // null if absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // out[info.elements]: F32 as it is, BF16 and F16 made f32 (exact). Other dtypes are errors.
  absl::Status ReadFloats(const TensorInfo& info, float* out) const;
  // The tensor's bytes as they are: out[info.end - info.begin].
  absl::Status ReadBytes(const TensorInfo& info, void* out) const;

 private:
  SafetensorsFile(std::string path, int file) : path_(std::move(path)), file_(file) {}
  absl::Status ReadHeader();
  absl::Status ParseHeader(const std::string& header, int64_t data_bytes);
  absl::Status ReadAt(int64_t offset, int64_t count, void* out) const;  // behind the header
  absl::Status Error(const TensorInfo& info, std::string_view what) const;

  const std::string path_;
  const int file_;
  int64_t data_offset_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  at::Tensor value;  // any device; f32, f64, bf16, f16, i64, i32 or u8
};

// Writes `path` whole or not at all (a temporary file beside it, fsync, rename), mode 0600. Same tensors and
// metadata, same bytes: the header is in name order, tensors lie in it by element size, large first, then by
// name. Tensors on a GPU are copied one at a time.
absl::Status WriteSafetensors(const std::string& path, std::vector<NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace temper

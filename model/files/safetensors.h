// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes. Nothing in a file is
// trusted. It is read with pread into place and not mapped: a file that is cut while it is read, or a disk
// that fails, is an error and no SIGBUS, and no slower (docs/benchmarks.md). Nothing is read but what is
// asked for.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/file.h"

namespace temper {

struct TensorInfo {
  std::string name;
  std::string dtype;  // the format's word: F32, BF16, I64, ...
  std::vector<int64_t> shape;
  int64_t elements = 0;
  int64_t begin = 0, end = 0;  // bytes behind the header
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in name order
  std::map<std::string, std::string> metadata;
};

// The JSON header of a file (`path`, for errors) whose data has so many bytes. Checked: every tensor has a
// known dtype, as many bytes as its shape says, and no byte belongs to two tensors or to none. Errors are one
// line, `PATH: tensor NAME: what`.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view header, int64_t data_bytes,
                                                         const std::string& path);

// An open file whose header was checked. Threads may read at the same time.
class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }  // in name order
  const TensorInfo* Find(std::string_view name) const;                        // null if absent
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  int64_t bytes_read() const { return bytes_read_; }  // so far, the header's among them

  // out[count] from element `first` on: F32 as it is, BF16, F16 and F8_E4M3 made f32 (exact; FP8's scales are
  // not applied). Other dtypes are errors.
  absl::Status ReadFloats(const TensorInfo& info, int64_t first, int64_t count, float* out) const;
  absl::Status ReadFloats(const TensorInfo& info, float* out) const {
    return ReadFloats(info, 0, info.elements, out);
  }
  // The tensor's bytes as they are: out[count] from byte `first` on.
  absl::Status ReadBytes(const TensorInfo& info, int64_t first, int64_t count, void* out) const;
  absl::Status ReadBytes(const TensorInfo& info, void* out) const {
    return ReadBytes(info, 0, info.end - info.begin, out);
  }

 private:
  SafetensorsFile(std::string path, int file) : path_(std::move(path)), file_(file) {}
  absl::Status ReadHeader(int64_t size);
  absl::Status ReadAt(int64_t offset, int64_t count, void* out) const;  // behind the header

  const std::string path_;
  const int file_;
  int64_t data_offset_ = 0;
  SafetensorsHeader header_;
  mutable std::atomic<int64_t> bytes_read_ = 0;
};

class StagedFiles;

// A file that is written piece by piece, and whole or not at all (core/files/file.h's AtomicFile), mode 0600;
// or that is kept in memory, in `staged`, and there is whole once it is committed.
// Same tensors and metadata, same bytes: the header is in name order, tensors lie in it by element size,
// large first, then by name.
class SafetensorsWriter {
 public:
  // The bytes of the tensors are set here; names must differ.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, std::vector<TensorInfo> tensors,
      const std::map<std::string, std::string>& metadata, StagedFiles* staged = nullptr);
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in the order of the file
  // Into the tensor of that name, from its byte `first` on; each byte once, in any order.
  absl::Status Write(std::string_view name, int64_t first, const void* data, int64_t bytes);
  // All bytes must have been written.
  absl::Status Commit();

 private:
  SafetensorsWriter(std::string path, std::unique_ptr<AtomicFile> file, StagedFiles* staged,
                    std::vector<TensorInfo> tensors)
      : path_(std::move(path)), file_(std::move(file)), staged_(staged), tensors_(std::move(tensors)) {}
  absl::Status Put(int64_t at, std::string_view bytes);

  const std::string path_;
  const std::unique_ptr<AtomicFile> file_;  // null: staged
  StagedFiles* const staged_;
  size_t staged_file_ = 0;  // of `staged`
  const std::vector<TensorInfo> tensors_;
  std::map<std::string_view, const TensorInfo*> by_name_;
  int64_t data_offset_ = 0, missing_ = 0;
};

struct NamedTensor {
  std::string name;
  at::Tensor value;  // any device; f32, f64, bf16, f16, i64, i32 or u8
};

// Writes `path` by a SafetensorsWriter. Tensors on a GPU are copied one at a time.
absl::Status WriteSafetensors(const std::string& path, std::vector<NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace temper

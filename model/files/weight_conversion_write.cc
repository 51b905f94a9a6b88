// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/status.h"
#include "model/files/dtype.h"
#include "model/files/fp8.h"
#include "model/files/shared_tensors.h"
#include "model/files/weight_conversion.h"

namespace temper {
namespace {

constexpr int64_t kCopyBytes = 1 << 18;
constexpr int64_t kWrittenElements = 1 << 16;

// Writes weights into one shard after another; buffers live as long as it.
class ShardWriter {
 public:
  explicit ShardWriter(absl::FunctionRef<absl::Status(int64_t)> progress) : progress_(progress) {}

  absl::Status Write(const std::string& path, const std::vector<ConvertedWeight>& weights,
                     const std::map<std::string, std::string>& metadata) {
    std::vector<TensorInfo> tensors;
    for (const ConvertedWeight& weight : weights) {
      tensors.push_back(weight.tensor);
      if (!weight.scales.name.empty()) tensors.push_back(weight.scales);
    }
    TEMPER_ASSIGN_OR_RETURN(file_, SafetensorsWriter::Create(path, std::move(tensors), metadata));
    for (const ConvertedWeight& weight : weights) {
      TEMPER_RETURN_IF_ERROR(weight.copied ? Copy(weight) : Convert(weight));
    }
    return file_->Commit();
  }

 private:
  absl::Status Put(const TensorInfo& to, int64_t first, const void* data, int64_t bytes) {
    TEMPER_RETURN_IF_ERROR(file_->Write(to.name, first, data, bytes));
    done_ += bytes;
    return progress_(done_);
  }

  absl::Status CopyBytes(const StoredTensor& from, int64_t begin, int64_t bytes, const TensorInfo& to,
                         int64_t first) {
    buffer_.resize(kCopyBytes);
    for (int64_t at = 0; at < bytes; at += kCopyBytes) {
      const int64_t now = std::min(kCopyBytes, bytes - at);
      TEMPER_RETURN_IF_ERROR(from.file->ReadBytes(*from.info, begin + at, now, buffer_.data()));
      TEMPER_RETURN_IF_ERROR(Put(to, first + at, buffer_.data(), now));
    }
    return absl::OkStatus();
  }

  absl::Status Copy(const ConvertedWeight& weight) {
    int64_t first = 0, first_scale = 0;
    for (const StoredWeight& part : weight.parts) {
      const int64_t row_bytes = part.columns() * DtypeBytes(part.dtype()), bytes = part.rows() * row_bytes;
      TEMPER_RETURN_IF_ERROR(CopyBytes(part.stored, part.first_row * row_bytes, bytes, weight.tensor, first));
      first += bytes;
      if (!part.scales || bytes == 0) continue;
      // Of whole matrices, or of some rows of blocks of one.
      const int64_t rows = part.matrix_rows(), row = part.first_row;
      const int64_t blocks = row / rows * Fp8Blocks(rows) + row % rows / kFp8Block;
      const int64_t count = part.rows() / rows * Fp8Blocks(rows) + Fp8Blocks(part.rows() % rows);
      const int64_t scale_bytes = Fp8Blocks(part.columns()) * DtypeBytes(part.scales->info->dtype);
      TEMPER_RETURN_IF_ERROR(
          CopyBytes(*part.scales, blocks * scale_bytes, count * scale_bytes, weight.scales, first_scale));
      first_scale += count * scale_bytes;
    }
    return absl::OkStatus();
  }

  absl::Status Convert(const ConvertedWeight& weight) {
    const std::vector<int64_t>& shape = weight.tensor.shape;
    const int64_t matrix_rows = shape.size() < 2 ? 1 : shape[shape.size() - 2];
    const int64_t columns = shape.empty() ? 1 : shape.back();
    if (columns == 0 || matrix_rows == 0) return absl::OkStatus();
    const bool blocks = weight.tensor.dtype == kFp8Dtype;
    int64_t row = 0, block_row = 0;
    // A row of blocks at a time, where there are any, else what stays in the cache; it may lie in several
    // parts.
    for (auto part = weight.parts.begin(); part != weight.parts.end();) {
      const int64_t wanted =
          blocks ? std::min(kFp8Block, matrix_rows - row) : std::max<int64_t>(kWrittenElements / columns, 1);
      values_.resize(std::max<size_t>(values_.size(), wanted * columns));
      int64_t rows = 0;
      while (part != weight.parts.end() && rows < wanted) {
        const int64_t now = std::min(wanted - rows, part->rows() - in_part_);
        TEMPER_RETURN_IF_ERROR(part->Read(in_part_, now, values_.data() + rows * columns));
        rows += now;
        in_part_ += now;
        if (in_part_ < part->rows()) continue;
        in_part_ = 0;
        ++part;
      }
      TEMPER_RETURN_IF_ERROR(Encode(weight, row, block_row, rows, columns));
      row += rows;
      ++block_row;
    }
    return absl::OkStatus();
  }

  absl::Status Encode(const ConvertedWeight& weight, int64_t row, int64_t block_row, int64_t rows,
                      int64_t columns) {
    const TensorInfo& to = weight.tensor;
    const int64_t count = rows * columns, first = row * columns;
    if (to.dtype == "F32") return Put(to, first * 4, values_.data(), count * 4);
    buffer_.resize(std::max<size_t>(buffer_.size(), count * 2));
    if (to.dtype == "BF16") {
      if (!EncodeBf16(values_.data(), count, reinterpret_cast<uint16_t*>(buffer_.data()))) {
        return TensorError(weight.parts[0].stored.file->path(), to.name,
                           "has a number that BF16 cannot hold");
      }
      return Put(to, first * 2, buffer_.data(), count * 2);
    }
    const int64_t blocks = Fp8Blocks(columns);
    scales_.resize(blocks);
    QuantizeBlockRow(values_.data(), rows, columns, reinterpret_cast<uint8_t*>(buffer_.data()),
                     scales_.data());
    TEMPER_RETURN_IF_ERROR(Put(to, first, buffer_.data(), count));
    return Put(weight.scales, block_row * blocks * 4, scales_.data(), blocks * 4);
  }

  const absl::FunctionRef<absl::Status(int64_t)> progress_;
  std::unique_ptr<SafetensorsWriter> file_;
  std::vector<char> buffer_;
  std::vector<float> values_, scales_;
  int64_t done_ = 0;     // bytes, of all shards
  int64_t in_part_ = 0;  // rows of the part that are converted
};

std::string IndexText(const Conversion& conversion) {
  std::map<std::string, std::string> shard_of;
  for (size_t i = 0; i < conversion.shards.size(); ++i) {
    for (const ConvertedWeight& weight : conversion.shards[i]) {
      shard_of[weight.tensor.name] = FileOf("model", i, conversion.shards.size());
      if (!weight.scales.name.empty()) shard_of[weight.scales.name] = shard_of[weight.tensor.name];
    }
  }
  return WeightIndexText(shard_of, conversion.bytes);
}

}  // namespace

absl::Status WriteConversion(const Conversion& conversion, const std::string& directory,
                             absl::FunctionRef<absl::Status(int64_t bytes)> progress) {
  ShardWriter writer(progress);
  for (size_t i = 0; i < conversion.shards.size(); ++i) {
    TEMPER_RETURN_IF_ERROR(
        writer.Write(absl::StrCat(directory, "/", FileOf("model", i, conversion.shards.size())),
                     conversion.shards[i], conversion.metadata));
  }
  if (conversion.shards.size() == 1) return absl::OkStatus();
  return WriteFileAtomic(directory + "/model.safetensors.index.json", IndexText(conversion));
}

}  // namespace temper

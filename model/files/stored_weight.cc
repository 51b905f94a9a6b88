// SPDX-License-Identifier: Apache-2.0
#include "model/files/stored_weight.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/json/json.h"
#include "core/status.h"
#include "kernels/convert.h"
#include "model/files/dtype.h"
#include "model/files/fp8.h"

namespace temper {
namespace {

constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kPieceElements = 1 << 16;  // read, scaled and checked while they are in the cache
constexpr char kGateUp[] = ".experts.gate_up_proj", kDown[] = ".experts.down_proj";

absl::Status Wrong(const StoredTensor& tensor, const std::string& what) {
  return TensorError(tensor.file->path(), tensor.info->name, what);
}

absl::Status CheckFinite(const StoredTensor& tensor, int64_t first, int64_t count, const float* values) {
  if (kernels::LargestSize(count, values) < 0x7f800000) return absl::OkStatus();
  const int64_t at =
      std::find_if_not(values, values + count, [](float x) { return std::isfinite(x); }) - values;
  return Wrong(tensor, absl::StrCat("element ", first + at, " is ", FormatFloat(values[at]),
                                    "; weights must be finite"));
}

// [..., rows, columns] has a scale for each block of each matrix.
std::vector<int64_t> ScaleShape(std::vector<int64_t> shape) {
  for (size_t i = shape.size() - 2; i < shape.size(); ++i) shape[i] = Fp8Blocks(shape[i]);
  return shape;
}

absl::StatusOr<StoredTensor> FindScales(const WeightFiles& files, const StoredTensor& weight, bool fp8) {
  if (!fp8) {
    return Wrong(weight,
                 absl::StrCat("has dtype ", kFp8Dtype, ", but config.json has no quantization_config"));
  }
  const std::vector<int64_t>& shape = weight.info->shape;
  if (shape.size() < 2)
    return Wrong(weight, absl::StrCat(ShapeText(shape), " is no matrix to have FP8 blocks"));
  const auto at = files.tensors.find(absl::StrCat(weight.info->name, kScaleSuffix));
  if (at == files.tensors.end()) {
    return Wrong(weight, absl::StrCat("its scales, ", weight.info->name, kScaleSuffix, ", are missing"));
  }
  const StoredTensor& scales = at->second;
  if (!IsFloatDtype(scales.info->dtype) || scales.info->dtype == kFp8Dtype) {
    return Wrong(scales, absl::StrCat("has dtype ", scales.info->dtype, "; scales are F32, BF16 or F16"));
  }
  if (scales.info->shape != ScaleShape(shape)) {
    return Wrong(scales, absl::StrCat("has shape ", ShapeText(scales.info->shape), "; the blocks of ",
                                      ShapeText(shape), " are ", ShapeText(ScaleShape(shape))));
  }
  return scales;
}

// The weights of single experts in the stacked tensor `source`; none if it is no stacked tensor.
absl::StatusOr<StoredWeights> SplitExperts(const StoredWeight& source) {
  StoredWeights experts;
  const std::string& name = source.stored.info->name;
  const bool gate_up = absl::EndsWith(name, kGateUp);
  if (!gate_up && !absl::EndsWith(name, kDown)) return experts;
  const std::vector<int64_t>& shape = source.shape;
  if (shape.size() != 3 || shape[0] < 1 || shape[0] > kMaxExperts || (gate_up && shape[1] % 2 != 0)) {
    return Wrong(source.stored, absl::StrCat("has shape ", ShapeText(shape),
                                             gate_up ? "; stacked experts are [experts, 2 size, hidden]"
                                                     : "; stacked experts are [experts, hidden, size]"));
  }
  const std::string prefix(absl::StripSuffix(name, gate_up ? "gate_up_proj" : "down_proj"));
  for (int64_t expert = 0; expert < shape[0]; ++expert) {
    StoredWeight part = source;
    const auto add = [&](const char* projection, int64_t row, int64_t rows) {
      part.shape = {rows, shape[2]};
      part.first_row = expert * shape[1] + row;
      experts[absl::StrCat(prefix, expert, ".", projection, ".weight")] = part;
    };
    if (gate_up) {
      add("gate_proj", 0, shape[1] / 2);
      add("up_proj", shape[1] / 2, shape[1] / 2);
    } else {
      add("down_proj", 0, shape[1]);
    }
  }
  return experts;
}

// Calls body(first element of the stored tensor, how many, how many came before) for what of the part lies
// together, in pieces that stay in the cache.
template <typename Body>
absl::Status ForEachRun(const StoredWeight& weight, const StoredWeight::Part& part, const Body& body) {
  const int64_t width = weight.columns();
  const bool whole_rows = part.columns == width;
  const int64_t runs = whole_rows ? 1 : part.rows, length = whole_rows ? part.rows * width : part.columns;
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t begin = (weight.first_row + part.first_row + run) * width + part.first_column;
    for (int64_t at = 0; at < length; at += kPieceElements)
      TEMPER_RETURN_IF_ERROR(body(begin + at, std::min(kPieceElements, length - at), run * length + at));
  }
  return absl::OkStatus();
}

absl::Status CheckIsScale(const WeightFiles& files, const StoredTensor& scales) {
  const auto at = files.tensors.find(std::string(absl::StripSuffix(scales.info->name, kScaleSuffix)));
  if (at != files.tensors.end() && at->second.info->dtype == kFp8Dtype) return absl::OkStatus();
  return Wrong(scales, "is the scale of no FP8 tensor");
}

}  // namespace

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

int64_t StoredWeight::columns() const { return shape.empty() ? 1 : shape.back(); }

int64_t StoredWeight::rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

int64_t StoredWeight::matrix_rows() const {
  const std::vector<int64_t>& whole = stored.info->shape;
  return whole.size() < 2 ? 1 : whole[whole.size() - 2];
}

absl::Status StoredWeight::Read(const Part& part, float* out) const {
  if (scales) return ReadFp8(part, out);
  return ForEachRun(*this, part, [&](int64_t at, int64_t count, int64_t done) {
    TEMPER_RETURN_IF_ERROR(stored.file->ReadFloats(*stored.info, at, count, out + done));
    return CheckFinite(stored, at, count, out + done);
  });
}

absl::Status StoredWeight::ReadBf16(const Part& part, uint16_t* out) const {
  std::vector<float> values(kPieceElements);
  return ForEachRun(*this, part, [&](int64_t at, int64_t count, int64_t done) {
    TEMPER_RETURN_IF_ERROR(stored.file->ReadBytes(*stored.info, 2 * at, 2 * count, out + done));
    kernels::BfloatToFloat(count, out + done, values.data());
    return CheckFinite(stored, at, count, values.data());
  });
}

absl::Status StoredWeight::ReadFp8(const Part& part, float* out) const {
  const SafetensorsFile& file = *stored.file;
  const int64_t width = columns(), blocks = Fp8Blocks(width), matrix_blocks = Fp8Blocks(matrix_rows());
  if (part.columns == 0) return absl::OkStatus();
  // The columns from where their first block begins.
  const int64_t first_block = part.first_column / kFp8Block, left = part.first_column % kFp8Block;
  const int64_t read = left + part.columns, first_column = part.first_column - left;
  std::vector<float> scale(Fp8Blocks(read)), values;
  std::vector<uint8_t> codes;
  for (int64_t done = 0; done < part.rows;) {
    const int64_t row = first_row + part.first_row + done, in_matrix = row % matrix_rows();
    const int64_t now =
        std::min({part.rows - done, kFp8Block - in_matrix % kFp8Block, matrix_rows() - in_matrix});
    const int64_t block_row = row / matrix_rows() * matrix_blocks + in_matrix / kFp8Block;
    const int64_t first_scale = block_row * blocks + first_block;
    TEMPER_RETURN_IF_ERROR(scales->file->ReadFloats(*scales->info, first_scale,
                                                    static_cast<int64_t>(scale.size()), scale.data()));
    for (size_t i = 0; i < scale.size(); ++i) {
      if (scale[i] > 0 && std::isfinite(scale[i])) continue;
      return Wrong(*scales, absl::StrCat("element ", first_scale + static_cast<int64_t>(i), " is ",
                                         FormatFloat(scale[i]), "; scales are finite and above 0"));
    }
    codes.resize(std::max<size_t>(codes.size(), now * read));
    // Whole blocks go where they belong at once.
    float* to = out + done * part.columns;
    if (read != part.columns) {
      values.resize(std::max<size_t>(values.size(), now * read));
      to = values.data();
    }
    if (read == width) {
      TEMPER_RETURN_IF_ERROR(file.ReadBytes(*stored.info, row * width, now * width, codes.data()));
    } else {
      for (int64_t i = 0; i < now; ++i) {
        TEMPER_RETURN_IF_ERROR(
            file.ReadBytes(*stored.info, (row + i) * width + first_column, read, codes.data() + i * read));
      }
    }
    DequantizeBlockRow(codes.data(), now, read, scale.data(), to);
    for (int64_t i = 0; i < now; ++i) {
      const float* const from = to + i * read + left;
      TEMPER_RETURN_IF_ERROR(CheckFinite(stored, (row + i) * width + part.first_column, part.columns, from));
      if (read != part.columns) std::copy_n(from, part.columns, out + (done + i) * part.columns);
    }
    done += now;
  }
  return absl::OkStatus();
}

absl::StatusOr<StoredWeights> FindWeights(const WeightFiles& files, bool fp8, bool split_experts) {
  StoredWeights weights;
  for (const auto& [name, stored] : files.tensors) {
    if (absl::EndsWith(name, kScaleSuffix)) {
      TEMPER_RETURN_IF_ERROR(CheckIsScale(files, stored));
      continue;
    }
    StoredWeight source{stored, std::nullopt, stored.info->shape};
    if (source.dtype() == kFp8Dtype) {
      TEMPER_ASSIGN_OR_RETURN(source.scales, FindScales(files, stored, fp8));
    }
    StoredWeights found;
    if (split_experts) {
      TEMPER_ASSIGN_OR_RETURN(found, SplitExperts(source));
    }
    if (found.empty()) found[name] = source;
    for (const auto& [weight, where] : found) {
      const auto [at, added] = weights.emplace(weight, where);
      if (!added) {
        return Wrong(stored, absl::StrCat("has ", weight, ", which ", at->second.stored.file->path(),
                                          " has as ", at->second.stored.info->name, " too"));
      }
    }
  }
  return weights;
}

}  // namespace temper

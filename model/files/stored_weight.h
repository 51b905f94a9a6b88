// SPDX-License-Identifier: Apache-2.0
// From what lies in the files to the weights of the model: FP8 with its scales becomes numbers, experts that
// are stored stacked become one weight each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/files/weight_files.h"

namespace temper {

// Where one weight lies: a stored tensor, or the rows of one expert in it. A tensor is a list of rows of its
// last dimension; one without dimensions, or with one, is a single row.
struct StoredWeight {
  StoredTensor stored;
  std::optional<StoredTensor> scales;  // of FP8
  std::vector<int64_t> shape;          // of the weight
  int64_t first_row = 0;               // in the stored tensor

  const std::string& dtype() const { return stored.info->dtype; }
  int64_t rows() const;
  int64_t columns() const;
  // Of one matrix of the stored tensor: FP8's blocks begin anew in each.
  int64_t matrix_rows() const;

  // Rows [first, first + count) as f32. In errors: the file, the stored tensor, its element. Numbers and
  // scales that are not finite, and scales that are not above 0, are errors; so are other dtypes.
  absl::Status Read(int64_t first, int64_t count, float* out) const {
    return Read({first, count, 0, columns()}, out);
  }
  // Of some rows some columns, row by row. No more is read than they take, and of FP8 their blocks.
  struct Part {
    int64_t first_row = 0, rows = 0, first_column = 0, columns = 0;
  };
  absl::Status Read(const Part& part, float* out) const;
  // Of one whose dtype is BF16, as it is; with the same errors.
  absl::Status ReadBf16(const Part& part, uint16_t* out) const;

 private:
  absl::Status ReadFp8(const Part& part, float* out) const;
};

// By name.
using StoredWeights = std::map<std::string, StoredWeight>;

// Every weight by its name. `fp8`: config.json says so; without it FP8 tensors are refused. FP8 tensors must
// have their scales, scales their FP8 tensor.
// `split_experts`: P.experts.gate_up_proj [experts, 2 size, hidden] (gate first) and P.experts.down_proj
// [experts, hidden, size], as Transformers 5 holds them, are P.experts.N.{gate,up,down}_proj.weight; else
// they are as they are stored.
absl::StatusOr<StoredWeights> FindWeights(const WeightFiles& files, bool fp8, bool split_experts);

std::string ShapeText(const std::vector<int64_t>& shape);  // "[2, 3]"

}  // namespace temper

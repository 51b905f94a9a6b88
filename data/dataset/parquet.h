// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "core/status.h"

namespace temper {

// Calls row(text) with each row of a Parquet file, in order, as one line of JSON: strings and binary columns
// are strings (bytes that are no UTF-8 become U+FFFD), lists arrays, structs and maps of strings objects,
// times and decimals strings, NaN and infinities null. Stops at row's first error. Reading is Apache Arrow's,
// in a library of its own beside the program (data/dataset/parquet_module.cc), loaded when the first file is
// opened; a build without it says so.
absl::Status ForEachParquetRow(const std::string& path,
                               absl::FunctionRef<absl::Status(std::string_view)> row);

}  // namespace temper

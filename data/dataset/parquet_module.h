// SPDX-License-Identifier: Apache-2.0
// The one function of the Parquet library: plain C, so that Arrow's symbols stay inside.
#pragma once

#include <cstddef>

extern "C" {

// Gives each row's JSON to `row` until it returns non-zero. 0: all rows were given; else `error` (of `size`
// bytes) says why not.
using TemperParquetRows = int (*)(const char* path, void* context,
                                  int (*row)(void* context, const char* text, size_t bytes), char* error,
                                  size_t size);
}

constexpr char kTemperParquetRows[] = "temper_parquet_rows";

// SPDX-License-Identifier: Apache-2.0
// A safetensors file, its floats decoded; the bytes again behind a header length that is right; a shards'
// index.
#include "model/files/dtype.h"
#include "model/files/safetensors.h"
#include "model/files/weight_files.h"
#include "tests/fuzz/fuzz.h"

namespace temper {
namespace {

void Read(std::string_view bytes) {
  const InputFile input(bytes);
  const auto file = SafetensorsFile::Open(input.path());
  if (!file.ok()) return;
  for (const TensorInfo& info : (*file)->tensors()) {
    TEMPER_CHECK(info.end - info.begin <= static_cast<int64_t>(bytes.size()), info.name);
    std::vector<float> values(info.elements);
    if (IsFloatDtype(info.dtype)) TEMPER_CHECK((*file)->ReadFloats(info, values.data()).ok(), info.name);
  }
}

}  // namespace
}  // namespace temper

FUZZ(bytes) {
  using namespace temper;
  Read(bytes);
  const auto [header, data] = FirstLine(bytes);
  const uint64_t length = header.size();
  Read(std::string(reinterpret_cast<const char*>(&length), 8) + std::string(header) + std::string(data));
  (void)ParseWeightIndex(bytes, "input");
}

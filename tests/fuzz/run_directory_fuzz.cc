// SPDX-License-Identifier: Apache-2.0
// What a run reads of its own folder: the first byte picks a reader, the rest is its file.
//   0: sealed JSON as it is; 1: with a right seal, as stage.json and state.json; 2: sealed YAML as it is;
//   3: with a right seal, as config.yaml; 4: the lines of sums.jsonl; 5: a metrics line.
#include "core/files/lines.h"
#include "core/files/sealed.h"
#include "core/metrics.h"
#include "tests/fuzz/fuzz.h"

namespace temper {
namespace {

void ReadExtents(const Json& json) {
  for (const char* key : {"metrics", "sums", "is"}) (void)GetExtent(json, key, "input");
}

void ReadJson(std::string_view bytes) {
  const auto json = ReadSealedJson(InputFile(bytes).path());
  if (json.ok()) ReadExtents(*json);
}

void ReadLines(std::string_view bytes) {
  const InputFile file(bytes);
  const auto lines = LineReader::Open(file.path());
  if (!lines.ok()) return;
  for (auto line = (*lines)->Next(); line.ok() && line->has_value(); line = (*lines)->Next()) {
    const auto json = ParseLine(**line);
    if (json.ok()) ReadExtents(*json);
  }
}

}  // namespace
}  // namespace temper

FUZZ(bytes) {
  using namespace temper;
  if (bytes.empty()) return;
  const std::string_view rest = bytes.substr(1);
  switch (bytes[0] % 6) {
    case 0:
      return ReadJson(rest);
    case 1:
      return ReadJson(SealedJson(std::string(rest)));
    case 2:
      (void)ReadSealedYaml(InputFile(rest).path());
      return;
    case 3: {
      const auto text = ReadSealedYaml(InputFile(SealedYaml(std::string(rest))).path());
      TEMPER_CHECK(text.ok() && *text == rest, "comes back");
      return;
    }
    case 4:
      return ReadLines(rest);
    default:
      (void)ReadMetrics(InputFile(rest).path());
  }
}

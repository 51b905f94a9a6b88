// SPDX-License-Identifier: Apache-2.0
// One JSON value; what was read and written reads back to the same text.
#include "core/json/json.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const auto json = ParseJson(bytes, "input");
  if (!json.ok()) return;
  const std::string text = DumpJson(*json);
  const auto again = ParseJson(text, "dump");
  TEMPER_CHECK(again.ok(), again.status().message());
  TEMPER_CHECK(DumpJson(*again) == text, text);
}

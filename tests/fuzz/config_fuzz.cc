// SPDX-License-Identifier: Apache-2.0
// Line 1 is a --set, the rest the file; what was read and written reads back to the same text.
#include "core/config/config.h"
#include "rewards/rules.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const auto [assignment, text] = FirstLine(bytes);
  std::vector<std::string> overrides;
  if (!assignment.empty()) overrides.emplace_back(assignment);
  RewardConfig config;  // lists of sections, optional fields, and fields that come and go
  if (!ReadConfig(std::string(text), "input", overrides, config).ok()) return;
  const std::string written = WriteConfig(config);
  RewardConfig again;
  const absl::Status status = ReadConfig(written, "written", {}, again);
  TEMPER_CHECK(status.ok(), status.message());
  TEMPER_CHECK(WriteConfig(again) == written, written);
}

// SPDX-License-Identifier: Apache-2.0
// docs/metrics.md has every name that a run writes.
#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "core/metrics.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

// The names in the first column of the page's tables.
std::set<std::string> NamesOfPage() {
  std::set<std::string> names;
  const std::string page = *ReadFile("docs/metrics.md");
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, "| `")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    const std::vector<std::string> parts = absl::StrSplit(cells[1], '`');
    for (size_t i = 1; i < parts.size(); i += 2) names.insert(parts[i]);
  }
  return names;
}

// A name as the page writes it: of rules and verdicts any, of levels and of evaluations without the prefix.
std::string OnPage(std::string name, const std::vector<std::string>& rules,
                   const std::set<std::string>& page) {
  for (const char* prefix : {"eval/", "hard/"}) {
    if (absl::StartsWith(name, prefix)) name = name.substr(5);
  }
  if (page.count(name) > 0) return name;
  std::vector<std::string> parts = absl::StrSplit(name, '/');
  for (size_t i = 1; i < parts.size(); ++i) {
    if (std::find(rules.begin(), rules.end(), parts[i]) != rules.end()) parts[i] = "RULE";
    if (parts[0] == "verdict" && i == 2) parts[i] = "KIND";
  }
  std::string joined = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) joined += "/" + parts[i];
  return joined;
}

TEST(MetricsPage, HasEveryNameThatARunWrites) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const RecipeConfig recipe = SmallRecipe(
      folder / "model",
      {"stages.base.pretrain.mtp_weight=0.3",
       "rl.reward.rules=[{rule: number, requires: format}, {rule: format}, {rule: language}, {rule: length, "
       "max_tokens: 8}]"});
  SelfCommunicator self;
  const absl::Status status = RunRecipe(recipe, folder / "run", self, Never);
  ASSERT_TRUE(status.ok()) << status;
  std::set<std::string> names;
  const auto lines = ReadMetrics(folder / "run/metrics.jsonl");
  ASSERT_TRUE(lines.ok());
  for (const MetricsLine& line : *lines) {
    for (const auto& [name, value] : line.values) names.insert(name);
  }
  for (const Json& row : Json::parse(*ReadFile(folder / "run/summary.json"))) {
    for (const auto& [name, value] : row.items()) names.insert(name);
  }
  EXPECT_GT(names.size(), 70u);
  const std::set<std::string> page = NamesOfPage();
  for (const std::string& name : names) {
    EXPECT_EQ(page.count(OnPage(name, {"number", "format", "language", "length"}, page)), 1u) << name;
  }
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/trace.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"

namespace temper {
namespace {

// The spans of a file, without the line that names the process.
std::vector<Json> Spans(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  EXPECT_TRUE(text.ok()) << text.status();
  std::vector<Json> spans;
  const Json trace = Json::parse(*text);
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X") spans.push_back(event);
  }
  return spans;
}

TEST(Trace, HasWhatEndedWhileItWasOnWithItsFigures) {
  const TestFolder folder;
  { const TraceSpan before("phase", "before"); }
  BeginTrace();
  {
    const TraceSpan outer("phase", "update");
    const TraceSpan inner("pipeline", "Forward", {"microbatch", 3}, {"chunk", 1});
  }
  { const TraceSpan beside("comm", "gather", {}, {}, TraceLine::kBeside); }
  ASSERT_TRUE(WriteTrace(folder / "trace.json", 5).ok());
  EXPECT_FALSE(TraceIsOn());
  const std::vector<Json> spans = Spans(folder / "trace.json");
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[1]["tid"], 0);
  EXPECT_EQ(spans[2]["tid"], 1);
  EXPECT_EQ(spans[0]["name"], "Forward");
  EXPECT_EQ(spans[0]["cat"], "pipeline");
  EXPECT_EQ(spans[0]["pid"], 5);
  EXPECT_EQ(spans[0]["args"], Json::parse(R"({"microbatch": 3, "chunk": 1})"));
  EXPECT_EQ(spans[1]["args"], Json::object());
  const int64_t outer = spans[1]["ts"], inner = spans[0]["ts"];
  EXPECT_LE(outer, inner);
  EXPECT_GE(outer + spans[1]["dur"].get<int64_t>(), inner + spans[0]["dur"].get<int64_t>());
}

TEST(Trace, KeepsTheNewestInTheOrderInWhichTheyEnded) {
  const TestFolder folder;
  BeginTrace(3);
  for (int64_t i = 0; i < 8; ++i) const TraceSpan span("phase", "step", {"number", i});
  ASSERT_TRUE(WriteTrace(folder / "trace.json", 0).ok());
  const std::vector<Json> spans = Spans(folder / "trace.json");
  ASSERT_EQ(spans.size(), 3u);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(spans[i]["args"]["number"], 5 + i);
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rollout/stop_strings.h"

#include "absl/strings/str_format.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// A vocabulary of byte tokens alone, in the form of Llama-2.
std::unique_ptr<Tokenizer> Bytes() {
  Json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[absl::StrFormat("<0x%02X>", byte)] = byte;
  const Json json = {
      {"model", {{"type", "BPE"}, {"byte_fallback", true}, {"vocab", vocabulary}, {"merges", Json::array()}}},
      {"decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}}};
  const std::string path = ::testing::TempDir() + "stop_strings_test.json";
  EXPECT_TRUE(WriteFileAtomic(path, json.dump()).ok());
  auto tokenizer = Tokenizer::Load(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_TRUE(RemoveTree(path).ok());
  return *std::move(tokenizer);
}

TEST(StopStrings, AreFoundWithinALongRunOfByteTokens) {
  const auto tokenizer = Bytes();
  const StopStrings stops({"世界"}, tokenizer.get());
  for (int before = 0; before < 40; ++before) {
    std::string text;
    for (int i = 0; i < before; ++i) text += "世";
    text += "世界";
    const std::vector<int32_t> ids = tokenizer->Encode(text).value();
    ASSERT_EQ(ids.size(), text.size());
    for (size_t count = 1; count <= ids.size(); ++count) {
      EXPECT_EQ(stops.Reached(absl::MakeSpan(ids).subspan(0, count)), count == ids.size())
          << before << " " << count;
    }
  }
}

}  // namespace
}  // namespace temper

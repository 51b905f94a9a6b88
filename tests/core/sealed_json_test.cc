// SPDX-License-Identifier: Apache-2.0
#include "core/sealed_json.h"

#include <unistd.h>

#include "core/file.h"
#include "gmock/gmock.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

TEST(SealedJson, ReadsBackAndAnyFlippedBitCutOrAdditionIsFound) {
  const std::string path = ::testing::TempDir() + "temper_sealed_" + std::to_string(getpid());
  const Json object = {{"a", 1}, {"text", ",\"crc32c\":5}"}, {"of", ExtentJson({12, 4000000000u})}};
  ASSERT_TRUE(WriteSealedJson(path, object).ok());
  const auto read = ReadSealedJson(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, object);
  EXPECT_EQ(*GetExtent(*read, "of", path), (Extent{12, 4000000000u}));
  EXPECT_FALSE(GetExtent(*read, "a", path).ok());
  const std::string whole = *ReadFile(path);
  const auto expect_found = [&](const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    const absl::Status status = ReadSealedJson(path).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << bytes;
    ASSERT_THAT(std::string(status.message()), HasSubstr(path + ": is not what was written"));
  };
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] ^= static_cast<char>(1 << at % 8);
    expect_found(flipped);
    expect_found(whole.substr(0, at));
  }
  expect_found(whole + "\n");
  expect_found(" " + whole);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace temper

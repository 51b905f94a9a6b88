// SPDX-License-Identifier: Apache-2.0
#include "core/files/sealed.h"

#include <unistd.h>

#include <functional>

#include "core/files/file.h"
#include "gmock/gmock.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// Every flipped bit, every beginning and every addition is found.
void ExpectAllDamageIsFound(const std::string& path,
                            const std::function<absl::Status(const std::string&)>& read) {
  const std::string whole = *ReadFile(path);
  const auto expect_found = [&](const std::string& bytes) {
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    const absl::Status status = read(path);
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

TEST(SealedJson, ReadsBackAndAnyFlippedBitCutOrAdditionIsFound) {
  const std::string path = ::testing::TempDir() + "temper_sealed_" + std::to_string(getpid());
  const Json object = {{"a", 1}, {"text", ",\"crc32c\":5}"}, {"of", ExtentJson({12, 4000000000u})}};
  ASSERT_TRUE(WriteSealedJson(path, object).ok());
  const auto read = ReadSealedJson(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, object);
  EXPECT_EQ(*GetExtent(*read, "of", path), (Extent{12, 4000000000u}));
  EXPECT_FALSE(GetExtent(*read, "a", path).ok());
  ExpectAllDamageIsFound(path, [](const std::string& p) { return ReadSealedJson(p).status(); });
}

TEST(SealedYaml, ReadsBackAndAnyFlippedBitCutOrAdditionIsFound) {
  const std::string path = ::testing::TempDir() + "temper_sealed_yaml_" + std::to_string(getpid());
  const std::string lines = "seed: 1  # crc32c: 5\nstages: {}\n";
  ASSERT_TRUE(WriteFileAtomic(path, SealedYaml(lines)).ok());
  EXPECT_EQ(ReadSealedYaml(path).value_or(""), lines);
  ExpectAllDamageIsFound(path, [](const std::string& p) { return ReadSealedYaml(p).status(); });
}

}  // namespace
}  // namespace temper

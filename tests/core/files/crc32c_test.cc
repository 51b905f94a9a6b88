// SPDX-License-Identifier: Apache-2.0
#include "core/files/crc32c.h"

#include "core/files/file.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(Crc32c, IsThatOfTheStandardsExamples) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32c, OfPiecesIsThatOfTheWhole) {
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += static_cast<char>(i * i % 251);
  for (size_t cut : {0, 1, 7, 8, 9, 500, 1000})
    EXPECT_EQ(Crc32c(bytes.substr(cut), Crc32c(bytes.substr(0, cut))), Crc32c(bytes)) << cut;
  const std::string path = ::testing::TempDir() + "temper_crc32c";
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_EQ(*Crc32cOfFile(path), Crc32c(bytes));
  EXPECT_TRUE(RemoveTree(path).ok());
  EXPECT_FALSE(Crc32cOfFile(path).ok());
}

}  // namespace
}  // namespace temper

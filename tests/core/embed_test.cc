// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "core/files/file.h"
#include "gmock/gmock.h"
#include "tests/core/embedded.bin.h"

namespace temper {
namespace {

TEST(Embed, AFileIsCarriedByteForByte) {
  const absl::StatusOr<std::string> file = ReadFile("tests/core/embedded.bin");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_GT(file->size(), 256u);  // every byte, then what C++ or CMake could take for its own
  EXPECT_EQ(kEmbedded, *file);
}

}  // namespace
}  // namespace temper

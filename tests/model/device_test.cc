// SPDX-License-Identifier: Apache-2.0
#include "model/device.h"

#include "gmock/gmock.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string Refusal(const std::string& name) {
  const auto device = DeviceByName(name);
  EXPECT_FALSE(device.ok()) << name;
  return std::string(device.status().message());
}

TEST(Device, HasAName) {
  const auto cpu = DeviceByName("cpu");
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  EXPECT_TRUE(cpu->is_cpu());
  EXPECT_THAT(NotExactText("cuda:1"), HasSubstr("device cuda:1: not exact: "));
}

TEST(Device, OfAnotherNameIsRefused) {
  for (const char* name :
       {"", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:+1", "cuda:1x", "cuda:0:1", "cpu:0", " cuda"})
    EXPECT_THAT(Refusal(name), HasSubstr("is no device: cpu, cuda, cuda:N or sim")) << name;
  EXPECT_EQ(Refusal("a\nb"), "a\\x0ab is no device: cpu, cuda, cuda:N or sim");
}

TEST(Device, ThatIsNotThereIsRefusedInOneLine) {
#ifdef TEMPER_GPU
  const bool any = !GpusHere().empty();
  const char* const none = "there is no GPU on this machine for CUDA 13: ";
#else
  const bool any = false;
  const char* const none = "this temper was built without CUDA: build it with cmake --preset gpu";
#endif
  EXPECT_THAT(Refusal("cuda:99"), HasSubstr(any ? "this machine has GPUs 0 to" : none));
  if (any) {
    EXPECT_TRUE(DeviceByName("cuda")->is_cuda());
    EXPECT_EQ(DeviceByName("cuda:0")->index(), 0);
  } else {
    EXPECT_THAT(Refusal("cuda"), StartsWith(std::string("cuda: ") + none));
    EXPECT_THAT(Refusal("cuda"), Not(HasSubstr("\n")));
    EXPECT_THAT(GpusHere(), IsEmpty());
  }
  EXPECT_EQ(FreeBytesOn(*DeviceByName("cpu")), INT64_MAX);
}

}  // namespace
}  // namespace temper

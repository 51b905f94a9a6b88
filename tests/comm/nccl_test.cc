// SPDX-License-Identifier: Apache-2.0
// NCCL moves what the other backends move. Wants GPUs; compiled wherever preset gpu is.
#include "comm/nccl.h"

#if TEMPER_GPU

#include <numeric>
#include <string>
#include <vector>

#include "comm/threads.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

int Gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

TEST(Nccl, OneRankStartsAndEnds) {
  if (Gpus() < 1) GTEST_SKIP() << "no GPU";
  SelfCommunicator self;
  NcclCommunicator nccl(self);
  EXPECT_EQ(nccl.size(), 1);
  EXPECT_TRUE(nccl.device_memory());
  nccl.Barrier();
}

TEST(Nccl, TwoRanksOnOneGpuAreRefusedInOneLine) {
  if (Gpus() < 1) GTEST_SKIP() << "no GPU";
  ThreadWorld(2).Run([](Communicator& comm) {
    cudaSetDevice(0);
    comm.set_deadline(absl::Seconds(60));
    std::string message = "started";
    try {
      NcclCommunicator nccl(comm);
    } catch (const CommError& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr(std::to_string(comm.rank()) + " of 2 (nccl): start: "));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  });
}

TEST(Nccl, RanksExchangeDeviceMemory) {
  if (Gpus() < 2) GTEST_SKIP() << "fewer than two GPUs";
  ThreadWorld(2).Run([](Communicator& comm) {
    ASSERT_EQ(cudaSetDevice(comm.rank()), cudaSuccess);
    NcclCommunicator nccl(comm);
    std::vector<int> sent(1000), got(1000);
    std::iota(sent.begin(), sent.end(), 1000 * comm.rank());
    const size_t bytes = sent.size() * sizeof(int);
    void *out = nullptr, *in = nullptr;
    ASSERT_EQ(cudaMalloc(&out, bytes), cudaSuccess);
    ASSERT_EQ(cudaMalloc(&in, bytes), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(out, sent.data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
    nccl.SendReceive({out, bytes, 1 - comm.rank(), in, bytes, 1 - comm.rank()});
    ASSERT_EQ(cudaMemcpy(got.data(), in, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    std::iota(sent.begin(), sent.end(), 1000 * (1 - comm.rank()));
    EXPECT_EQ(got, sent);
    cudaFree(in);
    cudaFree(out);
  });
}

TEST(Nccl, RanksSumIntegersWhereTheyAre) {
  if (Gpus() < 2) GTEST_SKIP() << "fewer than two GPUs";
  ThreadWorld(2).Run([](Communicator& comm) {
    ASSERT_EQ(cudaSetDevice(comm.rank()), cudaSuccess);
    const std::unique_ptr<DeviceRanks> device = OpenDeviceRanks(comm);
    const int64_t large = int64_t{1} << 61;
    std::vector<int64_t> numbers = {1, -large, large + 7 * comm.rank()};
    void* memory = nullptr;
    ASSERT_EQ(cudaMalloc(&memory, 24), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(memory, numbers.data(), 24, cudaMemcpyHostToDevice), cudaSuccess);
    device->SumIntegers(static_cast<int64_t*>(memory), 3);
    ASSERT_EQ(cudaMemcpy(numbers.data(), memory, 24, cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT_EQ(numbers, (std::vector<int64_t>{2, -2 * large, 2 * large + 7}));
    comm.Barrier();  // nobody reads the other's memory any more
    device->GiveUp();
    EXPECT_THROW(device->SumIntegers(static_cast<int64_t*>(memory), 3), CommError);
    cudaFree(memory);
  });
}

}  // namespace
}  // namespace temper

#endif  // TEMPER_GPU

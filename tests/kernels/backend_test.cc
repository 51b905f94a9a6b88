// SPDX-License-Identifier: Apache-2.0
#include "kernels/backend.h"

#include <functional>
#include <new>
#include <numeric>

#include "gtest/gtest.h"
#include "kernels/backends/counting.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

// Calls body(backend) on every instruction set with 1, 2 and 3 threads.
void OnEveryMachine(const std::function<void(CpuBackend&)>& body) {
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2, 3}) {
      TestBackend backend(threads);
      SCOPED_TRACE(testing::Message() << Name(isa) << ", threads " << threads);
      body(backend.cpu);
    }
  }
}

TEST(Matrix, ViewsBeginWhereTheyShouldWhateverTheType) {
  std::vector<float> numbers(60);
  std::iota(numbers.begin(), numbers.end(), 0.0f);
  const Matrix x = F32(numbers.data(), 5, 10).Strided(12), part = x.Rows(2, 3).Columns(4, 5);
  EXPECT_EQ(part.Row(1)[2], 3 * 12 + 4 + 2);
  EXPECT_EQ(part.rows, 3);
  EXPECT_EQ(part.cols, 5);
  EXPECT_EQ(part.stride, 12);
  char* const bytes = reinterpret_cast<char*>(numbers.data());
  const Matrix half{bytes, Type::kBf16, 5, 10, 12}, codes{bytes, Type::kF8, 5, 10, 12};
  EXPECT_EQ(half.Rows(2, 3).Columns(4, 5).data, bytes + 2 * (2 * 12 + 4));
  EXPECT_EQ(codes.Rows(2, 3).Columns(4, 5).data, bytes + 2 * 12 + 4);
  EXPECT_FALSE(Matrix().Rows(1, 2).Columns(3, 4));
}

// As where ulimit -v bounds it: the machine's fault, not temper's.
TEST(CountingBackend, WithoutAddressSpaceIsOutOfMemory) {
  ThreadPool pool(1);
  CountingBackend counting(&pool, /*packs=*/true);
  EXPECT_THROW(counting.Allocate(int64_t{1} << 60), std::bad_alloc);
  EXPECT_EQ(counting.bytes(), 0);
}

TEST(Matrix, OfAnotherTypeIsNeverReadAsF32) {
  float number = 0;
  const Matrix half{&number, Type::kBf16, 1, 1, 1};
  EXPECT_ANY_THROW(half.f32());
  EXPECT_ANY_THROW(half.Row(0));
  TestBackend backend(1);
  EXPECT_ANY_THROW(backend->Zero(half));
}

TEST(CpuBackend, CopiesAddsAndClearsRowsAndNothingBeside) {
  OnEveryMachine([](CpuBackend& cpu) {
    struct Size {
      int64_t rows, cols, beside;
    };
    for (const Size& size : {Size{1, 40001, 0}, {300, 129, 0}, {300, 129, 3}, {7, 1, 2}}) {
      const int64_t rows = size.rows, cols = size.cols, ld = cols + size.beside;
      const std::vector<float> from = Numbers(rows * cols, 1), start = Numbers(rows * ld, 2);
      std::vector<float> copied = start, added = start, cleared = start, host(rows * cols);
      std::vector<float> want_copied = start, want_added = start, want_cleared = start;
      for (int64_t i = 0; i < rows * cols; ++i) {
        const int64_t at = i / cols * ld + i % cols;
        want_copied[at] = from[i];
        want_added[at] = start[at] + from[i];
        want_cleared[at] = 0;
      }
      const auto wide = [&](std::vector<float>& of) { return F32(of.data(), rows, cols).Strided(ld); };
      cpu.CopyFromHost(from.data(), wide(copied));
      cpu.CopyToHost(wide(copied), host.data());
      cpu.Add(F32(from.data(), rows, cols), wide(added));
      cpu.Zero(wide(cleared));
      EXPECT_EQ(copied, want_copied) << rows;
      EXPECT_EQ(host, from) << rows;
      EXPECT_EQ(added, want_added) << rows;
      EXPECT_EQ(cleared, want_cleared) << rows;
      EXPECT_ANY_THROW(cpu.Copy(wide(copied), F32(from.data(), rows + 1, cols)));
    }
  });
}

TEST(CpuBackend, CopiesHeadsBetweenLayouts) {
  OnEveryMachine([](CpuBackend& cpu) {
    const int64_t rows = 70, heads = 3, dim = 5;
    const std::vector<float> from = Numbers(rows * 40, 1), start = Numbers(rows * 30, 2);
    std::vector<float> to = start, want = start;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t h = 0; h < heads; ++h)
        std::copy_n(&from[i * 40 + 7 + h * 11], dim, &want[i * 30 + 2 + h * 9]);
    }
    cpu.CopyHeads({F32(from.data(), rows, 40).Columns(7, 33), heads, dim, 11},
                  {F32(to.data(), rows, 30).Columns(2, 28), heads, dim, 9});
    EXPECT_EQ(to, want);
  });
}

TEST(CpuBackend, MemoryOutlivesAllButItsLastPointer) {
  TestBackend backend(1);
  std::shared_ptr<void> memory = backend->Allocate(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.get()) % 64, 0u);
  const Matrix x = F32(static_cast<float*>(memory.get()), 5, 5);
  backend->Zero(x);
  const std::shared_ptr<void> second = memory;
  memory = nullptr;
  EXPECT_EQ(x.Row(4)[4], 0);
}

}  // namespace
}  // namespace temper::kernels

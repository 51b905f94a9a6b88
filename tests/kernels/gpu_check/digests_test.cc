// SPDX-License-Identifier: Apache-2.0
// The digests that a GPU is held against are those of the simulation and of the CPU.
#include <cxxabi.h>

#include <fstream>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backends/device.h"
#include "kernels/log.h"
#include "tests/kernels/cuda/said.h"
#include "tests/kernels/gpu_check/cases.h"
#include "tests/kernels/gpu_check/device/hash.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {
namespace {

constexpr const char* kFile = "tests/kernels/gpu_check/digests.txt";
constexpr const char* kHowTo = "; if kernels changed on purpose: gpu_check --device sim --write";

// With a sanitizer threads of a block change slowly: it sees some of the cases.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

Digests Committed() {
  const absl::StatusOr<Digests> digests = ReadDigests(kFile);
  EXPECT_TRUE(digests.ok()) << digests.status();
  return digests.ok() ? *digests : Digests();
}

// A kernel's type as kernels/cuda/resources.txt has it.
std::string KernelName(const std::string& mangled) {
  int status = 0;
  char* const text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  std::string name = status == 0 ? text : mangled;
  std::free(text);
  return absl::StrReplaceAll(
      name, {{"temper::kernels::sim::", ""}, {"temper::kernels::", ""}, {"(anonymous namespace)::", ""}});
}

std::set<std::string> KernelsOfTheTable() {
  std::set<std::string> names;
  std::ifstream table("kernels/cuda/resources.txt");
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t begin = line.find(" | ") + 3;
    names.insert(line.substr(begin, line.find(" | ", begin) - begin));
  }
  return names;
}

TEST(GpuCheck, EveryCaseHasItsDigestOnTheSimulationAndOnTheCpuAndNoKernelIsLeftOut) {
  const Digests committed = Committed();
  ThreadPool pool(1);
  std::set<std::string> launched;
  const auto sim =
      sim::MakeBackend(&pool, {.stream = {.watched = false, .host_memory = false, .launched = &launched}});
  CpuBackend cpu(&pool);
  std::set<std::string> keys;
  for (const Case& one : Cases()) {
    const std::string key = absl::StrCat(one.name, " | ", one.shape);
    EXPECT_TRUE(keys.insert(key).second) << key << " twice";
    if (kSanitized && keys.size() % 8 != 0) continue;
    const auto found = committed.find(key);
    const std::string there = found == committed.end() ? "none" : found->second;
    EXPECT_EQ(DigestOf(one, *sim), there) << "simulated " << key << kHowTo;
    EXPECT_EQ(DigestOf(one, cpu), there) << "the CPU's " << key;
  }
  if (kSanitized) return;
  std::set<std::string> left_out = KernelsOfTheTable();
  EXPECT_GT(left_out.size(), 100u);
  for (const std::string& mangled : launched) left_out.erase(KernelName(mangled));
  EXPECT_THAT(left_out, ::testing::IsEmpty());
}

// One number at a time, by what is independent of kernels/cuda.
uint64_t Reference(WordFunction function, uint32_t bits) {
  const float x = std::bit_cast<float>(bits);
  const auto of = [](float y) { return std::isnan(y) ? sim::kOneNaN : uint64_t{std::bit_cast<uint32_t>(y)}; };
  switch (function) {
    case WordFunction::kExp:
      return of(std::isnan(x) ? x : ReferenceExp(x));
    case WordFunction::kSigmoid:
      return of(std::isnan(x) ? x : ReferenceSigmoid(x));
    case WordFunction::kSqrt:
      return of(std::sqrt(x));
    case WordFunction::kInverse:
      return of(1.0f / x);
    case WordFunction::kRound:
      return of(std::nearbyint(x));
    case WordFunction::kNearestHalf: {
      uint16_t half = 0;
      ThreadPool pool(1);
      CpuBackend(&pool).RoundToBf16(F32(&x, 1, 1), {&half, Type::kBf16, 1, 1, 1});
      return half;
    }
    case WordFunction::kLog: {
      const double y = Log(static_cast<double>(x));
      return std::isnan(y) ? sim::kOneNaN : std::bit_cast<uint64_t>(y);
    }
  }
  return 0;
}

TEST(GpuCheck, FunctionsHaveTheirDigestsOnTheSimulationAndByTheirReferences) {
  const Digests committed = Committed();
  ThreadPool pool(1);
  const Checked device = OpenDevice("sim", &pool);
  for (size_t f = 0; f < std::size(kWordFunctions); ++f) {
    const auto function = static_cast<WordFunction>(f);
    const auto found = committed.find(FunctionKey(function));
    ASSERT_NE(found, committed.end()) << kWordFunctions[f];
    EXPECT_EQ(FunctionDigest(device, function), found->second) << kWordFunctions[f] << kHowTo;
    uint64_t sum = 0;
    for (int64_t i = 0; i < kSomeInputs.count; ++i) {
      const uint32_t x = kSomeInputs.first + static_cast<uint32_t>(i) * kSomeInputs.stride;
      sum += sim::FunctionHash(x, Reference(function, x));
    }
    EXPECT_EQ(absl::StrFormat("%016x", sum), found->second) << kWordFunctions[f];
  }
}

TEST(GpuCheck, NoPieceBeginsThatWouldNotEndInTime) {
  absl::Time now = absl::UnixEpoch();
  // In 12 s, of pieces that take so long.
  const auto done = [&](const std::vector<int>& seconds) {
    return PiecesInTime(
        static_cast<int>(seconds.size()), absl::Seconds(12),
        [&](int piece) { now += absl::Seconds(seconds[piece]); }, [&] { return now; });
  };
  EXPECT_EQ(done({5, 5, 5}), 2);
  EXPECT_EQ(done({4, 4, 4, 4}), 3);
  EXPECT_EQ(done({5, 1, 1, 1, 1, 1}), 4) << "as long as the longest";
  EXPECT_EQ(done({40, 1}), 1);
  EXPECT_EQ(done({1, 1}), 2);
}

// The other parts of gpu_check, in small.
TEST(GpuCheck, ItsPartsAreRightOnTheSimulation) {
  ThreadPool pool(1);
  Checked device = OpenDevice("sim", &pool);
  device.small = true;
  Results results("");
  CheckTensorCore(device, &results);
  CheckLargeSizes(device, &results);
  std::vector<HeaderWords> said;
  if (!kSanitized) MeasureKernels(device, &results, &said);
  EXPECT_TRUE(results.all_right());
  EXPECT_TRUE(kSanitized || said.size() > 20);
  for (const HeaderWords& words : said)
    EXPECT_THAT(SaidOf(words.header, words.function), ::testing::HasSubstr(words.words));
}

}  // namespace
}  // namespace temper::kernels

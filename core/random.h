// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace temper {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11): four words from a
// 128-bit counter and a 64-bit key. There is no generator state anywhere in temper: a draw is a function of
// its name.
std::array<uint32_t, 4> Philox(const std::array<uint32_t, 4>& counter, uint64_t key);

// What a stream of draws is for: a word of the counter, so that purposes never share draws.
enum class Purpose : uint32_t { kSample = 1, kShuffle = 2, kInit = 3, kTask = 4, kCorpus = 5, kReward = 6 };

// The key of (run seed, stage, rollout number, id): a 64-bit hash, the same on every machine.
uint64_t RandomKey(uint64_t seed, std::string_view stage, uint64_t rollout, std::string_view id);

// One 53-bit uniform in [0, 1) for (sample, position, purpose, draw).
double Uniform(uint64_t key, uint32_t sample, uint32_t position, Purpose purpose, uint32_t draw = 0);

// Draws in order from one (key, purpose) stream, for generators of tasks and initial values. Copyable, no
// hidden state.
class RandomStream {
 public:
  RandomStream(uint64_t key, Purpose purpose, uint32_t stream = 0)
      : key_(key), purpose_(purpose), stream_(stream) {}
  double NextUniform();            // [0, 1), 53 bits
  uint64_t NextBelow(uint64_t n);  // [0, n), n >= 1, unbiased by rejection
  double NextNormal();             // Box-Muller in f64, two uniforms a call
  // An index with probability proportional to its weight.
  int NextWeighted(const std::vector<double>& weights);

 private:
  uint64_t key_;
  Purpose purpose_;
  uint32_t stream_;
  uint64_t draws_ = 0;
};

// A permutation of [0, n) that depends on (key) alone: Fisher-Yates over RandomStream(key, kShuffle).
std::vector<int64_t> Permutation(int64_t n, uint64_t key);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/random.h"

#include <cmath>
#include <numeric>

#include "core/check.h"

namespace temper {
namespace {

// FNV-1a, then the finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint64_t HashBytes(uint64_t hash, std::string_view bytes) {
  for (unsigned char byte : bytes) hash = (hash ^ byte) * 0x100000001b3ull;
  return Mix(hash + 0x9e3779b97f4a7c15ull * (bytes.size() + 1));
}

}  // namespace

std::array<uint32_t, 4> Philox(const std::array<uint32_t, 4>& counter, uint64_t key) {
  std::array<uint32_t, 4> c = counter;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

uint64_t RandomKey(uint64_t seed, std::string_view stage, uint64_t rollout, std::string_view id) {
  uint64_t hash = Mix(seed + 0x9e3779b97f4a7c15ull);
  hash = HashBytes(hash, stage);
  hash = Mix(hash ^ Mix(rollout + 0x632be59bd9b4e019ull));
  return HashBytes(hash, id);
}

double Uniform(uint64_t key, uint32_t sample, uint32_t position, Purpose purpose, uint32_t draw) {
  const std::array<uint32_t, 4> words = Philox({sample, position, static_cast<uint32_t>(purpose), draw}, key);
  const uint64_t bits = (static_cast<uint64_t>(words[0]) << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

double RandomStream::NextUniform() {
  const double u =
      Uniform(key_, stream_, static_cast<uint32_t>(draws_), purpose_, static_cast<uint32_t>(draws_ >> 32));
  ++draws_;
  return u;
}

uint64_t RandomStream::NextBelow(uint64_t n) {
  TEMPER_CHECK(n >= 1);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  for (;;) {
    const std::array<uint32_t, 4> words =
        Philox({stream_, static_cast<uint32_t>(draws_), static_cast<uint32_t>(purpose_),
                static_cast<uint32_t>(draws_ >> 32)},
               key_);
    ++draws_;
    const uint64_t bits = static_cast<uint64_t>(words[0]) << 32 | words[1];
    if (bits < limit) return bits % n;
  }
}

double RandomStream::NextNormal() {
  const double u = 1.0 - NextUniform();  // (0, 1]
  const double v = NextUniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
}

int RandomStream::NextWeighted(const std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double u = NextUniform() * total;
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (u < sum) return static_cast<int>(i);
  }
  return static_cast<int>(weights.size()) - 1;
}

std::vector<int64_t> Permutation(int64_t n, uint64_t key) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  RandomStream stream(key, Purpose::kShuffle);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[stream.NextBelow(i + 1)]);
  return order;
}

}  // namespace temper

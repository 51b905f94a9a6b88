// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/file.h"

namespace temper {
namespace {

// The first 32 bits of the fractional parts of the square (power 2) or cube roots (3) of the first primes.
template <size_t kCount>
std::array<uint32_t, kCount> RootFractions(int power) {
  std::array<uint32_t, kCount> out{};
  size_t found = 0;
  for (uint64_t n = 2; found < kCount; ++n) {
    bool prime = true;
    for (uint64_t d = 2; d * d <= n; ++d) prime &= n % d != 0;
    if (!prime) continue;
    // floor(root(n) * 2^32) by bisection in integers.
    using Wide = unsigned __int128;
    uint64_t low = 0, high = uint64_t{1} << 37;
    while (high - low > 1) {
      const uint64_t middle = low + (high - low) / 2;
      const Wide power_of_middle = power == 2 ? Wide(middle) * middle : Wide(middle) * middle * middle;
      (power_of_middle <= Wide(n) << (32 * power) ? low : high) = middle;
    }
    out[found++] = static_cast<uint32_t>(low);
  }
  return out;
}

}  // namespace

Sha256::Sha256() {
  static const std::array<uint32_t, 8> kStart = RootFractions<8>(2);
  std::copy(kStart.begin(), kStart.end(), state_);
}

void Sha256::Block(const unsigned char* data) {
  static const std::array<uint32_t, 64> kRounds = RootFractions<64>(3);
  uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    w[i] = uint32_t{data[4 * i]} << 24 | uint32_t{data[4 * i + 1]} << 16 | uint32_t{data[4 * i + 2]} << 8 |
           data[4 * i + 3];
  }
  for (int i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ (a >> 3)) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ (b >> 10));
  }
  uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3];
  uint32_t e = state_[4], f = state_[5], g = state_[6], h = state_[7];
  for (int i = 0; i < 64; ++i) {
    const uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                        kRounds[i] + w[i];
    const uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t add[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state_[i] += add[i];
}

void Sha256::Update(std::string_view bytes) {
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  while (left > 0) {
    const size_t used = size_ % 64;
    if (used == 0 && left >= 64) {
      Block(data);
      data += 64, left -= 64, size_ += 64;
      continue;
    }
    const size_t take = std::min(left, 64 - used);
    std::memcpy(buffer_ + used, data, take);
    data += take, left -= take, size_ += take;
    if (size_ % 64 == 0) Block(buffer_);
  }
}

std::string Sha256::Finish() {
  const uint64_t bits = size_ * 8;
  std::string tail(1, '\x80');
  tail.resize(1 + (119 - size_ % 64) % 64, '\0');
  for (int i = 7; i >= 0; --i) tail += static_cast<char>(bits >> (8 * i));
  Update(tail);
  std::string out;
  for (const uint32_t word : state_) {
    for (int i = 28; i >= 0; i -= 4) out += "0123456789abcdef"[word >> i & 15];
  }
  return out;
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

}  // namespace temper

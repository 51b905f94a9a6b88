// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "core/files/file.h"

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

const uint32_t* Rounds() {
  static const std::array<uint32_t, 64> kRounds = RootFractions<64>(3);
  return kRounds.data();
}

#if defined(__x86_64__)
// By the processor's SHA extensions, two rounds an instruction, which hold the state as (a b e f) and
// (c d g h).
__attribute__((target("sha,sse4.1"))) void BlockByInstruction(const unsigned char* data, uint32_t* state) {
  const auto load = [](const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); };
  const uint32_t* const rounds = Rounds();
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i cdab = _mm_shuffle_epi32(load(state), 0xB1), hgfe = _mm_shuffle_epi32(load(state + 4), 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, cdab, 0xF0);
  const __m128i abef_before = abef, cdgh_before = cdgh;
  __m128i w[4];
  for (int i = 0; i < 16; ++i) {
    __m128i& now = w[i % 4];
    if (i < 4) {
      now = _mm_shuffle_epi8(load(data + 16 * i), big_endian);
    } else {
      const __m128i before = w[(i + 3) % 4];
      const __m128i seven = _mm_alignr_epi8(before, w[(i + 2) % 4], 4);
      now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) % 4]), seven), before);
    }
    const __m128i added = _mm_add_epi32(now, load(rounds + 4 * i));
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0E));
  }
  const __m128i feba = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1B);
  const __m128i dchg = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

void BlockByFormula(const unsigned char* data, uint32_t* state) {
  const uint32_t* const rounds = Rounds();
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
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; ++i) {
    const uint32_t t1 =
        h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + rounds[i] + w[i];
    const uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t add[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state[i] += add[i];
}

#if defined(__x86_64__)
bool HasShaInstruction() {
  unsigned a = 0, b = 0, c = 0, d = 0;  // clang 14 has no name for it
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 &&
         __builtin_cpu_supports("sse4.1");
}
#endif

}  // namespace

Sha256::Sha256() {
  static const std::array<uint32_t, 8> kStart = RootFractions<8>(2);
  std::copy(kStart.begin(), kStart.end(), state_);
}

void Sha256::Block(const unsigned char* data) {
#if defined(__x86_64__)
  static const bool kHasInstruction = HasShaInstruction();
  if (kHasInstruction) return BlockByInstruction(data, state_);
#endif
  BlockByFormula(data, state_);
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

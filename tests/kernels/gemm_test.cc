// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/convert.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// An operand's numbers with room beside each row, as column slices of wider tensors have.
struct Operand {
  Operand(int64_t rows, int64_t cols, uint32_t seed) : Operand(rows, cols, seed, cols + 3 + seed % 5) {}
  Operand(int64_t rows, int64_t cols, int seed, int64_t ld) : ld(ld), numbers(Numbers(rows * ld, seed)) {}
  Matrix Of(const std::vector<float>& other, int64_t rows, int64_t cols) const {
    return F32(other.data(), rows, cols).Strided(ld);
  }
  int64_t ld;
  std::vector<float> numbers;
};

enum class Add { kNone, kOther, kInPlace };

struct Shape {
  int64_t m, n, k;
  int k_chunks = 1;
  bool b_transposed = true;
  bool bias = false;
  Add add = Add::kNone;
  int64_t ldb = 0;  // 0: some more than a row
  Type weight = Type::kF32;
};

// One product with its operands; Run writes a fresh c, the room beside its rows included.
struct OneProduct {
  explicit OneProduct(const Shape& shape)
      : s(shape),
        a(s.m, s.k, 1),
        b(s.ldb == 0 ? Operand(s.b_transposed ? s.n : s.k, s.b_transposed ? s.k : s.n, 2)
                     : Operand(s.b_transposed ? s.n : s.k, s.b_transposed ? s.k : s.n, 2, s.ldb)),
        c(s.m, s.n, 3),
        add(s.m, s.n, 4),
        bias(Numbers(s.n, 5)) {
    if (s.weight == Type::kF32) return;
    halves.resize(b.numbers.size());
    FloatToBfloat(b.numbers.size(), b.numbers.data(), halves.data());
    BfloatToFloat(b.numbers.size(), halves.data(), b.numbers.data());
  }

  float B(int64_t i, int64_t j) const { return b.numbers[s.b_transposed ? j * b.ld + i : i * b.ld + j]; }

  Product Fill(std::vector<float>* out, const PackedMatrix* packed = nullptr) const {
    *out = c.numbers;
    Product p;
    p.a = a.Of(a.numbers, s.m, s.k);
    if (packed == nullptr) p.b = Weight();
    p.b_transposed = s.b_transposed;
    p.packed = packed;
    p.c = c.Of(*out, s.m, s.n);
    p.k_chunks = s.k_chunks;
    p.bias = s.bias ? bias.data() : nullptr;
    if (s.add != Add::kNone) p.add = s.add == Add::kOther ? add.Of(add.numbers, s.m, s.n) : p.c;
    return p;
  }

  Matrix Weight() const {
    Matrix weight = b.Of(b.numbers, s.b_transposed ? s.n : s.k, s.b_transposed ? s.k : s.n);
    weight.type = s.weight;
    if (s.weight != Type::kF32) weight.data = const_cast<uint16_t*>(halves.data());
    return weight;
  }
  PackedMatrix Packed(std::vector<float>* panels, TestBackend& backend) const {
    panels->resize(backend->PackedFloats(s.n, s.k));
    return backend->Pack(Weight(), s.b_transposed, panels->data());
  }

  std::vector<float> Run(TestBackend& backend, bool pack = false) const {
    std::vector<float> panels;
    PackedMatrix packed;
    if (pack) packed = Packed(&panels, backend);
    std::vector<float> out;
    const Product p = Fill(&out, pack ? &packed : nullptr);
    backend->Products({&p, 1});
    return out;
  }

  std::vector<float> Reference() const {
    std::vector<float> out = c.numbers;
    for (int64_t i = 0; i < s.m; ++i) {
      for (int64_t j = 0; j < s.n; ++j) {
        std::vector<float> chunks(s.k_chunks);
        for (int64_t q = 0; q < s.k_chunks; ++q) {
          for (int64_t l = q * s.k / s.k_chunks; l < (q + 1) * s.k / s.k_chunks; ++l) {
            chunks[q] = std::fma(a.numbers[i * a.ld + l], B(l, j), chunks[q]);
          }
        }
        float y = s.k_chunks == 1 ? chunks[0] : ReferenceTree(chunks);
        if (s.bias) y = y + bias[j];
        if (s.add == Add::kOther) y = y + add.numbers[i * add.ld + j];
        if (s.add == Add::kInPlace) y = y + c.numbers[i * c.ld + j];
        out[i * c.ld + j] = y;
      }
    }
    return out;
  }

  Shape s;
  Operand a, b, c, add;
  std::vector<uint16_t> halves;  // b's numbers, which are then these
  std::vector<float> bias;
};

std::string Name(const Shape& s) {
  return absl::StrCat("m ", s.m, " n ", s.n, " k ", s.k, " chunks ", s.k_chunks, " transposed ",
                      s.b_transposed, " bias ", s.bias, " add ", static_cast<int>(s.add));
}

// Every way to compute a shape has the bits of the chain, whichever numbers the weight has.
void ExpectTheChain(Shape s, const std::vector<Isa>& isas, std::vector<std::unique_ptr<TestBackend>>& pools) {
  for (Type weight : {Type::kF32, Type::kBf16}) {
    s.weight = weight;
    const OneProduct x(s);
    const std::vector<float> reference = x.Reference();
    for (Isa isa : isas) {
      IsaScope scope(isa);
      for (auto& backend : pools) {
        for (bool pack : {false, true}) {
          EXPECT_EQ(Differences(x.Run(*backend, pack), reference), 0)
              << Name(s) << (weight == Type::kF32 ? " " : " bf16 ") << Name(isa) << " threads "
              << backend->pool.threads() << " packed " << pack;
        }
      }
    }
  }
}

std::vector<std::unique_ptr<TestBackend>> Pools(std::initializer_list<int> threads) {
  std::vector<std::unique_ptr<TestBackend>> pools;
  for (int t : threads) pools.push_back(std::make_unique<TestBackend>(t));
  return pools;
}

TEST(Gemm, EveryShapeEqualsItsChain) {
  auto pools = Pools({1, 2, 3});
  const int64_t sizes[][2] = {{1, 1},   {3, 5},    {16, 7},    {17, 100}, {31, 129},
                              {33, 15}, {64, 150}, {100, 100}, {711, 37}};
  int turn = 0;
  for (auto [n, k] : sizes) {
    for (int64_t m : {1, 2, 3, 6, 8, 11, 12, 13, 25, 65}) {
      for (int chunks : {1, kChunks}) {
        for (bool transposed : {true, false}) {
          ++turn;
          ExpectTheChain({m, n, k, chunks, transposed, turn % 2 == 0, static_cast<Add>(turn % 3)}, FastIsas(),
                         pools);
        }
      }
    }
  }
}

TEST(Gemm, EveryNumberOfRowsAndOfColumnsEqualsTheChain) {
  auto pools = Pools({1});
  int turn = 0;
  const auto expect = [&](int64_t m, int64_t n, int64_t k, const std::vector<Isa>& isas) {
    ++turn;
    ExpectTheChain(
        {m, n, k, turn % 2 == 0 ? 1 : kChunks, turn % 3 != 0, turn % 5 == 0, static_cast<Add>(turn % 7 % 3)},
        isas, pools);
  };
  for (int64_t m = 1; m <= 65; ++m) {
    for (int64_t n : {97, 64, 33}) expect(m, n, 43, FastIsas());
  }
  for (int64_t n = 1; n <= 97; ++n) {
    for (int64_t m : {1, 2, 3, 7, 14}) expect(m, n, 131, FastIsas());
  }
  for (int64_t m = 1; m <= 14; ++m) expect(m, 35, 21, {Isa::kPlain});
}

TEST(Gemm, MoreRowsThanABlockAndMoreColumnsThanAStepEqualTheChain) {
  auto pools = Pools({1, 2, 3});
  for (int chunks : {1, kChunks}) {
    ExpectTheChain({.m = 500, .n = 70, .k = 300, .k_chunks = chunks}, FastIsas(), pools);
    ExpectTheChain({.m = 9, .n = 70, .k = 1001, .k_chunks = chunks}, FastIsas(), pools);
  }
}

TEST(Gemm, PanelsPackedTogetherEqualTheChain) {
  auto pools = Pools({1, 2});
  for (int chunks : {1, kChunks}) {
    for (bool transposed : {false, true}) {
      ExpectTheChain({30, 550, 70, chunks, transposed, true, Add::kOther}, FastIsas(), pools);
      ExpectTheChain({500, 150, 100, chunks, transposed, true, Add::kOther}, FastIsas(), pools);
      ExpectTheChain({130, 150, 40, chunks, transposed, true, Add::kOther, 2048}, FastIsas(), pools);
    }
  }
}

TEST(Gemm, FewRowsBehindWholeBlocksOfPackedOnesHaveTheBitsThatTheyHaveAlone) {
  TestBackend backend(2);
  struct Size {
    int64_t blocks, k;  // rows before the last ones
  };
  for (const Size& size : {Size{960, 1400}, {480, 17'000}, {240, 17'000}}) {
    for (int64_t over : {1, 2, 3, 12}) {
      const OneProduct x({.m = size.blocks + over, .n = 300, .k = size.k, .b_transposed = false});
      for (Isa isa : FastIsas()) {
        IsaScope scope(isa);
        const std::vector<float> whole = x.Run(backend);
        std::vector<float> out;
        Product p = x.Fill(&out);
        p.a = p.a.Rows(size.blocks, over);
        p.c = p.c.Rows(size.blocks, over);
        backend->Products({&p, 1});
        for (int64_t i = 0, at = size.blocks * x.c.ld; i < over; ++i, at += x.c.ld)
          EXPECT_EQ(std::memcmp(&out[at], &whole[at], 300 * sizeof(float)), 0) << Name(isa) << " " << i;
      }
    }
  }
}

TEST(Gemm, MoreColumnsThanArePackedAtATimeHaveThePackedWeightsBitsAndARowsAlone) {
  TestBackend backend(2);
  for (bool transposed : {false, true}) {
    // Rows in several blocks, and all at once.
    for (auto [n, k] : {std::pair<int64_t, int64_t>{300, 17'000}, {620, 7'000}}) {
      const OneProduct x({490, n, k, kChunks, transposed, true, Add::kInPlace});
      const std::vector<float> whole = x.Run(backend);
      EXPECT_EQ(Differences(whole, x.Run(backend, true)), 0) << k << " " << transposed;
      for (int64_t row : {0, 250, 489}) {
        std::vector<float> out;
        Product p = x.Fill(&out);
        p.a = p.a.Rows(row, 1);
        p.c = p.add = p.c.Rows(row, 1);
        backend->Products({&p, 1});
        EXPECT_EQ(std::memcmp(p.c.data, &whole[row * p.c.stride], n * sizeof(float)), 0)
            << row << " " << transposed;
      }
    }
  }
}

TEST(Gemm, RowsAPageApartEqualTheChain) {
  auto pools = Pools({1, 2});
  int turn = 0;
  for (int64_t m : {1, 2, 4, 8, 9}) {
    for (int64_t n : {5, 32, 135}) {
      for (int64_t k : {128, 384, 1000, 1024}) {
        for (int chunks : {1, kChunks}) {
          ++turn;
          ExpectTheChain({m, n, k, chunks, true, turn % 2 == 0, static_cast<Add>(turn % 3), 1024}, FastIsas(),
                         pools);
        }
      }
    }
  }
}

TEST(Gemm, FewRowsAgainstManyColumnsEqualTheChain) {
  auto pools = Pools({1, 3});
  for (int64_t m : {1, 3}) {
    for (bool transposed : {true, false}) {
      for (int chunks : {1, kChunks}) {
        ExpectTheChain({m, 2100, 45, chunks, transposed, true, Add::kInPlace}, FastIsas(), pools);
        ExpectTheChain({m + 5, 2100, 45, chunks, transposed, true, Add::kOther}, FastIsas(), pools);
      }
    }
  }
}

TEST(Gemm, PlainCodeHasTheSameBits) {
  auto pools = Pools({2});
  for (int chunks : {1, kChunks}) {
    ExpectTheChain({7, 33, 100, chunks, true, true, Add::kOther}, {Isa::kPlain}, pools);
    ExpectTheChain({13, 17, 150, chunks, false, true, Add::kInPlace}, {Isa::kPlain}, pools);
  }
}

TEST(Gemm, ARowAloneHasTheBitsItHasInAnyBatch) {
  TestBackend backend(2);
  for (int chunks : {1, kChunks}) {
    for (bool pack : {false, true}) {
      const OneProduct all({.m = 65, .n = 100, .k = 333, .k_chunks = chunks});
      const std::vector<float> batch = all.Run(backend, pack);
      for (int64_t m = 1; m <= 65; ++m) {
        OneProduct some = all;
        some.s.m = m;
        some.a.numbers.erase(some.a.numbers.begin(), some.a.numbers.begin() + (65 - m) * all.a.ld);
        const std::vector<float> got = some.Run(backend, pack);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < 100; ++j) {
            ASSERT_TRUE(SameBits(got[i * all.c.ld + j], batch[(65 - m + i) * all.c.ld + j]))
                << m << " " << i << " " << j;
          }
        }
      }
    }
  }
}

TEST(Gemm, WithoutAnAxisToSumTheProductIsZeroPlusBias) {
  TestBackend backend(2);
  for (int chunks : {1, kChunks}) {
    for (int64_t k : {0, 1, 3, 7}) {
      const OneProduct x({5, 40, k, chunks, true, true, Add::kNone});
      for (bool pack : {false, true})
        EXPECT_EQ(Differences(x.Run(backend, pack), x.Reference()), 0) << k << chunks;
    }
  }
}

TEST(Gemm, ManyProductsInOneCallEqualEachAlone) {
  TestBackend backend(2);
  std::vector<OneProduct> cases;
  for (int64_t i = 0; i < 40; ++i) {
    cases.emplace_back(Shape{i % 4 == 3 ? 0 : 1 + i * 7 % 100, 16 + i * 5, 32 + i * 3,
                             i % 2 == 0 ? 1 : kChunks, i % 3 != 0});
  }
  std::vector<std::vector<float>> out(cases.size()), panels(cases.size());
  std::vector<PackedMatrix> packed(cases.size());
  std::vector<Product> products;
  for (size_t i = 0; i < cases.size(); ++i) {
    const OneProduct& x = cases[i];
    if (i % 5 == 0) packed[i] = x.Packed(&panels[i], backend);
    products.push_back(x.Fill(&out[i], i % 5 == 0 ? &packed[i] : nullptr));
  }
  backend->Products(products);
  for (size_t i = 0; i < cases.size(); ++i) EXPECT_EQ(Differences(out[i], cases[i].Reference()), 0) << i;
  backend->Products({});
}

// Part r of `parts` of a product's chunked axis, whole chunks each.
Product PartOf(const Product& whole, int parts, int r) {
  const int64_t k = whole.k(), begin = r * (kChunks / parts) * k / kChunks,
                end = (r + 1) * (kChunks / parts) * k / kChunks;
  Product part = whole;
  part.a = whole.a.Columns(begin, end - begin);
  part.b = whole.b_transposed ? whole.b.Columns(begin, end - begin) : whole.b.Rows(begin, end - begin);
  part.part = {.begin = begin, .whole = k};
  return part;
}

// Neighbours add, until one is left.
std::vector<float> TreeOf(std::vector<std::vector<float>> parts) {
  for (; parts.size() > 1; parts.resize(parts.size() / 2)) {
    for (size_t i = 0; i < parts.size() / 2; ++i) {
      std::vector<float> sum = parts[2 * i];
      for (size_t j = 0; j < sum.size(); ++j) sum[j] = sum[j] + parts[2 * i + 1][j];
      parts[i] = std::move(sum);
    }
  }
  return parts[0];
}

TEST(Gemm, PartsOfAnAxisAddUpThroughTheTreeToTheWhole) {
  auto pools = Pools({1, 2, 3});
  struct Size {
    int64_t m, n, k, ldb = 0;
  };
  for (const Size& size : {Size{1, 33, 711},
                           {1, 70, 1024},
                           {2, 40, 100},
                           {3, 17, 131},
                           {4, 300, 711, 2048},
                           {7, 64, 37},
                           {12, 50, 333},
                           {65, 97, 150},
                           {130, 300, 711},
                           {500, 150, 100},
                           {3, 5, 7},
                           {2, 9, 4}}) {
    for (bool transposed : {true, false}) {
      OneProduct x({size.m, size.n, size.k, kChunks, transposed, false, Add::kNone,
                    size.ldb == 0 ? 0 : std::max(size.ldb, size.k)});
      x.c = Operand(size.m, size.n, 3, size.n);
      const std::vector<float> want = x.Reference();
      for (Isa isa : size.m* size.n* size.k < 30'000 ? SupportedIsas() : FastIsas()) {
        IsaScope scope(isa);
        for (auto& backend : pools) {
          for (int parts : {1, 2, 4, 8}) {
            for (bool pack : {false, true}) {
              std::vector<std::vector<float>> sums(parts);
              for (int r = 0; r < parts; ++r) {
                Product p = PartOf(x.Fill(&sums[r]), parts, r);
                std::vector<float> panels((*backend)->PackedFloats(size.n, p.k()));
                PackedMatrix packed;
                if (pack) {
                  packed = (*backend)->Pack(p.b, transposed, panels.data());
                  p.packed = &packed;
                }
                (*backend)->Products({&p, 1});
              }
              EXPECT_EQ(Differences(TreeOf(sums), want), 0)
                  << Name(x.s) << " " << Name(isa) << " parts " << parts << " packed " << pack;
            }
          }
        }
      }
    }
  }
}

TEST(Gemm, APartThatIsNoSubtreeOfTheChunksIsRefused) {
  TestBackend backend(1);
  const OneProduct x({.m = 2, .n = 5, .k = 80, .k_chunks = kChunks});
  std::vector<float> out;
  const auto run = [&](int64_t begin, int64_t end, int64_t whole, int chunks) {
    Product p = x.Fill(&out);
    p.a = p.a.Columns(0, end - begin);
    p.b = p.b.Columns(0, end - begin);
    p.part = {begin, whole};
    p.k_chunks = chunks;
    backend->Products({&p, 1});
  };
  EXPECT_NO_THROW(run(0, 40, 80, kChunks));
  EXPECT_NO_THROW(run(60, 80, 80, kChunks));
  EXPECT_NO_THROW(run(10, 20, 80, kChunks));
  EXPECT_ANY_THROW(run(0, 39, 80, kChunks)) << "ends inside a chunk";
  EXPECT_ANY_THROW(run(1, 40, 80, kChunks)) << "begins inside a chunk";
  EXPECT_ANY_THROW(run(10, 30, 80, kChunks)) << "two chunks that are no neighbours in the tree";
  EXPECT_ANY_THROW(run(0, 60, 80, kChunks)) << "six chunks";
  EXPECT_ANY_THROW(run(0, 40, 39, kChunks)) << "more than the whole";
  EXPECT_ANY_THROW(run(0, 80, 81, 1)) << "a part of an axis that has no chunks";
}

// Several products into one c.
struct Several {
  Several(int64_t m, int64_t n, std::vector<int64_t> k, int k_chunks)
      : m(m), n(n), k(std::move(k)), k_chunks(k_chunks), c(m, n, 3) {
    for (size_t i = 0; i < this->k.size(); ++i) {
      a.emplace_back(m, this->k[i], 10 + static_cast<uint32_t>(i));
      b.emplace_back(this->k[i], n, 20 + static_cast<uint32_t>(i));
    }
  }

  Product Fill(std::vector<float>* out) const {
    *out = c.numbers;
    Product p{
        .a = a[0].Of(a[0].numbers, m, k[0]), .b = b[0].Of(b[0].numbers, k[0], n), .b_transposed = false};
    for (size_t i = 1; i < k.size(); ++i)
      p.more[i - 1] = {a[i].Of(a[i].numbers, m, k[i]), b[i].Of(b[i].numbers, k[i], n)};
    p.c = c.Of(*out, m, n);
    p.k_chunks = k_chunks;
    p.add = p.c;
    return p;
  }

  // In each chunk one chain over the first product's steps of it, then the second's, then the third's.
  std::vector<float> Reference() const {
    std::vector<float> out = c.numbers;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        std::vector<float> chunks(k_chunks);
        for (int64_t q = 0; q < k_chunks; ++q) {
          for (size_t f = 0; f < k.size(); ++f) {
            for (int64_t l = q * k[f] / k_chunks; l < (q + 1) * k[f] / k_chunks; ++l)
              chunks[q] = std::fma(a[f].numbers[i * a[f].ld + l], b[f].numbers[l * b[f].ld + j], chunks[q]);
          }
        }
        out[i * c.ld + j] = (k_chunks == 1 ? chunks[0] : ReferenceTree(chunks)) + c.numbers[i * c.ld + j];
      }
    }
    return out;
  }

  int64_t m, n;
  std::vector<int64_t> k;
  int k_chunks;
  std::vector<Operand> a, b;
  Operand c;
};

TEST(Gemm, SeveralProductsIntoOneAreChunkMajor) {
  auto pools = Pools({1, 2, 3});
  struct Size {
    int64_t m, n;
    std::vector<int64_t> k;
  };
  std::vector<Size> sizes = {{130, 150, {100, 33, 35}}, {500, 70, {100, 300}},  {500, 300, {600, 64, 64}},
                             {481, 97, {711, 5}},       {240, 310, {1001, 90}}, {33, 700, {50, 3, 1}}};
  for (int64_t m : {1, 2, 3, 4, 5, 8, 9, 11, 12, 13, 25, 65}) sizes.push_back({m, 100, {100, 33, 7}});
  for (int64_t m : {1, 3, 6, 14}) sizes.push_back({m, 2100, {37, 0, 20}});
  for (const Size& size : sizes) {
    for (int chunks : {1, kChunks}) {
      const Several x(size.m, size.n, size.k, chunks);
      const std::vector<float> want = x.Reference();
      const bool small = size.m < 4 && size.n == 100;
      for (Isa isa : small ? SupportedIsas() : FastIsas()) {
        IsaScope scope(isa);
        for (auto& backend : pools) {
          std::vector<float> out;
          const Product p = x.Fill(&out);
          (*backend)->Products({&p, 1});
          EXPECT_EQ(Differences(out, want), 0)
              << "m " << size.m << " n " << size.n << " chunks " << chunks << " " << Name(isa);
        }
      }
    }
  }
}

TEST(Gemm, PanelsLongerThanTheSecondCacheHaveTheBitsOfARowAlone) {
  TestBackend backend(2);
  for (const std::vector<int64_t>& k : {std::vector<int64_t>{9001}, {4500, 4501}, {17'000, 300, 40}}) {
    const Several x(370, 70, k, kChunks);
    std::vector<float> whole, out;
    Product p = x.Fill(&whole);
    p.add = {};
    backend->Products({&p, 1});
    for (int64_t row : {0, 200, 369}) {
      p = x.Fill(&out);
      p.add = {};
      p.a = p.a.Rows(row, 1);
      for (FactorPair& more : p.more) more.a = more.a.Rows(row, 1);
      p.c = p.c.Rows(row, 1);
      backend->Products({&p, 1});
      EXPECT_EQ(std::memcmp(p.c.data, &whole[row * p.c.stride], 70 * sizeof(float)), 0) << row;
    }
  }
}

TEST(Gemm, SeveralProductsByPartsOfTheirAxesAddUpToTheWhole) {
  TestBackend backend(2);
  for (int64_t m : {1, 5, 65, 300}) {
    Several x(m, 100, {300, 100, 37}, kChunks);
    x.c = Operand(m, 100, 3, 100);
    std::vector<float> whole;
    Product p = x.Fill(&whole);
    p.add = {};
    backend->Products({&p, 1});
    for (int parts : {2, 4, 8}) {
      std::vector<std::vector<float>> sums(parts);
      for (int r = 0; r < parts; ++r) {
        Product part = p;
        sums[r] = x.c.numbers;
        part.c = x.c.Of(sums[r], m, 100);
        const auto cut = [&](Matrix& a, Matrix& b, AxisPart& at) {
          const int64_t k = a.cols, begin = r * (kChunks / parts) * k / kChunks,
                        end = (r + 1) * (kChunks / parts) * k / kChunks;
          a = a.Columns(begin, end - begin);
          b = b.Rows(begin, end - begin);
          at = {begin, k};
        };
        cut(part.a, part.b, part.part);
        for (FactorPair& more : part.more) cut(more.a, more.b, more.part);
        backend->Products({&part, 1});
      }
      EXPECT_EQ(Differences(TreeOf(sums), whole), 0) << m << " " << parts;
    }
    // Parts of different chunks are no part of one sum.
    p.a = p.a.Columns(0, 150);
    p.b = p.b.Rows(0, 150);
    p.part = {0, 300};
    EXPECT_ANY_THROW(backend->Products({&p, 1}));
  }
}

TEST(Gemm, ANaNStaysInItsRowAndItsColumn) {
  TestBackend backend(2);
  for (bool pack : {false, true}) {
    OneProduct x({.m = 30, .n = 45, .k = 50, .k_chunks = kChunks});
    const std::vector<float> clean = x.Run(backend, pack);
    x.a.numbers[7 * x.a.ld + 20] = kNaN;
    x.b.numbers[44 * x.b.ld + 3] = kNaN;
    const std::vector<float> got = x.Run(backend, pack);
    for (int64_t i = 0; i < 30; ++i) {
      for (int64_t j = 0; j < 45; ++j) {
        const int64_t at = i * x.c.ld + j;
        EXPECT_TRUE(i == 7 || j == 44 ? std::isnan(got[at]) : SameBits(got[at], clean[at])) << i << " " << j;
      }
    }
  }
}

TEST(Gemm, PanelsHoldTheWeightAndZeros) {
  TestBackend backend(2);
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (bool transposed : {true, false}) {
      for (int64_t k : {1, 3, 4, 19, 33}) {
        const OneProduct x({.m = 1, .n = 77, .k = k, .b_transposed = transposed});
        const int64_t floats = backend->PackedFloats(77, k);
        std::vector<float> memory(floats + 1, kNaN);  // as left by a larger weight
        const PackedMatrix packed = backend->Pack(x.Weight(), transposed, memory.data());
        EXPECT_TRUE(std::isnan(memory.back()));
        EXPECT_EQ(packed.n, 77);
        EXPECT_EQ(packed.k, k);
        const int columns = packed.columns;
        ASSERT_EQ(floats, (77 + columns - 1) / columns * columns * k);
        for (int64_t i = 0; i < k; ++i) {
          for (int64_t j = 0; j < floats / k; ++j) {
            const float got = packed.panels[j / columns * k * columns + i * columns + j % columns];
            EXPECT_TRUE(SameBits(got, j < 77 ? x.B(i, j) : 0.0f)) << Name(isa) << " " << i << " " << j;
          }
        }
      }
    }
  }
}

TEST(Gemm, APanelPackedForAnotherShapeIsRefused) {
  TestBackend backend(1);
  const OneProduct x({.m = 2, .n = 40, .k = 20});
  std::vector<float> memory(backend->PackedFloats(40, 20));
  const PackedMatrix packed = backend->Pack(x.Weight().Columns(0, 19), true, memory.data());
  std::vector<float> out;
  const Product p = x.Fill(&out, &packed);
  EXPECT_ANY_THROW(backend->Products({&p, 1}));
  if (!Supported(Isa::kAvx512)) return;
  // And one that was packed for another instruction set's tile.
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    IsaScope scope(isa);
    std::vector<float> tile_memory(backend->PackedFloats(40, 20));
    PackedMatrix other = backend->Pack(x.Weight(), true, tile_memory.data());
    other.columns = 48 - other.columns;
    const Product q = x.Fill(&out, &other);
    EXPECT_ANY_THROW(backend->Products({&q, 1}));
  }
}

struct GradientCase {
  GradientCase(int64_t m, int64_t n, int64_t k) : m(m), n(n), k(k), dy(m, n, 6), x(m, k, 7), dw(n, k, 8) {}

  WeightGradient Rows(int64_t begin, int64_t end, std::vector<float>* out) const {
    return {.dy = dy.Of(dy.numbers, m, n).Rows(begin, end - begin),
            .x = x.Of(x.numbers, m, k).Rows(begin, end - begin),
            .dw = dw.Of(*out, n, k)};
  }

  std::vector<float> Run(TestBackend& backend) const {
    std::vector<float> out = dw.numbers;
    const WeightGradient g = Rows(0, m, &out);
    backend->WeightGradients({&g, 1});
    return out;
  }

  std::vector<float> Reference() const {
    std::vector<float> out = dw.numbers;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        for (int64_t l = 0; l < k; ++l) {
          float& w = out[j * dw.ld + l];
          w = std::fma(dy.numbers[i * dy.ld + j], x.numbers[i * x.ld + l], w);
        }
      }
    }
    return out;
  }

  int64_t m, n, k;
  Operand dy, x, dw;
};

TEST(WeightGradients, EveryShapeEqualsItsChain) {
  auto pools = Pools({1, 2, 3});
  const int64_t sizes[][2] = {{1, 1},   {5, 3},   {12, 32},  {17, 100}, {100, 17},
                              {64, 64}, {49, 33}, {711, 37}, {37, 711}};
  for (auto [n, k] : sizes) {
    for (int64_t m : {0, 1, 2, 7, 33, 100}) {
      const GradientCase g(m, n, k);
      const std::vector<float> reference = g.Reference();
      for (Isa isa : FastIsas()) {
        IsaScope scope(isa);
        for (auto& backend : pools) {
          EXPECT_EQ(Differences(g.Run(*backend), reference), 0)
              << m << " " << n << " " << k << " " << Name(isa) << " threads " << backend->pool.threads();
        }
      }
    }
  }
}

TEST(WeightGradients, BlocksOfRowsGoOnWithTheChain) {
  TestBackend backend(2);
  // As they are in memory, and so wide that they are packed.
  for (int64_t k : {70, 530}) {
    const GradientCase g(1300, 70, k);
    const std::vector<float> reference = g.Reference();
    for (Isa isa : k == 70 ? SupportedIsas() : FastIsas()) {
      IsaScope scope(isa);
      EXPECT_EQ(Differences(g.Run(backend), reference), 0) << k << " " << Name(isa);
    }
  }
}

TEST(WeightGradients, SplitOverCallsTheBitsStay) {
  TestBackend backend(2);
  const GradientCase g(65, 100, 100);
  const std::vector<float> whole = g.Run(backend);
  for (int64_t cut : {1, 12, 32, 64}) {
    std::vector<float> out = g.dw.numbers;
    for (auto [begin, end] : {std::pair<int64_t, int64_t>{0, cut}, {cut, 65}}) {
      const WeightGradient part = g.Rows(begin, end, &out);
      backend->WeightGradients({&part, 1});
    }
    EXPECT_EQ(Differences(out, whole), 0) << cut;
  }
}

TEST(WeightGradients, ManyInOneCallEqualEachAlone) {
  TestBackend backend(2);
  std::vector<GradientCase> cases;
  for (int64_t i = 0; i < 20; ++i)
    cases.emplace_back(i % 4 == 3 ? 0 : 1 + i * 13 % 90, 10 + i * 7, 100 - i * 4);
  std::vector<std::vector<float>> out;
  for (const GradientCase& g : cases) out.push_back(g.dw.numbers);
  std::vector<WeightGradient> gradients;
  for (size_t i = 0; i < cases.size(); ++i) gradients.push_back(cases[i].Rows(0, cases[i].m, &out[i]));
  backend->WeightGradients(gradients);
  for (size_t i = 0; i < cases.size(); ++i) EXPECT_EQ(Differences(out[i], cases[i].Reference()), 0) << i;
}

TEST(BiasGradient, EveryShapeEqualsItsChain) {
  auto pools = Pools({1, 2, 3});
  for (int64_t n : {1, 15, 16, 17, 100, 711}) {
    for (int64_t m : {0, 1, 65}) {
      const Operand dy(m, n, 9);
      std::vector<float> reference = Numbers(n + 1, 10);
      const std::vector<float> start = reference;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) reference[j] = reference[j] + dy.numbers[i * dy.ld + j];
      }
      for (Isa isa : SupportedIsas()) {
        IsaScope scope(isa);
        for (auto& backend : pools) {
          std::vector<float> out = start;
          (*backend)->BiasGradient(dy.Of(dy.numbers, m, n), out.data());
          EXPECT_EQ(Differences(out, reference), 0) << m << " " << n << " " << Name(isa);
        }
      }
    }
  }
}

}  // namespace
}  // namespace temper::kernels

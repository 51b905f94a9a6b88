// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_ops.h"

#include <functional>

#include "gtest/gtest.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

constexpr int64_t kWidths[] = {1, 8, 15, 16, 17, 33, 64, 100, 130, 711};
constexpr int64_t kRows[] = {1, 2, 7, 65};

// rows x cols numbers with room beside each row.
struct Rows {
  Rows(int64_t rows, int64_t cols, uint32_t seed)
      : rows(rows), cols(cols), ld(cols + 1 + seed % 4), x(Numbers(rows * ld, seed)) {}
  Matrix matrix() const { return F32(x.data(), rows, cols).Strided(ld); }
  float* row(int64_t i) { return x.data() + i * ld; }
  const float* row(int64_t i) const { return x.data() + i * ld; }
  int64_t rows, cols, ld;
  std::vector<float> x;
};

// Calls body(backend) on every instruction set with 1, 2 and 3 threads.
void Everywhere(const std::function<void(CpuBackend&)>& body) {
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2, 3}) {
      TestBackend backend(threads);
      SCOPED_TRACE(testing::Message() << Name(isa) << ", threads " << threads);
      body(backend.cpu);
    }
  }
}

// Calls body(rows, cols) for every unfriendly size.
void Sizes(const std::function<void(int64_t, int64_t)>& body) {
  for (int64_t rows : kRows) {
    for (int64_t cols : kWidths) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      body(rows, cols);
    }
  }
}

float ReferenceNormRow(const float* x, const float* weight, float eps, int64_t cols, float* y) {
  std::vector<float> lanes(16);
  for (int64_t j = 0; j < cols; ++j) lanes[j % 16] = std::fma(x[j], x[j], lanes[j % 16]);
  const float rstd = 1.0f / std::sqrt(ReferenceSumLanes(lanes) / static_cast<float>(cols) + eps);
  for (int64_t j = 0; j < cols; ++j) y[j] = x[j] * rstd * weight[j];
  return rstd;
}

TEST(RmsNorm, EqualsItsScalarFormula) {
  Everywhere([](CpuBackend& cpu) {
    Sizes([&](int64_t rows, int64_t cols) {
      const Rows x(rows, cols, 1);
      const std::vector<float> weight = Numbers(cols, 2);
      Rows y(rows, cols, 3), reference = y;
      std::vector<float> rstd(rows), reference_rstd(rows);
      for (int64_t i = 0; i < rows; ++i) {
        reference_rstd[i] = ReferenceNormRow(x.row(i), weight.data(), 1e-6f, cols, reference.row(i));
      }
      cpu.RmsNorm({x.matrix(), weight.data(), 1e-6f, y.matrix(), rstd.data()});
      EXPECT_EQ(Differences(y.x, reference.x), 0);
      EXPECT_EQ(Differences(rstd, reference_rstd), 0);
      Rows again(rows, cols, 3);
      cpu.RmsNorm({x.matrix(), weight.data(), 1e-6f, again.matrix()});
      EXPECT_EQ(Differences(again.x, reference.x), 0);
    });
  });
}

TEST(RmsNorm, ARowAloneHasTheBitsItHasInAnyBatch) {
  TestBackend backend(2);
  CpuBackend& cpu = backend.cpu;
  const Rows x(65, 100, 1);
  const std::vector<float> weight = Numbers(100, 2);
  Rows batch(65, 100, 3);
  cpu.RmsNorm({x.matrix(), weight.data(), 1e-6f, batch.matrix()});
  for (int64_t i = 0; i < 65; ++i) {
    std::vector<float> alone(100);
    cpu.RmsNorm({x.matrix().Rows(i, 1), weight.data(), 1e-6f, F32(alone.data(), 1, 100)});
    EXPECT_EQ(Differences(alone, {batch.row(i), batch.row(i) + 100}), 0) << i;
  }
}

TEST(RmsNormBackward, EqualsItsScalarFormula) {
  Everywhere([](CpuBackend& cpu) {
    Sizes([&](int64_t rows, int64_t cols) {
      const Rows x(rows, cols, 1), dy(rows, cols, 4), add(rows, cols, 5);
      const std::vector<float> weight = Numbers(cols, 2);
      std::vector<float> rstd(rows), dweight = Numbers(cols + 1, 6), reference_dweight = dweight;
      Rows dx(rows, cols, 7), reference = dx, plain = dx, reference_plain = dx, own = add;
      for (int64_t i = 0; i < rows; ++i) {
        std::vector<float> y(cols), lanes(16);
        const float r = rstd[i] = ReferenceNormRow(x.row(i), weight.data(), 1e-5f, cols, y.data());
        for (int64_t j = 0; j < cols; ++j) {
          const float d = dy.row(i)[j], h = x.row(i)[j] * r;
          lanes[j % 16] = std::fma(d * weight[j], h, lanes[j % 16]);
          reference_dweight[j] = std::fma(d, h, reference_dweight[j]);
        }
        const float mean = ReferenceSumLanes(lanes) / static_cast<float>(cols);
        for (int64_t j = 0; j < cols; ++j) {
          const float d = r * std::fma(x.row(i)[j] * r, -mean, dy.row(i)[j] * weight[j]);
          reference_plain.row(i)[j] = d;
          reference.row(i)[j] = d + add.row(i)[j];
        }
      }
      const std::vector<float> start = dweight;
      const auto backward = [&](const Matrix& add, const Matrix& dx) {
        dweight = start;
        cpu.RmsNormBackward({.dy = dy.matrix(),
                             .x = x.matrix(),
                             .weight = weight.data(),
                             .rstd = rstd.data(),
                             .add = add,
                             .dx = dx,
                             .dweight = dweight.data()});
      };
      backward(add.matrix(), dx.matrix());
      EXPECT_EQ(Differences(dx.x, reference.x), 0);
      EXPECT_EQ(Differences(dweight, reference_dweight), 0);
      backward({}, plain.matrix());
      EXPECT_EQ(Differences(plain.x, reference_plain.x), 0);
      // `add` may be dx itself.
      backward(own.matrix(), own.matrix());
      int64_t differences = 0;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols; ++j) differences += !SameBits(own.row(i)[j], reference.row(i)[j]);
      }
      EXPECT_EQ(differences, 0);
    });
  });
}

TEST(RmsNormBackward, WeightsChainGoesOnOverCalls) {
  TestBackend backend(2);
  CpuBackend& cpu = backend.cpu;
  const Rows x(65, 100, 1), dy(65, 100, 4);
  const std::vector<float> weight = Numbers(100, 2);
  std::vector<float> rstd(65), y(6500), dx(6500), whole = Numbers(100, 6), parts = whole;
  cpu.RmsNorm({x.matrix(), weight.data(), 1e-6f, F32(y.data(), 65, 100), rstd.data()});
  const auto backward = [&](int64_t begin, int64_t end, float* dweight) {
    cpu.RmsNormBackward({.dy = dy.matrix().Rows(begin, end - begin),
                         .x = x.matrix().Rows(begin, end - begin),
                         .weight = weight.data(),
                         .rstd = &rstd[begin],
                         .dx = F32(dx.data(), end - begin, 100),
                         .dweight = dweight});
  };
  backward(0, 65, whole.data());
  backward(0, 1, parts.data());
  backward(1, 33, parts.data());
  backward(33, 65, parts.data());
  EXPECT_EQ(Differences(parts, whole), 0);
}

// sum(dy y) in f64, for differences.
double NormLoss(const std::vector<float>& dy, const std::vector<double>& x,
                const std::vector<double>& weight) {
  double squares = 0, loss = 0;
  for (double v : x) squares += v * v;
  const double rstd = 1 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-6);
  for (size_t j = 0; j < x.size(); ++j) loss += dy[j] * x[j] * rstd * weight[j];
  return loss;
}

TEST(RmsNormBackward, IsTheDerivative) {
  TestBackend backend(1);
  CpuBackend& cpu = backend.cpu;
  const int64_t cols = 100;
  const std::vector<float> x = Numbers(cols, 1), weight = Numbers(cols, 2), dy = Numbers(cols, 3);
  std::vector<float> y(cols), dx(cols), dweight(cols), rstd(1);
  const auto row = [&](const std::vector<float>& of) { return F32(of.data(), 1, cols); };
  cpu.RmsNorm({row(x), weight.data(), 1e-6f, row(y), rstd.data()});
  cpu.RmsNormBackward({.dy = row(dy),
                       .x = row(x),
                       .weight = weight.data(),
                       .rstd = rstd.data(),
                       .dx = row(dx),
                       .dweight = dweight.data()});
  const std::vector<double> x64(x.begin(), x.end()), w64(weight.begin(), weight.end());
  for (int64_t j = 0; j < cols; ++j) {
    std::vector<double> up = x64, down = x64;
    up[j] += 1e-5, down[j] -= 1e-5;
    EXPECT_NEAR(dx[j], (NormLoss(dy, up, w64) - NormLoss(dy, down, w64)) / 2e-5, 2e-6) << j;
    up = down = w64;
    up[j] += 1e-5, down[j] -= 1e-5;
    EXPECT_NEAR(dweight[j], (NormLoss(dy, x64, up) - NormLoss(dy, x64, down)) / 2e-5, 2e-6) << j;
  }
}

struct Angles {
  explicit Angles(int half) : cosines(50 * half), sines(50 * half) {
    for (int p = 0; p < 50; ++p) {
      for (int j = 0; j < half; ++j) {
        cosines[p * half + j] = static_cast<float>(std::cos(p * std::pow(0.5, j)));
        sines[p * half + j] = static_cast<float>(std::sin(p * std::pow(0.5, j)));
      }
    }
  }
  std::vector<float> cosines, sines;
};

TEST(Rotary, RotatesEachPairByItsAngle) {
  Everywhere([](CpuBackend& cpu) {
    for (int dim : {2, 6, 16, 34, 64, 100}) {
      for (int heads : {1, 3}) {
        for (bool interleaved : {false, true}) {
          for (bool inverse : {false, true}) {
            const int64_t rows = 33, head_stride = dim + 7, ld = heads * head_stride + 2;
            const int half = dim / 2;
            const Angles angles(half);
            std::vector<int32_t> positions(rows);
            for (int64_t i = 0; i < rows; ++i) positions[i] = static_cast<int32_t>(i * 7 % 50);
            std::vector<float> x = Numbers(rows * ld, 1), reference = x;
            for (int64_t i = 0; i < rows; ++i) {
              for (int h = 0; h < heads; ++h) {
                for (int j = 0; j < half; ++j) {
                  float* head = &reference[i * ld + h * head_stride];
                  float& a = head[interleaved ? 2 * j : j];
                  float& b = head[interleaved ? 2 * j + 1 : j + half];
                  const float c = angles.cosines[positions[i] * half + j];
                  const float s = angles.sines[positions[i] * half + j] * (inverse ? -1.0f : 1.0f);
                  const float first = a * c - b * s, second = b * c + a * s;
                  a = first;
                  b = second;
                }
              }
            }
            cpu.Rotary({.x = {F32(x.data(), rows, ld), heads, dim, head_stride},
                        .positions = positions.data(),
                        .cosines = angles.cosines.data(),
                        .sines = angles.sines.data(),
                        .interleaved = interleaved,
                        .inverse = inverse});
            EXPECT_EQ(Differences(x, reference), 0) << dim << " " << heads << interleaved << inverse;
          }
        }
      }
    }
  });
}

TEST(Rotary, InverseUndoesIt) {
  TestBackend backend(1);
  CpuBackend& cpu = backend.cpu;
  const Angles angles(8);
  const std::vector<int32_t> positions = {0, 13, 49};
  for (bool interleaved : {false, true}) {
    const std::vector<float> before = Numbers(3 * 16, 1);
    std::vector<float> x = before;
    for (bool inverse : {false, true}) {
      cpu.Rotary({.x = {F32(x.data(), 3, 16), 1, 16, 16},
                  .positions = positions.data(),
                  .cosines = angles.cosines.data(),
                  .sines = angles.sines.data(),
                  .interleaved = interleaved,
                  .inverse = inverse});
      for (int i = 16; !inverse && i < 48; ++i) EXPECT_NE(x[i], before[i]) << i;
    }
    for (int i = 0; i < 48; ++i) EXPECT_NEAR(x[i], before[i], 1e-6) << i;
  }
}

TEST(SwiGlu, EqualsItsScalarFormulaForwardAndBackward) {
  Everywhere([](CpuBackend& cpu) {
    Sizes([&](int64_t rows, int64_t cols) {
      Rows gate(rows, cols, 1), up(rows, cols, 2), dout(rows, cols, 3), out(rows, cols, 4);
      Rows dgate(rows, cols, 5), dup(rows, cols, 6), again = out;
      for (float& g : gate.x) g *= 8;
      gate.x[0] = 100;
      gate.x.back() = -100;
      Rows reference = out, reference_dgate = dgate, reference_dup = dup;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          const float g = gate.row(i)[j], u = up.row(i)[j], d = dout.row(i)[j], s = ReferenceSigmoid(g);
          reference.row(i)[j] = g * s * u;
          reference_dup.row(i)[j] = d * (g * s);
          reference_dgate.row(i)[j] = d * u * (s * std::fma(g, 1.0f - s, 1.0f));
        }
      }
      cpu.SwiGlu({gate.matrix(), up.matrix(), out.matrix()});
      cpu.SwiGluBackward(
          {dout.matrix(), gate.matrix(), up.matrix(), dgate.matrix(), dup.matrix(), again.matrix()});
      EXPECT_EQ(Differences(out.x, reference.x), 0);
      EXPECT_EQ(Differences(again.x, reference.x), 0);
      EXPECT_EQ(Differences(dgate.x, reference_dgate.x), 0);
      EXPECT_EQ(Differences(dup.x, reference_dup.x), 0);
    });
  });
}

TEST(SwiGlu, IsTheFunctionAndItsDerivative) {
  TestBackend backend(1);
  CpuBackend& cpu = backend.cpu;
  const int64_t n = 400;
  std::vector<float> gate = Numbers(n, 1, 10), up = Numbers(n, 2), dout = Numbers(n, 3), out(n), dgate(n),
                     dup(n);
  const auto row = [&](const std::vector<float>& of) { return F32(of.data(), 1, n); };
  cpu.SwiGlu({row(gate), row(up), row(out)});
  cpu.SwiGluBackward({row(dout), row(gate), row(up), row(dgate), row(dup)});
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i], slope = (silu(g + 1e-5) - silu(g - 1e-5)) / 2e-5;
    EXPECT_NEAR(out[i], silu(g) * up[i], 1e-6 + 1e-6 * std::abs(out[i])) << g;
    EXPECT_NEAR(dup[i], dout[i] * silu(g), 1e-6 + 1e-6 * std::abs(dup[i])) << g;
    EXPECT_NEAR(dgate[i], dout[i] * up[i] * slope, 1e-6 + 1e-6 * std::abs(dgate[i])) << g;
  }
}

TEST(SwiGlu, ARowAloneHasTheBitsItHasInAnyBatch) {
  TestBackend backend(3);
  CpuBackend& cpu = backend.cpu;
  const Rows gate(65, 711, 1), up(65, 711, 2);
  std::vector<float> batch(65 * 711), alone(711);
  cpu.SwiGlu({gate.matrix(), up.matrix(), F32(batch.data(), 65, 711)});
  for (int64_t i = 0; i < 65; ++i) {
    cpu.SwiGlu({gate.matrix().Rows(i, 1), up.matrix().Rows(i, 1), F32(alone.data(), 1, 711)});
    EXPECT_EQ(Differences(alone, {batch.begin() + i * 711, batch.begin() + (i + 1) * 711}), 0) << i;
  }
}

TEST(Embedding, RowsAreCopiedAndGradientsAddInTheOrderOfRows) {
  Everywhere([](CpuBackend& cpu) {
    Sizes([&](int64_t rows, int64_t cols) {
      const std::vector<float> table = Numbers(13 * cols, 1), dout = Numbers(rows * cols, 2);
      std::vector<int32_t> ids(rows);
      for (int64_t i = 0; i < rows; ++i) ids[i] = static_cast<int32_t>(i * i * 5 % 13);
      std::vector<float> out(rows * cols), dtable = Numbers(13 * cols, 3), reference = dtable,
                                           copied(rows * cols);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          copied[i * cols + j] = table[ids[i] * cols + j];
          reference[ids[i] * cols + j] = reference[ids[i] * cols + j] + dout[i * cols + j];
        }
      }
      cpu.GatherRows({F32(table.data(), 13, cols), ids.data(), F32(out.data(), rows, cols)});
      cpu.EmbeddingGradient({F32(dout.data(), rows, cols), ids.data(), F32(dtable.data(), 13, cols)});
      EXPECT_EQ(out, copied);
      EXPECT_EQ(Differences(dtable, reference), 0);
    });
  });
}

TEST(GatherRows, CopiesTheRowsNamedAndNothingBeside) {
  TestBackend backend(2);
  CpuBackend& cpu = backend.cpu;
  const Rows x(9, 100, 1);
  Rows out(5, 100, 2), reference = out;
  const std::vector<int32_t> rows = {8, 0, 3, 3, 7};
  for (int i = 0; i < 5; ++i) std::copy_n(x.row(rows[i]), 100, reference.row(i));
  cpu.GatherRows({x.matrix(), rows.data(), out.matrix()});
  EXPECT_EQ(out.x, reference.x);
}

TEST(RowOps, NoRowsAreNoWork) {
  TestBackend backend(2);
  const float weight = 3;
  float sum = 5;
  const Matrix none = F32(nullptr, 0, 1);
  backend->RmsNorm({none, &weight, 1e-6f, none});
  backend->RmsNormBackward({.dy = none, .x = none, .weight = &weight, .dx = none, .dweight = &sum});
  backend->SwiGlu({none, none, none});
  backend->EmbeddingGradient({none, nullptr, F32(&sum, 1, 1)});
  EXPECT_EQ(sum, 5);
}

}  // namespace
}  // namespace temper::kernels

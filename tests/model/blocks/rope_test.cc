// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/rope.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "tests/model/configs.h"

namespace temper {
namespace {

struct Frequency {
  int pair;
  float value;
};

// Within one unit in the last place of what Transformers computes, whose pow is an approximation.
void ExpectFrequencies(const ModelConfig& config, const std::vector<Frequency>& expected) {
  const std::vector<float> inverse = InverseFrequencies(config);
  for (const Frequency& frequency : expected) {
    const int32_t bits = std::bit_cast<int32_t>(inverse.at(frequency.pair));
    EXPECT_NEAR(bits, std::bit_cast<int32_t>(frequency.value), 1)
        << frequency.pair << ": " << inverse[frequency.pair];
  }
}

ModelConfig DeepseekYarn() {
  ModelConfig config;
  config.kv_lora_rank = 512;
  config.qk_rope_head_dim = 64;
  config.rope.type = "yarn";
  config.rope.factor = 40;
  config.rope.original_max_positions = 4096;
  config.rope.mscale = config.rope.mscale_all_dim = 1;
  return config;
}

TEST(Rope, YarnHasTheFrequenciesOfTransformers) {
  ModelConfig config = DeepseekYarn();
  ExpectFrequencies(config, {{0, 1.0f},
                             {1, 0x1.7ff222p-1f},
                             {9, 0x1.33281ap-4f},
                             {10, 0x1.ccab84p-5f},
                             {15, 0x1.111aeep-7f},
                             {20, 0x1.9e7c6ep-11f},
                             {23, 0x1.17a8e2p-15f},
                             {31, 0x1.bf749ep-19f}});
  EXPECT_EQ(RopeAttentionFactor(config.rope), 1);
  config.rope.truncate = false;
  config.rope.mscale = 0.7;
  ExpectFrequencies(
      config, {{10, 0x1.ccab84p-5f}, {15, 0x1.14c428p-7f}, {20, 0x1.7adedap-11f}, {24, 0x1.a36e2ep-16f}});
  EXPECT_DOUBLE_EQ(RopeAttentionFactor(config.rope), 0.9191559952044436);
  config.rope.mscale_all_dim = 0;
  EXPECT_DOUBLE_EQ(RopeAttentionFactor(config.rope), 0.1 * std::log(40.0) + 1);
  config.rope.attention_factor = 1.25;
  EXPECT_EQ(RopeAttentionFactor(config.rope), 1.25);
}

TEST(Rope, Llama3AndLinearHaveTheFrequenciesOfTransformers) {
  ModelConfig config;
  config.head_dim = 128;
  config.rope.type = "llama3";
  config.rope.theta = 500000;
  config.rope.factor = 8;
  config.rope.original_max_positions = 8192;
  ExpectFrequencies(config, {{0, 1.0f},
                             {1, 0x1.a11582p-1f},
                             {20, 0x1.0f5386p-6f},
                             {28, 0x1.a4ee40p-9f},
                             {30, 0x1.67a23ap-10f},
                             {32, 0x1.132ba4p-11f},
                             {34, 0x1.765ba4p-13f},
                             {35, 0x1.90d10cp-14f},
                             {63, 0x1.4985fep-22f}});
  config.rope = {};
  config.rope.type = "linear";
  config.rope.factor = 3;
  ExpectFrequencies(config,
                    {{0, 0x1.555556p-2f}, {1, 0x1.27951ep-2f}, {30, 0x1.234feep-8f}, {63, 0x1.42e682p-15f}});
}

TEST(Rope, TablesAreCosinesAndSinesOfTheRoundedAngle) {
  ModelConfig config = DeepseekYarn();
  config.rope.attention_factor = 1.5;
  const std::vector<float> inverse = InverseFrequencies(config);
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  RopeTables tables(config, &backend);
  tables.Reserve(3000);
  ASSERT_GE(tables.positions(), 3000);
  for (int position : {0, 1, 63, 64, 2999}) {
    for (int pair = 0; pair < 32; ++pair) {
      const float angle = static_cast<float>(position) * inverse[pair];
      EXPECT_EQ(tables.cosines()[position * 32 + pair], static_cast<float>(std::cos(double{angle}) * 1.5));
      EXPECT_EQ(tables.sines()[position * 32 + pair], static_cast<float>(std::sin(double{angle}) * 1.5));
    }
  }
}

TEST(Rope, AnEntryDoesNotDependOnHowTheTableGrew) {
  const ModelConfig config = DeepseekYarn();
  ThreadPool pool(1);
  kernels::CpuBackend backend(&pool);
  RopeTables slowly(config, &backend), at_once(config, &backend);
  for (int positions : {1, 2, 1024, 1025, 4000}) slowly.Reserve(positions);
  at_once.Reserve(4000);
  EXPECT_EQ(memcmp(slowly.cosines(), at_once.cosines(), 4000 * 32 * sizeof(float)), 0);
  EXPECT_EQ(memcmp(slowly.sines(), at_once.sines(), 4000 * 32 * sizeof(float)), 0);
  const float* before = at_once.cosines();
  at_once.Reserve(100);
  EXPECT_EQ(at_once.cosines(), before) << "never shrinks";
  EXPECT_THROW(at_once.Reserve(int64_t{1} << 30), InternalError);
}

}  // namespace
}  // namespace temper

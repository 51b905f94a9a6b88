// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/splits.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace temper {
namespace {

using kernels::AttentionSequence;
using kernels::AttentionTask;

// Qwen2.5-0.5B's heads, and few enough of DeepSeek-V3's that a prompt and its samples may be few rows.
const kernels::AttentionShape kShapes[] = {
    {.q_heads = 14, .kv_heads = 2, .qk_dim = 64, .v_dim = 64, .scale = 1},
    {.q_heads = 16, .kv_heads = 1, .qk_dim = 576, .v_dim = 512, .scale = 1},
    {.q_heads = 128, .kv_heads = 1, .qk_dim = 576, .v_dim = 512, .scale = 1}};

// What any pass takes that a rank may be asked for, found by trying them all.
int64_t MostOf(const kernels::AttentionShape& shape, const LargestPass& largest) {
  int64_t most = 0;
  for (int64_t prompt = 0; prompt <= largest.prompt_rows; ++prompt) {
    for (int64_t decoding = 1; decoding <= largest.sequences; ++decoding) {
      std::vector<AttentionSequence> sequences(decoding, {0, 1, 0});
      sequences.push_back({0, prompt, 0});
      sequences[0].first_position = largest.positions - 1;
      AttentionTask task{.shape = shape, .sequences = sequences};
      task.out.rows = prompt + decoding;
      most = std::max(most, kernels::ScratchOf(task).work);
    }
  }
  return most;
}

TEST(Splits, OfPromptsBesideALongSequenceAreCountedAsTheyAreTaken) {
  for (const auto& shape : kShapes) {
    // Not a power of two of splits, so that a recorded step has more.
    for (const LargestPass& largest :
         {LargestPass{300, 12, 3000}, LargestPass{1100, 20, 31000}, LargestPass{40, 30, 5000}}) {
      ThreadPool pool(1);
      kernels::CountingBackend backend(&pool, /*packs=*/false);
      CountSplits(shape, {largest.prompt_rows, largest.sequences, largest.positions, false}, &backend);
      std::vector<AttentionSequence> recorded;
      AttentionTask step{.shape = shape};
      int64_t steps = 0;
      for (int64_t n = 1; n <= largest.sequences; ++n) {
        recorded.push_back({0, 1, largest.positions > 5000 ? 32767 : largest.positions > 3000 ? 8191 : 4095});
        step.sequences = recorded;
        step.out.rows = n;
        steps = std::max(steps, kernels::ScratchOf(step).work);
      }
      EXPECT_EQ(backend.scratch().work, std::max(MostOf(shape, largest), steps))
          << shape.q_heads << " heads, " << largest.prompt_rows << " rows";
    }
  }
}

TEST(Splits, OfAPromptOf1024RowsAtQwensShapeAre123Megabytes) {
  ThreadPool pool(1);
  kernels::CountingBackend backend(&pool, /*packs=*/false);
  CountSplits(kShapes[0], {1024, 16, 32768}, &backend);
  EXPECT_EQ(backend.scratch().work, 1040 * 14 * 32 * 66 * 4);
}

TEST(Splits, OfRecordedStepsAreThoseOfTheirSpareRowsToo) {
  ThreadPool pool(1);
  kernels::CountingBackend backend(&pool, /*packs=*/false);
  CountSplits(kShapes[0], {0, 100, 20000}, &backend);
  EXPECT_EQ(backend.scratch().work, 112 * 14 * 32 * 66 * 4);  // 100 rows are rounded up to sixteens
  kernels::CountingBackend few(&pool, /*packs=*/false);
  CountSplits(kShapes[0], {0, 20, 20000}, &few);
  EXPECT_EQ(few.scratch().work, 24 * 14 * 32 * 66 * 4);
}

}  // namespace
}  // namespace temper

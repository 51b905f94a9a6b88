// SPDX-License-Identifier: Apache-2.0
// An engine on the simulated GPU, whose decode steps are recorded (model/decode/pass.h).
#include "kernels/backends/device.h"
#include "tests/rollout/samples.h"

namespace temper {
namespace {

TEST(SimulatedDevice, SamplesTheCpusTokensAndLogprobsWithRecordedStepsAndWithout) {
  const std::vector<Prompt> prompts = Prompts({9, 5});
  const SamplingOptions options = Options(1.0f, 7);
  const EngineOptions small{.max_batch = 5, .prefill_tokens = 40, .cache_bytes = int64_t{1} << 20};
  Policy cpu(OddQwen2());
  Engine reference(&cpu.model, small);
  const Outcomes expected = Sampled(reference, Requests(prompts, 2), options);
  EXPECT_EQ(expected.size(), 4);
  for (const bool records : {true, false}) {
    ThreadPool pool(1);
    const std::unique_ptr<kernels::Backend> device = kernels::sim::MakeBackend(
        &pool, {.stream = {.watched = false, .host_memory = false}, .records = records});
    CausalLm model(Parsed(OddQwen2()), RandomParameters(Parsed(OddQwen2())), device.get());
    Engine engine(&model, small);
    EXPECT_EQ(Sampled(engine, Requests(prompts, 2), options), expected);
    EXPECT_EQ(model.decode_pass().replayed() > 0, records);
  }
}

TEST(SimulatedDevice, SamplesTheCpusTokensWithDraftsOfAnMtpModule) {
  const std::vector<Prompt> prompts = Prompts({9});
  const SamplingOptions options = Options(0, 6);
  Policy cpu(OddMtp());
  Engine plain(&cpu.model, {.max_batch = 2});
  const Outcomes expected = Sampled(plain, Requests(prompts, 2), options);
  ThreadPool pool(1);
  const std::unique_ptr<kernels::Backend> device =
      kernels::sim::MakeBackend(&pool, {.stream = {.watched = false, .host_memory = false}});
  CausalLm model(Parsed(OddMtp()), RandomParameters(Parsed(OddMtp())), device.get());
  Engine engine(&model, {.max_batch = 2, .draft_tokens = 1, .mtp = true, .paced = false});
  EngineCounts counts;
  EXPECT_EQ(Sampled(engine, Requests(prompts, 2), options, &counts), expected);
  EXPECT_GT(counts.drafted_tokens, 0);
}

}  // namespace
}  // namespace temper

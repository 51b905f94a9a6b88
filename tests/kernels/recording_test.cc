// SPDX-License-Identifier: Apache-2.0
// Calls that the simulated GPU records and does again (kernels::Recording).
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backends/cpu.h"
#include "kernels/backends/device.h"
#include "kernels/cuda/driver/graph.h"

namespace temper::kernels {
namespace {

using ::testing::HasSubstr;

std::vector<float> NumbersOf(int64_t count, uint64_t name) {
  RandomStream stream(RandomKey(name, "recording", 0, ""), Purpose::kTask);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = static_cast<float>(stream.NextNormal());
  return numbers;
}

// Numbers of a backend's.
struct Placed {
  Placed(Backend& on, const std::vector<float>& host) : backend(on), count(host.size()) {
    memory = backend.Allocate(count * 4);
    backend.CopyFromHost(host.data(), flat());
  }
  Matrix flat() const { return F32(data(), 1, count); }
  Matrix rows(int64_t cols) const { return F32(data(), count / cols, cols); }
  float* data() const { return static_cast<float*>(memory.get()); }
  std::vector<float> host() const {
    std::vector<float> out(count);
    backend.CopyToHost(flat(), out.data());
    return out;
  }

  Backend& backend;
  const int64_t count;
  std::shared_ptr<void> memory;
};

class Recordings : public ::testing::Test {
 protected:
  ThreadPool pool{1};
  const std::unique_ptr<Backend> device = sim::MakeBackend(&pool, {}),
                                 blind = sim::MakeBackend(&pool, {.compares = false});
};

// Some rows of x, and their norms.
struct NormedRows {
  explicit NormedRows(Backend& on)
      : x(on, NumbersOf(7 * 20, 1)),
        weight(on, NumbersOf(20, 2)),
        rows(on, std::vector<float>(3 * 20, 7)),
        normed(rows) {
    normed.memory = on.Allocate(normed.count * 4);
  }
  void Make() {
    Backend& on = x.backend;
    on.GatherRows({x.rows(20), ids.data(), rows.rows(20)});
    on.RmsNorm({.x = rows.rows(20), .weight = weight.data(), .eps = eps, .y = normed.rows(20)});
  }
  std::vector<int32_t> ids = {6, 0, 3};
  float eps = 1e-3f;
  Placed x, weight, rows, normed;
};

TEST_F(Recordings, DoNothingUntilTheyAreReplayedAndReadTheHostsArraysThen) {
  NormedRows recorded(*device), fresh(*blind);
  const std::unique_ptr<Recording> recording = device->Record([&] { recorded.Make(); });
  EXPECT_TRUE(std::isnan(recorded.normed.host()[0]));
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{6, 0, 3}, {1, 1, 5}, {0, 6, 2}}) {
    std::copy(ids.begin(), ids.end(), recorded.ids.begin());
    fresh.ids = ids;
    fresh.Make();
    recording->Compare([&] { recorded.Make(); });
    recording->Replay();
    EXPECT_EQ(recorded.normed.host(), fresh.normed.host());
  }
}

TEST_F(Recordings, AnArgumentByValueThatChangesWouldGiveOtherNumbersAndIsCaught) {
  if (!sim::kTellsDifferences) GTEST_SKIP() << "this compiler cannot leave out what lies between members";
  NormedRows recorded(*device), stale(*blind), fresh(*blind);
  const std::unique_ptr<Recording> recording = device->Record([&] { recorded.Make(); }),
                                   unseen = blind->Record([&] { stale.Make(); });
  for (NormedRows* each : {&recorded, &stale, &fresh}) each->eps = 0.5f;
  fresh.Make();
  unseen->Compare([&] { stale.Make(); });  // says nothing
  unseen->Replay();
  EXPECT_NE(stale.normed.host(), fresh.normed.host());
  const auto compare = [&](const auto& calls) -> std::string {
    try {
      recording->Compare(calls);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(compare([&] { recorded.Make(); }), HasSubstr("launch 2 of 2, "));
  EXPECT_THAT(compare([&] { recorded.Make(); }), HasSubstr("its arguments are others now, from byte "));
  recorded.eps = 1e-3f;
  EXPECT_EQ(compare([&] { recorded.Make(); }), "");
  EXPECT_THAT(compare([&] {
                recorded.Make();
                device->Zero(recorded.normed.flat());
              }),
              HasSubstr("2 launches are 4 now"));
  std::vector<int32_t> elsewhere = recorded.ids;
  recorded.ids.swap(elsewhere);
  EXPECT_THAT(compare([&] { recorded.Make(); }), HasSubstr("launch 1 of 2, "));
}

TEST_F(Recordings, RefuseCallsThatReadFromTheDevice) {
  const Placed x(*device, NumbersOf(9, 1));
  EXPECT_THROW(device->Record([&] { device->Largest(x.data(), 9); }), InternalError);
  EXPECT_THROW(device->Record([&] { x.host(); }), InternalError);
  EXPECT_THROW(device->Record([&] { device->Record([] {}); }), InternalError);
  EXPECT_EQ(device->Largest(x.data() + 8, 1), std::fabs(x.host()[8])) << "calls are done again";
}

TEST_F(Recordings, RefuseAnExpertWhoseWeightsLieOtherwiseThanTheFirstOnes) {
  const Placed x(*device, NumbersOf(2 * 4, 1)), weights(*device, NumbersOf(20, 2)),
      y(*device, NumbersOf(10, 3));
  const std::shared_ptr<void> offsets = device->Allocate(3 * sizeof(int64_t));
  const Routing routing{.offsets = {}, .device_offsets = static_cast<int64_t*>(offsets.get())};
  const void* const places[] = {weights.data(), weights.data() + 5};
  const ExpertProductsTask task{.routing = &routing,
                                .experts = 2,
                                .weights = places,
                                .like = F32(weights.data(), 2, 4),
                                .x = x.rows(4),
                                .y = y.rows(2)};
  try {
    device->Record([&] { device->ExpertProducts(task); });
    FAIL() << "it reads 16 bytes at a time";
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("the weights of expert 1 of 2 do not begin at a multiple of 16 bytes"));
  }
}

// A decode step's attention, recorded for up to 4,096 positions, over a cache of two layers.
TEST_F(Recordings, OfAttentionServeForSequencesOfAnyShorterLength) {
  const AttentionShape shape{.q_heads = 2, .kv_heads = 1, .qk_dim = 4, .v_dim = 4, .scale = 0.5f};
  const int64_t floats = BlockBytes(shape) / 4, pages = 48;
  CpuBackend cpu(&pool);
  struct Decode {
    Decode(Backend& on, const AttentionShape& of, int64_t block, int64_t all)
        : shape(of),
          block_floats(block),
          pages(all),
          cache(on, NumbersOf(2 * block * all, 3)),
          q(on, NumbersOf(3 * 8, 4)),
          k(on, NumbersOf(3 * 4, 5)),
          v(on, NumbersOf(3 * 4, 6)),
          out(on, std::vector<float>(3 * 8, 7)) {}
    void Place(const std::vector<int64_t>& positions) {
      tables.clear();
      sequences.assign(3, {});
      for (size_t s = 0; s < positions.size(); ++s) {
        std::vector<void*>& table = tables.emplace_back();
        for (int64_t b = 0; b <= positions[s] / kAttentionBlock; ++b)
          table.push_back(cache.data() + (b * 5 + static_cast<int64_t>(s) * 7) % pages * block_floats);
      }
      for (size_t s = 0; s < positions.size(); ++s)
        sequences[s] = {static_cast<int64_t>(s), 1, positions[s], tables[s].data()};
    }
    void Make() {
      const int64_t offset = pages * block_floats * 4;
      cache.backend.WriteBlocks({shape, sequences, k.rows(4), v.rows(4), offset});
      cache.backend.Attention({shape, sequences, q.rows(8), out.rows(8), nullptr, offset});
    }
    const AttentionShape shape;
    const int64_t block_floats, pages;
    Placed cache, q, k, v, out;
    std::vector<AttentionSequence> sequences;
    std::vector<std::vector<void*>> tables;
  };
  Decode recorded(*device, shape, floats, pages), fresh(cpu, shape, floats, pages);
  const auto longest = [&] {
    for (int64_t s = 0; s < 3; ++s) recorded.sequences[s] = {s, 1, 4095};
    recorded.Make();
  };
  recorded.sequences.resize(3);
  const std::unique_ptr<Recording> recording = device->Record(longest);
  for (const std::vector<int64_t>& positions :
       {std::vector<int64_t>{5, 1029, 64}, {1100, 63}, {0, 1023, 1024}, {2100}}) {
    fresh.Place(positions);
    fresh.Make();
    recording->Compare(longest);
    recorded.Place(positions);
    recording->Replay();
    const int64_t numbers = static_cast<int64_t>(positions.size()) * 8;
    const std::vector<float> got = recorded.out.host(), expected = fresh.out.host();
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), numbers * 4), 0) << positions[0];
    EXPECT_EQ(recorded.cache.host(), fresh.cache.host());
  }
  // Calls share one memory, whether they are recorded or not.
  EXPECT_FALSE(recording->IsOutgrown());
  EXPECT_FALSE(device->Record(longest)->IsOutgrown());
  std::vector<int64_t> quanta(200);
  device->AddQuanta({{50, 1}, 200, recorded.cache.data()}, 0, absl::MakeSpan(quanta));
  EXPECT_TRUE(recording->IsOutgrown());
  EXPECT_FALSE(device->Record(longest)->IsOutgrown());
  recorded.Place({4095, 4095, 4200});
  EXPECT_THROW(recording->Replay(), InternalError);
}

}  // namespace
}  // namespace temper::kernels

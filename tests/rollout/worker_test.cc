// SPDX-License-Identifier: Apache-2.0
#include "rollout/worker.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "data/record_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rollout/replay.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    auto loaded = Tokenizer::Load("configs/tiny/base");
    if (!loaded.ok()) throw std::runtime_error(loaded.status().ToString());
    return loaded->release();
  }();
  return *tokenizer;
}

RolloutRequest SmallRequest(int prompts = 7, const std::string& records = "") {
  RolloutRequest request;
  request.seed = 11;
  request.stage = "zero";
  request.rollout = 4;
  request.samples_per_prompt = 4;
  request.records = records;
  request.sampling.max_new_tokens = 30;
  for (int32_t id = 0; id < 40; ++id) request.sampling.eos_ids.push_back(id);
  for (int i = 0; i < prompts; ++i) {
    Prompt prompt;
    prompt.id = absl::StrCat("problem-", i);
    prompt.tokens = RandomTokens(357, 3 + 9 * i, i);
    prompt.text = TinyTokenizer().Decode(prompt.tokens);
    prompt.answer = std::to_string(i);
    request.prompts.push_back(prompt);
  }
  return request;
}

struct RankResult {
  absl::Status status;
  std::vector<Group> groups;
  RolloutCounts counts;
  int64_t finished = 0, total = 0;
  std::map<std::string, double> metrics;  // the pool's
};

struct Settings {
  int64_t version = 0;
  bool replay = false;
  EngineOptions engine = {.max_batch = 6};
  std::function<bool(int rank, int64_t finished)> stop = [](int, int64_t) { return false; };
  std::vector<RuleConfig> rules = {{.rule = "accuracy"}, {.rule = "format"}};
  Json policy = With(OddDeepseek(), "vocab_size", 357);
  MeshSizes mesh = {};
};

// Collect on `ranks` ranks, each with its own copy of the policy.
std::vector<RankResult> Collected(int ranks, const RolloutRequest& request, const Settings& settings = {}) {
  std::vector<RankResult> results(ranks);
  ThreadWorld(ranks).Run([&](Communicator& world) {
    RankResult& result = results[world.rank()];
    const auto mesh = Mesh::Create(settings.mesh, world);
    RewardConfig config;
    config.rules = settings.rules;
    const auto rewards = RewardPool::Create(config, 2);
    if (!mesh.ok() || !rewards.ok()) throw std::runtime_error("mesh or rewards");
    Policy policy(settings.policy, *mesh);
    policy.model.WeightsChanged(settings.version);
    Engine engine(&policy.model, settings.engine);
    RolloutWorker worker(&engine, &TinyTokenizer(), *mesh);
    ReplaySource replay(*mesh);
    GroupSource& source = settings.replay ? static_cast<GroupSource&>(replay) : worker;
    auto groups = source.Collect(
        request, **rewards,
        [&](int64_t finished, int64_t total) {
          EXPECT_EQ(finished, result.finished + 1);
          result.finished = finished;
          result.total = total;
        },
        [&] { return settings.stop(world.rank(), result.finished); }, &result.counts);
    result.status = groups.status();
    if (groups.ok()) result.groups = *std::move(groups);
    for (const auto& [name, value] : (*rewards)->TakeMetrics()) result.metrics[name] = value;
  });
  return results;
}

// Everything in the groups, as one value.
using Verdicts = std::vector<std::tuple<std::string, VerdictKind, double, std::string, std::string>>;
using Flat = std::vector<
    std::tuple<std::string, int64_t, std::string, int32_t, std::vector<int32_t>, std::vector<float>,
               std::vector<Segment>, StopReason, double, std::string, Verdicts>>;
Flat Flattened(const std::vector<Group>& groups) {
  Flat flat;
  for (const Group& group : groups) {
    for (const Trajectory& t : group.trajectories) {
      EXPECT_EQ(t.prompt_id, group.prompt.id);
      Verdicts verdicts;
      for (const Verdict& v : t.verdicts)
        verdicts.emplace_back(v.rule, v.kind, v.score, v.extracted, v.reason);
      flat.emplace_back(group.stage, group.rollout, t.prompt_id, t.sample, t.tokens, t.logprobs, t.segments,
                        t.stop, t.entropy_sum, t.text, verdicts);
    }
  }
  return flat;
}

// The groups that all ranks returned: the same heads, and of each trajectory the rest on one rank alone.
Flat Joined(const std::vector<RankResult>& results) {
  std::vector<Group> groups = results[0].groups;
  for (size_t rank = 1; rank < results.size(); ++rank) {
    EXPECT_EQ(results[rank].groups.size(), groups.size());
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t i = 0; i < groups[g].trajectories.size(); ++i) {
        const Trajectory& other = results[rank].groups[g].trajectories[i];
        Trajectory& joined = groups[g].trajectories[i];
        EXPECT_TRUE(joined.tokens.empty() || other.tokens.empty());
        if (!other.tokens.empty()) {
          joined.tokens = other.tokens;
          joined.logprobs = other.logprobs;
          joined.text = other.text;
        }
        Group of_other = results[rank].groups[g], of_joined = groups[g];
        of_other.trajectories = {other};
        of_joined.trajectories = {joined};
        for (Group* group : {&of_other, &of_joined}) {
          group->trajectories[0].tokens.clear();
          group->trajectories[0].logprobs.clear();
          group->trajectories[0].text.clear();
        }
        EXPECT_EQ(Flattened({of_other}), Flattened({of_joined}));
      }
    }
  }
  return Flattened(groups);
}

int64_t SampledTokens(const std::vector<RankResult>& results) {
  int64_t tokens = 0;
  for (const RankResult& result : results) tokens += result.counts.engine.sampled_tokens;
  return tokens;
}

class Worker : public ::testing::Test {
 protected:
  Worker() {
    folder_ = absl::StrCat(::testing::TempDir(), "/worker_test.", getpid());
    std::filesystem::remove_all(folder_);
  }
  ~Worker() override { std::filesystem::remove_all(folder_); }
  std::string Records(const std::string& name) const {
    return absl::StrCat(folder_, "/", name, "/rollout-4");
  }
  // Keeps the first `share` of every file's bytes: cuts records in their middle.
  void CutFiles(const std::string& records, double share) const {
    for (int rank = 0; rank < 8; ++rank) {
      const std::string path = RecordPath(records, rank);
      if (!FileExists(path)) continue;
      const auto size = std::filesystem::file_size(path);
      std::filesystem::resize_file(path, static_cast<uintmax_t>(static_cast<double>(size) * share));
    }
  }
  std::string folder_;
};

TEST_F(Worker, FillsTextAndVerdictsInTheOrderOfThePromptsAndSamples) {
  const RolloutRequest request = SmallRequest();
  const std::vector<RankResult> results = Collected(1, request);
  ASSERT_TRUE(results[0].status.ok()) << results[0].status;
  ASSERT_EQ(results[0].groups.size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    const Group& group = results[0].groups[i];
    EXPECT_EQ(group.stage, "zero");
    EXPECT_EQ(group.rollout, 4);
    EXPECT_EQ(group.prompt.id, request.prompts[i].id);
    EXPECT_EQ(group.prompt.answer, std::to_string(i));
    ASSERT_EQ(group.trajectories.size(), 4u);
    for (int32_t s = 0; s < 4; ++s) {
      const Trajectory& t = group.trajectories[s];
      EXPECT_EQ(t.sample, s);
      EXPECT_EQ(t.text, TinyTokenizer().Decode(t.tokens));
      EXPECT_EQ(t.logprobs.size(), t.tokens.size());
      ASSERT_EQ(t.verdicts.size(), 2u);
      EXPECT_EQ(t.verdicts[0].rule, "accuracy");
      EXPECT_EQ(t.verdicts[1].rule, "format");
      EXPECT_EQ(t.verdicts[1].kind, VerdictKind::kMalformed);
    }
  }
  EXPECT_EQ(results[0].finished, 28);
  EXPECT_EQ(results[0].total, 28);
  EXPECT_GT(results[0].counts.sample_seconds, 0);
}

TEST_F(Worker, GroupsAreTheSameOnAnyNumberOfRanksAndEachDoesItsShare) {
  const std::vector<RankResult> one = Collected(1, SmallRequest());
  const Flat expected = Flattened(one[0].groups);
  ASSERT_EQ(expected.size(), 28u);
  Settings all_begin_at_once;
  all_begin_at_once.engine.max_batch = 28;
  for (int ranks : {2, 4}) {
    const std::vector<RankResult> results =
        Collected(ranks, SmallRequest(7, Records(absl::StrCat(ranks))), all_begin_at_once);
    for (const RankResult& result : results) {
      ASSERT_TRUE(result.status.ok()) << result.status;
      EXPECT_LE(result.total, (7 + ranks - 1) / ranks * 4);
      EXPECT_EQ(result.finished, result.total);
      EXPECT_LT(result.counts.engine.sampled_tokens, SampledTokens(one));
    }
    EXPECT_EQ(Joined(results), expected);
    EXPECT_EQ(SampledTokens(results), SampledTokens(one));
    EXPECT_TRUE(FileExists(RecordPath(Records(absl::StrCat(ranks)), ranks - 1)));
  }
}

// Ranks begin one group at a time, and those of one replica wait until the others have done more than their
// shares; where it is the first one, which the others ask, it goes on now and then.
TEST_F(Worker, AReplicaThatHasBegunItsShareTakesOverWhatASlowOneHasNot) {
  Settings settings;
  settings.engine.max_batch = 4;
  settings.policy.update(Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4,
      "intermediate_size": 92, "moe_intermediate_size": 28})"));
  constexpr int kPrompts = 12;
  const Flat expected = Flattened(Collected(1, SmallRequest(kPrompts), settings)[0].groups);
  struct Case {
    MeshSizes mesh;
    int ranks, holders, slow;  // ranks of a replica, which replica is slow
  };
  for (const Case& one :
       {Case{{}, 2, 1, 1}, Case{{}, 2, 1, 0}, Case{{}, 3, 1, 2}, Case{{.dp_replicate = 2, .tp = 2}, 4, 2, 0},
        Case{{.dp_replicate = 2, .dp_shard = 2}, 4, 2, 1}, Case{{.dp_replicate = 2, .cp = 2}, 4, 2, 0},
        Case{{.dp_replicate = 2, .dp_shard = 2, .tp = 2}, 8, 4, 1}}) {
    SCOPED_TRACE(absl::StrCat(one.ranks, " ranks, slow: ", one.slow));
    settings.mesh = one.mesh;
    const int replicas = one.ranks / one.holders;
    const int64_t enough = 4 * (kPrompts - kPrompts / replicas + 2);
    std::vector<std::atomic<int64_t>> finished(one.ranks);
    settings.stop = [&](int rank, int64_t samples) {
      finished[rank] = samples;
      if (rank / one.holders != one.slow) return false;
      for (int turn = 0; one.slow > 0 || turn < 20; ++turn) {
        int64_t others = 0;
        for (int other = 0; other < one.ranks; ++other)
          others += other / one.holders == one.slow ? 0 : finished[other].load();
        if (others >= enough) break;
        absl::SleepFor(absl::Milliseconds(5));
      }
      return false;
    };
    const std::vector<RankResult> results = Collected(one.ranks, SmallRequest(kPrompts), settings);
    std::vector<RankResult> of_plane;  // that have all samples between them
    for (int rank = 0; rank < one.ranks; ++rank) {
      ASSERT_TRUE(results[rank].status.ok()) << results[rank].status;
      EXPECT_EQ(results[rank].finished, results[rank].total);
      if (rank % one.mesh.tp == 0) of_plane.push_back(results[rank]);
    }
    EXPECT_EQ(Joined(of_plane), expected);
    EXPECT_GE(results[0].counts.taken_over, 1);
    const std::vector<double>& idle = results[0].counts.idle_shares;
    ASSERT_EQ(static_cast<int>(idle.size()), replicas);
    EXPECT_EQ(*std::min_element(idle.begin(), idle.end()), 0);
    EXPECT_LT(*std::max_element(idle.begin(), idle.end()), 1);
  }
}

// With groups that nobody has begun, and questions on their way.
TEST_F(Worker, WhoeverStopsOrFailsAllReplicasEnd) {
  Settings settings;
  settings.engine.max_batch = 4;
  for (int who = 0; who < 3; ++who) {
    settings.stop = [&](int rank, int64_t finished) {
      absl::SleepFor(absl::Milliseconds(rank));
      return rank == who && finished >= 3;
    };
    const std::string records = Records(absl::StrCat("stops", who));
    const std::vector<RankResult> stopped = Collected(3, SmallRequest(14, records), settings);
    int64_t finished = 0;
    for (const RankResult& result : stopped) {
      EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
      finished += result.finished;
    }
    EXPECT_LT(finished, 14 * 4);
    std::filesystem::create_directories(RecordPath(Records(absl::StrCat("fails", who)), who));
    settings.stop = [](int, int64_t) { return false; };
    for (const RankResult& result :
         Collected(3, SmallRequest(14, Records(absl::StrCat("fails", who))), settings)) {
      EXPECT_FALSE(result.status.ok() || absl::IsCancelled(result.status));
    }
    const std::vector<RankResult> resumed = Collected(2, SmallRequest(14, records), settings);
    EXPECT_EQ(resumed[0].counts.resumed_samples, finished);
    EXPECT_EQ(Joined(resumed), Joined(Collected(1, SmallRequest(14))));
  }
}

// The second rollout of the same prompts deals by how long the completions of the first were.
TEST_F(Worker, PromptsAreDealtByTheLengthsOfTheirLastCompletions) {
  RolloutRequest request = SmallRequest(8);
  for (size_t i = 0; i < request.prompts.size(); ++i) request.prompts[i].tokens = RandomTokens(357, 10, i);
  std::vector<int64_t> first(2), second(2);
  ThreadWorld(2).Run([&](Communicator& world) {
    const Mesh mesh = *Mesh::Create({}, world);
    RewardConfig config;
    config.rules = Settings().rules;
    const auto rewards = RewardPool::Create(config, 1);
    Policy policy(Settings().policy, mesh);
    Engine engine(&policy.model, {.max_batch = 64});
    RolloutWorker worker(&engine, &TinyTokenizer(), mesh);
    for (std::vector<int64_t>* tokens : {&first, &second}) {
      RolloutCounts counts;
      const auto groups = worker.Collect(
          request, **rewards, [](int64_t, int64_t) {}, [] { return false; }, &counts);
      ASSERT_TRUE(groups.ok()) << groups.status();
      (*tokens)[world.rank()] = counts.engine.sampled_tokens;
    }
  });
  EXPECT_EQ(first[0] + first[1], second[0] + second[1]);
  EXPECT_LT(std::abs(second[0] - second[1]), std::abs(first[0] - first[1]));
}

TEST_F(Worker, ASmallCacheGivesTheSameGroupsOnAnyNumberOfRanks) {
  RolloutRequest request = SmallRequest();
  request.sampling.eos_ids.clear();
  request.sampling.max_new_tokens = 90;
  const Flat expected = Flattened(Collected(1, request)[0].groups);
  Settings small;
  // The longest takes 3 pages.
  small.engine = {
      .max_batch = 20, .prefill_tokens = 16, .cache_bytes = 5 * KvCache::BytesPerPage(Parsed(OddDeepseek()))};
  for (int ranks : {1, 2}) {
    const std::vector<RankResult> results = Collected(ranks, request, small);
    EXPECT_EQ(Joined(results), expected);
    for (const RankResult& result : results) {
      ASSERT_TRUE(result.status.ok()) << result.status;
      EXPECT_GT(result.counts.engine.preemptions, 0);
    }
  }
}

// Ranks that share each product sample the same. The first of them judges and keeps the records; all have
// all.
TEST_F(Worker, MatesReturnTheGroupsOfOneRankAndOneOfThemJudges) {
  Settings settings;
  settings.policy.update(Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4,
      "intermediate_size": 92, "moe_intermediate_size": 28})"));
  const std::vector<RankResult> one = Collected(1, SmallRequest(), settings);
  const Flat expected = Flattened(one[0].groups);
  ASSERT_EQ(expected.size(), 28u);
  for (const MeshSizes& sizes : {MeshSizes{.tp = 2}, MeshSizes{.dp_replicate = 2, .tp = 2}}) {
    settings.mesh = sizes;
    const int dp = std::max<int>(static_cast<int>(sizes.dp_replicate), 1);
    const std::string records = Records(absl::StrCat("mates", dp));
    const std::vector<RankResult> results = Collected(2 * dp, SmallRequest(7, records), settings);
    for (int rank = 0; rank < 2 * dp; ++rank) {
      ASSERT_TRUE(results[rank].status.ok()) << results[rank].status;
      EXPECT_EQ(results[rank].finished > 0, rank % 2 == 0) << "rank " << rank << " told how far it is";
    }
    for (const int plane : {0, 1}) {  // ranks of one place on tp have all samples between them
      std::vector<RankResult> of_plane;
      for (int d = 0; d < dp; ++d) of_plane.push_back(results[2 * d + plane]);
      EXPECT_EQ(Joined(of_plane), expected) << "plane " << plane;
    }
    EXPECT_TRUE(FileExists(RecordPath(records, dp - 1)));
    EXPECT_FALSE(FileExists(RecordPath(records, dp)));
    // From the records, on the same ranks and on one.
    EXPECT_EQ(Collected(2 * dp, SmallRequest(7, records), settings)[1].counts.engine.sampled_tokens, 0);
    Settings alone = settings;
    alone.mesh = {};
    EXPECT_EQ(Flattened(Collected(1, SmallRequest(7, records), alone)[0].groups), expected);
  }
}

// Whoever is asked to stop, all mates stop at one step: the first of them says so.
TEST_F(Worker, MatesStopTogether) {
  Settings settings;
  settings.policy.update(Json::parse(R"({"num_attention_heads": 4, "num_key_value_heads": 4,
      "intermediate_size": 92, "moe_intermediate_size": 28})"));
  settings.mesh = {.tp = 2};
  settings.stop = [](int, int64_t finished) { return finished >= 5; };
  for (const RankResult& result : Collected(2, SmallRequest(7, Records("stopped")), settings))
    EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
}

TEST_F(Worker, RanksWithoutPromptsReturnTheSameGroups) {
  const Flat expected = Flattened(Collected(1, SmallRequest(2))[0].groups);
  const std::vector<RankResult> results = Collected(4, SmallRequest(2, Records("few")));
  EXPECT_EQ(Joined(results), expected);
  EXPECT_EQ(results[3].total, 0);
  EXPECT_FALSE(FileExists(RecordPath(Records("few"), 3)));
  EXPECT_TRUE(Collected(2, SmallRequest(0, Records("none")))[1].groups.empty());
}

// Their engines step together, also those of ranks that have no prompt, or have finished theirs.
TEST_F(Worker, RanksThatShareTheWeightsOutReturnTheSameGroups) {
  for (const auto& [prompts, ranks] : {std::pair(7, 3), std::pair(2, 4), std::pair(0, 2)}) {
    const Flat expected = Flattened(Collected(1, SmallRequest(prompts))[0].groups);
    Settings shared;
    shared.mesh.dp_shard = ranks;
    const std::vector<RankResult> results =
        Collected(ranks, SmallRequest(prompts, Records(absl::StrCat("shared", ranks))), shared);
    EXPECT_EQ(Joined(results), expected);
    for (const RankResult& result : results) {
      ASSERT_TRUE(result.status.ok()) << result.status;
      EXPECT_EQ(result.finished, result.total);
      EXPECT_LE(result.total, (prompts + ranks - 1) / ranks * 4);
    }
  }
}

// Those with other layers of the same policy have the same samples; they stop together too.
TEST_F(Worker, RanksOfSeveralAxesReturnTheSameGroupsAndStopTogether) {
  const Flat expected = Flattened(Collected(1, SmallRequest())[0].groups);
  for (const MeshSizes& sizes :
       {MeshSizes{.dp_replicate = 1, .dp_shard = 2, .pp = 2}, MeshSizes{.dp_replicate = 1, .pp = 2, .ep = 2},
        MeshSizes{.dp_replicate = 1, .dp_shard = 2, .ep = 2}, MeshSizes{.dp_replicate = 1, .pp = 2, .cp = 2},
        MeshSizes{.dp_replicate = 2, .dp_shard = 2, .pp = 2, .ep = 2}}) {
    Settings several;
    several.mesh = sizes;
    const auto ranks = static_cast<int>(RanksOf(sizes)), samplers = ranks / static_cast<int>(sizes.pp);
    const std::vector<RankResult> results = Collected(ranks, SmallRequest(), several);
    for (const RankResult& result : results) ASSERT_TRUE(result.status.ok()) << result.status;
    for (int first = 0; first < ranks; first += samplers)
      EXPECT_EQ(Joined({results.begin() + first, results.begin() + first + samplers}), expected) << first;
    several.stop = [](int rank, int64_t finished) { return rank == 1 && finished >= 1; };
    for (const RankResult& result : Collected(ranks, SmallRequest(), several))
      EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  }
}

TEST_F(Worker, WhereOneThatSharesTheWeightsOutStopsOrFailsAllEnd) {
  Settings shared;
  shared.mesh.dp_shard = 3;
  shared.stop = [](int rank, int64_t finished) { return rank == 2 && finished >= 2; };
  for (const RankResult& result : Collected(3, SmallRequest(7, Records("stopped")), shared))
    EXPECT_EQ(result.status.code(), absl::StatusCode::kCancelled) << result.status;
  shared.stop = [](int, int64_t) { return false; };
  // A folder where the second rank's records would be.
  std::filesystem::create_directories(RecordPath(Records("failed"), 1));
  const std::vector<RankResult> results = Collected(3, SmallRequest(7, Records("failed")), shared);
  for (const RankResult& result : results) {
    EXPECT_FALSE(result.status.ok() || absl::IsCancelled(result.status));
    EXPECT_EQ(result.status, results[0].status);
  }
}

TEST_F(Worker, WritesWhatItReturns) {
  const std::vector<RankResult> results = Collected(2, SmallRequest(5, Records("a")));
  auto groups = ReadGroups(Records("a"));
  ASSERT_TRUE(groups.ok()) << groups.status();
  std::sort(groups->begin(), groups->end(),
            [](const Group& a, const Group& b) { return a.prompt.id < b.prompt.id; });
  EXPECT_EQ(Flattened(*groups), Joined(results));
}

TEST_F(Worker, WhatAnInterruptedRolloutLeftIsNotSampledAgain) {
  const std::vector<RankResult> whole = Collected(1, SmallRequest());
  const Flat expected = Flattened(whole[0].groups);
  for (int before : {1, 4}) {
    for (int after : {1, 2, 4}) {
      SCOPED_TRACE(absl::StrCat(before, " ranks, then ", after));
      const std::string records = Records(absl::StrCat(before, "-", after));
      Collected(before, SmallRequest(7, records));
      CutFiles(records, 0.6);
      const std::vector<RankResult> results = Collected(after, SmallRequest(7, records));
      int64_t sampled = 0;
      for (const RankResult& result : results) {
        ASSERT_TRUE(result.status.ok()) << result.status;
        EXPECT_EQ(result.counts.resumed_samples, results[0].counts.resumed_samples);
        sampled += result.finished;
      }
      EXPECT_EQ(Joined(results), expected);
      EXPECT_GT(results[0].counts.resumed_samples, 8);
      EXPECT_LT(results[0].counts.resumed_samples, 24);
      EXPECT_EQ(sampled + results[0].counts.resumed_samples, 28);
      EXPECT_LT(SampledTokens(results), SampledTokens(whole));

      // And once all is there, nothing is.
      const std::vector<RankResult> again = Collected(after, SmallRequest(7, records));
      EXPECT_EQ(Joined(again), expected);
      EXPECT_EQ(again[0].counts.resumed_samples, 28);
      EXPECT_EQ(SampledTokens(again), 0);
    }
  }
}

TEST_F(Worker, AMinimumAndStopIdsHoldOnEveryRankAndAfterAnInterruption) {
  const auto request = [](const std::string& records) {
    RolloutRequest late = SmallRequest(7, records);
    late.sampling.min_new_tokens = 6;
    late.sampling.stop_ids = {40, 41, 42, 43, 44, 45, 46, 47};
    return late;
  };
  const std::vector<RankResult> whole = Collected(1, request(""));
  const Flat expected = Flattened(whole[0].groups);
  for (const auto& sample : expected) {
    const std::vector<int32_t>& tokens = std::get<4>(sample);
    ASSERT_GT(tokens.size(), 6u);
    EXPECT_GE(*std::min_element(tokens.begin(), tokens.begin() + 6), 48);  // those below end
  }
  const std::string records = Records("minimum");
  Collected(2, request(records));
  CutFiles(records, 0.6);
  const std::vector<RankResult> results = Collected(4, request(records));
  EXPECT_EQ(Joined(results), expected);
  EXPECT_GT(results[0].counts.resumed_samples, 8);
  EXPECT_LT(SampledTokens(results), SampledTokens(whole));
  Settings replay;
  replay.replay = true;
  EXPECT_EQ(Flattened(Collected(1, request(records), replay)[0].groups), expected);
}

TEST_F(Worker, AStoppedRolloutKeepsWhatWasScored) {
  const Flat expected = Flattened(Collected(1, SmallRequest())[0].groups);
  Settings stopping;
  stopping.stop = [](int rank, int64_t finished) { return rank == 1 && finished >= 5; };
  const std::vector<RankResult> stopped = Collected(2, SmallRequest(7, Records("s")), stopping);
  for (const RankResult& result : stopped) EXPECT_TRUE(absl::IsCancelled(result.status)) << result.status;
  const std::vector<RankResult> results = Collected(2, SmallRequest(7, Records("s")));
  EXPECT_EQ(Joined(results), expected);
  EXPECT_EQ(results[1].counts.resumed_samples, stopped[0].finished + stopped[1].finished);
}

TEST_F(Worker, SamplesOfAnotherPolicyRolloutOrRuleAreSampledAgain) {
  const std::string records = Records("stale");
  Collected(1, SmallRequest(3, records));
  const auto resumed = [&](const RolloutRequest& request, const Settings& settings) {
    const std::vector<RankResult> results = Collected(1, request, settings);
    EXPECT_TRUE(results[0].status.ok()) << results[0].status;
    return results[0].counts.resumed_samples;
  };
  EXPECT_EQ(resumed(SmallRequest(3, records), {}), 12);
  Settings newer;
  newer.version = 1;
  RolloutRequest request = SmallRequest(3, records);
  request.policy_version = 1;
  EXPECT_EQ(resumed(request, newer), 0);
  Settings other_rules;
  other_rules.rules = {{.rule = "format"}};
  EXPECT_EQ(resumed(SmallRequest(3, records), other_rules), 0);
  request = SmallRequest(3, records);
  request.rollout = 5;
  EXPECT_EQ(resumed(request, {}), 0);
  request = SmallRequest(3, records);
  request.samples_per_prompt = 2;
  EXPECT_EQ(resumed(request, {}), 0) << "the newest version's samples are kept";
  request.policy_version = 1;
  EXPECT_EQ(resumed(request, newer), 6);
  request = SmallRequest(3, records);
  request.policy_version = 1;
  request.sampling.max_new_tokens = 3;
  EXPECT_LT(resumed(request, newer), 12);
}

// Every rank's error, which is one and the same.
std::string ErrorOf(const std::vector<RankResult>& results) {
  for (const RankResult& result : results) {
    EXPECT_FALSE(result.status.ok());
    EXPECT_EQ(result.status, results[0].status);
  }
  return results[0].status.ToString();
}

TEST_F(Worker, AnEarlierPolicysRolloutComesFromTheRecordsAlone) {
  const std::string records = Records("earlier");
  const Flat expected = Flattened(Collected(1, SmallRequest(5, records))[0].groups);
  Settings later;
  later.version = 2;
  later.replay = true;
  const std::vector<RankResult> results = Collected(2, SmallRequest(5, records), later);
  EXPECT_EQ(Joined(results), expected);
  EXPECT_EQ(SampledTokens(results), 0);
  CutFiles(records, 0.9);
  EXPECT_THAT(ErrorOf(Collected(2, SmallRequest(5, records), later)),
              AllOf(HasSubstr("earlier/rollout-4.rank-*.records: "),
                    HasSubstr(" samples of policy version 0 are missing, and the policy has moved on")));
  later.replay = false;
  EXPECT_THROW(Collected(1, SmallRequest(5, records), later), InternalError) << "no engine can sample them";
}

TEST_F(Worker, OneRanksErrorIsEveryRanks) {
  const std::string records = Records("bad");
  // A folder where rank 1's file belongs.
  ASSERT_TRUE(MakeDirectories(RecordPath(records, 1)).ok());
  EXPECT_THAT(ErrorOf(Collected(4, SmallRequest(7, records))), HasSubstr("rank"));
}

TEST_F(Worker, RefusesRecordsOfOtherPromptsAndDamagedOnes) {
  const std::string records = Records("other");
  Collected(1, SmallRequest(3, records));
  RolloutRequest request = SmallRequest(3, records);
  request.prompts[1].tokens.push_back(7);
  EXPECT_THAT(ErrorOf(Collected(2, request)),
              AllOf(HasSubstr("rank 0"), HasSubstr("problem-1"), HasSubstr("other tokens")));
  std::fstream file(RecordPath(records, 0), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(100);
  file.write("\xFF\xFE\xFD", 3);
  file.close();
  EXPECT_THAT(ErrorOf(Collected(2, SmallRequest(3, records))), HasSubstr("checksum"));
}

TEST_F(Worker, RefusesRequestsThatNoRankCanSample) {
  RolloutRequest twice = SmallRequest(3);
  twice.prompts[2].id = twice.prompts[0].id;
  EXPECT_THAT(ErrorOf(Collected(2, twice)), HasSubstr("prompt problem-0 is there twice"));
  RolloutRequest outside = SmallRequest(3);
  outside.prompts[1].tokens[0] = 357;
  EXPECT_THAT(ErrorOf(Collected(2, outside)), HasSubstr("prompt problem-1: token 357"));
  RolloutRequest none = SmallRequest(3);
  none.samples_per_prompt = 0;
  EXPECT_THAT(ErrorOf(Collected(2, none)), HasSubstr("samples_per_prompt"));
}

// Rule `process` around Python that says `answers`, a list, of `rows`.
RuleConfig Program(RowsForm form, const std::string& answers) {
  RuleConfig rule{.rule = "process"};
  rule.process.rows = form;
  rule.process.retries = 0;
  rule.process.command = {"python3", "-c",
                          "import json, sys\n"
                          "for line in sys.stdin:\n"
                          "  row = json.loads(line)\n"
                          "  rows = row.get('rows', [row])\n"
                          "  for answer in " +
                              answers + ": print(json.dumps(answer), flush=True)\n"};
  return rule;
}

TEST_F(Worker, ARuleThatComparesSeesEachGroupWholeAlsoAfterAStop) {
  Settings settings;
  settings.rules = {
      Program(RowsForm::kGroup,
              "[dict(id=r['id'], score=i / 4, reason='%d of %d: %s' % (i, len(rows), r['completion'])) "
              "for i, r in enumerate(rows)]"),
      {.rule = "format"}};
  const std::vector<RankResult> whole = Collected(2, SmallRequest(5), settings);
  ASSERT_TRUE(whole[0].status.ok()) << whole[0].status;
  for (const Group& group : whole[0].groups) {
    for (size_t i = 0; i < 4; ++i) {
      const Trajectory& t = group.trajectories[i];
      EXPECT_EQ(t.verdicts[0].reason.substr(0, 7), absl::StrCat(i, " of 4:"));
      EXPECT_EQ(t.verdicts[0].score, static_cast<double>(i) / 4);
    }
  }
  // Stopped on its way, and with half of the records cut off: what a group lost is judged with the whole of
  // it.
  const RolloutRequest request = SmallRequest(5, Records("groups"));
  Settings stopped = settings;
  stopped.stop = [](int, int64_t finished) { return finished >= 9; };
  EXPECT_TRUE(absl::IsCancelled(Collected(1, request, stopped)[0].status));
  CutFiles(request.records, 0.5);
  const std::vector<RankResult> resumed = Collected(1, request, settings);
  ASSERT_TRUE(resumed[0].status.ok()) << resumed[0].status;
  EXPECT_EQ(resumed[0].counts.resumed_samples % 4, 0);
  EXPECT_EQ(Joined(resumed), Joined(whole));
}

TEST_F(Worker, AVerdictThatAClockDecidedIsReadFromTheRecords) {
  // The judge says what time it is. Half of the records are lost: their samples are judged again, the others
  // not.
  Settings settings;
  settings.rules = {
      Program(RowsForm::kOne,
              "[dict(id=r['id'], score=0.5, reason=str(__import__('time').time_ns())) for r in rows]")};
  const RolloutRequest request = SmallRequest(7, Records("clock"));
  const Flat before = Flattened(Collected(1, request, settings)[0].groups);
  const Flat whole = Flattened(Collected(1, request, settings)[0].groups);
  EXPECT_EQ(whole, before);
  CutFiles(request.records, 0.5);
  const std::vector<RankResult> resumed = Collected(1, request, settings);
  const Flat after = Flattened(resumed[0].groups);
  ASSERT_EQ(after.size(), before.size());
  int64_t same = 0;
  for (size_t i = 0; i < after.size(); ++i) same += after[i] == before[i] ? 1 : 0;
  EXPECT_EQ(same, resumed[0].counts.resumed_samples);
  EXPECT_GT(same, 4);
  EXPECT_LT(same, 28);
}

// A judge that is not there for the answer "none".
Settings WithAJudge() {
  Settings settings;
  settings.rules = {Program(RowsForm::kOne,
                            "[dict(id=r['id'], **(dict(verdict='infrastructure_error', reason='no judge') "
                            "if r['answer'] == 'none' else dict(score=1))) for r in rows]"),
                    {.rule = "format"}};
  return settings;
}

TEST_F(Worker, AnInfrastructureErrorIsKeptAfterOneMoreTryAndNotSampledAgain) {
  RolloutRequest request = SmallRequest(2, Records("infra"));
  request.prompts[1].answer = "none";
  const std::vector<RankResult> results = Collected(1, request, WithAJudge());
  ASSERT_TRUE(results[0].status.ok()) << results[0].status;
  for (const Trajectory& t : results[0].groups[1].trajectories) {
    EXPECT_EQ(t.verdicts[0].kind, VerdictKind::kInfrastructureError);
  }
  EXPECT_EQ(results[0].metrics.at("verdict/process/infrastructure_error"), 2 * 4) << "judged twice";
  EXPECT_EQ(Collected(1, request, WithAJudge())[0].counts.resumed_samples, 8);
}

TEST_F(Worker, OfARolloutThatNoRuleCouldJudgeIsAnErrorOnEveryRankUntilOneIs) {
  for (int ranks : {1, 4}) {
    RolloutRequest request = SmallRequest(3, Records(absl::StrCat("unjudged-", ranks)));
    for (Prompt& prompt : request.prompts) prompt.answer = "none";
    for (int start = 0; start < 2; ++start) {
      const std::vector<RankResult> results = Collected(ranks, request, WithAJudge());
      EXPECT_EQ(results[0].status.code(), absl::StatusCode::kUnavailable);
      EXPECT_THAT(ErrorOf(results), AllOf(HasSubstr("stage zero, rollout 4: none of the 12 completions could "
                                                    "be judged: rule process: no judge"),
                                          HasSubstr("start again; the run goes on from here")));
      EXPECT_EQ(results[0].counts.repeated_samples, start * 12);
      EXPECT_EQ(results[0].counts.resumed_samples, 0);
    }
    // One judged completion is enough, and those of an interrupted rollout count.
    request.prompts[1].answer = "4";
    request.records = Records(absl::StrCat("judged-", ranks));
    const Flat expected = Joined(Collected(ranks, request, WithAJudge()));
    EXPECT_EQ(expected.size(), 12u);
    const std::vector<RankResult> again = Collected(ranks, request, WithAJudge());
    EXPECT_EQ(Joined(again), expected);
    EXPECT_EQ(again[0].counts.resumed_samples, 12);
  }
}

TEST_F(Worker, WithoutRecordsOrAStageSaysSoOnlyThatNothingWasJudged) {
  RolloutRequest request = SmallRequest(1);
  request.stage = "";
  request.prompts[0].answer = "none";
  EXPECT_THAT(std::string(Collected(1, request, WithAJudge())[0].status.message()),
              AllOf(StartsWith("none of the 4 completions could be judged: rule process: "),
                    EndsWith(": put that right and start again")));
}

}  // namespace
}  // namespace temper

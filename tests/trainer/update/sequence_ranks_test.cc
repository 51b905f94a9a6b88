// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share long sequences (mesh.cp), and have short ones of their own, leaves the
// weights, the moments and the figures of one rank; so does one with long sequences on ranks of other axes.
#include "gtest/gtest.h"
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

Json Sized(Json json, int64_t heads, int64_t key_heads) {
  json.update(Json::parse(R"({"intermediate_size": 92, "moe_intermediate_size": 28})"));
  json["num_attention_heads"] = heads;
  json["num_key_value_heads"] = key_heads;
  return json;
}

TEST(UpdateOnSequenceRanks, OfLatentAttentionAndExpertsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Sized(OddDeepseek(), 4, 4),
                                {{.dp_replicate = 1, .cp = 2},
                                 {.dp_replicate = 1, .cp = 4},
                                 {.dp_replicate = 2, .cp = 2},
                                 {.dp_replicate = 1, .tp = 2, .cp = 2}},
                                /*tokens=*/50, /*leaves=*/5, {2100, 1025, 1600});
}

TEST(UpdateOnSequenceRanks, OfGroupedAttentionAndATiedHeadHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      Sized(OddQwen2(), 6, 2),
      {{.dp_replicate = 1, .cp = 2}, {.dp_replicate = 1, .cp = 8}, {.dp_replicate = 1, .tp = 2, .cp = 2}},
      /*tokens=*/50, /*leaves=*/8, {2100, 3300});
}

TEST(UpdateOnSequenceRanks, OfWindowsAndNormsOfHeadsHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddWindows(), {{.dp_replicate = 1, .cp = 2}}, 50, 5, {2100});
  ExpectLayoutsHaveTheBitsOfOne(OddQwen3Moe(), {{.dp_replicate = 1, .cp = 2}, {.dp_replicate = 1, .cp = 4}},
                                50, 5, {3100});
}

TEST(UpdateOfLongSequences, OnRanksOfOtherAxesHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Sized(OddDeepseek(), 4, 4),
                                {{.dp_replicate = 2, .ep = 2},
                                 {.dp_replicate = 1, .dp_shard = 3},
                                 {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .pp = 2, .ep = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .dp_shard = 2, .tp = 2, .ep = 2}},
                                /*tokens=*/50, /*leaves=*/5, {1100, 1025, 2049});
  ExpectLayoutsHaveTheBitsOfOne(
      Sized(OddQwen2(), 6, 2),
      {{.dp_replicate = 2, .pp = 2}, {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .pp_schedule = kLate}}, 50,
      5, {1100, 2049});
}

TEST(UpdateOnSequenceRanks, BesideOtherAxesHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(Sized(OddDeepseek(), 4, 4),
                                {{.dp_replicate = 1, .pp = 2, .cp = 2, .pp_schedule = kLate},
                                 {.dp_replicate = 1, .dp_shard = 2, .cp = 2},
                                 {.dp_replicate = 1, .ep = 2, .cp = 2},
                                 {.dp_replicate = 1, .dp_shard = 2, .pp = 2, .ep = 2, .cp = 2}},
                                /*tokens=*/50, /*leaves=*/16, {2100, 1600, 1025});
}

}  // namespace
}  // namespace temper

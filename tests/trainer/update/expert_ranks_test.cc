// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the experts (mesh.ep), alone and beside others, leaves the weights, the
// moments and the figures of one rank. Each rank's experts get rows of all leaves that are at hand.
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

Json Shared(Json json, int64_t key_heads) {
  json.update(
      Json::parse(R"({"num_attention_heads": 8, "intermediate_size": 1404, "moe_intermediate_size": 28})"));
  json["num_key_value_heads"] = key_heads;
  return json;
}

TEST(UpdateOnExpertRanks, HasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      Shared(OddDeepseek(), 8),
      {{.dp_replicate = 1, .ep = 2}, {.dp_replicate = 2, .ep = 2}, {.dp_replicate = 1, .tp = 2, .ep = 2}});
  ExpectLayoutsHaveTheBitsOfOne(Shared(OddQwen3Moe(), 4), {{.dp_replicate = 1, .ep = 4}});
}

// More leaves than sequences: some ranks have none, and their experts' rows come all the same.
TEST(UpdateOnExpertRanks, OfWhomSomeHaveNoSequenceHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddQwen3Moe(), {{.dp_replicate = 2, .ep = 8}}, /*tokens=*/4096,
                                /*leaves=*/16);
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// An update on ranks that share the experts (mesh.ep), alone and beside others, leaves the weights, the
// moments and the figures of one rank. Each rank's experts get rows of all leaves that are at hand.
#include "tests/trainer/update/layouts.h"

namespace temper {
namespace {

TEST(UpdateOnExpertRanks, HasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(
      SharedByFour(OddDeepseek(), 8),
      {{.dp_replicate = 1, .ep = 2}, {.dp_replicate = 2, .ep = 2}, {.dp_replicate = 1, .tp = 2, .ep = 2}});
  ExpectLayoutsHaveTheBitsOfOne(SharedByFour(OddQwen3Moe(), 4), {{.dp_replicate = 1, .ep = 4}});
}

// More leaves than sequences: some ranks have none, and their experts' rows come all the same.
TEST(UpdateOnExpertRanks, OfWhomSomeHaveNoSequenceHasTheBitsOfOne) {
  ExpectLayoutsHaveTheBitsOfOne(OddQwen3Moe(), {{.dp_replicate = 2, .ep = 8}}, /*tokens=*/4096,
                                /*leaves=*/16);
}

}  // namespace
}  // namespace temper

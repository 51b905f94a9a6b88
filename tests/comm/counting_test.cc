// SPDX-License-Identifier: Apache-2.0
#include "comm/counting.h"

#include <vector>

#include "comm/mesh.h"
#include "comm/reduce.h"
#include "comm/threads.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// What a rank sends is counted without the others, and without memory where only floats are moved.
TEST(Counting, SaysWhatARankSends) {
  constexpr int64_t kFloats = 1001;
  const MeshSizes sizes{.dp_replicate = 1, .dp_shard = 3, .pp = 2, .tp = 4};
  ThreadWorld(24).Run([&](Communicator& world) {
    const Mesh mesh = *Mesh::Create(sizes, world);
    const Mesh counting = Mesh::Counting(PlaceOf(sizes, world.rank()));
    EXPECT_EQ(counting.place().at, mesh.place().at);
    EXPECT_EQ(counting.dp_rank(), mesh.dp_rank());
    EXPECT_EQ(counting.mates().rank(), mesh.mates().rank());
    EXPECT_EQ(counting.world().size(), 24);
    std::vector<float> floats(kFloats, 1);
    for (const auto& [of, buffer] :
         {std::pair(&mesh, floats.data()), {&counting, static_cast<float*>(nullptr)}}) {
      SumTree(buffer, kFloats, of->axis(Axis::kTp));
      GatherShares(buffer, kFloats, of->axis(Axis::kDpShard));
      SumIntegers(
          kFloats, [](int64_t, absl::Span<int64_t>) {}, [](int64_t, absl::Span<const int64_t>) {},
          of->axis(Axis::kPp));
    }
    for (const Axis axis : {Axis::kTp, Axis::kDpShard, Axis::kPp}) {
      EXPECT_GT(mesh.axis(axis).sent_bytes(), 0) << AxisName(axis);
      EXPECT_EQ(counting.axis(axis).sent_bytes(), mesh.axis(axis).sent_bytes()) << AxisName(axis);
    }
    EXPECT_EQ(counting.dp().Sum(2), 2 * 3);
    EXPECT_EQ(counting.dp().AllGather("a"), std::vector<std::string>(3, "a"));
  });
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "comm/message_log.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/reduce.h"
#include "comm/threads.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr MeshSizes kSizes{.dp_replicate = 3, .pp = 2, .tp = 2};
constexpr int64_t kNumbers = 101;

// Messages of all kinds, whose sizes depend on what other ranks say. Returns what this rank heard.
std::string Talk(const Mesh& mesh, float* buffer) {
  std::string heard;
  const int64_t rank = RankOf(mesh.place());
  for (const std::string& text : mesh.dp().AllGather(std::string(rank % 5, 'a')))
    absl::StrAppend(&heard, text, ";");
  const int64_t most = mesh.world().Sum(rank);
  absl::StrAppend(&heard, most);
  for (const int64_t numbers : {kNumbers, kNumbers, kNumbers - 60, kNumbers}) {  // again, and otherwise
    SumTree(buffer, numbers, mesh.axis(Axis::kTp));
    GatherShares(buffer, most % 50, mesh.axis(Axis::kDpReplicate));
  }
  Communicator& stages = mesh.axis(Axis::kPp);
  if (stages.rank() == 0) {
    stages.SendCopy(buffer, 8, 1, 7);
    stages.Receive(buffer, 12, 1, 8);
  } else {
    stages.Receive(buffer, 8, 0, 7);
    stages.Send(buffer, 12, 0, 8);
  }
  mesh.holders().Barrier();
  return heard;
}

// Every rank alone, until it has heard the others.
std::vector<std::string> Log(MessageLog* log) {
  std::vector<std::string> heard(log->ranks());
  do {
    for (int64_t rank = 0; rank < log->ranks(); ++rank) {
      log->of(rank).Begin("talk");
      heard[rank] = Talk(Mesh::Counting(log->of(rank).place(), &log->of(rank)), nullptr);
    }
  } while (log->Hear());
  return heard;
}

TEST(MessageLog, OfRanksThatRunAloneIsWhatTheySendTogether) {
  MessageLog log(kSizes);
  const std::vector<std::string> heard = Log(&log);
  const auto matched = log.Match();
  ASSERT_TRUE(matched.ok()) << matched.status();
  int64_t messages = 0;
  for (int64_t rank = 0; rank < log.ranks(); ++rank) messages += static_cast<int64_t>(log.of(rank).size());
  EXPECT_EQ(*matched, messages);
  ThreadWorld(12).Run([&](Communicator& world) {
    const Mesh mesh = *Mesh::Create(kSizes, world);
    std::vector<int64_t> before, sent(kMeshParts);
    for (int i = 0; i < kMeshParts; ++i) before.push_back(mesh.part(i).sent_bytes());
    std::vector<float> buffer(kNumbers);
    EXPECT_EQ(Talk(mesh, buffer.data()), heard[world.rank()]);
    const RankMessages& mine = log.of(world.rank());
    for (size_t i = 0; i < mine.size(); ++i)
      if (mine[i].to >= 0) sent[mine[i].part] += mine[i].out_bytes;
    for (int i = 0; i < kMeshParts; ++i)
      EXPECT_EQ(sent[i], mesh.part(i).sent_bytes() - before[i]) << MeshParts()[i].name;
  });
}

TEST(MessageLog, MissesAnyMessageThatIsSwallowed) {
  MessageLog whole(kSizes);
  Log(&whole);
  for (const int64_t rank : {0, 7}) {
    for (size_t i = 0; i < whole.of(rank).size(); ++i) {
      MessageLog log(kSizes);
      Log(&log);
      log.of(rank).Forget(i);
      EXPECT_FALSE(log.Match().ok()) << "message " << i << " of rank " << rank;
    }
  }
}

// A log of two ranks of tp, each of which does one thing.
template <typename First, typename Second>
std::string MatchOf(First first, Second second) {
  MessageLog log({.dp_replicate = 1, .tp = 2});
  for (int rank = 0; rank < 2; ++rank) {
    const Mesh mesh = Mesh::Counting(log.of(rank).place(), &log.of(rank));
    log.of(rank).Begin("update");
    rank == 0 ? first(mesh.axis(Axis::kTp)) : second(mesh.axis(Axis::kTp));
  }
  return std::string(log.Match().status().message());
}

TEST(MessageLog, NamesRanksPartAndMessage) {
  const auto take = [](size_t bytes) {
    return [bytes](Communicator& c) { c.Receive(nullptr, bytes, 1 - c.rank(), 3); };
  };
  const auto send = [](Communicator& c) { c.Send(nullptr, 8, 1 - c.rank(), 3); };
  EXPECT_EQ(MatchOf(send, take(8)), "");
  EXPECT_EQ(MatchOf(send, take(7)),
            "rank 0, update, message 1 of 1: Send of tp to rank 1 (8 bytes), tag 3 meets rank 1, update, "
            "message 1 of 1: Receive of tp from rank 0 (7 bytes), tag 3: they have to be of the same bytes, "
            "part and phase");
  EXPECT_THAT(MatchOf(send, [](Communicator&) {}),
              HasSubstr("Send of tp to rank 1 (8 bytes), tag 3 waits for rank 1, which has ended"));
  EXPECT_THAT(MatchOf([](Communicator& c) { c.SendCopy(nullptr, 8, 1, 3); }, [](Communicator&) {}),
              HasSubstr("tag 3: nobody takes it"));
  // A Send may wait for its receiver.
  const auto both = [&](Communicator& c) {
    send(c);
    take(8)(c);
  };
  EXPECT_THAT(MatchOf(both, both),
              AllOf(HasSubstr("message 1 of 2: Send of tp to rank "), HasSubstr(", which waits too: ")));
  EXPECT_THAT(MatchOf([](Communicator& c) { c.Barrier(); }, [](Communicator& c) { c.Sum(1); }),
              HasSubstr("waits for rank "));
}

}  // namespace
}  // namespace temper

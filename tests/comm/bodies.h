// SPDX-License-Identifier: Apache-2.0
// What holds on every backend: called once a rank, as threads (threads_test.cc) and under mpirun
// (bodies_mpi_test.cc).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/check.h"
#include "comm/mesh.h"
#include "comm/reduce.h"
#include "core/check.h"
#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {

// Numbers of exponents far apart and both signs, so that another order of adding has other bits.
inline std::vector<float> HostileLeaf(int64_t n, int leaf) {
  RandomStream random(RandomKey(7, "leaf", leaf, ""), Purpose::kInit);
  std::vector<float> x(n);
  for (float& v : x)
    v = static_cast<float>(random.NextNormal()) * std::exp2(static_cast<float>(random.NextBelow(12)));
  return x;
}

template <class T>
std::string Bytes(const std::vector<T>& x) {
  return std::string(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(T));
}

// Each rank sends to every rank ahead of it at each distance, sizes differing by pair, two tags crossed over.
inline void ExchangesBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  auto text = [](int from, int to) {
    return std::string(1000 * from + 77 * to, static_cast<char>('a' + from));
  };
  for (int distance = 1; distance < n; ++distance) {
    const int to = (me + distance) % n, from = (me - distance + n) % n;
    const std::string out = text(me, to);
    std::string in(text(from, me).size(), '?');
    comm.SendReceive({out.data(), out.size(), to, in.data(), in.size(), from, 5});
    EXPECT_EQ(in, text(from, me));
  }
  // Pairwise one-way, with messages of the same tag in order and an empty one among them.
  for (int to = 1; to < n; ++to) {
    if (me == 0) {
      for (int i : {3, 0, 2}) comm.Send("xyz", i, to, i == 2 ? 9 : 8);
    } else if (me == to) {
      char in[4] = "---";
      comm.Receive(in, 3, 0, 8);
      comm.Receive(in, 0, 0, 8);
      EXPECT_EQ(std::string(in), "xyz");
      comm.Receive(in, 2, 0, 9);
    }
  }
}

// Every rank sends to every other before anybody receives, and takes its memory back at once; two messages of
// the same tag come in order.
inline void CopiesBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  const auto text = [](int from, int to, int turn) {
    return std::string(70'000 * turn + 1000 * from + 77 * to, static_cast<char>('a' + from));
  };
  for (int turn : {0, 1, 0}) {
    for (int to = 0; to < n; ++to) {
      if (to == me) continue;
      std::string out = text(me, to, turn);
      comm.SendCopy(out.data(), out.size(), to, 6);
      std::fill(out.begin(), out.end(), '?');
    }
  }
  for (int turn : {0, 1, 0}) {
    for (int from = 0; from < n; ++from) {
      if (from == me) continue;
      std::string in(text(from, me, turn).size(), '!');
      comm.Receive(in.data(), in.size(), from, 6);
      EXPECT_EQ(in, text(from, me, turn));
    }
  }
}

// Seen without waiting: nothing before it was sent, each message until it is received, by its end and tag
// alone.
inline void HasComeBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  if (n == 1) return;
  const int next = (me + 1) % n, before = (me + n - 1) % n;
  EXPECT_FALSE(comm.HasCome(before, 11));
  comm.Barrier();
  const std::string out(100'003, static_cast<char>('a' + me));
  std::string in(out.size(), '?');
  comm.SendCopy(out.data(), out.size(), next, 11);
  comm.SendCopy(out.data(), 0, next, 11);
  while (!comm.HasCome(before, 11)) std::this_thread::yield();
  EXPECT_FALSE(comm.HasCome(before, 12));
  if (n > 2) {
    EXPECT_FALSE(comm.HasCome(next, 11));
  }
  comm.Receive(in.data(), in.size(), before, 11);
  EXPECT_EQ(in, std::string(out.size(), static_cast<char>('a' + before)));
  while (!comm.HasCome(before, 11)) std::this_thread::yield();
  comm.Receive(in.data(), 0, before, 11);
  EXPECT_FALSE(comm.HasCome(before, 11));
  comm.Barrier();
  EXPECT_THROW((void)comm.HasCome(n), InternalError);
}

// What is started waits for nobody: all ranks' messages are on their way before one is finished, and others
// of other tags pass them by. One may be asked for until it is over.
inline void MovingBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  const auto text = [](int from, int to) {
    return std::string(90'000 + 1000 * from + 77 * to, static_cast<char>('a' + from));
  };
  std::vector<std::string> out(n), in(n);
  std::vector<std::unique_ptr<Communicator::Moving>> moving;
  const int64_t before = comm.sent_bytes();
  int64_t sent = 0;
  for (int distance = 1; distance < n; ++distance) {
    const int to = (me + distance) % n, from = (me - distance + n) % n;
    out[to] = text(me, to);
    in[from].resize(text(from, me).size());
    sent += static_cast<int64_t>(out[to].size());
    moving.push_back(
        comm.Start({out[to].data(), out[to].size(), to, in[from].data(), in[from].size(), from, 5}));
  }
  EXPECT_EQ(comm.sent_bytes() - before, sent);
  comm.Barrier();
  if (n > 1) {
    char mine = static_cast<char>('A' + me), other = 0;
    comm.SendReceive({&mine, 1, (me + 1) % n, &other, 1, (me + n - 1) % n, 6});
    EXPECT_EQ(other, 'A' + (me + n - 1) % n);
    while (!comm.IsOver(moving.back().get())) std::this_thread::yield();
  }
  for (auto& message : moving) comm.Finish(std::move(message));
  for (int from = 0; from < n; ++from) EXPECT_EQ(in[from], from == me ? "" : text(from, me));
  // Of the same ends and tag, whichever is asked for.
  if (n > 1) {
    const int next = (me + 1) % n, last = (me + n - 1) % n;
    const std::string first_out(100'000, 'x'), second_out(3, 'y');
    std::string first_in(first_out.size(), '?'), second_in(second_out.size(), '?');
    auto first =
        comm.Start({first_out.data(), first_out.size(), next, first_in.data(), first_in.size(), last, 5});
    auto second =
        comm.Start({second_out.data(), second_out.size(), next, second_in.data(), second_in.size(), last, 5});
    for (int i = 0; i < 100; ++i) {
      comm.IsOver(second.get());
      std::this_thread::yield();
    }
    comm.IsOver(first.get());
    comm.Finish(std::move(first));
    comm.Finish(std::move(second));
    EXPECT_EQ(first_in, first_out);
    EXPECT_EQ(second_in, second_out);
  }
  // Halves of messages.
  if (n > 1 && me < 2) {
    int64_t number = 42 + me;
    auto half = me == 0 ? comm.Start({.out = &number, .out_bytes = sizeof number, .to = 1, .tag = 7})
                        : comm.Start({.in = &number, .in_bytes = sizeof number, .from = 0, .tag = 7});
    comm.Finish(std::move(half));
    EXPECT_EQ(number, 42);
  }
  comm.Barrier();
}

inline void CollectivesBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  for (int root = 0; root < n; ++root) {
    for (int64_t bytes : {0, 1, 1000, 100'003}) {
      std::string data =
          me == root ? Bytes(HostileLeaf(bytes, root)).substr(0, bytes) : std::string(bytes, '?');
      comm.Broadcast(data.data(), data.size(), root);
      EXPECT_EQ(data, Bytes(HostileLeaf(bytes, root)).substr(0, bytes));
    }
    comm.Barrier();
    const std::vector<std::string> all = comm.Gather(std::string(17 * me, static_cast<char>('A' + me)), root);
    ASSERT_EQ(all.size(), me == root ? n : 0);
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ(all[i], std::string(17 * i, static_cast<char>('A' + i)));
  }
  std::vector<std::string> expected;
  for (int i = 0; i < n; ++i) expected.push_back(i % 2 == 0 ? absl::StrCat("rank ", i) : std::string());
  EXPECT_EQ(comm.AllGather(expected[me]), expected);
  EXPECT_EQ(comm.Sum(me + 1), n * (n + 1) / 2);
  EXPECT_EQ(comm.Sum((int64_t{1} << 55) + me), (int64_t{1} << 55) * n + n * (n - 1) / 2);
}

// Integers over the whole of 64 bits, whose sums over some ranks wrap and come back.
inline int64_t HostileInteger(int rank, int64_t i) {
  const auto x = static_cast<int64_t>(RandomKey(11, "integer", i, absl::StrCat(rank)));
  return i % 3 == 0 ? x : x >> 40;
}

// Any number of ranks: each has the sums of its share, once each, after all were asked for theirs; then all
// have all.
inline void IntegersBody(Communicator& comm) {
  const int ranks = comm.size(), me = comm.rank();
  for (int64_t n : {0, 1, 2, 5, 64, 1000}) {
    for (int64_t chunk : {1, 3, 1000}) {
      if (n == 1000 && chunk < 1000) chunk = 97;
      const Share share = ShareOf(n, me, ranks);
      std::vector<int> asked(n), taken(n);
      std::vector<float> sums(n, -1.0f);
      SumIntegers(
          n,
          [&](int64_t begin, absl::Span<int64_t> to) {
            for (size_t k = 0; k < to.size(); ++k) {
              const int64_t i = begin + static_cast<int64_t>(k);
              to[k] = static_cast<int64_t>(static_cast<uint64_t>(to[k]) +
                                           static_cast<uint64_t>(HostileInteger(me, i)));
              ++asked[i];
            }
          },
          [&](int64_t begin, absl::Span<const int64_t> all) {
            for (size_t k = 0; k < all.size(); ++k) {
              const int64_t i = begin + static_cast<int64_t>(k);
              uint64_t expected = 0;
              for (int rank = 0; rank < ranks; ++rank)
                expected += static_cast<uint64_t>(HostileInteger(rank, i));
              EXPECT_EQ(all[k], static_cast<int64_t>(expected));
              EXPECT_TRUE(i >= share.begin && i < share.end);
              sums[i] = static_cast<float>(i);
              ++taken[i];
            }
          },
          comm, chunk);
      EXPECT_EQ(asked, std::vector<int>(n, 1));
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(taken[i], i >= share.begin && i < share.end);
      GatherShares(sums.data(), n, comm);
      for (int64_t i = 0; i < n; ++i) EXPECT_EQ(sums[i], static_cast<float>(i));
    }
  }
}

// The tree's parenthesis over 1, 2, 4 or 8 ranks, of numbers that no other one adds up to the same; and what
// that sends. On other numbers of ranks it is a broken invariant.
inline void TreeBody(Communicator& comm) {
  const int ranks = comm.size(), me = comm.rank();
  if (ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8) {
    float x = 1;
    EXPECT_THROW(SumTree(&x, 1, comm), InternalError);
    return;
  }
  for (int64_t n : {0, 1, 7, 1000}) {
    std::vector<std::vector<float>> of_ranks;
    for (int r = 0; r < ranks; ++r) of_ranks.push_back(HostileLeaf(n, r));
    std::vector<float> sums = of_ranks[me];
    const int64_t before = comm.sent_bytes();
    SumTree(sums.data(), n, comm);
    const Share mine = ShareOf(n, me, ranks), next = ShareOf(n, (me + 1) % ranks, ranks);
    const int64_t own = mine.end - mine.begin;
    // Others' shares, then all shares but the next rank's.
    const int64_t sent = (n - own) + (n - (next.end - next.begin));
    EXPECT_EQ(comm.sent_bytes() - before, (ranks == 1 ? 0 : sent) * static_cast<int64_t>(sizeof(float)));
    for (int count = ranks; count > 1; count /= 2) {
      for (int r = 0; r < count / 2; ++r) {
        for (int64_t i = 0; i < n; ++i) of_ranks[r][i] = of_ranks[2 * r][i] + of_ranks[2 * r + 1][i];
      }
    }
    EXPECT_EQ(Bytes(sums), Bytes(of_ranks[0])) << n;
    // Parts of any lengths, none among them, that stay where they are.
    std::vector<int64_t> edges = {0};
    for (int r = 1; r < ranks; ++r) edges.push_back(std::min(n, edges.back() + r * 5 % 7));
    edges.push_back(n);
    const int64_t begin = edges[me], end = edges[me + 1], parts_before = comm.sent_bytes();
    std::vector<float> part = HostileLeaf(n, me);
    SumTreeParts(part.data(), edges, comm);
    EXPECT_EQ(comm.sent_bytes() - parts_before,
              (ranks == 1 ? 0 : n - (end - begin)) * static_cast<int64_t>(sizeof(float)));
    EXPECT_EQ(Bytes(std::vector<float>(part.begin() + begin, part.begin() + end)),
              Bytes(std::vector<float>(sums.begin() + begin, sums.begin() + end)));
  }
}

// Parts of any lengths, none among them.
inline void PartsBody(Communicator& comm) {
  const int ranks = comm.size();
  std::vector<int64_t> edges = {0};
  for (int r = 0; r < ranks; ++r) edges.push_back(edges.back() + r * 5 % 7);
  std::vector<float> x(edges.back(), -1.0f);
  for (int64_t i = edges[comm.rank()]; i < edges[comm.rank() + 1]; ++i) x[i] = static_cast<float>(i);
  GatherParts(x.data(), edges, comm);
  for (int64_t i = 0; i < edges.back(); ++i) EXPECT_EQ(x[i], static_cast<float>(i));
}

inline void SameHeldBody(Communicator& comm) {
  const int odd = comm.size() - 1;
  const bool is_odd = comm.rank() == odd && odd > 0;
  const std::string sum(64, 'a'), other = std::string(12, 'b') + sum.substr(12);
  // Where a thing lies is nobody's difference.
  const std::vector<Held> same = {{"seed", "3", ""}, {"data", sum, is_odd ? "/mnt/d" : "/d"}};
  EXPECT_TRUE(AllRanksHold(same, comm).ok());
  EXPECT_TRUE(AllRanksOk(absl::OkStatus(), comm).ok());
  if (comm.size() < 2) return;
  const auto message = [&](std::vector<Held> mine) {
    if (!is_odd) mine = same;
    return std::string(AllRanksHold(mine, comm).message());
  };
  const std::string advice = ": start every rank with the same files and options";
  EXPECT_EQ(message({{"seed", "4", ""}, same[1]}),
            absl::StrCat("seed of rank ", odd, " differs from rank 0's: 4, not 3", advice));
  EXPECT_EQ(message({same[0], {"data", other, "/mnt/d"}}),
            absl::StrCat("data of rank ", odd,
                         " differs from rank 0's: /mnt/d (SHA-256 bbbbbbbbbbbb), not /d (SHA-256 "
                         "aaaaaaaaaaaa)",
                         advice));
  EXPECT_EQ(message({same[0]}),
            absl::StrCat("data of rank ", odd, " differs from rank 0's: none, not /d (SHA-256 aaaaaaaaaaaa)",
                         advice));
  EXPECT_EQ(message({same[0], same[1], {"more", "1", ""}}),
            absl::StrCat("more of rank ", odd, " differs from rank 0's: 1, not none", advice));
  const absl::Status first = AllRanksHold({{"weights", absl::StrCat(comm.rank()), ""}}, comm);
  EXPECT_NE(first.message().find("weights of rank 1 differs from rank 0's: 1, not 0"), std::string::npos);
  EXPECT_EQ(first.message().find("more ranks differ") != std::string::npos, comm.size() > 2) << first;

  // An error is told to all, whoever was asked to stop meanwhile; a stop alone is all ranks' as it is.
  const absl::Status stop = absl::CancelledError("stopped on request");
  for (const absl::Status& others : {absl::OkStatus(), stop}) {
    const absl::Status failed = AllRanksOk(is_odd ? absl::NotFoundError("no file") : others, comm);
    const absl::Status expected =
        absl::CancelledError(absl::StrCat("rank ", odd, " of ", comm.size(), " cannot go on: no file"));
    EXPECT_EQ(failed, is_odd ? absl::NotFoundError("no file") : expected);
    EXPECT_FALSE(IsStop(failed));
  }
  EXPECT_TRUE(IsStop(stop));
  EXPECT_EQ(AllRanksOk(is_odd ? stop : absl::OkStatus(), comm), stop);
}

// One rank ends; the others wait for it, in another call each, and hear its last words there.
inline void LeaveBody(Communicator& comm) {
  const int n = comm.size(), me = comm.rank();
  const int first = n - 1;  // the one that ends on its own
  comm.Barrier();  // who still speaks through another door to the same ranks would hear its last words there
  int64_t sent = 42;
  std::string words = "75 stopped";
  if (me == first) {
    if (n > 1) comm.Send(&sent, sizeof sent, 0);
  } else {
    try {
      int64_t got = 0;
      if (me == 0) comm.Receive(&got, sizeof got, first);
      if (me == 0) EXPECT_EQ(got, 42) << "what was sent before is not lost";
      if (me % 2 == 0) comm.Receive(&got, sizeof got, first, 3);
      // Whichever rank has left: it is not the next one of all that wait for their devices.
      const auto never = [] {
        absl::SleepFor(absl::Milliseconds(1));
        return false;
      };
      if (me == 1) comm.WaitForDevices(8, never);
      comm.SendReceive({&sent, sizeof sent, first, &got, sizeof got, first, 4});
      ADD_FAILURE() << "rank " << me << " went on";
    } catch (const PeerLeft& left) {
      EXPECT_EQ(left.words(), words);
    }
    words = absl::StrCat("rank ", me);
  }
  std::vector<std::string> expected;
  for (int rank = 0; rank < n; ++rank)
    expected.push_back(rank == first ? "75 stopped" : absl::StrCat("rank ", rank));
  EXPECT_EQ(comm.Leave(words), expected);
}

inline void AskToStopBody(Communicator& comm) {
  EXPECT_FALSE(comm.AskedToStop());
  comm.Barrier();
  if (comm.rank() == 0) comm.AskToStop();
  if (comm.rank() == 0) comm.AskToStop();
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while (comm.rank() > 0 && !comm.AskedToStop() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(comm.AskedToStop(), comm.rank() > 0);
  comm.Barrier();  // collectives go on as before
  EXPECT_EQ(comm.Sum(1), comm.size());
}

// Colors by remainder: each part speaks for itself, between calls of the whole and of the others.
inline void SplitBody(Communicator& comm) {
  for (int parts : {1, 2, 3}) {
    const int color = comm.rank() % parts;
    std::vector<std::string> same;  // the ranks of this color, in order
    for (int rank = color; rank < comm.size(); rank += parts) same.push_back(absl::StrCat(rank));
    const std::unique_ptr<Communicator> part = comm.Split(color);
    EXPECT_EQ(part->rank(), comm.rank() / parts);
    EXPECT_EQ(part->AllGather(absl::StrCat(comm.rank())), same);
    EXPECT_EQ(comm.Sum(part->rank() == 0 ? 1 : 0), std::min(parts, comm.size()));
    ExchangesBody(*part);
    CopiesBody(*part);
    HasComeBody(*part);
    MovingBody(*part);
    CollectivesBody(*part);
    const std::unique_ptr<Communicator> again = part->Split(part->rank() % 2);
    EXPECT_EQ(again->Sum(1), (part->size() + (part->rank() % 2 == 0 ? 1 : 0)) / 2);
    if (part->size() > 1) {
      char byte = 0;
      const int next = (part->rank() + 1) % part->size(),
                before = (part->rank() + part->size() - 1) % part->size();
      EXPECT_THROW(part->SendReceive({&byte, 1, next, &byte, 1, part->size()}), InternalError);
      const char mine = static_cast<char>('a' + comm.rank());
      part->SendReceive({&mine, 1, next, &byte, 1, before});
      EXPECT_EQ(byte, 'a' + std::atoi(same[before].c_str()));
    }
  }
}

// Every mesh that the ranks allow: an axis joins the ranks that differ on it alone, tp's the nearest.
inline void MeshBody(Communicator& comm) {
  const int n = comm.size();
  const absl::StatusOr<Mesh> whole = Mesh::Create({}, comm);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->sizes().dp_replicate, n);
  EXPECT_EQ(whole->dp().Sum(whole->is_first() ? 1 : 0), 1);
  for (int tp = 1; tp <= n; ++tp) {
    for (int pp = 1; pp <= n; ++pp) {
      if (n % (tp * pp) != 0) continue;
      const absl::StatusOr<Mesh> mesh = Mesh::Create({.pp = pp, .tp = tp}, comm);
      ASSERT_TRUE(mesh.ok()) << mesh.status();
      const int dp = n / tp / pp;
      EXPECT_EQ(mesh->sizes().dp_replicate, dp);
      const auto ranks = [&](Axis axis) { return mesh->axis(axis).AllGather(absl::StrCat(comm.rank())); };
      const auto expected = [&](int first, int count, int stride) {
        std::vector<std::string> all;
        for (int i = 0; i < count; ++i) all.push_back(absl::StrCat(first + i * stride));
        return all;
      };
      const int t = comm.rank() % tp, d = comm.rank() / tp % dp, p = comm.rank() / tp / dp;
      EXPECT_EQ(ranks(Axis::kTp), expected(comm.rank() - t, tp, 1));
      EXPECT_EQ(ranks(Axis::kDpReplicate), expected(comm.rank() - d * tp, dp, tp));
      EXPECT_EQ(ranks(Axis::kPp), expected(comm.rank() - p * tp * dp, pp, tp * dp));
      EXPECT_EQ(ranks(Axis::kEp), expected(comm.rank(), 1, 1));
      EXPECT_EQ(mesh->dp_rank(), d);
      EXPECT_EQ(mesh->axis(Axis::kPp).rank(), p);
      EXPECT_EQ(mesh->mates().AllGather(absl::StrCat(comm.rank())).size(), static_cast<size_t>(tp * pp));
      EXPECT_EQ(mesh->mates().rank(), p * tp + t);
      EXPECT_EQ(mesh->mates().Sum(d), d * tp * pp);
    }
  }
  // The samples' ranks are those of three axes, the last of them nearest.
  for (int ep = 1; ep <= n; ++ep) {
    for (int shard = 1; shard * ep <= n; ++shard) {
      if (n % (shard * ep) != 0) continue;
      for (int tp : {1, n / (shard * ep)}) {
        const absl::StatusOr<Mesh> mesh = Mesh::Create({.dp_shard = shard, .tp = tp, .ep = ep}, comm);
        ASSERT_TRUE(mesh.ok()) << mesh.status();
        EXPECT_EQ(mesh->dp_size(), n / tp);
        EXPECT_EQ(mesh->dp_rank(), comm.rank() / tp);
        EXPECT_EQ(mesh->dp().Sum(comm.rank() % tp), comm.rank() % tp * (n / tp));
        EXPECT_EQ(mesh->place()[Axis::kDpShard], comm.rank() / tp / ep % shard);
        EXPECT_EQ(mesh->place()[Axis::kEp], mesh->axis(Axis::kEp).rank());
      }
    }
  }
}

}  // namespace temper

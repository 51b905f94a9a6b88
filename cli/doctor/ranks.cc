// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/doctor/checks.h"
#include "core/files/crc32c.h"
#include "core/version.h"

namespace temper {
namespace {

// A few messages of each, so that one that is late does not count.
constexpr int kPings = 50, kPieces = 4;
constexpr size_t kPieceBytes = size_t{16} << 20;

// The program by what is in it.
std::string ProgramText() {
  const auto sum = Crc32cOfFile("/proc/self/exe");
  return absl::StrCat("temper ", kVersion, ", numerics ", kNumerics, ", CRC-32C ",
                      sum.ok() ? absl::StrCat(*sum) : "unknown");
}

Finding CheckProgram(Communicator& world) {
  const std::string mine = ProgramText();
  const std::vector<std::string> all = world.AllGather(mine);
  if (mine == all[0]) return {"program", Finding::kOk, mine};
  return {"program", Finding::kFail,
          absl::StrCat(mine, ", and rank 0 has ", all[0], ": install the same on all machines")};
}

struct Link {
  double microseconds = 0;   // one way
  double gbytes = 0;         // a second
  double ahead_seconds = 0;  // the other's clock
};

int64_t Now() { return absl::GetCurrentTimeNanos(); }

// Between rank 0 and `peer`, on both; rank 0 measures.
Link Measure(int peer, Communicator& world) {
  Link link;
  const bool first = world.rank() == 0;
  const int other = first ? peer : 0;
  std::vector<char> piece(kPieceBytes);
  int64_t there = 0, nearest = INT64_MAX;
  std::vector<int64_t> turns;
  for (int i = 0; i < kPings; ++i) {
    const int64_t began = Now();
    if (first) {
      world.Send(&began, sizeof began, other);
      world.Receive(&there, sizeof there, other);
      const int64_t turn = Now() - began;
      turns.push_back(turn);
      // The clock's answer is as exact as the message was quick.
      if (turn < nearest) link.ahead_seconds = static_cast<double>(there - began - turn / 2) / 1e9;
      nearest = std::min(nearest, turn);
    } else {
      world.Receive(&there, sizeof there, other);
      const int64_t now = Now();
      world.Send(&now, sizeof now, other);
    }
  }
  for (int i = 0; i < kPieces; ++i) {
    const int64_t began = Now();
    if (first) {
      world.Send(piece.data(), piece.size(), other);
      world.Receive(&there, sizeof there, other);
      link.gbytes =
          std::max(link.gbytes, static_cast<double>(kPieceBytes) / static_cast<double>(Now() - began));
    } else {
      world.Receive(piece.data(), piece.size(), other);
      world.Send(&began, sizeof began, other);
    }
  }
  if (!first) return link;
  std::nth_element(turns.begin(), turns.begin() + kPings / 2, turns.end());
  link.microseconds = static_cast<double>(turns[kPings / 2]) / 2e3;
  return link;
}

Finding NetworkFinding(const Link& link, bool same_machine, double table_gbytes) {
  const std::string text =
      absl::StrFormat("rank 0 to %s by MPI: %.1f us, %.2f GB/s",
                      same_machine ? "one beside it" : "this machine", link.microseconds, link.gbytes);
  if (table_gbytes > 0 && !same_machine && link.gbytes < table_gbytes / 2)
    return {"network", Finding::kWarn,
            absl::StrFormat("%s, and the device table says %.1f GB/s: is it the right network "
                            "(btl_tcp_if_include, UCX_NET_DEVICES)?",
                            text, table_gbytes)};
  if (link.microseconds > 1000 || link.gbytes < 0.1)
    return {"network", Finding::kWarn,
            text +
                ": slow: is it the right network (btl_tcp_if_include, UCX_NET_DEVICES), and are there cores "
                "for all ranks?"};
  return {"network", Finding::kOk, text};
}

Finding ClockFinding(double ahead) {
  if (std::abs(ahead) < 1) return {"clock", Finding::kOk, "within a second of rank 0's"};
  return {"clock", Finding::kWarn,
          absl::StrFormat(
              "%.1f s %s rank 0's: hours and signs of life are told wrong: run an NTP client (chrony)",
              std::abs(ahead), ahead > 0 ? "ahead of" : "behind")};
}

}  // namespace

Findings CheckRanks(const std::vector<std::string>& hosts, const DeviceSpec* table, Communicator& world) {
  Findings findings = {CheckProgram(world)};
  // The first rank of each machine, and the first that rank 0 has beside it.
  std::map<std::string, int> peers;
  for (int rank = 1; rank < world.size(); ++rank) peers.emplace(hosts[rank], rank);
  const double table_gbytes = table == nullptr ? 0 : table->network_gbytes;
  for (const auto& [host, peer] : peers) {
    if (world.rank() == 0) {
      const Link link = Measure(peer, world);
      world.Send(&link, sizeof link, peer);
    } else if (world.rank() == peer) {
      Measure(peer, world);
      Link link;
      world.Receive(&link, sizeof link, 0);
      findings.push_back(NetworkFinding(link, host == hosts[0], table_gbytes));
      if (host != hosts[0]) findings.push_back(ClockFinding(link.ahead_seconds));
    }
    world.Barrier();
  }
  if (world.rank() == 0 && peers.empty())
    findings.push_back(
        {"network", Finding::kOk, "one rank: nothing to measure (mpirun or srun temper doctor)"});
  return findings;
}

}  // namespace temper

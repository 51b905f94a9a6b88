// SPDX-License-Identifier: Apache-2.0
#include "rollout/exchange.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/status.h"
#include "data/record_file.h"
#include "rewards/statistics.h"

namespace temper {
namespace {

void Put(std::string_view part, std::string* message) {
  const uint64_t size = part.size();
  message->append(reinterpret_cast<const char*>(&size), sizeof size);
  message->append(part);
}

// The next part of what Put wrote.
std::string_view Take(std::string_view* message) {
  uint64_t size = 0;
  TEMPER_CHECK(message->size() >= sizeof size);
  std::memcpy(&size, message->data(), sizeof size);
  message->remove_prefix(sizeof size);
  TEMPER_CHECK(message->size() >= size);
  const std::string_view part = message->substr(0, size);
  message->remove_prefix(size);
  return part;
}

// A string of any length to one rank and from another; of either there may be none (-1).
std::string Swap(Communicator& ranks, std::string_view out, int to, int from) {
  uint64_t out_bytes = out.size(), in_bytes = 0;
  ranks.Finish(ranks.Start(
      {&out_bytes, to < 0 ? 0 : sizeof out_bytes, to, &in_bytes, from < 0 ? 0 : sizeof in_bytes, from}));
  std::string in(in_bytes, 0);
  ranks.Finish(ranks.Start({out.data(), out.size(), to, in.data(), in.size(), from}));
  return in;
}

// Copies what is there from one trajectory to another.
void CopyContents(Contents contents, const Trajectory& from, Trajectory* to) {
  if (contents == Contents::kTokens) {
    to->tokens = from.tokens;
    to->logprobs = from.logprobs;
  } else {
    to->text = from.text;
  }
}

// What this rank has for an owner, with whose sample each is.
std::string HeldFor(int owner, Contents contents, const std::vector<int>& owners,
                    const std::vector<Group>& groups) {
  std::string message;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (owners[g] != owner) continue;
    for (const Trajectory& trajectory : groups[g].trajectories) {
      Trajectory sent;
      CopyContents(contents, trajectory, &sent);
      if (sent.tokens.empty() && sent.text.empty()) continue;
      sent.prompt_id = trajectory.prompt_id;
      sent.sample = trajectory.sample;
      Put(EncodeTrajectory(sent), &message);
    }
  }
  return message;
}

// Which of the ranks that share out the samples a rank is, and which of the ranks that this is.
struct Seat {
  int64_t data_rank = 0, mate = 0, mates = 1;
};
Seat SeatOf(const Mesh& mesh, int rank) {
  const MeshPlace place = PlaceOf(mesh.sizes(), rank);
  const PartPlace mate = PlaceIn(MeshParts()[kMatesPart], place);
  return {PlaceIn(MeshParts()[kDpPart], place).rank, mate.rank, mate.ranks};
}

}  // namespace

absl::StatusOr<std::deque<Trajectory>> Exchange(Communicator& ranks, const absl::Status& mine,
                                                std::deque<Trajectory> trajectories) {
  std::string message(1, static_cast<char>(mine.code()));
  Put(std::string(mine.message()), &message);
  if (mine.ok()) {
    for (Trajectory& trajectory : trajectories) {
      trajectory.looks_back = LooksBack(trajectory.text);
      Trajectory head;
      static_cast<TrajectoryHead&>(head) = trajectory;
      Put(EncodeTrajectory(head), &message);
    }
  }
  const std::vector<std::string> messages = ranks.AllGather(message);

  absl::Status error;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    std::string_view rest = std::string_view(messages[rank]).substr(1);
    const auto code = static_cast<absl::StatusCode>(messages[rank][0]);
    if (code == absl::StatusCode::kOk || (!error.ok() && !absl::IsCancelled(error))) continue;
    if (!error.ok() && code == absl::StatusCode::kCancelled) continue;
    const std::string where = ranks.size() > 1 ? absl::StrCat("rank ", rank, ": ") : "";
    error = absl::Status(code, absl::StrCat(where, std::string(Take(&rest))));
  }
  if (!error.ok()) return error;

  std::deque<Trajectory> all;
  for (int rank = 0; rank < ranks.size(); ++rank) {
    if (rank == ranks.rank()) {
      std::move(trajectories.begin(), trajectories.end(), std::back_inserter(all));
      continue;
    }
    std::string_view rest = std::string_view(messages[rank]).substr(1);
    Take(&rest);
    while (!rest.empty()) {
      TEMPER_ASSIGN_OR_RETURN(Trajectory head, DecodeTrajectory(Take(&rest)));
      all.push_back(std::move(head));
    }
  }
  return all;
}

absl::StatusOr<std::deque<Trajectory>> ShareWithMates(Communicator& mates, const absl::Status& status,
                                                      std::deque<Trajectory> trajectories) {
  if (mates.size() == 1) {
    if (!status.ok()) return status;
    return trajectories;
  }
  std::string message;
  if (mates.rank() == 0) {
    message.push_back(static_cast<char>(status.code()));
    Put(std::string(status.message()), &message);
    for (const Trajectory& trajectory : trajectories) Put(EncodeTrajectory(trajectory), &message);
  }
  uint64_t bytes = message.size();
  mates.Broadcast(&bytes, sizeof bytes, 0);
  message.resize(bytes);
  mates.Broadcast(message.data(), message.size(), 0);
  std::string_view rest = std::string_view(message).substr(1);
  const std::string words(Take(&rest));
  const auto code = static_cast<absl::StatusCode>(message[0]);
  if (code != absl::StatusCode::kOk) return absl::Status(code, words);
  if (mates.rank() == 0) return trajectories;
  trajectories.clear();
  while (!rest.empty()) {
    TEMPER_ASSIGN_OR_RETURN(Trajectory trajectory, DecodeTrajectory(Take(&rest)));
    trajectories.push_back(std::move(trajectory));
  }
  return trajectories;
}

void Deliver(const Mesh& sampled, const Mesh& owning, Contents contents, const std::vector<int>& owners,
             std::vector<Group>* groups) {
  TEMPER_CHECK(owners.size() == groups->size());
  Communicator& ranks = owning.world();
  // Of ranks that have the same each sends to other ones; where both meshes are one, to those of its place.
  const auto sends = [&](int from, int to) {
    const Seat has = SeatOf(sampled, from), needs = SeatOf(owning, to);
    return has.data_rank != SeatOf(sampled, to).data_rank &&
           has.mate == (needs.mate + needs.mates * needs.data_rank) % has.mates;
  };
  std::vector<std::string> messages;
  for (int distance = 1; distance < ranks.size(); ++distance) {
    int to = (ranks.rank() + distance) % ranks.size();
    int from = (ranks.rank() + ranks.size() - distance) % ranks.size();
    std::string out;
    if (sends(ranks.rank(), to)) {
      out = HeldFor(static_cast<int>(SeatOf(owning, to).data_rank), contents, owners, *groups);
    } else {
      to = -1;
    }
    if (!sends(from, ranks.rank())) from = -1;
    if (to < 0 && from < 0) continue;
    messages.push_back(Swap(ranks, out, to, from));
  }
  std::map<std::string_view, std::vector<Trajectory>*> mine;  // by prompt
  for (size_t g = 0; g < groups->size(); ++g) {
    if (owners[g] == owning.dp_rank()) mine.emplace((*groups)[g].prompt.id, &(*groups)[g].trajectories);
  }
  for (const std::string& message : messages) {
    for (std::string_view rest = message; !rest.empty();) {
      absl::StatusOr<Trajectory> received = DecodeTrajectory(Take(&rest));
      TEMPER_CHECK(received.ok(), received.status().message());
      CopyContents(contents, *received, &mine.at(received->prompt_id)->at(received->sample));
    }
  }
  for (size_t g = 0; g < groups->size(); ++g) {
    if (owners[g] == owning.dp_rank()) continue;
    for (Trajectory& trajectory : (*groups)[g].trajectories) CopyContents(contents, {}, &trajectory);
  }
}

}  // namespace temper

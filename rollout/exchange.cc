// SPDX-License-Identifier: Apache-2.0
#include "rollout/exchange.h"

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/status.h"
#include "data/record_file.h"

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

}  // namespace

absl::StatusOr<std::deque<Trajectory>> Exchange(Communicator& ranks, const absl::Status& mine,
                                                const std::deque<Trajectory>& trajectories) {
  std::string message(1, static_cast<char>(mine.code()));
  Put(std::string(mine.message()), &message);
  if (mine.ok()) {
    for (const Trajectory& trajectory : trajectories) Put(EncodeTrajectory(trajectory), &message);
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
  for (const std::string& each : messages) {
    std::string_view rest = std::string_view(each).substr(1);
    Take(&rest);
    while (!rest.empty()) {
      TEMPER_ASSIGN_OR_RETURN(Trajectory trajectory, DecodeTrajectory(Take(&rest)));
      all.push_back(std::move(trajectory));
    }
  }
  return all;
}

}  // namespace temper

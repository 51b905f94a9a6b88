// SPDX-License-Identifier: Apache-2.0
#include "data/trajectory.h"

#include "core/check.h"

namespace temper {

const char* Name(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText:
      return "eos";
    case StopReason::kLength:
      return "length";
    case StopReason::kStopString:
      return "stop";
  }
  TEMPER_CHECK(false, "stop reason ", static_cast<int>(reason));
}

const char* Name(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kCorrect:
      return "correct";
    case VerdictKind::kWrong:
      return "wrong";
    case VerdictKind::kNoAnswer:
      return "no_answer";
    case VerdictKind::kMalformed:
      return "malformed";
    case VerdictKind::kTimeout:
      return "timeout";
    case VerdictKind::kInfrastructureError:
      return "infrastructure_error";
  }
  TEMPER_CHECK(false, "verdict kind ", static_cast<int>(kind));
}

const char* Name(Segment::Kind kind) {
  switch (kind) {
    case Segment::Kind::kSampled:
      return "sampled";
    case Segment::Kind::kGiven:
      return "given";
  }
  TEMPER_CHECK(false, "segment kind ", static_cast<int>(kind));
}

int64_t TrajectoryHead::sampled() const {
  int64_t sum = 0;
  for (const Segment& segment : segments) sum += segment.kind == Segment::Kind::kSampled ? segment.count : 0;
  return sum;
}

void TrajectoryHead::Extend(Segment::Kind kind, int64_t policy_version, int64_t count) {
  if (count == 0) return;
  if (segments.empty() || segments.back().kind != kind || segments.back().policy_version != policy_version)
    segments.push_back({length(), 0, kind, policy_version});
  segments.back().count += count;
}

std::vector<std::optional<float>> LogprobsByToken(const Trajectory& trajectory) {
  std::vector<std::optional<float>> all(trajectory.length());
  size_t next = 0;
  for (const Segment& segment : trajectory.segments) {
    if (segment.kind == Segment::Kind::kGiven) continue;
    for (int64_t i = segment.first; i < segment.end(); ++i) all[i] = trajectory.logprobs.at(next++);
  }
  return all;
}

}  // namespace temper

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

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rewards/rule.h"

#include "core/text.h"

namespace temper {

Verdict MakeVerdict(VerdictKind kind, double score, std::string reason) {
  Verdict verdict;
  verdict.kind = kind;
  verdict.score = score;
  verdict.reason = std::move(reason);
  return verdict;
}

Verdict JudgeSafely(const Reward& rule, const Completion& completion) {
  std::string what;
  try {
    Verdict verdict = rule.Judge(completion);
    verdict.rule = rule.name();
    return verdict;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
    what = "an exception that is no std::exception";
  }
  Verdict verdict = MakeVerdict(VerdictKind::kInfrastructureError, 0, Printable(what));
  verdict.rule = rule.name();
  return verdict;
}

}  // namespace temper

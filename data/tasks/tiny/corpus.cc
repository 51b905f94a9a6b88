// SPDX-License-Identifier: Apache-2.0
// The documents of the tiny language. Shares and error rates are those of a trial in which RL finds the
// careful solutions and the systematic search among much that is worse.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "data/tasks/tiny/problem.h"

namespace temper::tiny {
namespace {

enum class Kind { kOther, kDirect, kSkip, kFull, kChainBroken, kGuess, kOne, kFew, kSearch, kFindXBroken };

// Weights; they need not sum to 1.
struct Share {
  Kind kind;
  double reasoning, direct_only;
};
constexpr Share kShares[] = {
    {Kind::kOther, .15, .15},        // no problem: words, or a worked chain without a question
    {Kind::kDirect, .20, .37},       // chain: an answer without a step
    {Kind::kSkip, .12, 0},           // chain: two or three operations at once
    {Kind::kFull, .08, 0},           // chain: every step
    {Kind::kChainBroken, .05, .05},  // chain: not in the form that is asked for
    {Kind::kGuess, .16, .38},        // find_x: an answer without a try
    {Kind::kOne, .10, 0},            // find_x: one try, answered whatever it gave
    {Kind::kFew, .08, 0},            // find_x: gives up after two or three
    {Kind::kSearch, .06, 0},         // find_x: tries until one is right
    {Kind::kFindXBroken, .05, .05},
};

constexpr double kWords = .1;        // of kOther: words instead of a chain
constexpr double kRightAtOnce = .3;  // answers without a step: right by more than luck
constexpr double kStepError = .06;   // of a written step
constexpr double kJumpError = .35;   // of a jump over several operations
constexpr double kTryError = .02;    // of a step in a try
constexpr double kAscending = .4;    // searches that go 0, 1, 2, ..
constexpr double kStrayTry = .03;    // tries of any digit, also of one that was tried
constexpr int kMostTries = 12;
constexpr double kChainWeights[] = {1, 1.5, 2, 2, 2, .8, .6, .5};  // of 1 to 8 operations
constexpr double kFindXWeights[] = {3, 5, 1.2};                    // of 2 to 4

// What stands before </think>, and the answer that follows from it.
struct Work {
  std::string text;
  int answer = 0;
  bool found = false;
};

class Writer {
 public:
  Writer(RandomStream random, bool chinese, bool direct_only)
      : random_(random), chinese_(chinese), direct_only_(direct_only) {}

  Document Write(Kind kind) {
    switch (kind) {
      case Kind::kOther:
        return Other();
      case Kind::kDirect:
      case Kind::kSkip:
      case Kind::kFull:
      case Kind::kChainBroken:
        return Chain(kind);
      default:
        return FindX(kind);
    }
  }

  Document Clean(const Problem& problem) {
    return Closed(problem,
                  problem.is_find_x() ? Search(problem, 10, 1, 0, 0) : Steps(problem, problem.start, 0));
  }

  Document Other() {
    if (Chance(kWords)) {
      std::string text;
      for (int64_t n = 3 + Below(6); n > 0; --n) {
        const int word = Below(std::size(kFillers) + 1);
        absl::StrAppend(&text, " ", word == 0 ? "a" : kFillers[word - 1]);
      }
      return {"", text + " ."};
    }
    const Problem problem = DrawChain(random_, 2 + Below(6), Split::kTrain);
    return {"", absl::StrCat(" so", Steps(problem, problem.start, 0).text, " .")};
  }

 private:
  int Below(uint64_t n) { return static_cast<int>(random_.NextBelow(n)); }
  bool Chance(double share) { return random_.NextUniform() < share; }
  template <class Weights>
  int Weighted(const Weights& weights) {
    return random_.NextWeighted({std::begin(weights), std::end(weights)});
  }
  int Slip(int digit, double error) { return Chance(error) ? (digit + 1 + Below(9)) % 10 : digit; }
  const char* Wait() const { return chinese_ ? " 等" : " wait"; }
  const char* Ok() const { return chinese_ ? " 好" : " ok"; }

  // Slips are carried on.
  Work Steps(const Problem& problem, int start, double error) {
    Work work{absl::StrCat(" ", start), start};
    for (size_t i = 0; i < problem.operations.size(); ++i) {
      work.answer = Slip(Apply(work.answer, problem.operations[i]), error);
      absl::StrAppend(&work.text, OperationText(problem, i), " ", work.answer);
    }
    return work;
  }

  Work Jumps(const Problem& problem) {
    Work work{absl::StrCat(" ", problem.start), problem.start};
    for (size_t i = 0; i < problem.operations.size();) {
      const size_t end = std::min(problem.operations.size(), i + (Below(3) < 2 ? 2 : 3));
      const bool several = end - i > 1;
      for (; i < end; ++i) {
        work.answer = Apply(work.answer, problem.operations[i]);
        work.text += OperationText(problem, i);
      }
      if (several) work.answer = Slip(work.answer, kJumpError);
      absl::StrAppend(&work.text, " ", work.answer);
    }
    return work;
  }

  Work AtOnce(int right, double share) { return {"", Chance(share) ? right : Below(10)}; }

  Work OneTry(const Problem& problem) {
    const int digit = Below(10);
    return {Steps(problem, digit, kTryError).text, digit};
  }

  // Until a try ends in 0, or there were enough. Ascending, or in an order without repeats.
  Work Search(const Problem& problem, int tries, double ascending, double stray, double error) {
    int order[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    if (!Chance(ascending)) {
      for (int i = 9; i > 0; --i) std::swap(order[i], order[Below(i + 1)]);
    }
    Work work;
    for (int t = 0; t < tries && !work.found; ++t) {
      work.answer = t >= 10 || Chance(stray) ? Below(10) : order[t];
      const Work steps = Steps(problem, work.answer, error);
      absl::StrAppend(&work.text, t > 0 ? Wait() : "", steps.text);
      work.found = steps.answer == 0;
    }
    if (work.found) work.text += Ok();
    return work;
  }

  Document Closed(const Problem& problem, const Work& work) const {
    return {PromptTextOf(problem), absl::StrCat(work.text, " </think> <answer> ", work.answer, " </answer>")};
  }

  // Not in the form that is asked for.
  Document Broken(const Problem& problem, const Work& work) {
    std::string end;
    switch (Weighted(std::initializer_list<double>{.3, .3, .2, .2})) {
      case 0:
        end = absl::StrCat(" so ", work.answer, " .");
        break;
      case 1:
        end = absl::StrCat(" </think> ", work.answer, " .");
        break;
      case 2:
        end = absl::StrCat(" <answer> ", work.answer, " </answer>");
        break;
      default:
        end = absl::StrCat(" </think> <answer> ", work.answer);
    }
    return {PromptTextOf(problem), work.text + end};
  }

  Document Chain(Kind kind) {
    const Problem problem = DrawChain(random_, 1 + Weighted(kChainWeights), Split::kTrain);
    if (kind == Kind::kDirect) {
      const double right = problem.operations.size() == 1 ? 1 : kRightAtOnce;
      return Closed(problem, AtOnce(AnswerOf(problem), right));
    }
    if (kind == Kind::kSkip) return Closed(problem, Jumps(problem));
    if (kind == Kind::kFull) return Closed(problem, Steps(problem, problem.start, kStepError));
    const int body = direct_only_ ? 2 : Weighted(std::initializer_list<double>{.2, .3, .5});
    const Work work = body == 0   ? Steps(problem, problem.start, kStepError)
                      : body == 1 ? Jumps(problem)
                                  : AtOnce(0, 0);
    return Broken(problem, work);
  }

  Document FindX(Kind kind) {
    const Problem problem = DrawFindX(random_, 2 + Weighted(kFindXWeights), Split::kTrain);
    const bool broken = kind == Kind::kFindXBroken;
    if (broken) {
      constexpr Kind kBodies[] = {Kind::kGuess, Kind::kOne, Kind::kFew};
      kind = direct_only_ ? Kind::kGuess : kBodies[Weighted(std::initializer_list<double>{.25, .5, .25})];
    }
    Work work;
    if (kind == Kind::kGuess) {
      work = AtOnce(AnswerOf(problem), kRightAtOnce);
    } else if (kind == Kind::kOne) {
      work = OneTry(problem);
    } else {
      const int tries = kind == Kind::kSearch ? kMostTries : Below(3) < 2 ? 2 : 3;
      work = Search(problem, tries, kAscending, kStrayTry, kTryError);
    }
    return broken ? Broken(problem, work) : Closed(problem, work);
  }

  RandomStream random_;
  const bool chinese_;
  const bool direct_only_;  // nothing reasons before it answers
};

RandomStream StreamOf(uint64_t key, const char* what, int64_t index) {
  return RandomStream(RandomKey(key, what, static_cast<uint64_t>(index), ""), Purpose::kCorpus);
}

}  // namespace

Document CorpusDocument(uint64_t key, int64_t index, const CorpusOptions& options) {
  RandomStream random = StreamOf(key, "tiny corpus", index);
  const bool chinese = random.NextUniform() < options.chinese_share;
  std::vector<double> shares;
  for (const Share& share : kShares)
    shares.push_back(options.reasoning ? share.reasoning : share.direct_only);
  const Kind kind = kShares[random.NextWeighted(shares)].kind;
  return Writer(random, chinese, !options.reasoning).Write(kind);
}

Document ColdStartDocument(uint64_t key, int64_t index, const ProblemOptions& options) {
  RandomStream random = StreamOf(key, "tiny cold start", index);
  const Problem problem = DrawProblem(random, options, Split::kTrain);
  return Writer(random, false, false).Clean(problem);
}

Document GeneralDocument(uint64_t key, int64_t index) {
  return Writer(StreamOf(key, "tiny general", index), false, false).Other();
}

}  // namespace temper::tiny

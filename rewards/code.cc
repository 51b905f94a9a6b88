// SPDX-License-Identifier: Apache-2.0
#include "rewards/code.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/code_block.h"
#include "rewards/code_compare.h"
#include "rewards/code_driver.h"
#include "rewards/code_task.h"
#include "rewards/sandbox.h"
#include "rewards/tags.h"

namespace temper {
namespace {

using End = SandboxRun::End;

// A number that nobody guesses.
std::string Nonce() {
  unsigned char bytes[16];
  TEMPER_CHECK(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes), sizeof(bytes)));
}

// The file that a program's path leads to, or nothing: /etc, where some systems' links go, is not in a
// sandbox.
std::string Resolve(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(realpath(path.c_str(), nullptr), free);
  return real != nullptr && access(real.get(), X_OK) == 0 ? real.get() : "";
}

// The first line of a compiler's words that names an error.
std::string FirstError(std::string_view text) {
  size_t at = text.find("error:");
  if (at == text.npos) return Printable(LastLine(text));
  const size_t begin = text.rfind('\n', at) == text.npos ? 0 : text.rfind('\n', at) + 1;
  return Printable(text.substr(begin, text.find('\n', at) - begin));
}

// One judgement. Its methods return a verdict where one is final.
class Judging {
 public:
  Judging(const RuleConfig& config, const Sandbox& sandbox, const std::string& interpreter,
          const std::string& compiler, const CodeTask& task, const std::string& code)
      : config_(config),
        sandbox_(sandbox),
        interpreter_(interpreter),
        compiler_(compiler),
        task_(task),
        code_(code) {}

  Verdict Judge() {
    for (size_t i = 0; i < task_.tests.size(); ++i) {
      if (std::optional<Verdict> verdict = JudgeTest(i)) return *std::move(verdict);
    }
    return MakeVerdict(VerdictKind::kCorrect, 1, "");
  }

 private:
  std::optional<Verdict> JudgeTest(size_t index) {
    const CodeTest& test = task_.tests[index];
    const std::string nonce = test.function.empty() ? "" : Nonce();
    const std::string request =
        test.function.empty() ? test.input : DriverRequest(nonce, test.function, test.args);
    SandboxProgram program{.input = request, .limits = Limits()};
    if (task_.cpp) {
      if (!binaries_.contains(test.function)) {
        if (std::optional<Verdict> verdict = Compile(test.function)) return verdict;
      }
      program.command = {"/box/solution"};
      program.files = {{"solution", binaries_[test.function], true}};
    } else {
      program.command = {interpreter_, "-s", "-B",
                         test.function.empty() ? "/box/solution.py" : "/box/driver.py"};
      program.files = {{"solution.py", code_}};
      if (!test.function.empty()) program.files.push_back({"driver.py", kPythonDriver});
    }
    SandboxRun run;
    if (std::optional<Verdict> verdict = Run(&program, &run)) return verdict;
    return Compare(index, run, nonce);
  }

  // Also where there is no time left for it.
  std::optional<Verdict> Run(SandboxProgram* program, SandboxRun* run) {
    std::string failure;
    for (int attempt = 0; attempt < 2; ++attempt) {
      const double left = static_cast<double>(config_.total_seconds) - Elapsed();
      if (left <= 0) {
        return MakeVerdict(VerdictKind::kTimeout, 0,
                           absl::StrCat("all tests together took more than ", config_.total_seconds, " s"));
      }
      program->limits.wall_seconds = std::min(program->limits.wall_seconds, left);
      absl::StatusOr<SandboxRun> ran = sandbox_.Run(*program);
      if (ran.ok()) {
        *run = *std::move(ran);
        return std::nullopt;
      }
      failure = std::string(ran.status().message());
    }
    return MakeVerdict(VerdictKind::kInfrastructureError, 0, Printable(failure));
  }

  // Of the task's program for calls of `function`, "" for standard input and output.
  std::optional<Verdict> Compile(const std::string& function) {
    const std::string source = function.empty() ? code_ : CppWithDriver(code_, function);
    // The program comes out through descriptor 3: no file of the host's is touched.
    const std::string script =
        absl::StrCat("cd /box && LC_ALL=C ", compiler_, " -std=gnu++20 -O2 -pipe -o /tmp/solution ",
                     function.empty() ? "solution.cc" : "driver.cc", " -pthread && cat /tmp/solution >&3");
    SandboxProgram program{.command = {"/bin/sh", "-c", script},
                           .files = {{function.empty() ? "solution.cc" : "driver.cc", source}},
                           .limits = {.cpu_seconds = kCompileSeconds,
                                      .wall_seconds = 3.0 * kCompileSeconds,
                                      .memory_bytes = 2ll << 30,
                                      .file_bytes = 64ll << 20,
                                      .disk_bytes = 128ll << 20}};
    SandboxRun run;
    if (std::optional<Verdict> verdict = Run(&program, &run)) return verdict;
    if (run.end == End::kTimeout) return MakeVerdict(VerdictKind::kTimeout, 0, "compiling it takes too long");
    if (run.end != End::kExit || run.code != 0 || run.cut || run.result.empty()) {
      return MakeVerdict(VerdictKind::kWrong, 0, absl::StrCat("does not compile: ", FirstError(run.errors)));
    }
    binaries_[function] = std::move(run.result);
    return std::nullopt;
  }

  std::optional<Verdict> Compare(size_t index, const SandboxRun& run, const std::string& nonce) const {
    const CodeTest& test = task_.tests[index];
    const auto failed = [&](VerdictKind kind, const std::string& how, const std::string& detail = "") {
      return MakeVerdict(kind, 0,
                         absl::StrCat(NameOf(index), ": ", how, test.hidden || detail.empty() ? "" : ": ",
                                      test.hidden ? "" : detail));
    };
    switch (run.end) {
      case End::kTimeout:
        return failed(VerdictKind::kTimeout, "takes too long");
      case End::kMemory:
        return failed(VerdictKind::kWrong, "runs out of memory");
      case End::kSignal:
        return failed(VerdictKind::kWrong, absl::StrCat("killed by signal ", run.code),
                      Printable(LastLine(run.errors)));
      case End::kExit:
        if (run.code != 0) {
          return failed(VerdictKind::kWrong, absl::StrCat("exit status ", run.code),
                        Printable(LastLine(run.errors)));
        }
    }
    if (run.cut) return failed(VerdictKind::kWrong, "writes too much");
    if (test.function.empty()) {
      if (SameOutput(test.output, run.output, task_.compare)) return std::nullopt;
      return failed(VerdictKind::kWrong, "wrong output", Contrast(run.output, test.output));
    }
    if (!absl::StartsWith(run.result, nonce + "\n")) return failed(VerdictKind::kWrong, "no result");
    const std::string_view result = std::string_view(run.result).substr(nonce.size() + 1);
    const absl::StatusOr<Json> value = ParseJson(result, "result");
    if (!value.ok()) return failed(VerdictKind::kWrong, "its result is no plain value");
    if (SameValue(test.expected, *value, task_.compare.tolerance)) return std::nullopt;
    return failed(VerdictKind::kWrong, "wrong result", Contrast(result, DumpJson(test.expected)));
  }

  static std::string Contrast(std::string_view got, std::string_view expected) {
    return absl::StrCat(Printable(Trim(got), 80), " is not ", Printable(Trim(expected), 80));
  }

  // "test 2 of 3", "hidden test 1 of 5"
  std::string NameOf(size_t index) const {
    const bool hidden = task_.tests[index].hidden;
    size_t shown = 0;
    for (const CodeTest& test : task_.tests) shown += !test.hidden;
    const size_t first = hidden ? shown : 0, count = hidden ? task_.tests.size() - shown : shown;
    return absl::StrCat(hidden ? "hidden " : "", "test ", index - first + 1, " of ", count);
  }

  SandboxLimits Limits() const {
    const int64_t memory = config_.memory_mib << 20;
    return {.cpu_seconds = config_.cpu_seconds,
            .wall_seconds = config_.wall_seconds,
            .memory_bytes = memory,
            .stack_bytes = std::min<int64_t>(64ll << 20, memory / 4),
            .file_bytes = config_.output_mib << 20};
  }

  double Elapsed() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

  static constexpr int64_t kCompileSeconds = 20;

  const RuleConfig& config_;
  const Sandbox& sandbox_;
  const std::string& interpreter_;
  const std::string& compiler_;
  const CodeTask& task_;
  const std::string& code_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::map<std::string, std::string> binaries_;  // by function
};

class Code : public Reward {
 public:
  Code(RuleConfig config, CodeCompare compare, std::unique_ptr<Sandbox> sandbox)
      : config_(std::move(config)),
        compare_(compare),
        sandbox_(std::move(sandbox)),
        interpreter_(Resolve(config_.python)),
        compiler_(Resolve(config_.compiler)) {}
  const std::string& name() const override { return config_.rule; }

  absl::Status CheckAnswer(const Prompt& prompt) const override { return Read(prompt).status(); }

  Verdict Judge(const Completion& completion) const override {
    const absl::StatusOr<CodeTask> task = Read(*completion.prompt);
    if (!task.ok()) {
      return MakeVerdict(VerdictKind::kInfrastructureError, 0, std::string(task.status().message()));
    }
    CodeBlock block = FindCode(completion, task->cpp);
    if (block.kind != VerdictKind::kCorrect) return MakeVerdict(block.kind, 0, std::move(block.reason));
    Verdict verdict = Judging(config_, *sandbox_, interpreter_, compiler_, *task, block.code).Judge();
    verdict.extracted = std::move(block.code);
    return verdict;
  }

 private:
  absl::StatusOr<CodeTask> Read(const Prompt& prompt) const {
    TEMPER_ASSIGN_OR_RETURN(CodeTask task, ReadCodeTask(prompt, compare_));
    const std::string& tool = task.cpp ? compiler_ : interpreter_;
    if (!tool.empty()) return task;
    return absl::FailedPreconditionError(
        absl::StrCat("rule code: ", task.cpp ? config_.compiler : config_.python,
                     " is not there, and a problem needs it (", task.cpp ? "compiler" : "python", ")"));
  }

  const RuleConfig config_;
  const CodeCompare compare_;
  const std::unique_ptr<Sandbox> sandbox_;
  const std::string interpreter_, compiler_;  // empty: not there
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeCode(const RuleConfig& config) {
  CodeCompare compare{.tolerance = config.tolerance};
  const absl::StatusOr<CodeCompare::Text> text = CompareByName(config.compare);
  if (!text.ok()) return absl::InvalidArgumentError(absl::StrCat("rule code: ", text.status().message()));
  compare.text = *text;
  for (const std::string& path : {config.python, config.compiler}) {
    const std::string real = Resolve(path);
    if (path.find_first_not_of("/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") !=
            path.npos ||
        (!real.empty() && !absl::StartsWith(real, "/usr/"))) {
      return absl::InvalidArgumentError(
          absl::StrCat("rule code: ", Printable(path, 100), " (", Printable(real, 100),
                       ") is not in /usr, all that a sandbox has of this machine"));
    }
  }
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Sandbox> sandbox, Sandbox::Create());
  return std::make_unique<Code>(config, compare, std::move(sandbox));
}

}  // namespace temper

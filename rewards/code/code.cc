// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/code.h"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/code/block.h"
#include "rewards/code/compare.h"
#include "rewards/code/driver/driver.h"
#include "rewards/code/task.h"
#include "rewards/completion/tags.h"
#include "rewards/sandbox/sandbox.h"

namespace temper {
namespace {

using End = SandboxRun::End;

// A number that nobody guesses.
std::string Nonce() {
  unsigned char bytes[16];
  TEMPER_CHECK(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes), sizeof(bytes)));
}

// The first line of a compiler's words that names an error.
std::string FirstError(std::string_view text) {
  size_t at = text.find("error:");
  if (at == text.npos) return Printable(LastLine(text));
  const size_t begin = text.rfind('\n', at) == text.npos ? 0 : text.rfind('\n', at) + 1;
  return Printable(text.substr(begin, text.find('\n', at) - begin));
}

// Whether Python code defines a function, or a class with it, at its top.
bool Defines(std::string_view code, const std::string& name) {
  const std::string first = name.substr(0, name.find('.'));
  for (const absl::string_view line : absl::StrSplit(std::string(code), '\n')) {
    for (const char* word : {"def ", "async def ", "class ", ""}) {
      absl::string_view rest = line;
      if (!absl::ConsumePrefix(&rest, word) || !absl::ConsumePrefix(&rest, first)) continue;
      const size_t next = rest.find_first_not_of(' ');
      const char c = next == rest.npos ? 0 : rest[next];
      if (*word != 0 ? c == '(' || c == ':' : c == '=') return true;
    }
  }
  return false;
}

// The modules that Python code imports, by their first names.
std::vector<std::string> ImportsOf(std::string_view code) {
  std::vector<std::string> names;
  for (absl::string_view line : absl::StrSplit(std::string(code), '\n')) {
    line = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::ConsumePrefix(&line, "import ") && !absl::ConsumePrefix(&line, "from ")) continue;
    line = absl::StripLeadingAsciiWhitespace(line);
    const absl::string_view name = line.substr(0, line.find_first_of(" .,;#\r"));
    const bool plain = std::ranges::all_of(name, [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
    if (plain && !name.empty()) names.emplace_back(name);
  }
  return names;
}

struct CodeTools {
  std::optional<absl::StatusOr<HostFiles>> python, compiler, compiled;
};

// One judgement. Its methods return a verdict where one is final.
class Judging {
 public:
  Judging(const CodeOptions& config, const Sandbox& sandbox, const CodeTools& tools, const CodeTask& task,
          const std::string& code, const std::atomic<bool>& dropping)
      : config_(config), sandbox_(sandbox), tools_(tools), task_(task), code_(code), dropping_(dropping) {}

  Verdict Judge() {
    for (size_t i = 0; i < task_.tests.size(); ++i) {
      if (std::optional<Verdict> verdict = JudgeTest(i)) return *std::move(verdict);
    }
    return MakeVerdict(VerdictKind::kCorrect, 1, "");
  }

 private:
  std::optional<Verdict> JudgeTest(size_t index) {
    const CodeTest& test = task_.tests[index];
    const bool checks = !test.check.empty(), calls = !test.function.empty();
    const std::string nonce = checks || calls ? Nonce() : "";
    const std::string request = checks  ? CheckRequest(nonce, task_, test)
                                : calls ? CallRequest(nonce, test)
                                        : test.input;
    SandboxProgram program{.input = request, .limits = Limits()};
    if (task_.cpp) {
      if (!binaries_.contains(test.function)) {
        if (std::optional<Verdict> verdict = Compile(test.function)) return verdict;
      }
      program.command = {"/box/solution"};
      program.host = &**tools_.compiled;
      program.files = {{"solution", binaries_[test.function], true}};
    } else {
      static const std::string caller = PythonCaller(), checker = PythonChecker();
      program.host = &**tools_.python;
      program.command = {program.host->program(), "-s", "-B",
                         checks || calls ? "/box/driver.py" : "/box/solution.py"};
      program.files = {{"solution.py", code_}};
      if (checks || calls) program.files.push_back({"driver.py", checks ? checker : caller});
      if (checks && !task_.prompt.empty()) program.files.push_back({"prompt.py", task_.prompt});
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
      absl::StatusOr<SandboxRun> ran = sandbox_.Run(*program, [this] { return dropping_.load(); });
      if (ran.ok()) {
        *run = *std::move(ran);
        return std::nullopt;
      }
      failure = std::string(ran.status().message());
      if (absl::IsCancelled(ran.status())) break;
    }
    return MakeVerdict(VerdictKind::kInfrastructureError, 0, Printable(failure));
  }

  // Of the task's program for calls of `function`, "" for standard input and output.
  std::optional<Verdict> Compile(const std::string& function) {
    const std::string source = function.empty() ? code_ : CppWithDriver(code_, function);
    // The program comes out through descriptor 3: no file of the host's is touched.
    const std::string script = absl::StrCat(
        "cd /box && LC_ALL=C ", (*tools_.compiler)->program(), " -std=gnu++20 -O2 -pipe -o /tmp/solution ",
        function.empty() ? "solution.cc" : "driver.cc", " -pthread && /bin/cat /tmp/solution >&3");
    SandboxProgram program{.command = {"/bin/sh", "-c", script},
                           .host = &**tools_.compiler,
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
    if (test.function.empty() && test.check.empty()) {
      if (SameOutput(test.output, run.output, task_.compare)) return std::nullopt;
      return failed(VerdictKind::kWrong, "wrong output", Contrast(run.output, test.output));
    }
    if (!absl::StartsWith(run.result, nonce + "\n")) return failed(VerdictKind::kWrong, "no result");
    const std::string_view result = std::string_view(run.result).substr(nonce.size() + 1);
    const absl::StatusOr<Json> value = ParseJson(result, "result", Numbers::kAsWritten);
    if (!value.ok()) return failed(VerdictKind::kWrong, "its result is no plain value");
    if (!test.check.empty()) return Checked(*value, failed);
    if (SameValue(test.expected, *value, task_.compare.tolerance)) return std::nullopt;
    if (test.alone && SameValue(Json::array({test.expected}), *value, task_.compare.tolerance))
      return std::nullopt;
    return failed(VerdictKind::kWrong, "wrong result", Contrast(result, DumpJson(test.expected)));
  }

  // What a check came to; nothing: it passed.
  template <class Failed>
  static std::optional<Verdict> Checked(const Json& said, const Failed& failed) {
    if (said.is_object() && said.size() == 1 && said.begin().value().is_string()) {
      const std::string& how = said.begin().key();
      const std::string detail = Printable(said.begin().value().get<std::string>(), 200);
      if (how == "passed") return std::nullopt;
      if (how == "late") return failed(VerdictKind::kTimeout, "takes too long", "");
      if (how == "died") return failed(VerdictKind::kWrong, "the program ends in the check", detail);
      if (how == "failed") return failed(VerdictKind::kWrong, "fails", detail);
      if (how == "unfit")
        return MakeVerdict(VerdictKind::kInfrastructureError, 0, "the check cannot run: " + detail);
    }
    return failed(VerdictKind::kWrong, "no result", "");
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

  const CodeOptions& config_;
  const Sandbox& sandbox_;
  const CodeTools& tools_;
  const CodeTask& task_;
  const std::string& code_;
  const std::atomic<bool>& dropping_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::map<std::string, std::string> binaries_;  // by function
};

class Code : public Reward {
 public:
  Code(CodeOptions config, CodeCompare compare, std::unique_ptr<Sandbox> sandbox)
      : config_(std::move(config)), compare_(compare), sandbox_(std::move(sandbox)) {}
  const std::string& name() const override { return name_; }

  absl::Status CheckAnswer(const Prompt& prompt) const override {
    TEMPER_ASSIGN_OR_RETURN(const std::shared_ptr<const CodeTask> task, Read(prompt));
    TEMPER_ASSIGN_OR_RETURN(const CodeTools* const tools, Tools(task->cpp));
    for (const CodeTest& test : task->tests) {
      if (!test.check.empty()) TEMPER_RETURN_IF_ERROR(CheckImports(test.check, **tools->python));
    }
    return absl::OkStatus();
  }

  Verdict Judge(const Completion& completion) const override {
    {
      absl::MutexLock lock(&mutex_);
      ++at_work_;
    }
    const absl::Cleanup done = [this] {
      absl::MutexLock lock(&mutex_);
      --at_work_;
    };
    return JudgeNow(completion);
  }

  void Drop() const override {
    const auto quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return at_work_ == 0; };
    absl::MutexLock lock(&mutex_);
    dropping_ = true;
    mutex_.Await(absl::Condition(&quiet));
    dropping_ = false;
  }

 private:
  Verdict JudgeNow(const Completion& completion) const {
    const absl::StatusOr<std::shared_ptr<const CodeTask>> read = Read(*completion.prompt);
    if (!read.ok()) {
      return MakeVerdict(VerdictKind::kInfrastructureError, 0, std::string(read.status().message()));
    }
    const CodeTask& task = **read;
    const absl::StatusOr<const CodeTools*> tools = Tools(task.cpp);
    if (!tools.ok()) {
      return MakeVerdict(VerdictKind::kInfrastructureError, 0, std::string(tools.status().message()));
    }
    CodeBlock block = FindCode(completion, task.cpp);
    if (block.kind != VerdictKind::kCorrect) return MakeVerdict(block.kind, 0, std::move(block.reason));
    const bool goes_on = !task.entry.empty() && !Defines(block.code, task.entry);
    const std::string program = goes_on ? task.prompt + block.code : block.code;
    Verdict verdict = Judging(config_, *sandbox_, **tools, task, program, dropping_).Judge();
    verdict.extracted = std::move(block.code);
    return verdict;
  }

  // A group's completions have one row: it is read once for as many as follow each other.
  absl::StatusOr<std::shared_ptr<const CodeTask>> Read(const Prompt& prompt) const {
    {
      absl::MutexLock lock(&mutex_);
      if (last_ != nullptr && last_fields_ == prompt.fields) return last_;
    }
    TEMPER_ASSIGN_OR_RETURN(CodeTask task, ReadCodeTask(prompt, compare_));
    auto read = std::make_shared<const CodeTask>(std::move(task));
    absl::MutexLock lock(&mutex_);
    last_fields_ = prompt.fields;
    last_ = read;
    return read;
  }

  // A check that cannot run is no fault of a program's: modules that it imports are looked for before.
  absl::Status CheckImports(std::string_view check, const HostFiles& python) const {
    for (const std::string& name : ImportsOf(check)) {
      {
        absl::MutexLock lock(&mutex_);
        if (imports_.contains(name)) continue;
      }
      TEMPER_ASSIGN_OR_RETURN(const SandboxRun run,
                              sandbox_->Run({.command = {python.program(), "-s", "-B", "-c",
                                                         absl::StrCat("import importlib.util, sys\n"
                                                                      "sys.exit(importlib.util.find_spec('",
                                                                      name, "') is None)")},
                                             .host = &python}));
      if (run.end != End::kExit || run.code != 0) {
        return absl::FailedPreconditionError(absl::StrCat("rule code: a test imports ", name, ", which ",
                                                          config_.python,
                                                          " has not, or which is not one of `packages`"));
      }
      absl::MutexLock lock(&mutex_);
      imports_.insert(name);
    }
    return absl::OkStatus();
  }

  // Those of the language are looked for when the first problem needs them.
  absl::StatusOr<const CodeTools*> Tools(bool cpp) const {
    absl::MutexLock lock(&mutex_);
    if (!cpp && !tools_.python) tools_.python = HostFiles::OfPython(config_.python, config_.packages);
    if (cpp && !tools_.compiler) {
      tools_.compiler = HostFiles::OfCompiler(config_.compiler);
      tools_.compiled =
          tools_.compiler->ok() ? HostFiles::OfCompiled(config_.compiler) : tools_.compiler->status();
    }
    const absl::Status& status = cpp ? tools_.compiled->status() : tools_.python->status();
    if (status.ok()) return &tools_;
    return absl::FailedPreconditionError(absl::StrCat("rule code: ", cpp ? "compiler" : "python", " ",
                                                      status.message(), ", and a problem needs it"));
  }

  const std::string name_ = "code";
  const CodeOptions config_;
  const CodeCompare compare_;
  const std::unique_ptr<Sandbox> sandbox_;
  mutable absl::Mutex mutex_;
  mutable CodeTools tools_;  // once set, as it is
  mutable std::string last_fields_;
  mutable std::shared_ptr<const CodeTask> last_;
  mutable std::set<std::string> imports_;  // that are there
  mutable int64_t at_work_ = 0;            // judgements
  mutable std::atomic<bool> dropping_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeCode(const CodeOptions& config) {
  CodeCompare compare{.tolerance = config.tolerance};
  const absl::StatusOr<CodeCompare::Text> text = CompareByName(config.compare);
  if (!text.ok()) return absl::InvalidArgumentError(absl::StrCat("rule code: ", text.status().message()));
  compare.text = *text;
  for (const std::string& path : {config.python, config.compiler}) {
    if (path.starts_with("/") &&
        path.find_first_not_of("/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-") ==
            path.npos)
      continue;
    return absl::InvalidArgumentError(
        absl::StrCat("rule code: ", Printable(path, 100), " is no absolute path of plain letters"));
  }
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Sandbox> sandbox, Sandbox::Create());
  return std::make_unique<Code>(config, compare, std::move(sandbox));
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "rewards/sandbox/host.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/text.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
constexpr size_t kMostHidden = 32;  // of a directory; with more that are no code it is not there at all

absl::Status Unusable(const std::string& path, const std::string& what) {
  return absl::FailedPreconditionError(absl::StrCat(Printable(path, 200), " ", what));
}

std::string ShellWord(const std::string& word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

// What a trusted program of the host's prints; nothing where it fails.
std::string OutputOf(const std::string& script) {
  std::string text;
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(script.c_str(), "re"), pclose);
  if (pipe == nullptr) return text;
  std::array<char, 4096> piece{};
  for (size_t n; (n = fread(piece.data(), 1, piece.size(), pipe.get())) > 0;) text.append(piece.data(), n);
  return text;
}

// What a compiler prints when it is asked, in one line.
std::string AnswerOf(const std::string& compiler, const std::string& option) {
  const std::string said =
      OutputOf(absl::StrCat("LC_ALL=C ", ShellWord(compiler), " ", option, " 2>/dev/null"));
  return std::string(absl::StripAsciiWhitespace(said));
}

std::vector<std::string> LinesOf(const std::string& text) {
  return absl::StrSplit(text, '\n', absl::SkipWhitespace());
}

bool IsUnder(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

bool IsSharedObject(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  return absl::EndsWith(name, ".so") || absl::StrContains(name, ".so.");
}

bool IsPythonCode(const std::string& path) {
  return IsSharedObject(path) || absl::EndsWith(path, ".py") || absl::EndsWith(path, ".pyc");
}

bool IsHeader(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  const size_t dot = name.rfind('.');
  if (dot == name.npos) return absl::StrContains(path, "/c++/");  // <vector>
  static const std::set<std::string> kEnds = {".h",   ".hh",  ".hpp", ".hxx", ".h++",
                                              ".tcc", ".inl", ".ipp", ".def", ".inc"};
  return kEnds.contains(name.substr(dot));
}

// What of a directory is to be hidden, with all of it where there is no code in it: {whether there is, what}.
std::pair<bool, std::vector<std::string>> Hidden(const fs::path& directory,
                                                 const std::function<bool(const std::string&)>& is_code,
                                                 std::vector<std::string>* modules) {
  bool any = false;
  std::vector<std::string> hidden;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, error)) {
    const std::string path = entry.path();
    if (entry.is_symlink(error)) {  // leads to what the sandbox has, or nowhere
      any |= is_code(path);
      continue;
    }
    if (!entry.is_directory(error)) {
      const bool code = is_code(path);
      if (code && IsSharedObject(path)) modules->push_back(path);
      any |= code;
      if (!code) hidden.push_back(path);
      continue;
    }
    const std::string name = entry.path().filename();
    auto [has_code, inside] = name == "site-packages" || name == "dist-packages"
                                  ? std::pair<bool, std::vector<std::string>>{false, {}}
                                  : Hidden(entry.path(), is_code, modules);
    has_code = has_code && inside.size() <= kMostHidden;
    any |= has_code;
    if (has_code) {
      hidden.insert(hidden.end(), inside.begin(), inside.end());
    } else {
      hidden.push_back(path + "/");
    }
  }
  return {any, std::move(hidden)};
}

// Python's answer of where it lives: lines of a word and a path.
constexpr char kAskPython[] = R"(
import importlib.util, os, sys, sysconfig
print("program", os.path.realpath(sys.executable))
for path in sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *sys.path}):
    if os.path.isfile(path): print("file", path)
    elif os.path.isfile(path + "/os.py") or path.endswith("/lib-dynload"): print("tree", path)
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    for path in spec and spec.submodule_search_locations or []:
        for path in (path, path + ".libs"):
            if os.path.isdir(path): print("package", path)
)";

}  // namespace

bool HostFiles::IsCovered(const std::string& path) const {
  for (const auto& [place, found] : found_) {
    if (found.kind == SandboxEntry::kHostTree && IsUnder(path, place)) return true;
  }
  return found_.contains(path);
}

absl::StatusOr<std::string> HostFiles::Add(const std::string& path) {
  std::deque<std::string> left;
  for (const absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) left.emplace_back(part);
  std::string at;
  struct stat found {};
  for (int links = 0; !left.empty();) {
    const std::string part = left.front();
    left.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      at.resize(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    const std::string next = absl::StrCat(at, "/", part);
    if (lstat(next.c_str(), &found) != 0)
      return Unusable(path, absl::StrCat("is not there: ", strerror(errno)));
    if (!S_ISLNK(found.st_mode)) {
      at = next;
      continue;
    }
    std::error_code error;
    const std::string target = fs::read_symlink(next, error);
    if (error || ++links > 40) return Unusable(path, "is a link that leads nowhere");
    if (!IsCovered(next)) found_[next] = {SandboxEntry::kLink, target};
    if (target.front() == '/') at.clear();
    std::vector<std::string> parts = absl::StrSplit(target, '/', absl::SkipEmpty());
    left.insert(left.begin(), parts.begin(), parts.end());
  }
  for (const char* own : {"/tmp", "/dev", "/box", "/packages", "/proc"}) {
    if (IsUnder(at, own))
      return Unusable(path, absl::StrCat("lies in ", own, ", which a sandbox has of its own"));
  }
  if (!IsCovered(at))
    found_[at] = {S_ISDIR(found.st_mode) ? SandboxEntry::kHostTree : SandboxEntry::kHostFile, at};
  return at;
}

absl::Status HostFiles::AddTree(const std::string& path, const IsCode& is_code, const std::string& place) {
  if (place.empty() && IsCovered(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string real, place.empty() ? Add(path) : path);
  const std::string here = place.empty() ? real : place;
  // What was listed by itself is now in the tree.
  std::erase_if(found_, [&](const auto& one) { return one.first != here && IsUnder(one.first, here); });
  found_[here] = {SandboxEntry::kHostTree, real};
  if (!place.empty()) moved_.push_back(real);
  for (std::string hidden : Hidden(real, is_code, &modules_).second) {
    const bool tree = hidden.back() == '/';
    if (tree) hidden.pop_back();
    found_[here + hidden.substr(real.size())] = {tree ? SandboxEntry::kNoTree : SandboxEntry::kNoFile, ""};
  }
  return absl::OkStatus();
}

absl::Status HostFiles::AddLibraries(const std::string& program, const std::vector<std::string>& modules) {
  // The loader itself says what it would load.
  const std::string said = OutputOf(
      absl::StrCat("LC_ALL=C LD_TRACE_LOADED_OBJECTS=1 LD_PRELOAD=", ShellWord(absl::StrJoin(modules, ":")),
                   " ", ShellWord(program), " </dev/null 2>/dev/null"));
  std::set<std::string> own = {"/lib", "/usr/lib", "/lib64", "/usr/lib64"};
  std::vector<std::string> libraries;
  for (const std::string& line : LinesOf(said)) {
    if (!absl::StrContains(line, " (0x")) continue;
    const size_t arrow = line.find("=> ");
    const std::string path(
        absl::StripAsciiWhitespace(line.substr(arrow == line.npos ? 0 : arrow + 3, line.rfind(" (0x"))));
    const std::string library = path.substr(0, path.find(" (0x"));
    if (library.empty() || library[0] != '/') continue;
    if (absl::StrContains(library, "/libc.so")) {
      const std::string directory = library.substr(0, library.rfind('/'));
      own.insert({directory, "/usr" + directory});
      // What the C library opens by itself when a thread ends.
      if (access((directory + "/libgcc_s.so.1").c_str(), R_OK) == 0)
        libraries.push_back(directory + "/libgcc_s.so.1");
    }
    libraries.push_back(library);
  }
  for (const std::string& library : libraries) {
    const std::string plain = fs::path(library).lexically_normal();
    const auto moved = [&](const std::string& directory) { return IsUnder(plain, directory); };
    if (IsCovered(plain) || std::ranges::any_of(moved_, moved)) continue;
    TEMPER_RETURN_IF_ERROR(Add(library).status());
    const std::string directory = plain.substr(0, plain.rfind('/'));
    if (!own.contains(directory)) searched_.insert(directory);
  }
  return absl::OkStatus();
}

void HostFiles::Finish() {
  std::set<std::string> made;
  for (const auto& [path, found] : found_) {
    const bool hides = found.kind == SandboxEntry::kNoFile || found.kind == SandboxEntry::kNoTree;
    for (size_t end = path.find('/', 1); !hides && end != path.npos; end = path.find('/', end + 1)) {
      const std::string parent = path.substr(0, end);
      if (made.insert(parent).second) entries_.push_back({SandboxEntry::kDirectory, parent.substr(1), ""});
    }
    made.insert(path);
    entries_.push_back({found.kind, path.substr(1), found.source});
  }
  if (!searched_.empty())
    environment_.push_back(absl::StrCat("LD_LIBRARY_PATH=", absl::StrJoin(searched_, ":")));
}

absl::StatusOr<HostFiles> HostFiles::OfProgram(const std::string& path) {
  HostFiles files;
  TEMPER_ASSIGN_OR_RETURN(files.program_, files.Add(path));
  TEMPER_RETURN_IF_ERROR(files.AddLibraries(files.program_, {}));
  files.Finish();
  return files;
}

absl::StatusOr<HostFiles> HostFiles::OfPython(const std::string& interpreter,
                                              const std::vector<std::string>& packages) {
  HostFiles files;
  std::string ask = absl::StrCat(ShellWord(interpreter), " -s -E -B -c ", ShellWord(kAskPython));
  for (const std::string& name : packages) absl::StrAppend(&ask, " ", ShellWord(name));
  bool has_packages = false;
  for (const std::string& line : LinesOf(OutputOf(ask + " </dev/null 2>/dev/null"))) {
    const std::pair<std::string, std::string> said = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const std::string& path = said.second;
    if (said.first == "program") {
      TEMPER_ASSIGN_OR_RETURN(files.program_, files.Add(path));
    } else if (said.first == "file") {
      TEMPER_RETURN_IF_ERROR(files.Add(path).status());
    } else if (said.first == "tree") {
      TEMPER_RETURN_IF_ERROR(files.AddTree(path, IsPythonCode));
    } else if (said.first == "package") {
      TEMPER_RETURN_IF_ERROR(files.AddTree(path, IsPythonCode, "/packages" + path.substr(path.rfind('/'))));
      has_packages = true;
    }
  }
  if (files.program_.empty()) {
    return access(interpreter.c_str(), X_OK) != 0
               ? Unusable(interpreter, "cannot be run: " + std::string(strerror(errno)))
               : Unusable(interpreter, "does not say where it lives: is it a Python 3?");
  }
  std::error_code error;
  // By the name that it was given, too: a link, or a virtual environment's.
  if (fs::canonical(interpreter, error) == files.program_)
    TEMPER_RETURN_IF_ERROR(files.Add(interpreter).status());
  // A window's library needs a dozen others.
  std::erase_if(files.modules_, [](const std::string& path) { return absl::StrContains(path, "/_tkinter"); });
  TEMPER_RETURN_IF_ERROR(files.AddLibraries(files.program_, files.modules_));
  if (has_packages) files.environment_.push_back("PYTHONPATH=/packages");
  files.Finish();
  return files;
}

absl::StatusOr<HostFiles> HostFiles::OfCompiler(const std::string& compiler) {
  HostFiles files;
  TEMPER_ASSIGN_OR_RETURN(files.program_, files.Add(compiler));
  std::vector<std::string> programs = {files.program_, "/bin/sh", "/bin/cat"};
  for (const char* name : {"cc1plus", "collect2", "lto-wrapper", "as", "ld"}) {
    std::string path = AnswerOf(compiler, absl::StrCat("-print-prog-name=", name));
    if (!absl::StartsWith(path, "/")) path = absl::StrCat("/usr/bin/", name);
    if (access(path.c_str(), X_OK) == 0) programs.push_back(path);
  }
  // The compiler's own objects, and those of the C library that every program is linked with.
  std::vector<std::string> objects;
  const std::string begin = AnswerOf(compiler, "-print-file-name=crtbegin.o");
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(begin).parent_path(), error)) {
    const std::string path = entry.path(), end = entry.path().extension();
    if (end == ".o" || end == ".a" || IsSharedObject(path)) objects.push_back(path);
  }
  for (const char* name : {"crt1.o",           "Scrt1.o",
                           "crti.o",           "crtn.o",
                           "libc.so",          "libc.so.6",
                           "libc_nonshared.a", "libm.so",
                           "libm.so.6",        "libmvec.so",
                           "libmvec.so.1",     "libpthread.a",
                           "libpthread.so",    "libpthread_nonshared.a",
                           "librt.a",          "libdl.a",
                           "libstdc++.so",     "libstdc++.so.6",
                           "libgcc_s.so",      "libgcc_s.so.1"}) {
    const std::string path = AnswerOf(compiler, absl::StrCat("-print-file-name=", name));
    if (absl::StartsWith(path, "/") && access(path.c_str(), R_OK) == 0) objects.push_back(path);
  }
  const std::string said =
      OutputOf(absl::StrCat("LC_ALL=C ", ShellWord(compiler), " -E -v -x c++ /dev/null 2>&1 >/dev/null"));
  bool searches = false;
  for (const std::string& line : LinesOf(said)) {
    searches = absl::StartsWith(line, "#include <") || (searches && line[0] == ' ');
    if (!searches || line[0] != ' ') continue;
    const std::string path = fs::path(line.substr(1)).lexically_normal();
    if (fs::is_directory(path, error)) TEMPER_RETURN_IF_ERROR(files.AddTree(path, IsHeader));
  }
  for (const std::string& object : objects) TEMPER_RETURN_IF_ERROR(files.Add(object).status());
  for (const std::string& program : programs) {
    TEMPER_RETURN_IF_ERROR(files.Add(program).status());
    TEMPER_RETURN_IF_ERROR(files.AddLibraries(program, {}));
  }
  if (files.found_.size() < 20)
    return Unusable(compiler, "does not say where its files are: is it a C++ compiler?");
  files.Finish();
  return files;
}

absl::StatusOr<HostFiles> HostFiles::OfCompiled(const std::string& compiler) {
  const std::string library = AnswerOf(compiler, "-print-file-name=libstdc++.so.6");
  if (library.empty() || library[0] != '/') return Unusable(compiler, "does not say where its libstdc++ is");
  HostFiles files;
  TEMPER_ASSIGN_OR_RETURN(const std::string found, files.Add(library));
  TEMPER_RETURN_IF_ERROR(files.AddLibraries("/bin/true", {found}));
  files.Finish();
  return files;
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// What a sandbox has of this machine: the files of one interpreter or compiler, by list. Whatever else lies
// beside them (a data set, hidden tests) is not there.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"
#include "rewards/sandbox/child.h"

namespace temper {

class HostFiles {
 public:
  // One thing of a sandbox's root. Entries come in an order in which they can be made.
  struct Entry {
    SandboxEntry::Kind
        kind;          // kDirectory, kLink, kHostFile, kHostTree; kNoFile, kNoTree: of the tree, no code
    std::string path;  // without the first slash
    std::string source;
  };

  // Python's own: the program, its standard library's code without what was installed into it, and the
  // libraries that these load; `packages` by name, where the interpreter has them (in /packages). Asks the
  // interpreter, once. Errors name it: not there, not a Python, files in a place that sandboxes have of their
  // own (/tmp, /box, /dev).
  static absl::StatusOr<HostFiles> OfPython(const std::string& interpreter,
                                            const std::vector<std::string>& packages);
  // A C++ compiler's own (it takes g++'s options): programs, headers of the directories that it searches,
  // objects that it links, and a shell.
  static absl::StatusOr<HostFiles> OfCompiler(const std::string& compiler);
  // What a program of that compiler's loads.
  static absl::StatusOr<HostFiles> OfCompiled(const std::string& compiler);
  // A program with the libraries that it loads.
  static absl::StatusOr<HostFiles> OfProgram(const std::string& path);

  const std::string& program() const { return program_; }  // its path in the sandbox, without links
  const std::vector<Entry>& entries() const { return entries_; }
  const std::vector<std::string>& environment() const { return environment_; }  // NAME=VALUE

 private:
  using IsCode = std::function<bool(const std::string& path)>;
  struct Found {
    SandboxEntry::Kind kind;
    std::string source;
  };

  // A file or directory of the host's at its own path, and the links on the way to it. Where it is already:
  // nothing. What it comes to without links.
  absl::StatusOr<std::string> Add(const std::string& path);
  // A directory of which only code is to be seen; at `place`, if there is one.
  absl::Status AddTree(const std::string& path, const IsCode& is_code, const std::string& place = "");
  // The libraries that a program loads, and those that `modules` would make it load.
  absl::Status AddLibraries(const std::string& program, const std::vector<std::string>& modules);
  void Finish();
  bool IsCovered(const std::string& path) const;

  std::string program_;
  std::map<std::string, Found> found_;  // by path
  std::vector<std::string> modules_;    // shared objects of the trees
  std::vector<std::string> moved_;      // host's directories that are at another place
  std::set<std::string> searched_;      // where libraries lie that the loader finds by a list in /etc
  std::vector<std::string> environment_;
  std::vector<Entry> entries_;
};

}  // namespace temper

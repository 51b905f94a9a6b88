// SPDX-License-Identifier: Apache-2.0
#include "core/files/leftovers.h"

#include <sys/stat.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/status.h"

namespace temper {

absl::Status RemoveWhole(const std::string& directory) {
  if (!FileExists(directory)) return absl::OkStatus();
  const size_t name = directory.rfind('/') + 1;
  const std::string aside = absl::StrCat(directory.substr(0, name), ".", directory.substr(name), ".tmp");
  TEMPER_RETURN_IF_ERROR(RemoveTree(aside));
  TEMPER_RETURN_IF_ERROR(RenamePath(directory, aside));
  return RemoveTree(aside);
}

absl::Status RemoveLeftovers(const std::string& directory) {
  if (!FileExists(directory)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(directory, "/", name);
    const bool hidden = name[0] == '.';
    if (hidden && absl::EndsWith(name, ".tmp")) {
      TEMPER_RETURN_IF_ERROR(RemoveTree(path));
    } else if (hidden && absl::EndsWith(name, ".old")) {
      TEMPER_RETURN_IF_ERROR(RecoverDirectory(absl::StrCat(directory, "/", name.substr(1, name.size() - 5))));
    } else if (struct stat info; lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
      TEMPER_RETURN_IF_ERROR(RemoveLeftovers(path));
    }
  }
  return absl::OkStatus();
}

}  // namespace temper

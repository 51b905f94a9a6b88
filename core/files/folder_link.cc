// SPDX-License-Identifier: Apache-2.0
#include "core/files/folder_link.h"

#include <algorithm>
#include <filesystem>

namespace temper {
namespace {

namespace fs = std::filesystem;

bool IsBelow(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

}  // namespace

std::string OutsideTarget(const std::string& folder, const std::string& name) {
  std::error_code error;
  const fs::path root = fs::canonical(folder, error), target = fs::canonical(fs::path(folder) / name, error);
  if (error || IsBelow(target, root)) return "";  // whoever opens it says why it cannot be
  const fs::path snapshots = root.parent_path();
  if (snapshots.filename() == "snapshots" && IsBelow(target, snapshots.parent_path() / "blobs")) return "";
  return target.string();
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// Where a config says its keys.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/config/config.h"
#include "core/config/text.h"
#include "core/text.h"

namespace temper {
namespace {

// The item of `node` that `part` names; null: there is none.
const YamlNode* ItemOf(const YamlNode& node, const std::string& part, bool index) {
  if (!index) return node.Find(part);
  size_t number = 0;
  const bool there =
      node.kind == YamlNode::kList && absl::SimpleAtoi(part, &number) && number < node.items.size();
  return there ? &node.items[number] : nullptr;
}

// The node at `path`; null: there is none. line: of the last node of the file on the way.
const YamlNode* NodeAt(const YamlNode& root, const std::string& path, int* line) {
  const YamlNode* node = &root;
  for (size_t i = 0; node != nullptr && i < path.size();) {
    if (node->origin.empty()) *line = node->line;
    const bool index = path[i] == '[';
    const size_t begin = i + (index || path[i] == '.' ? 1 : 0);
    const size_t end = std::min(path.find_first_of("].[", begin), path.size());
    node = ItemOf(*node, path.substr(begin, end - begin), index);
    i = end + (index ? 1 : 0);
  }
  return node;
}

}  // namespace

std::string PlaceText(const std::string& name, int line, const YamlNode* node, const std::string& path) {
  if (node != nullptr && !node->origin.empty()) return node->origin;
  return absl::StrCat(Printable(name, 1000), ":", line, ": ", path);
}

bool ConfigPlaces::Says(const std::string& path) const {
  int line = 0;
  return NodeAt(root_, path, &line) != nullptr;
}

std::string ConfigPlaces::Of(const std::string& path) const {
  if (name_.empty()) return path;
  int line = root_.line;
  const YamlNode* const node = NodeAt(root_, path, &line);
  return PlaceText(name_, node != nullptr ? node->line : line, node, path);
}

}  // namespace temper

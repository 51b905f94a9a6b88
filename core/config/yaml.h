// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace temper {

// One value of a YAML file, with its place. Plain data: no anchors, no tags, no merges.
struct YamlNode {
  enum Kind { kNull, kScalar, kList, kMap };
  Kind kind = kNull;
  std::string text;               // kScalar
  bool quoted = false;            // kScalar: written in quotes, so text and nothing else
  int line = 1;                   // from 1; of a map's value: the line of its key
  std::string origin;             // "--set a.b=c": given there, not in the file
  std::vector<YamlNode> items;    // kList, kMap
  std::vector<std::string> keys;  // kMap: of each item

  YamlNode* Find(std::string_view key);
  const YamlNode* Find(std::string_view key) const { return const_cast<YamlNode*>(this)->Find(key); }
};

// The one document of `text`. Beyond what yaml-cpp refuses, refuses what it lets pass or reads in a
// surprising way: duplicate keys, `<<`, anchors and aliases, tags, a second document, more than 64 levels,
// bytes that are not UTF-8, a byte order mark, control characters, tabs before the first word of a line,
// unclosed quotes, keys that are not words, an empty text. Errors are one line, `NAME:LINE: what`.
absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name);

// Sets "a.b.c=value" (an item of a list by its number: "a.0.b") in `root`; the value is YAML, and may be a
// list
// `[1, 2]` or a map. What is set remembers `--set a.b.c=value` as its origin. Errors name it too.
absl::Status OverrideYaml(YamlNode& root, const std::string& assignment);

}  // namespace temper

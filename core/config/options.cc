// SPDX-License-Identifier: Apache-2.0
// Command options: made into a tree of YAML that the fields read.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/config/text.h"
#include "core/text.h"

namespace temper {
namespace {

std::vector<std::string> Split(const std::string& text, char at) { return absl::StrSplit(text, at); }

YamlNode Single(const std::string& text) {
  YamlNode node;
  node.kind = YamlNode::kScalar;
  node.text = text;
  return node;
}

// The node at `path` below root, made where it is not.
YamlNode& At(YamlNode& root, const std::string& path) {
  YamlNode* node = &root;
  for (const std::string& part : Split(path, '.')) {
    node->kind = YamlNode::kMap;
    YamlNode* next = node->Find(part);
    if (next == nullptr) {
      node->keys.push_back(part);
      next = &node->items.emplace_back();
    }
    node = next;
  }
  return *node;
}

void Set(YamlNode& node, const FieldText& field, const std::string& value) {
  if (!field.list) {
    node = Single(value);
    return;
  }
  if (!field.repeated) node = YamlNode();
  node.kind = YamlNode::kList;
  if (field.repeated) {
    node.items.push_back(Single(value));
  } else if (!value.empty()) {
    for (const std::string& part : Split(value, ',')) node.items.push_back(Single(part));
  }
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ReadOptions(const std::vector<std::string>& arguments,
                                                     const std::vector<FieldText>& texts,
                                                     VisitFields fields) {
  YamlNode root;
  root.kind = YamlNode::kMap;
  std::vector<std::string> rest, names;
  for (const FieldText& field : texts) {
    if (!field.is_section) names.push_back(OptionName(field.path));
  }
  const auto find = [&](const std::string& name) -> const FieldText* {
    for (const FieldText& field : texts) {
      if (!field.is_section && OptionName(field.path) == name) return &field;
    }
    return nullptr;
  };
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      rest.insert(rest.end(), arguments.begin() + i + 1, arguments.end());
      break;
    }
    if (argument.size() < 3 || argument.compare(0, 2, "--") != 0) {
      if (argument.size() > 1 && argument[0] == '-') {
        return absl::InvalidArgumentError(
            absl::StrCat(Printable(argument), ": unknown option; options begin with --"));
      }
      rest.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = absl::StrReplaceAll(argument.substr(0, equals), {{"_", "-"}});
    const FieldText* field = find(name);
    if (field == nullptr && name.compare(0, 5, "--no-") == 0 && equals == std::string::npos) {
      const FieldText* flag = find(absl::StrCat("--", name.substr(5)));
      if (flag != nullptr && flag->leaf == Leaf::kBool && !flag->list) {
        Set(At(root, flag->path), *flag, "false");
        continue;
      }
    }
    if (field == nullptr) {
      const std::string nearest = Nearest(name, names);
      return absl::InvalidArgumentError(absl::StrCat(Printable(name), ": unknown option",
                                                     nearest.empty() ? "; see --help" : "; did you mean ",
                                                     nearest, nearest.empty() ? "" : "?"));
    }
    std::string value = "true";
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (field->leaf != Leaf::kBool || field->list) {
      if (i + 1 == arguments.size())
        return absl::InvalidArgumentError(absl::StrCat(name, ": expected a value after it"));
      value = arguments[++i];
    }
    Set(At(root, field->path), *field, value);
  }
  TEMPER_RETURN_IF_ERROR(ReadTree(root, "", true, fields));
  return rest;
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/config/yaml.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/text.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace temper {
namespace {

constexpr size_t kMaxYamlDepth = 64;

absl::Status Error(const std::string& name, int line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(Printable(name, 1000), ":", line, ": ", what));
}

// Builds the tree from yaml-cpp's events, so that nothing is hidden and nothing is followed.
class YamlBuilder : public YAML::EventHandler {
 public:
  explicit YamlBuilder(const std::string& text) : text_(text) {}
  YamlNode root;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Fail(mark, "a second document; one file holds one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Refuse(mark, "", anchor);
    if (AwaitsKey()) Fail(mark, "a key is missing before ':'");
    Put(mark, YamlNode::kNull);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Fail(mark, "aliases (*name) are not supported");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Refuse(mark, tag, anchor);
    const bool quoted = tag == "!";
    if (quoted) CheckClosed(mark);
    // yaml-cpp makes single bytes of \N and \_.
    if (FirstInvalidUtf8(value) < value.size())
      Fail(mark, "an escape that makes no UTF-8; write the character");
    if (AwaitsKey()) {
      YamlNode& map = *open_.back();
      if (!quoted && value == "<<") Fail(mark, "merges (<<) are not supported");
      if (!keys_.back().insert(value).second) {
        Fail(mark, absl::StrCat("duplicate key ", Printable(value)));
      }
      if (value.empty() || Printable(value, value.size()) != value) Fail(mark, "a key is not a word");
      map.keys.push_back(value);
      key_line_ = mark.line + 1;
      return;
    }
    YamlNode& node = Put(mark, YamlNode::kScalar);
    node.text = value;
    node.quoted = quoted;
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::kList);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor, YamlNode::kMap);
  }
  void OnMapEnd() override { Close(); }

 private:
  [[noreturn]] static void Fail(const YAML::Mark& mark, const std::string& what) {
    throw YAML::ParserException(mark, what);
  }

  static void Refuse(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) Fail(mark, "anchors (&name) are not supported");
    if (!tag.empty() && tag != "?" && tag != "!")
      Fail(mark, absl::StrCat("tags (", Printable(tag), ") are not supported"));
  }

  bool AwaitsKey() const {
    return !open_.empty() && open_.back()->kind == YamlNode::kMap &&
           open_.back()->keys.size() == open_.back()->items.size();
  }

  YamlNode& Put(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode* node = &root;
    if (!open_.empty()) {
      YamlNode& parent = *open_.back();
      node = &parent.items.emplace_back();
      node->line = parent.kind == YamlNode::kMap ? key_line_ : mark.line + 1;
    } else {
      node->line = mark.line + 1;
    }
    node->kind = kind;
    return *node;
  }

  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    Refuse(mark, tag, anchor);
    if (AwaitsKey()) Fail(mark, "a key is a list or a map");
    if (open_.size() == kMaxYamlDepth)
      Fail(mark, absl::StrCat("nested deeper than ", kMaxYamlDepth, " levels"));
    // A parent's items only grow while no child is open, so the pointers in open_ stay good.
    open_.push_back(&Put(mark, kind));
    keys_.emplace_back();
  }
  void Close() {
    open_.pop_back();
    keys_.pop_back();
  }

  // yaml-cpp takes the end of the file for a closing quote.
  void CheckClosed(const YAML::Mark& mark) const {
    size_t i = mark.pos;
    if (i >= text_.size() || (text_[i] != '"' && text_[i] != '\'')) return;  // a block scalar (| or >)
    const char quote = text_[i];
    for (++i; i < text_.size(); ++i) {
      if (quote == '"' && text_[i] == '\\') {
        ++i;
      } else if (text_[i] == quote) {
        if (quote == '"' || i + 1 >= text_.size() || text_[i + 1] != '\'') return;
        ++i;
      }
    }
    Fail(mark, "a quote is not closed");
  }

  const std::string& text_;
  std::vector<YamlNode*> open_;
  std::vector<absl::flat_hash_set<std::string>> keys_;  // of each of open_
  int key_line_ = 1;
  int documents_ = 0;
};

// What must not reach yaml-cpp at all.
absl::Status CheckBytes(const std::string& text, const std::string& name) {
  const bool zero = text.size() > 1 && (text[0] == '\0' || text[1] == '\0');  // no mark, but every other byte
  if (text.substr(0, 2) == "\xFF\xFE" || text.substr(0, 2) == "\xFE\xFF" || zero) {
    return Error(name, 1, "is UTF-16; save it as UTF-8");
  }
  if (text.substr(0, 3) == "\xEF\xBB\xBF")
    return Error(name, 1, "starts with a byte order mark; save it without");
  const size_t invalid = FirstInvalidUtf8(text);
  int line = 1;
  bool indentation = true;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == invalid) return Error(name, line, absl::StrCat("byte ", i + 1, " is not UTF-8"));
    if (byte == '\n') {
      ++line;
      indentation = true;
    } else if (byte == '\t' && indentation) {
      return Error(name, line, "a tab in the indentation; use spaces");
    } else if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F) {
      return Error(name, line, absl::StrCat("byte ", i + 1, " is a control character"));
    } else if (byte != ' ') {
      indentation = false;
    }
  }
  return absl::OkStatus();
}

void SetOrigin(YamlNode& node, const std::string& origin) {
  node.origin = origin;
  for (YamlNode& item : node.items) SetOrigin(item, origin);
}

}  // namespace

YamlNode* YamlNode::Find(std::string_view key) {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) return &items[i];
  }
  return nullptr;
}

absl::StatusOr<YamlNode> ParseYaml(const std::string& text, const std::string& name) {
  TEMPER_RETURN_IF_ERROR(CheckBytes(text, name));
  std::istringstream stream(text);
  YamlBuilder builder(text);
  try {
    YAML::Parser parser(stream);
    bool any = false;
    while (parser.HandleNextDocument(builder)) any = true;
    if (!any) return Error(name, 1, "is empty");
  } catch (const YAML::Exception& e) {
    return Error(name, std::max(0, e.mark.line) + 1, Printable(e.msg));
  }
  return std::move(builder.root);
}

absl::Status OverrideYaml(YamlNode& root, const std::string& assignment) {
  const std::string origin = absl::StrCat("--set ", Printable(assignment));
  const auto error = [&](const std::string& what) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", what));
  };
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) return error("expected name=value, such as rl.steps=100");
  const std::string value_text = assignment.substr(equals + 1);
  YamlNode value;
  value.kind = YamlNode::kScalar;
  value.quoted = true;
  if (!value_text.empty()) {
    absl::StatusOr<YamlNode> parsed = ParseYaml(value_text, "value");
    if (!parsed.ok()) return error(std::string(parsed.status().message()));
    value = *std::move(parsed);
  }
  YamlNode* node = &root;
  const std::vector<std::string> path = absl::StrSplit(assignment.substr(0, equals), '.');
  for (const std::string& part : path) {
    if (part.empty()) return error("a part of the name is empty");
    if (node->kind == YamlNode::kNull) node->kind = YamlNode::kMap;
    if (node->kind == YamlNode::kList) {
      size_t index;
      if (!absl::SimpleAtoi(part, &index) || index >= node->items.size()) {
        return error(
            absl::StrCat(part, " is not one of the list's items 0 to ", int64_t(node->items.size()) - 1));
      }
      node = &node->items[index];
    } else if (node->kind == YamlNode::kScalar) {
      return error(absl::StrCat("there is no ", part, " in a single value"));
    } else if (YamlNode* next = node->Find(part)) {
      node = next;
    } else {
      node->keys.push_back(part);
      node = &node->items.emplace_back();
      node->origin = origin;
    }
  }
  SetOrigin(value, origin);
  *node = std::move(value);
  return absl::OkStatus();
}

}  // namespace temper

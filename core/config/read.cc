// SPDX-License-Identifier: Apache-2.0
// Reading: the fields, in order, take their values out of a tree of YAML.
#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/config/config.h"
#include "core/config/text.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kMaxErrors = 20;

// -?(0|[1-9][0-9]*) and nothing else: no 010, 1e6, 0x10, +1, 1_000.
bool IsPlainInteger(const std::string& text) {
  const size_t start = text.starts_with('-');
  if (text.size() == start || (text[start] == '0' && text.size() > start + 1)) return false;
  return std::all_of(text.begin() + start, text.end(), absl::ascii_isdigit);
}

// An integer as above, with a fraction or an exponent or without: .5 and 5. are not.
bool IsPlainNumber(const std::string& text) {
  const size_t whole = std::min(text.find_first_of(".eE"), text.size());
  if (!IsPlainInteger(text.substr(0, whole))) return false;
  size_t i = whole;
  const auto digits = [&] {
    const size_t begin = i;
    while (i < text.size() && absl::ascii_isdigit(text[i])) ++i;
    return i > begin;
  };
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

class Reader : public FieldVisitor {
 public:
  // options: `root` was made from command options, and names are written so.
  Reader(const YamlNode& root, std::string name, bool options) : name_(std::move(name)), options_(options) {
    frames_.push_back({.node = &root, .line = root.line});
  }

  absl::Status Finish() {
    CheckUnknown();
    if (errors_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
  }

  void Check(bool holds, const char* name, const char* message) override {
    if (!holds && !frames_.back().confused) Error(Find(name), Path(name), message);
  }

 protected:
  void OnLeaf(const Leaf& leaf) override {
    const YamlNode* node = Declare(leaf.name);
    const std::string path = Path(leaf.name);
    if (node == nullptr) {
      if (leaf.rule.required) Error(nullptr, path, "is required");
      return;
    }
    if (leaf.optional && IsNone(leaf, *node)) return leaf.set({});
    std::vector<Scalar> scalars;
    const size_t errors = error_count_;
    if (!leaf.list) {
      ReadScalar(leaf, *node, path, scalars);
    } else if (node->kind != YamlNode::kList) {
      Error(node, path, absl::StrCat("expected a list such as [a, b], found ", Describe(*node)));
    } else {
      for (size_t i = 0; i < node->items.size(); ++i) {
        ReadScalar(leaf, node->items[i], options_ ? path : absl::StrCat(path, "[", i, "]"), scalars);
      }
    }
    if (error_count_ == errors) {
      leaf.set(scalars);
    } else {
      frames_.back().confused |= leaf.type == Leaf::kChoice;
    }
  }

  void OnSection(const char* name, const char* help, absl::FunctionRef<void(FieldVisitor&)> fields,
                 const Presence* presence) override {
    const YamlNode* node = Declare(name);
    if (presence != nullptr) {
      if (node != nullptr) presence->set(node->kind != YamlNode::kNull);
      if (!presence->get()) return;
    }
    if (node != nullptr && node->kind != YamlNode::kMap && node->kind != YamlNode::kNull) {
      return Error(node, Path(name), absl::StrCat("expected a section of settings, found ", Describe(*node)));
    }
    Visit(name, node, [&] { fields(*this); });
  }

  void OnItems(const char* name, const char* help, Items& items) override {
    const YamlNode* node = Declare(name);
    if (node == nullptr) return;
    const bool fits = node->kind == (items.named ? YamlNode::kMap : YamlNode::kList);
    if (!fits && !(items.named && node->kind == YamlNode::kNull)) {
      const char* expected = items.named ? "sections by name" : "a list of sections";
      return Error(node, Path(name), absl::StrCat("expected ", expected, ", found ", Describe(*node)));
    }
    items.clear();
    size_t count = 0;
    for (size_t i = 0; i < node->items.size(); ++i) {
      const YamlNode& item = node->items[i];
      const std::string key = items.named ? node->keys[i] : "";
      const std::string step = items.named ? absl::StrCat(name, ".", key) : absl::StrCat(name, "[", i, "]");
      if (items.named && !IsName(key)) {
        Error(&item, Path(step), "a name is made of letters, digits, _ and -");
      } else if (items.named && !item.origin.empty() && node->origin.empty()) {
        const std::vector<std::string> known(node->keys.begin(), node->keys.begin() + i);
        Error(&item, Path(step), absl::StrCat("there is no ", key, Suggest(key, known)));
        continue;
      } else if (item.kind != YamlNode::kMap && item.kind != YamlNode::kNull) {
        Error(&item, Path(step), absl::StrCat("expected a section of settings, found ", Describe(item)));
        continue;
      }
      items.append(key);
      Visit(step, &item, [&] { items.visit(count++, *this); });
    }
  }

 private:
  struct Frame {
    const YamlNode* node;                 // null: not in the file
    int line;                             // of the nearest section that is
    std::string path = {};                // with a trailing dot
    std::vector<std::string> known = {};  // declared so far
    bool confused = false;                // a choice is wrong: what else belongs here is unknown
  };

  const YamlNode* Find(const std::string& name) const {
    const YamlNode* node = frames_.back().node;
    return node == nullptr ? nullptr : node->Find(name);
  }

  const YamlNode* Declare(const std::string& name) {
    frames_.back().known.push_back(name);
    return Find(name);
  }

  std::string Path(const std::string& name) const { return frames_.back().path + name; }

  template <class F>
  void Visit(const std::string& name, const YamlNode* node, F fields) {
    frames_.push_back(
        {.node = node, .line = node ? node->line : frames_.back().line, .path = Path(name) + "."});
    fields();
    CheckUnknown();
    frames_.pop_back();
  }

  void CheckUnknown() {
    const Frame& frame = frames_.back();
    if (frame.node == nullptr || frame.confused) return;
    for (size_t i = 0; i < frame.node->keys.size(); ++i) {
      const std::string& key = frame.node->keys[i];
      if (std::find(frame.known.begin(), frame.known.end(), key) != frame.known.end()) continue;
      if (errors_.size() >= kMaxErrors) {  // only counted: what was meant is dear to find
        ++error_count_;
        continue;
      }
      Error(&frame.node->items[i], Path(Printable(key)),
            absl::StrCat("unknown key", Suggest(key, frame.known)));
    }
  }

  static std::string Suggest(const std::string& word, const std::vector<std::string>& known) {
    const std::string nearest = Nearest(word, known);
    if (!nearest.empty()) return absl::StrCat("; did you mean ", nearest, "?");
    return known.empty() ? "" : absl::StrCat("; known are ", absl::StrJoin(known, ", "));
  }

  void Error(const YamlNode* node, const std::string& path, const std::string& what) {
    ++error_count_;
    const int line = node ? node->line : frames_.back().line;
    std::string error =
        absl::StrCat(options_ ? OptionName(path) : PlaceText(name_, line, node, path), ": ", what);
    if (errors_.size() < kMaxErrors && std::find(errors_.begin(), errors_.end(), error) == errors_.end()) {
      errors_.push_back(std::move(error));
    }
  }

  static std::string Describe(const YamlNode& node) {
    switch (node.kind) {
      case YamlNode::kNull:
        return "nothing";
      case YamlNode::kList:
        return "a list";
      case YamlNode::kMap:
        return "a section";
      case YamlNode::kScalar:
        break;
    }
    return absl::StrCat("\"", Printable(node.text, 60), "\"", node.quoted ? " in quotes" : "");
  }

  static bool IsNone(const Leaf& leaf, const YamlNode& node) {
    if (leaf.rule.none == nullptr) return node.kind == YamlNode::kNull;
    return node.kind == YamlNode::kScalar && node.text == leaf.rule.none;
  }

  void ReadScalar(const Leaf& leaf, const YamlNode& node, const std::string& path, std::vector<Scalar>& out) {
    const auto expected = [&](const std::string& what) {
      Error(&node, path,
            absl::StrCat("expected ", what,
                         leaf.rule.none == nullptr ? "" : absl::StrCat(" or ", leaf.rule.none), ", found ",
                         Describe(node)));
    };
    const bool plain = node.kind == YamlNode::kScalar && !node.quoted;
    switch (leaf.type) {
      case Leaf::kBool:
        if (!plain || (node.text != "true" && node.text != "false")) return expected("true or false");
        out.push_back(fields::Erase(node.text == "true"));
        return;
      case Leaf::kString:
        if (node.kind == YamlNode::kNull) return expected("text (\"\" for none)");
        if (node.kind != YamlNode::kScalar) return expected("text");
        out.push_back(fields::Erase(node.text));
        if (leaf.rule.required && node.text.empty()) expected("text that is not empty");
        return;
      case Leaf::kChoice:
        if (node.kind != YamlNode::kScalar ||
            std::find(leaf.choices.begin(), leaf.choices.end(), node.text) == leaf.choices.end()) {
          const std::string nearest = Nearest(node.text, leaf.choices);
          return Error(
              &node, path,
              absl::StrCat("expected one of ", absl::StrJoin(leaf.choices, ", "), ", found ", Describe(node),
                           nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
        }
        out.push_back(fields::Erase(node.text));
        return;
      case Leaf::kInt: {
        if (!plain || !IsPlainInteger(node.text)) return expected("a whole number in plain digits");
        int64_t value = 0;
        if (std::from_chars(node.text.data(), node.text.data() + node.text.size(), value).ec != std::errc()) {
          return expected("a whole number of at most 64 bits");
        }
        out.push_back(fields::Erase(value));
        return CheckRange(leaf, node, path, static_cast<double>(value));
      }
      case Leaf::kDouble:
      case Leaf::kFloat: {
        if (!plain || !IsPlainNumber(node.text)) return expected("a number");
        const char* end = node.text.data() + node.text.size();
        double value = 0;
        bool good = false;
        if (leaf.type == Leaf::kFloat) {
          float narrow = 0;
          good = std::from_chars(node.text.data(), end, narrow).ec == std::errc();
          value = narrow;
        } else {
          good = std::from_chars(node.text.data(), end, value).ec == std::errc();
        }
        if (!good) return expected("a number that is neither too large nor too small");
        out.push_back(fields::Erase(value));
        return CheckRange(leaf, node, path, value);
      }
    }
  }

  void CheckRange(const Leaf& leaf, const YamlNode& node, const std::string& path, double value) {
    const Rule& rule = leaf.rule;
    if (value < rule.min || value > rule.max || (rule.above && value == rule.min)) {
      Error(&node, path, absl::StrCat("must be ", RangeText(rule), ", found ", node.text));
    }
  }

  static bool IsName(const std::string& text) {
    return !text.empty() && text.size() <= 100 && text[0] != '-' &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; });
  }

  const std::string name_;
  const bool options_;
  std::vector<Frame> frames_;
  std::vector<std::string> errors_;
  size_t error_count_ = 0;
};

}  // namespace

absl::Status ReadTree(const YamlNode& root, const std::string& name, bool options, VisitFields fields) {
  Reader reader(root, name, options);
  fields(reader);
  return reader.Finish();
}

absl::StatusOr<std::string> ReadConfigText(const std::string& path) { return ReadFile(path, 16 << 20); }

absl::Status ReadFields(const std::string& text, const std::string& name,
                        const std::vector<std::string>& overrides, VisitFields fields, ConfigPlaces* places) {
  TEMPER_ASSIGN_OR_RETURN(YamlNode root, ParseYaml(text, name));
  if (root.kind == YamlNode::kNull)
    return absl::InvalidArgumentError(absl::StrCat(Printable(name, 1000), ":1: is empty"));
  if (root.kind != YamlNode::kMap) {
    return absl::InvalidArgumentError(absl::StrCat(
        Printable(name, 1000), ":", root.line, ": expected settings such as `name: value`, found ",
        root.kind == YamlNode::kList ? "a list" : "a single value"));
  }
  for (const std::string& override : overrides) TEMPER_RETURN_IF_ERROR(OverrideYaml(root, override));
  TEMPER_RETURN_IF_ERROR(ReadTree(root, name, false, fields));
  if (places != nullptr) *places = ConfigPlaces(std::move(root), name);
  return absl::OkStatus();
}

}  // namespace temper

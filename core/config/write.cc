// SPDX-License-Identifier: Apache-2.0
// Writing: the fields, in order, as YAML.
#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/config/redact.h"
#include "core/config/text.h"
#include "core/json/json.h"

namespace temper {
namespace {

// Words that need no quotes anywhere, and that no YAML reader takes for something else.
bool IsPlainText(const std::string& text) {
  if (text.empty() || !(absl::ascii_isalpha(text[0]) || text[0] == '/')) return false;
  for (const char* other : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}) {
    if (absl::AsciiStrToLower(text) == other) return false;
  }
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += absl::StrFormat("\\x%02x", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Texts are told without the keys and passwords in them; a list that is named command is a command line.
std::vector<Scalar> WithoutSecrets(const Leaf& leaf) {
  std::vector<Scalar> values = leaf.get();
  if (leaf.type != Leaf::kString) return values;
  std::vector<std::string> words;
  for (const Scalar& value : values) words.push_back(RedactUrls(value.text));
  if (leaf.list && leaf.name == "command") words = RedactWords(words);
  for (size_t i = 0; i < values.size(); ++i) values[i].text = words[i];
  return values;
}

class Writer : public FieldVisitor {
 public:
  std::string text;

 protected:
  void OnLeaf(const Leaf& leaf) override { Line(leaf.name, LeafText(leaf)); }

  void OnSection(const char* name, const char*, absl::FunctionRef<void(FieldVisitor&)> fields,
                 const Presence* presence) override {
    if (presence != nullptr && !presence->get()) return Line(name, "null");
    Line(name, "");
    indent_ += 2;
    fields(*this);
    indent_ -= 2;
  }

  void OnItems(const char* name, const char*, Items& items) override {
    if (items.size == 0) return Line(name, items.named ? "{}" : "[]");
    Line(name, "");
    indent_ += 2;
    for (size_t i = 0; i < items.size; ++i) {
      if (items.named) {
        Line(IsPlainText(items.name(i)) ? items.name(i) : Quoted(items.name(i)), "");
      } else {
        dash_ = true;
      }
      indent_ += 2;
      items.visit(i, *this);
      indent_ -= 2;
    }
    indent_ -= 2;
  }

 private:
  void Line(const std::string& name, const std::string& value) {
    std::string start(indent_, ' ');
    if (dash_) start[indent_ - 2] = '-';
    dash_ = false;
    absl::StrAppend(&text, start, name, value.empty() ? ":" : ": ", value, "\n");
  }

  int indent_ = 0;
  bool dash_ = false;  // the next line opens an item of a list
};

}  // namespace

std::string ScalarText(Leaf::Type type, const Scalar& scalar) {
  switch (type) {
    case Leaf::kBool:
      return scalar.boolean ? "true" : "false";
    case Leaf::kInt:
      return absl::StrCat(scalar.integer);
    case Leaf::kDouble:
    case Leaf::kFloat: {
      const double value = scalar.number;
      TEMPER_CHECK(std::isfinite(value), "a config holds ", value);
      return type == Leaf::kFloat ? FormatFloat(static_cast<float>(value)) : FormatDouble(value);
    }
    case Leaf::kString:
    case Leaf::kChoice:
      break;
  }
  const std::string& text = scalar.text;
  return IsPlainText(text) ? text : Quoted(text);
}

std::string LeafText(const Leaf& leaf) {
  std::vector<std::string> texts;
  for (const Scalar& scalar : WithoutSecrets(leaf)) texts.push_back(ScalarText(leaf.type, scalar));
  if (leaf.list) return absl::StrCat("[", absl::StrJoin(texts, ", "), "]");
  return texts.empty() ? NoneText(leaf) : texts[0];
}

std::string NoneText(const Leaf& leaf) { return leaf.rule.none == nullptr ? "null" : leaf.rule.none; }

std::string WriteFields(VisitFields fields) {
  Writer writer;
  fields(writer);
  return writer.text;
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// Describing: the fields as texts, as Markdown and as --help.
#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "core/config/text.h"
#include "core/json/json.h"

namespace temper {
namespace {

std::string TypeText(const Leaf& leaf) {
  const auto one = [&]() -> std::string {
    switch (leaf.type) {
      case Leaf::kBool:
        return "true or false";
      case Leaf::kInt:
        return leaf.list ? "whole numbers" : "whole number";
      case Leaf::kDouble:
      case Leaf::kFloat:
        return leaf.list ? "numbers" : "number";
      case Leaf::kString:
        return leaf.list ? "texts" : "text";
      case Leaf::kChoice:
        return absl::StrCat("one of ", absl::StrJoin(leaf.choices, ", "));
    }
    return "";
  };
  return absl::StrCat(leaf.list ? "list of " : "", one(),
                      leaf.optional ? absl::StrCat(", or ", NoneText(leaf)) : "");
}

class Describer : public FieldVisitor {
 public:
  std::vector<FieldText> texts;
  bool All() const override { return true; }

 protected:
  void OnLeaf(const Leaf& leaf) override {
    texts.push_back({.path = path_ + leaf.name,
                     .type = TypeText(leaf),
                     .default_value = leaf.rule.required ? "" : LeafText(leaf),
                     .range = RangeText(leaf.rule),
                     .help = leaf.help,
                     .required = leaf.rule.required,
                     .leaf = leaf.type,
                     .list = leaf.list,
                     .repeated = leaf.rule.repeated,
                     .free = leaf.rule.free,
                     .when = when_});
  }

  // Values whose fields are the same are one case.
  void OnCase(const char* name, const char* value, bool,
              absl::FunctionRef<void(FieldVisitor&)> fields) override {
    const size_t begin = texts.size();
    when_ = absl::StrCat("`", name, "`: ", value);
    fields(*this);
    when_.clear();
    const auto same = [](const FieldText& a, const FieldText& b) {
      return a.path == b.path && a.help == b.help && a.default_value == b.default_value;
    };
    const size_t count = texts.size() - begin;
    const bool joins = case_count_ == count && case_end_ == begin && count > 0 &&
                       std::equal(texts.begin() + begin, texts.end(), texts.begin() + begin - count, same);
    if (joins) {
      texts.resize(begin);
      for (size_t i = begin - count; i < begin; ++i) absl::StrAppend(&texts[i].when, ", ", value);
    }
    case_count_ = count;
    case_end_ = texts.size();
  }

  void OnSection(const char* name, const char* help, absl::FunctionRef<void(FieldVisitor&)> fields,
                 const Presence*) override {
    Section(name, help, [&] { fields(*this); });
  }

  void OnItems(const char* name, const char* help, Items& items) override {
    Section(absl::StrCat(name, items.named ? ".NAME" : "[]"), help, [&] { items.visit_example(*this); });
  }

 private:
  template <class F>
  void Section(const std::string& name, const char* help, F fields) {
    texts.push_back({.path = path_ + name, .type = "section", .help = help, .is_section = true});
    const std::string outer = path_;
    path_ += name + ".";
    fields();
    path_ = outer;
  }

  std::string path_;
  std::string when_;                      // of the case that is being described
  size_t case_count_ = 0, case_end_ = 0;  // of the last one
};

std::string Cell(const std::string& text) { return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}}); }

// The path of the section a field is in.
std::string Parent(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

// The fields of one section; those of each case in a table of their own.
std::string Tables(const std::vector<FieldText>& fields, const std::string& section) {
  std::string out;
  const std::string* when = nullptr;
  for (const FieldText& field : fields) {
    if (field.is_section || Parent(field.path) != section) continue;
    if (when == nullptr || *when != field.when) {
      absl::StrAppend(&out, field.when.empty() ? "" : absl::StrCat("\nOnly with ", field.when, "\n"),
                      "\n| name | type | default | range | what |\n|---|---|---|---|---|\n");
    }
    when = &field.when;
    const std::string name = section.empty() ? field.path : field.path.substr(section.size() + 1);
    const std::string value = field.required ? "required" : absl::StrCat("`", field.default_value, "`");
    absl::StrAppend(&out, "| `", name, field.free ? "` (free) | " : "` | ", Cell(field.type), " | ",
                    Cell(value), " | ", Cell(field.range), " | ", Cell(field.help), " |\n");
  }
  return out;
}

}  // namespace

std::string RangeText(const Rule& rule) {
  const bool low = std::isfinite(rule.min), high = std::isfinite(rule.max);
  const auto number = [](double value) {
    return std::fabs(value) < 1e15 && value == std::floor(value) ? absl::StrCat(int64_t(value))
                                                                 : FormatDouble(value);
  };
  if (low && high && !rule.above) return absl::StrCat(number(rule.min), " to ", number(rule.max));
  std::string text;
  if (low) text = absl::StrCat(rule.above ? "more than " : "at least ", number(rule.min));
  if (high) absl::StrAppend(&text, low ? " and " : "", "at most ", number(rule.max));
  return text;
}

std::string OptionName(const std::string& path) {
  return absl::StrCat("--", absl::StrReplaceAll(path, {{"_", "-"}}));
}

std::vector<FieldText> DescribeFields(VisitFields fields) {
  Describer describer;
  fields(describer);
  return std::move(describer.texts);
}

std::string MarkdownDocs(const std::vector<FieldText>& fields, const std::string& prefix) {
  std::string out = Tables(fields, "");
  std::map<std::string, std::string> told;  // what is said of a section and all below it, and where
  for (size_t i = 0; i < fields.size();) {
    const FieldText& section = fields[i++];
    if (!section.is_section) continue;
    absl::StrAppend(&out, "\n", prefix, " ", section.path, "\n", section.help, "\n");
    std::string all = Tables(fields, section.path);
    size_t end = i;
    for (; end < fields.size() && absl::StartsWith(fields[end].path, section.path + "."); ++end) {
      if (!fields[end].is_section) continue;
      absl::StrAppend(&all, "\n", fields[end].path.substr(section.path.size()), fields[end].help,
                      Tables(fields, fields[end].path));
    }
    const auto [before, first] = told.emplace(all, section.path);
    if (first || all.empty()) {
      out += Tables(fields, section.path);
    } else {
      absl::StrAppend(&out, "The fields are those of `", before->second, "`.\n");
      i = end;
    }
  }
  return out;
}

std::string OptionsHelp(const std::vector<FieldText>& fields) {
  std::string out;
  for (const FieldText& field : fields) {
    if (field.is_section || field.path.find("[]") != std::string::npos ||
        field.path.find(".NAME") != std::string::npos) {
      continue;
    }
    const char* value = field.leaf == Leaf::kInt                                    ? " N"
                        : field.leaf == Leaf::kBool                                 ? ""
                        : field.leaf == Leaf::kDouble || field.leaf == Leaf::kFloat ? " X"
                                                                                    : " TEXT";
    std::string line =
        absl::StrCat("  ", OptionName(field.path), value, field.list && !field.repeated ? ",.." : "");
    line.resize(std::max<size_t>(line.size() + 2, 34), ' ');
    std::vector<std::string> notes;
    if (field.required) notes.push_back("required");
    if (field.leaf == Leaf::kChoice) notes.push_back(field.type);
    if (field.repeated) notes.push_back("may be given again");
    const bool silent = field.required || field.default_value == "false" || field.default_value == "\"\"" ||
                        field.default_value == "[]" || field.default_value == "null";
    if (!silent) notes.push_back(absl::StrCat("default ", field.default_value));
    if (!field.range.empty()) notes.push_back(field.range);
    absl::StrAppend(&out, line, field.help,
                    notes.empty() ? "" : absl::StrCat(" (", absl::StrJoin(notes, "; "), ")"), "\n");
  }
  return out;
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/steps.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {

absl::StatusOr<TextPattern> TextPattern::Parse(const JsonNode& node) {
  const std::optional<JsonNode> regex = node.Find("Regex"), literal = node.Find("String");
  if (regex.has_value() == literal.has_value()) return node.Error("expected one of Regex and String");
  TextPattern pattern;
  TEMPER_ASSIGN_OR_RETURN(const std::string_view text, (regex.has_value() ? regex : literal)->String());
  if (literal.has_value()) pattern.literal_ = text;
  if (pattern.literal_.empty()) return FromRegex(text, node.where());
  return pattern;
}

absl::StatusOr<TextPattern> TextPattern::FromRegex(std::string_view expression, std::string where) {
  TextPattern pattern;
  TEMPER_ASSIGN_OR_RETURN(pattern.regex_, Regex::Compile(expression, std::move(where)));
  return pattern;
}

absl::Status TextPattern::FindAll(std::string_view text, Regex::Scratch& scratch,
                                  std::vector<Range>& matches) const {
  if (text.empty()) return absl::OkStatus();
  if (regex_ != nullptr) return regex_->FindAll(text, scratch, matches);
  FindLiteral(text, literal_, matches);
  return absl::OkStatus();
}

void FindLiteral(std::string_view text, std::string_view literal, std::vector<Range>& matches) {
  for (size_t at = text.find(literal); at != text.npos; at = text.find(literal, at + literal.size())) {
    matches.push_back({at, at + literal.size()});
  }
}

std::string Replaced(std::string_view text, const std::vector<Range>& matches, std::string_view content) {
  std::string result;
  result.reserve(text.size() + matches.size() * content.size());
  size_t at = 0;
  for (const Range& match : matches) {
    result.append(text, at, match.begin - at).append(content);
    at = match.end;
  }
  return result.append(text.substr(at));
}

absl::StatusOr<Metaspace> Metaspace::Parse(const JsonNode& node) {
  Metaspace metaspace;
  TEMPER_ASSIGN_OR_RETURN(metaspace.replacement, node.GetCharacter("replacement"));
  if (node.Find("prepend_scheme").has_value()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string_view scheme, node.GetString("prepend_scheme"));
    if (scheme == "first") {
      metaspace.prepend = Prepend::kFirst;
    } else if (scheme == "never") {
      metaspace.prepend = Prepend::kNever;
    } else if (scheme != "always") {
      return node.MemberError("prepend_scheme", absl::StrCat("unknown scheme ", Printable(scheme),
                                                             "; always, first and never are known"));
    }
  }
  TEMPER_ASSIGN_OR_RETURN(const bool add_prefix_space, node.GetBool("add_prefix_space", true));
  if (!add_prefix_space && metaspace.prepend != Prepend::kNever) {
    return node.MemberError("add_prefix_space", "false needs the prepend_scheme never");
  }
  TEMPER_ASSIGN_OR_RETURN(metaspace.split, node.GetBool("split", true));
  return metaspace;
}

absl::Status ForEachStep(const JsonNode& node, std::string_view list,
                         absl::FunctionRef<absl::Status(const JsonNode&)> add) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type != "Sequence") return add(node);
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements(list));
  for (const JsonNode& each : nodes) TEMPER_RETURN_IF_ERROR(ForEachStep(each, list, add));
  return absl::OkStatus();
}

}  // namespace temper

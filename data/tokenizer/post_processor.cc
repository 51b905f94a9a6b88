// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/post_processor.h"

#include <optional>

#include "absl/strings/str_cat.h"

namespace temper {
namespace {

absl::Status AddId(const JsonNode& node, std::vector<int32_t>& ids) {
  TEMPER_ASSIGN_OR_RETURN(const int64_t id, node.Int());
  if (id < 0 || id > INT32_MAX) return node.Error(absl::StrCat("id ", id, " is out of range"));
  ids.push_back(static_cast<int32_t>(id));
  return absl::OkStatus();
}

absl::Status AddSpecial(const JsonNode& node, const JsonNode& piece, std::vector<int32_t>& ids) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view name, piece.GetString("id"));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode specials, node.Get("special_tokens"));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode special, specials.Get(name));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, special.GetElements("ids"));
  for (const JsonNode& each : nodes) TEMPER_RETURN_IF_ERROR(AddId(each, ids));
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor> ParseTemplate(const JsonNode& node) {
  PostProcessor result;
  TEMPER_ASSIGN_OR_RETURN(const JsonNode single, node.Get("single"));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> pieces, single.Elements());
  int texts = 0;
  for (const JsonNode& piece : pieces) {
    if (const std::optional<JsonNode> special = piece.Find("SpecialToken"); special.has_value()) {
      TEMPER_RETURN_IF_ERROR(AddSpecial(node, *special, texts == 0 ? result.prefix : result.suffix));
    } else if (const std::optional<JsonNode> text = piece.Find("Sequence"); text.has_value()) {
      TEMPER_ASSIGN_OR_RETURN(const std::string_view name, text->GetString("id"));
      if (name != "A") return text->Error("id is not A");
      ++texts;
    } else {
      return piece.Error("expected SpecialToken or Sequence");
    }
  }
  if (texts != 1) return single.Error(absl::StrCat("has the text ", texts, " times, not once"));
  return result;
}

// {"sep": ["</s>", 2], "cls": ["<s>", 0]}
absl::StatusOr<PostProcessor> ParseClsAndSep(const JsonNode& node) {
  PostProcessor result;
  for (const bool cls : {true, false}) {
    const char* const key = cls ? "cls" : "sep";
    TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> pair, node.GetElements(key));
    if (pair.size() != 2) return node.MemberError(key, "expected [token, id]");
    TEMPER_RETURN_IF_ERROR(AddId(pair[1], cls ? result.prefix : result.suffix));
  }
  return result;
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::Parse(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "ByteLevel") return PostProcessor();
  if (type == "TemplateProcessing") return ParseTemplate(node);
  if (type == "BertProcessing" || type == "RobertaProcessing") return ParseClsAndSep(node);
  if (type != "Sequence") {
    return node.UnknownType(type,
                            "TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing and Sequence");
  }
  PostProcessor result;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements("processors"));
  for (const JsonNode& each : nodes) {
    TEMPER_ASSIGN_OR_RETURN(const PostProcessor outer, Parse(each));
    const bool adds = !outer.prefix.empty() || !outer.suffix.empty();
    if (adds && (!result.prefix.empty() || !result.suffix.empty())) {
      return each.Error("a second one that adds tokens is not supported");
    }
    if (adds) result = outer;
  }
  return result;
}

}  // namespace temper

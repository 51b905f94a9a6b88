// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer_components.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "unicode/bytestream.h"
#include "unicode/stringpiece.h"

namespace temper {
namespace {

absl::Status NotSupported(const JsonNode& node, std::string_view type, std::string_view known) {
  const bool sentence_piece = type == "Metaspace" || type == "ByteFallback" || type == "Prepend" ||
                              type == "Replace" || type == "Precompiled" || type == "Strip";
  return node.Error(absl::StrCat("type ", Printable(type), " is not supported; ", std::string(known), " are",
                                 sentence_piece ? " (this is SentencePiece style)" : ""));
}

absl::Status CheckDecoder(const JsonNode& node, int& byte_levels) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "ByteLevel") {
    ++byte_levels;
  } else if (type == "Sequence") {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements("decoders"));
    for (const JsonNode& each : nodes) TEMPER_RETURN_IF_ERROR(CheckDecoder(each, byte_levels));
  } else if (type != "Fuse") {
    return NotSupported(node, type, "ByteLevel, Fuse and Sequence");
  }
  return absl::OkStatus();
}

absl::Status AddSpecial(const JsonNode& node, const JsonNode& piece, std::vector<int32_t>& ids) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view name, piece.GetString("id"));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode specials, node.Get("special_tokens"));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode special, specials.Get(name));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, special.GetElements("ids"));
  for (const JsonNode& each : nodes) {
    TEMPER_ASSIGN_OR_RETURN(const int64_t id, each.Int());
    if (id < 0 || id > INT32_MAX) return each.Error(absl::StrCat("id ", id, " is out of range"));
    ids.push_back(static_cast<int32_t>(id));
  }
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

}  // namespace

absl::StatusOr<Normalizer> Normalizer::Parse(const JsonNode& node) {
  Normalizer normalizer;
  TEMPER_RETURN_IF_ERROR(normalizer.Add(node));
  return normalizer;
}

absl::Status Normalizer::Add(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "Sequence") {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements("normalizers"));
    for (const JsonNode& each : nodes) TEMPER_RETURN_IF_ERROR(Add(each));
    return absl::OkStatus();
  }
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = nullptr;
  if (type == "NFC") form = icu::Normalizer2::getNFCInstance(error);
  if (type == "NFD") form = icu::Normalizer2::getNFDInstance(error);
  if (type == "NFKC") form = icu::Normalizer2::getNFKCInstance(error);
  if (type == "NFKD") form = icu::Normalizer2::getNFKDInstance(error);
  TEMPER_CHECK(U_SUCCESS(error), "ICU: ", u_errorName(error));
  if (form == nullptr) return NotSupported(node, type, "NFC, NFD, NFKC, NFKD and Sequence");
  forms_.push_back(form);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Normalizer::Normalize(std::string_view text) const {
  std::string current(text);
  for (const icu::Normalizer2* form : forms_) {
    std::string next;
    icu::StringByteSink<std::string> sink(&next, static_cast<int32_t>(current.size()));
    UErrorCode error = U_ZERO_ERROR;
    form->normalizeUTF8(0, icu::StringPiece(current.data(), static_cast<int32_t>(current.size())), sink,
                        nullptr, error);
    if (U_FAILURE(error)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a text of ", text.size(), " bytes: ", u_errorName(error)));
    }
    current = std::move(next);
  }
  return current;
}

absl::StatusOr<PostProcessor> PostProcessor::Parse(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "ByteLevel") return PostProcessor();
  if (type == "TemplateProcessing") return ParseTemplate(node);
  if (type != "Sequence") return NotSupported(node, type, "TemplateProcessing, ByteLevel and Sequence");
  PostProcessor result;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements("processors"));
  for (const JsonNode& each : nodes) {
    TEMPER_ASSIGN_OR_RETURN(const PostProcessor outer, Parse(each));
    const bool adds = !outer.prefix.empty() || !outer.suffix.empty();
    if (adds && (!result.prefix.empty() || !result.suffix.empty())) {
      return each.Error("a second TemplateProcessing is not supported");
    }
    if (adds) result = outer;
  }
  return result;
}

absl::Status CheckDecoder(const JsonNode& node) {
  int byte_levels = 0;
  TEMPER_RETURN_IF_ERROR(CheckDecoder(node, byte_levels));
  return byte_levels == 1 ? absl::OkStatus() : node.Error("has not one ByteLevel");
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/json.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/json/python.h"
#include "core/text.h"

namespace temper {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

constexpr int kMaxDepth = 128;  // as ParseJson, which says what is wrong

// Whether every object has each of its keys once, within the depth: what simdjson does not ask.
bool IsStrict(simdjson::dom::element element, int depth = 1) {
  simdjson::dom::array array;
  if (element.get_array().get(array) == simdjson::SUCCESS) {
    if (depth > kMaxDepth) return false;
    for (const simdjson::dom::element each : array) {
      if (!IsStrict(each, depth + 1)) return false;
    }
  }
  simdjson::dom::object object;
  if (element.get_object().get(object) == simdjson::SUCCESS) {
    if (depth > kMaxDepth) return false;
    absl::flat_hash_set<std::string_view> keys;
    keys.reserve(object.size());
    for (const simdjson::dom::key_value_pair member : object) {
      if (!keys.insert(member.key).second || !IsStrict(member.value, depth + 1)) return false;
    }
  }
  return true;
}

}  // namespace

std::string JsonNode::where() const { return place_.empty() ? file_ : absl::StrCat(file_, ": ", place_); }

absl::Status JsonNode::Error(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(where(), ": ", View(what)));
}

absl::Status JsonNode::ElementError(size_t index, std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(file_, ": ", place_, "[", index, "]: ", View(what)));
}

absl::Status JsonNode::MemberError(std::string_view key, std::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_, ": ", place_, place_.empty() ? "" : ".", Printable(key), ": ", View(what)));
}

absl::Status JsonNode::UnknownType(std::string_view type, std::string_view known) const {
  return Error(absl::StrCat("type ", Printable(type), " is not supported; ", View(known), " are"));
}

absl::StatusOr<std::string_view> JsonNode::String() const {
  std::string_view text;
  if (value_.get_string().get(text) != simdjson::SUCCESS) return Error("expected a string");
  return text;
}

absl::StatusOr<int64_t> JsonNode::Int() const {
  int64_t number = 0;
  if (value_.get_int64().get(number) != simdjson::SUCCESS) return Error("expected a whole number");
  return number;
}

absl::StatusOr<simdjson::dom::object> JsonNode::Object() const {
  simdjson::dom::object object;
  if (value_.get_object().get(object) != simdjson::SUCCESS) return Error("expected an object");
  return object;
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::Elements() const {
  simdjson::dom::array array;
  if (value_.get_array().get(array) != simdjson::SUCCESS) return Error("expected an array");
  std::vector<JsonNode> nodes;
  for (const simdjson::dom::element element : array) {
    nodes.emplace_back(element, file_, absl::StrCat(place_, "[", nodes.size(), "]"));
  }
  return nodes;
}

std::optional<JsonNode> JsonNode::Find(std::string_view key) const {
  simdjson::dom::object object;
  simdjson::dom::element element;
  if (value_.get_object().get(object) != simdjson::SUCCESS ||
      object.at_key(key).get(element) != simdjson::SUCCESS || element.is_null()) {
    return std::nullopt;
  }
  return JsonNode(element, file_, absl::StrCat(place_, place_.empty() ? "" : ".", View(key)));
}

absl::StatusOr<JsonNode> JsonNode::Get(std::string_view key) const {
  TEMPER_RETURN_IF_ERROR(Object().status());
  const std::optional<JsonNode> node = Find(key);
  if (!node.has_value()) return MemberError(key, "missing");
  return *node;
}

absl::StatusOr<std::string_view> JsonNode::GetString(std::string_view key) const {
  TEMPER_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  return node.String();
}

absl::StatusOr<std::string_view> JsonNode::GetCharacter(std::string_view key) const {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view text, GetString(key));
  if (text.empty() || static_cast<size_t>(Utf8Length(text)) != text.size()) {
    return MemberError(key, "expected one character");
  }
  return text;
}

absl::StatusOr<size_t> JsonNode::GetCount(std::string_view key) const {
  TEMPER_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  TEMPER_ASSIGN_OR_RETURN(const int64_t count, node.Int());
  if (count < 0) return node.Error(absl::StrCat(count, " is negative"));
  return static_cast<size_t>(count);
}

absl::StatusOr<bool> JsonNode::GetBool(std::string_view key) const {
  TEMPER_RETURN_IF_ERROR(Get(key).status());
  return GetBool(key, false);
}

absl::StatusOr<bool> JsonNode::GetBool(std::string_view key, bool otherwise) const {
  const std::optional<JsonNode> node = Find(key);
  if (!node.has_value()) return otherwise;
  bool value = false;
  if (node->value_.get_bool().get(value) != simdjson::SUCCESS) return node->Error("expected true or false");
  return value;
}

absl::StatusOr<std::vector<JsonNode>> JsonNode::GetElements(std::string_view key) const {
  TEMPER_ASSIGN_OR_RETURN(const JsonNode node, Get(key));
  return node.Elements();
}

absl::StatusOr<std::unique_ptr<JsonFile>> JsonFile::Parse(const std::string& bytes, const std::string& name) {
  auto file = std::make_unique<JsonFile>();
  simdjson::dom::element root;
  auto error = file->parser_.parse(bytes).get(root);
  if (error != simdjson::SUCCESS) error = file->parser_.parse(QuotePythonNumbers(bytes)).get(root);
  if (error != simdjson::SUCCESS || !IsStrict(root)) {
    // Slower, but it says where.
    TEMPER_RETURN_IF_ERROR(ParsePythonJson(bytes, name).status());
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", simdjson::error_message(error)));
  }
  file->root_.emplace(root, name, "");
  TEMPER_RETURN_IF_ERROR(file->root_->Object().status());
  return file;
}

}  // namespace temper

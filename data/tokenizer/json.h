// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"
#include "simdjson.h"

namespace temper {

// A value of a Hugging Face file that knows its place: errors are `FILE: model.merges[3]: what`. Valid as
// long as its JsonFile.
class JsonNode {
 public:
  JsonNode(simdjson::dom::element value, std::string file, std::string place)
      : value_(value), file_(std::move(file)), place_(std::move(place)) {}

  simdjson::dom::element value() const { return value_; }
  const std::string& file() const { return file_; }
  std::string where() const;  // "FILE: model.merges[3]"
  absl::Status Error(std::string_view what) const;
  // For the i-th element of this array, and the member of this object.
  absl::Status ElementError(size_t index, std::string_view what) const;
  absl::Status MemberError(std::string_view key, std::string_view what) const;
  // A component of this `type` is none of `known` ("A, B and C").
  absl::Status UnknownType(std::string_view type, std::string_view known) const;

  absl::StatusOr<std::string_view> String() const;
  absl::StatusOr<int64_t> Int() const;
  absl::StatusOr<simdjson::dom::object> Object() const;
  absl::StatusOr<std::vector<JsonNode>> Elements() const;

  std::optional<JsonNode> Find(std::string_view key) const;  // nothing where it is absent or null
  absl::StatusOr<JsonNode> Get(std::string_view key) const;
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;
  absl::StatusOr<std::string_view> GetCharacter(std::string_view key) const;  // one, as UTF-8
  absl::StatusOr<size_t> GetCount(std::string_view key) const;                // not negative
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<bool> GetBool(std::string_view key, bool otherwise) const;
  absl::StatusOr<std::vector<JsonNode>> GetElements(std::string_view key) const;

 private:
  simdjson::dom::element value_;
  std::string file_, place_;
};

// A whole file, parsed by simdjson: a vocabulary of 7 MB takes milliseconds. What ParseJson refuses (a key
// twice in an object, more than 128 levels) is refused, with its line. Numbers are Python's
// (core/json/python.h).
class JsonFile {
 public:
  static absl::StatusOr<std::unique_ptr<JsonFile>> Parse(const std::string& bytes, const std::string& name);
  const JsonNode& root() const { return *root_; }

 private:
  simdjson::dom::parser parser_;
  std::optional<JsonNode> root_;
};

}  // namespace temper

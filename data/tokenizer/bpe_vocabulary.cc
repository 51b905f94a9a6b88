// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/bpe_vocabulary.h"

#include <bit>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {
namespace {

// "a b" or ["a", "b"].
bool ReadPair(simdjson::dom::element merge, std::string_view& left, std::string_view& right) {
  std::string_view text;
  if (merge.get_string().get(text) == simdjson::SUCCESS) {
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) return false;
    left = text.substr(0, space), right = text.substr(space + 1);
    return true;
  }
  simdjson::dom::array pair;
  return merge.get_array().get(pair) == simdjson::SUCCESS && pair.size() == 2 &&
         pair.at(0).get_string().get(left) == simdjson::SUCCESS &&
         pair.at(1).get_string().get(right) == simdjson::SUCCESS;
}

// Has the sign behind another character.
bool HasSignWithin(std::string_view token) {
  constexpr std::string_view kSign = BpeVocabulary::kSign;
  while (token.starts_with(kSign)) token.remove_prefix(kSign.size());
  return token.find(kSign) != token.npos;
}

}  // namespace

absl::StatusOr<BpeVocabulary> BpeVocabulary::Parse(const JsonNode& model) {
  BpeVocabulary parsed;
  TEMPER_ASSIGN_OR_RETURN(const JsonNode vocabulary, model.Get("vocab"));
  TEMPER_RETURN_IF_ERROR(parsed.ParseTokens(vocabulary));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode merges, model.Get("merges"));
  TEMPER_RETURN_IF_ERROR(parsed.ParseMerges(merges));
  return parsed;
}

absl::Status BpeVocabulary::ParseTokens(const JsonNode& vocabulary) {
  TEMPER_ASSIGN_OR_RETURN(const simdjson::dom::object object, vocabulary.Object());
  size_t bytes = 0, count = 0;
  for (const simdjson::dom::key_value_pair member : object) bytes += member.key.size(), ++count;
  text_ = std::make_unique<char[]>(bytes + 1);
  ids_.reserve(count);
  // Holes are allowed, as long as the file decides how much memory they take.
  const int64_t limit = 2 * static_cast<int64_t>(count) + 65536;
  char* at = text_.get();
  for (const simdjson::dom::key_value_pair member : object) {
    int64_t id = 0;
    if (member.value.get_int64().get(id) != simdjson::SUCCESS) {
      return vocabulary.MemberError(member.key, "expected a whole number");
    }
    if (id < 0 || id >= limit) {
      return vocabulary.MemberError(member.key, absl::StrCat("id ", id, " is out of range"));
    }
    if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(id + 1);
    if (tokens_[id].data() != nullptr) {
      return vocabulary.MemberError(member.key,
                                    absl::StrCat("id ", id, " is also that of ", Printable(tokens_[id])));
    }
    std::memcpy(at, member.key.data(), member.key.size());
    tokens_[id] = {at, member.key.size()};
    at += member.key.size();
    ids_.emplace(tokens_[id], static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status BpeVocabulary::ParseMerges(const JsonNode& merges) {
  simdjson::dom::array array;
  if (merges.value().get_array().get(array) != simdjson::SUCCESS) return merges.Error("expected an array");
  const size_t slots = std::bit_ceil(array.size() + array.size() / 2 + 8);
  merges_.assign(slots, {-1, -1, {}});
  has_hash_.assign(slots / 8, 0);
  shift_ = 64 - std::countr_zero(slots);
  size_t index = 0;
  int32_t rank = 0;
  std::string merged;
  for (const simdjson::dom::element element : array) {
    std::string_view left, right, version;
    const size_t here = index++;
    if (element.get_string().get(version) == simdjson::SUCCESS && version.substr(0, 8) == "#version")
      continue;
    if (!ReadPair(element, left, right)) {
      return merges.ElementError(here, "expected \"LEFT RIGHT\" or [\"LEFT\", \"RIGHT\"]");
    }
    merged.assign(left).append(right);
    int32_t found[3];
    for (int i = 0; i < 3; ++i) {
      const std::string_view token = i == 0 ? left : i == 1 ? right : std::string_view(merged);
      const auto at = ids_.find(token);
      if (at == ids_.end()) {
        return merges.ElementError(here, absl::StrCat(Printable(token), " is not in the vocabulary"));
      }
      found[i] = at->second;
    }
    if (HasSignWithin(merged)) words_start_with_sign_ = false;
    const auto [left_id, right_id, id] = found;
    merges_[SlotOf(left_id, right_id)] = {left_id, right_id, {rank++, id}};  // of equals the last counts
    const uint64_t bit = Hash(left_id, right_id) >> (shift_ - 3);
    has_hash_[bit / 64] |= uint64_t{1} << bit % 64;
  }
  return absl::OkStatus();
}

std::optional<int32_t> BpeVocabulary::Id(std::string_view token) const {
  const auto at = ids_.find(token);
  return at == ids_.end() ? std::nullopt : std::optional<int32_t>(at->second);
}

}  // namespace temper

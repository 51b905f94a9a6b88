// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/added.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/tokenizer/unicode.h"

namespace temper {
namespace {

constexpr size_t kContentLimit = 4096;  // bytes; looking for a token may read that far at every byte

bool IsSingleWord(std::string_view before, std::string_view after) {
  size_t at = 0;
  return (before.empty() || !IsWord(LastCharacter(before))) &&
         (after.empty() || !IsWord(NextCharacter(after, at)));
}

absl::StatusOr<AddedToken> ParseAddedToken(const JsonNode& node) {
  AddedToken token;
  TEMPER_ASSIGN_OR_RETURN(const JsonNode id_node, node.Get("id"));
  TEMPER_ASSIGN_OR_RETURN(const int64_t id, id_node.Int());
  if (id < 0 || id > INT32_MAX) return id_node.Error(absl::StrCat("id ", id, " is out of range"));
  token.id = static_cast<int32_t>(id);
  TEMPER_ASSIGN_OR_RETURN(const std::string_view content, node.GetString("content"));
  if (content.empty() || content.size() > kContentLimit) {
    return node.MemberError("content", absl::StrCat("has ", content.size(), " bytes; 1 to ", kContentLimit));
  }
  token.content = content;
  TEMPER_ASSIGN_OR_RETURN(token.special, node.GetBool("special", false));
  TEMPER_ASSIGN_OR_RETURN(token.normalized, node.GetBool("normalized", !token.special));
  TEMPER_ASSIGN_OR_RETURN(token.lstrip, node.GetBool("lstrip", false));
  TEMPER_ASSIGN_OR_RETURN(token.rstrip, node.GetBool("rstrip", false));
  TEMPER_ASSIGN_OR_RETURN(token.single_word, node.GetBool("single_word", false));
  return token;
}

}  // namespace

absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const JsonNode& tokens) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, tokens.Elements());
  std::vector<AddedToken> parsed;
  absl::flat_hash_map<std::string, size_t> contents;
  absl::flat_hash_map<int32_t, size_t> ids;
  for (size_t i = 0; i < nodes.size(); ++i) {
    TEMPER_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(nodes[i]));
    if (const auto [at, is_new] = ids.emplace(token.id, i); !is_new) {
      return nodes[i].Error(absl::StrCat("id ", token.id, " is also that of element ", at->second));
    }
    if (const auto [at, is_new] = contents.emplace(token.content, i); !is_new) {
      return nodes[i].Error(
          absl::StrCat("content ", Printable(token.content), " is also that of element ", at->second));
    }
    parsed.push_back(std::move(token));
  }
  return parsed;
}

void AddedTokenMatcher::Add(std::string_view content, const AddedToken* token) {
  if (content.empty()) return;
  starts_[static_cast<unsigned char>(content[0])] = true;
  uint64_t node = 0;
  for (const unsigned char byte : content) {
    const auto [child, is_new] = children_.emplace(node << 8 | byte, static_cast<uint32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(nullptr);
    node = child->second;
  }
  if (tokens_[node] == nullptr) tokens_[node] = token;
}

AddedTokenMatcher::Found AddedTokenMatcher::LongestAt(std::string_view text, size_t at) const {
  Found found;
  uint64_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto child = children_.find(node << 8 | static_cast<unsigned char>(text[i]));
    if (child == children_.end()) break;
    node = child->second;
    if (tokens_[node] != nullptr) found = {tokens_[node], i + 1 - at};
  }
  return found;
}

std::vector<AddedTokenMatcher::Part> AddedTokenMatcher::Split(
    std::string_view text, absl::Span<const std::string_view> plain) const {
  std::vector<Part> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    while (!plain.empty() && plain[0].data() + plain[0].size() <= text.data() + at) plain.remove_prefix(1);
    const size_t limit =
        plain.empty() ? text.size() : plain[0].data() - std::min(plain[0].data(), text.data());
    const Found found =
        starts_[static_cast<unsigned char>(text[at])] ? LongestAt(text.substr(0, limit), at) : Found();
    if (found.token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + found.size;
    at = end;  // the search goes on here, whatever is stripped
    if (found.token->single_word && !IsSingleWord(text.substr(0, begin), text.substr(end))) continue;
    if (found.token->lstrip) begin = std::max(SpaceAtEnd(text.substr(0, begin)), done);
    if (found.token->rstrip) end += SpaceAtStart(text.substr(end));
    if (done < begin) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - std::min(begin, end)), found.token->id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace temper

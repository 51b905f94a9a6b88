// SPDX-License-Identifier: Apache-2.0
#include "data/bpe.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <queue>
#include <tuple>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "data/byte_level.h"

namespace temper {
namespace {

// The pieces a thread saw last; a new one takes the place of an old one. At most some 3 MB.
struct CachedPiece {
  uint64_t serial = 0;
  std::string piece;
  std::vector<int32_t> ids;
};
constexpr size_t kCacheSlots = 1 << 13, kCachedPieceLimit = 48;

CachedPiece& CacheSlot(uint64_t serial, std::string_view piece) {
  thread_local std::vector<CachedPiece> slots(kCacheSlots);
  return slots[absl::HashOf(serial, piece) % kCacheSlots];
}

uint64_t NextSerial() {
  static std::atomic<uint64_t> serial = 0;
  return ++serial;
}

// A merge that may be done: lowest rank first, then leftmost. Out of date once another one took its symbols.
struct Candidate {
  int32_t rank, left, id, left_id, right_id;
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

uint64_t Key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
}

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

}  // namespace

Bpe::Bpe() : serial_(NextSerial()) {}

absl::StatusOr<std::unique_ptr<Bpe>> Bpe::Parse(const JsonNode& model) {
  // Files from before 2020 have no type.
  if (model.Find("type").has_value()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string_view type, model.GetString("type"));
    if (type != "BPE") {
      return model.Error(absl::StrCat("type ", Printable(type), " is not supported; BPE is"));
    }
  }
  std::unique_ptr<Bpe> bpe(new Bpe);
  TEMPER_ASSIGN_OR_RETURN(const JsonNode vocabulary, model.Get("vocab"));
  TEMPER_RETURN_IF_ERROR(bpe->ParseVocabulary(vocabulary));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode merges, model.Get("merges"));
  TEMPER_RETURN_IF_ERROR(bpe->ParseMerges(merges));
  TEMPER_RETURN_IF_ERROR(bpe->ParseOptions(model));
  return bpe;
}

absl::Status Bpe::ParseOptions(const JsonNode& model) {
  TEMPER_ASSIGN_OR_RETURN(ignore_merges_, model.GetBool("ignore_merges", false));
  TEMPER_ASSIGN_OR_RETURN(fuse_unk_, model.GetBool("fuse_unk", false));
  TEMPER_ASSIGN_OR_RETURN(const bool byte_fallback, model.GetBool("byte_fallback", false));
  if (byte_fallback) return model.MemberError("byte_fallback", "true (SentencePiece style) is not supported");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const std::optional<JsonNode> affix = model.Find(key);
    if (!affix.has_value()) continue;
    TEMPER_ASSIGN_OR_RETURN(const std::string_view text, affix->String());
    if (!text.empty()) return affix->Error("is not supported");
  }
  double dropout = 0;
  if (const std::optional<JsonNode> node = model.Find("dropout");
      node.has_value() && (node->value().get_double().get(dropout) != simdjson::SUCCESS || dropout != 0)) {
    return node->Error("is not supported; null is");
  }
  if (const std::optional<JsonNode> node = model.Find("unk_token"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string_view token, node->String());
    unk_ = Id(token);
    if (!unk_.has_value()) return node->Error(absl::StrCat(Printable(token), " is not in the vocabulary"));
  }
  return absl::OkStatus();
}

absl::Status Bpe::ParseVocabulary(const JsonNode& vocabulary) {
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
    if (!ids_.emplace(tokens_[id], static_cast<int32_t>(id)).second) {
      return vocabulary.MemberError(member.key, "is there twice");
    }
  }
  return absl::OkStatus();
}

absl::Status Bpe::ParseMerges(const JsonNode& merges) {
  simdjson::dom::array array;
  if (merges.value().get_array().get(array) != simdjson::SUCCESS) return merges.Error("expected an array");
  merges_.reserve(array.size());
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
    merges_[Key(found[0], found[1])] = {rank++, found[2]};  // of equals the last counts
  }
  return absl::OkStatus();
}

std::optional<int32_t> Bpe::Id(std::string_view token) const {
  const auto at = ids_.find(token);
  return at == ids_.end() ? std::nullopt : std::optional<int32_t>(at->second);
}

void Bpe::Encode(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const {
  if (piece.size() > kCachedPieceLimit) {
    return bytes ? EncodeText(ToByteLevel(piece), ids) : EncodeText(piece, ids);
  }
  CachedPiece& slot = CacheSlot(serial_, piece);
  if (slot.serial != serial_ || slot.piece != piece) {
    slot.ids.clear();
    bytes ? EncodeText(ToByteLevel(piece), slot.ids) : EncodeText(piece, slot.ids);
    slot.piece = piece;
    slot.serial = serial_;
  }
  ids.insert(ids.end(), slot.ids.begin(), slot.ids.end());
}

void Bpe::EncodeText(std::string_view text, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = ids_.find(text); whole != ids_.end()) {
      ids.push_back(whole->second);
      return;
    }
  }
  std::vector<Symbol> symbols = Characters(text);
  ApplyMerges(symbols);
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

std::vector<Bpe::Symbol> Bpe::Characters(std::string_view text) const {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  bool after_unknown = false;
  for (size_t at = 0; at < text.size();) {
    const int length = std::max(1, Utf8Length(text.substr(at, 4)));
    const auto known = ids_.find(text.substr(at, length));
    at += length;
    const bool unknown = known == ids_.end();
    // Without an unk_token, a character that is not in the vocabulary is left out.
    const bool skip = unknown && (!unk_.has_value() || (fuse_unk_ && after_unknown));
    after_unknown = unknown;
    if (skip) continue;
    const auto index = static_cast<int32_t>(symbols.size());
    if (index > 0) symbols.back().next = index;
    symbols.push_back({unknown ? *unk_ : known->second, index - 1, -1});
  }
  return symbols;
}

const Bpe::Merge* Bpe::FindMerge(int32_t left, int32_t right) const {
  const auto at = merges_.find(Key(left, right));
  return at == merges_.end() ? nullptr : &at->second;
}

void Bpe::ApplyMerges(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto consider = [&](int32_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    if (const Merge* merge = FindMerge(left_id, right_id)) {
      queue.push({merge->rank, left, merge->id, left_id, right_id});
    }
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.left];
    if (left.id != best.left_id || left.next < 0 || symbols[left.next].id != best.right_id) continue;
    Symbol& right = symbols[left.next];
    left.id = best.id;
    left.next = right.next;
    right.id = -1;  // gone
    if (left.next >= 0) symbols[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
}

}  // namespace temper

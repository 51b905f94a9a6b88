// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/bpe.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/text.h"
#include "data/tokenizer/byte_level.h"

namespace temper {
namespace {

// The pieces a thread saw last; a new one takes the place of an old one. 4 MB.
struct alignas(128) CachedPiece {
  uint64_t serial = 0;
  uint8_t size = 0, count = 0;
  char piece[54];
  int32_t ids[16];
};
constexpr size_t kCacheSlots = 1 << 15;

CachedPiece& CacheSlot(uint64_t serial, std::string_view piece) {
  thread_local std::vector<CachedPiece> slots(kCacheSlots);
  return slots[absl::HashOf(serial, piece) % kCacheSlots];
}

uint64_t NextSerial() {
  static std::atomic<uint64_t> serial = 0;
  return ++serial;
}

constexpr size_t kFew = 64;  // tokens, up to which looking through all of them is fastest
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

struct Symbol {
  int32_t id;
  int32_t previous, next;  // -1: none
};

// A merge that may be done: lowest rank first, then leftmost. Out of date once another one took its symbols.
struct Candidate {
  int32_t rank, left, id, left_id, right_id;
  bool operator<(const Candidate& other) const {
    return std::tie(rank, left) > std::tie(other.rank, other.left);
  }
};

}  // namespace

Bpe::Bpe(BpeVocabulary vocabulary) : serial_(NextSerial()), vocabulary_(std::move(vocabulary)) {
  for (int byte = 0; byte < 256; ++byte) {
    const char character = static_cast<char>(byte);
    byte_level_[byte] = vocabulary_.Id(ToByteLevel({&character, 1})).value_or(-1);
    fallback_[byte] = vocabulary_.Id(absl::StrFormat("<0x%02X>", byte)).value_or(-1);
  }
}

absl::StatusOr<std::unique_ptr<Bpe>> Bpe::Parse(const JsonNode& model) {
  // Files from before 2020 have no type.
  if (model.Find("type").has_value()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string_view type, model.GetString("type"));
    if (type != "BPE") {
      return model.Error(absl::StrCat("type ", Printable(type), " is not supported; BPE is"));
    }
  }
  TEMPER_ASSIGN_OR_RETURN(BpeVocabulary vocabulary, BpeVocabulary::Parse(model));
  std::unique_ptr<Bpe> bpe(new Bpe(std::move(vocabulary)));
  TEMPER_RETURN_IF_ERROR(bpe->ParseOptions(model));
  return bpe;
}

absl::Status Bpe::ParseOptions(const JsonNode& model) {
  TEMPER_ASSIGN_OR_RETURN(ignore_merges_, model.GetBool("ignore_merges", false));
  TEMPER_ASSIGN_OR_RETURN(fuse_unk_, model.GetBool("fuse_unk", false));
  TEMPER_ASSIGN_OR_RETURN(byte_fallback_, model.GetBool("byte_fallback", false));
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
    unk_ = vocabulary_.Id(token);
    if (!unk_.has_value()) return node->Error(absl::StrCat(Printable(token), " is not in the vocabulary"));
  }
  // The sign must be a token itself (an unknown one could be fused with the unknown before it), and no
  // character may be left out (the signs on its two sides could merge).
  const bool all_bytes = std::ranges::all_of(fallback_, [](int32_t id) { return id >= 0; });
  const bool leaves_out = !unk_.has_value() && !(byte_fallback_ && all_bytes);
  cuts_words_ = !ignore_merges_ && !leaves_out && vocabulary_.words_start_with_sign() &&
                vocabulary_.Id(BpeVocabulary::kSign).has_value();
  return absl::OkStatus();
}

void Bpe::Encode(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const {
  constexpr std::string_view kSign = BpeVocabulary::kSign;
  if (!cuts_words_ || bytes) return EncodeCached(piece, bytes, ids);
  // Words are cut off one by one, each with the signs before it.
  size_t begin = 0, at = 0;
  while (at < piece.size()) {
    while (piece.substr(at, kSign.size()) == kSign) at += kSign.size();
    at = std::min(piece.find(kSign, at), piece.size());
    EncodeCached(piece.substr(begin, at - begin), false, ids);
    begin = at;
  }
}

void Bpe::EncodeCached(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  const auto encode = [&] { bytes ? EncodeBytes(piece, ids) : EncodeText(piece, ids); };
  if (piece.size() > sizeof(CachedPiece::piece)) return encode();
  CachedPiece& slot = CacheSlot(serial_, piece);
  if (slot.serial == serial_ && std::string_view(slot.piece, slot.size) == piece) {
    ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
    return;
  }
  encode();
  const size_t count = ids.size() - before;
  if (count > std::size(slot.ids)) return;
  slot.serial = serial_;
  slot.size = static_cast<uint8_t>(piece.size());
  slot.count = static_cast<uint8_t>(count);
  std::memcpy(slot.piece, piece.data(), piece.size());
  std::copy(ids.begin() + before, ids.end(), slot.ids);
}

void Bpe::EncodeBytes(std::string_view piece, std::vector<int32_t>& ids) const {
  const auto has_id = [&](unsigned char byte) { return byte_level_[byte] >= 0; };
  if (ignore_merges_ || !std::ranges::all_of(piece, has_id)) return EncodeText(ToByteLevel(piece), ids);
  const size_t before = ids.size();
  for (const unsigned char byte : piece) ids.push_back(byte_level_[byte]);
  Merge(before, ids);
}

void Bpe::EncodeText(std::string_view text, std::vector<int32_t>& ids) const {
  if (ignore_merges_ && AppendWhole(text, ids)) return;
  const size_t before = ids.size();
  AppendCharacters(text, ids);
  Merge(before, ids);
}

bool Bpe::AppendWhole(std::string_view text, std::vector<int32_t>& ids) const {
  const std::optional<int32_t> id = vocabulary_.Id(text);
  if (id.has_value()) ids.push_back(*id);
  return id.has_value();
}

// As the `tokenizers` package does it: an unknown token is put down late, behind the bytes that follow it.
// Without an unk_token, a character that is not in the vocabulary is left out.
void Bpe::AppendCharacters(std::string_view text, std::vector<int32_t>& ids) const {
  bool unknown = false;  // one is to be put down
  for (size_t at = 0; at < text.size();) {
    const std::string_view character = text.substr(at, std::max(1, Utf8Length(text.substr(at, 4))));
    at += character.size();
    if (const std::optional<int32_t> id = vocabulary_.Id(character); id.has_value()) {
      if (std::exchange(unknown, false)) ids.push_back(*unk_);
      ids.push_back(*id);
    } else if (!(byte_fallback_ && AppendFallback(character, ids)) && unk_.has_value()) {
      if (unknown && !fuse_unk_) ids.push_back(*unk_);
      unknown = true;
    }
  }
  if (unknown) ids.push_back(*unk_);
}

bool Bpe::AppendFallback(std::string_view character, std::vector<int32_t>& ids) const {
  const auto id = [&](char byte) { return fallback_[static_cast<unsigned char>(byte)]; };
  if (!std::ranges::all_of(character, [&](char byte) { return id(byte) >= 0; })) return false;
  for (const char byte : character) ids.push_back(id(byte));
  return true;
}

// Merges what begins at `begin`: always the pair of the lowest rank, and of equals the leftmost.
void Bpe::Merge(size_t begin, std::vector<int32_t>& ids) const {
  ids.size() - begin <= kFew ? MergeFew(begin, ids) : MergeMany(begin, ids);
}

void Bpe::MergeFew(size_t begin, std::vector<int32_t>& ids) const {
  int32_t* const tokens = ids.data() + begin;
  const size_t count = ids.size() - begin;
  int32_t ranks[kFew], merged[kFew];       // of each token and the next one
  uint8_t previous[kFew + 1], next[kFew];  // tokens that are left; `count` is the end
  const auto consider = [&](size_t i) {
    const BpeVocabulary::Merge* merge =
        next[i] < count ? vocabulary_.FindMerge(tokens[i], tokens[next[i]]) : nullptr;
    ranks[i] = merge == nullptr ? kNoRank : merge->rank;
    merged[i] = merge == nullptr ? -1 : merge->id;
  };
  for (size_t i = 0; i < count; ++i) {
    previous[i] = static_cast<uint8_t>(i - 1);
    next[i] = static_cast<uint8_t>(i + 1);
    consider(i);
  }
  for (;;) {
    size_t best = 0;
    for (size_t i = 1; i < count; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (count == 0 || ranks[best] == kNoRank) break;
    const size_t gone = next[best];
    tokens[best] = merged[best];
    ranks[gone] = kNoRank;
    next[best] = next[gone];
    previous[next[gone]] = static_cast<uint8_t>(best);
    consider(best);
    if (best > 0) consider(previous[best]);
  }
  size_t kept = 0;
  for (size_t i = 0; i < count; i = next[i]) tokens[kept++] = tokens[i];
  ids.resize(begin + kept);
}

void Bpe::MergeMany(size_t begin, std::vector<int32_t>& ids) const {
  std::vector<Symbol> symbols;
  symbols.reserve(ids.size() - begin);
  for (size_t i = begin; i < ids.size(); ++i) {
    const auto index = static_cast<int32_t>(i - begin);
    symbols.push_back({ids[i], index - 1, i + 1 < ids.size() ? index + 1 : -1});
  }
  std::vector<Candidate> candidates;
  const auto candidate = [&](int32_t left) -> std::optional<Candidate> {
    if (left < 0 || symbols[left].next < 0) return std::nullopt;
    const int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    const BpeVocabulary::Merge* merge = vocabulary_.FindMerge(left_id, right_id);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->rank, left, merge->id, left_id, right_id};
  };
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (const auto next = candidate(static_cast<int32_t>(i)); next.has_value()) candidates.push_back(*next);
  }
  std::priority_queue<Candidate> queue({}, std::move(candidates));
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
    for (const int32_t at : {left.previous, best.left}) {
      if (const auto next = candidate(at); next.has_value()) queue.push(*next);
    }
  }
  ids.resize(begin);
  for (int32_t i = 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace temper

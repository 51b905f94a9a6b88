// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/leaf_hand_out.h"

#include <cstring>
#include <utility>

#include "core/check.h"

namespace temper {
namespace {

constexpr int kWordTag = 11;
// Words. Who asks has none; a part is given; there are none left to begin; the last word.
enum WordKind : int64_t { kAsk, kPart, kNone, kEnd };

template <typename T>
void Append(const std::vector<T>& values, std::string* bytes) {
  const auto count = static_cast<int64_t>(values.size());
  bytes->append(reinterpret_cast<const char*>(&count), sizeof count);
  bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

template <typename T>
void TakeFrom(std::string_view* bytes, std::vector<T>* values) {
  int64_t count = 0;
  TEMPER_CHECK(bytes->size() >= sizeof count);
  std::memcpy(&count, bytes->data(), sizeof count);
  bytes->remove_prefix(sizeof count);
  TEMPER_CHECK(count >= 0 && bytes->size() / sizeof(T) >= static_cast<size_t>(count));
  values->resize(count);
  if (count > 0) std::memcpy(values->data(), bytes->data(), count * sizeof(T));
  bytes->remove_prefix(count * sizeof(T));
}

}  // namespace

std::vector<std::vector<LeafPart>> PartsOfRanks(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens) {
  std::vector<std::vector<LeafPart>> parts;
  for (const std::vector<int64_t>& of_rank : LeavesOfRanks(leaves, mesh, long_tokens)) {
    std::vector<LeafPart>& mine = parts.emplace_back();
    std::vector<LeafPart> long_ones;
    for (const int64_t leaf : of_rank) {
      LeafPart together{.leaf = leaf};
      for (size_t i = 0; i < leaves[leaf].size(); ++i) {
        if (IsLong(*leaves[leaf][i], long_tokens)) {
          long_ones.push_back({.leaf = leaf, .sequences = {i}, .is_long = true});
        } else {
          together.sequences.push_back(i);
        }
      }
      if (!together.sequences.empty()) mine.push_back(std::move(together));
    }
    mine.insert(mine.end(), long_ones.begin(), long_ones.end());
  }
  return parts;
}

bool LeafHandOut::IsFor(const Mesh& mesh) {
  const MeshSizes& sizes = mesh.sizes();
  return sizes.dp_replicate > 1 && sizes.pp * sizes.dp_shard * sizes.ep * sizes.cp == 1 &&
         !mesh.axis(Axis::kDpReplicate).counts_only();
}

LeafHandOut::LeafHandOut(std::vector<std::vector<LeafPart>> of_ranks, Leaves leaves, const Mesh& mesh)
    : mesh_(mesh),
      ranks_(mesh.axis(Axis::kDpReplicate)),
      of_ranks_(std::move(of_ranks)),
      leaves_(std::move(leaves)),
      peers_(ranks_.size()) {
  TEMPER_CHECK(of_ranks_.size() == peers_.size());
  for (size_t i = 0; i < of_ranks_[ranks_.rank()].size(); ++i) own_.push_back(static_cast<int64_t>(i));
  peers_[ranks_.rank()] = {true, true};
  TellAllOnceEmpty();
}

void LeafHandOut::Tell(int peer, int64_t kind) {
  const Word word{.kind = kind};
  ranks_.SendCopy(&word, sizeof word, peer, kWordTag);
}

void LeafHandOut::TellAllOnceEmpty() {
  if (!Leads() || !own_.empty() || std::exchange(told_, true)) return;
  for (int peer = 0; peer < ranks_.size(); ++peer)
    if (peer != ranks_.rank()) Tell(peer, kNone);
}

LeafHandOut::Word LeafHandOut::Hear(int peer) {
  Word word;
  ranks_.Receive(&word, sizeof word, peer, kWordTag);
  if (word.kind == kNone) peers_[peer].has_none = true;
  if (word.kind == kEnd) peers_[peer].ended = true;
  // Where there are none left it was told so, and that is its answer.
  if (word.kind != kAsk || own_.empty()) return word;
  const int64_t number = own_.back();
  own_.pop_back();
  const std::string tokens = Pack(of_ranks_[ranks_.rank()][number]);
  const Word given{kPart, number, static_cast<int64_t>(tokens.size())};
  ranks_.SendCopy(&given, sizeof given, peer, kWordTag);
  ranks_.SendCopy(tokens.data(), tokens.size(), peer, kWordTag);
  TellAllOnceEmpty();
  return word;
}

void LeafHandOut::Serve() {
  if (!Leads()) return;
  for (int peer = 0; peer < ranks_.size(); ++peer)
    while (!peers_[peer].ended && ranks_.HasCome(peer, kWordTag)) Hear(peer);
}

std::optional<std::pair<int, int64_t>> LeafHandOut::TakeOver(std::string* tokens) {
  for (int distance = 1; distance < ranks_.size(); ++distance) {
    const int peer = (ranks_.rank() + distance) % ranks_.size();
    if (!peers_[peer].has_none) Tell(peer, kAsk);
    // Its own asks may come before, which the word that this rank has none has answered.
    while (!peers_[peer].has_none) {
      const Word word = Hear(peer);
      if (word.kind != kPart) continue;
      tokens->resize(word.bytes);
      ranks_.Receive(tokens->data(), tokens->size(), peer, kWordTag);
      return std::pair(peer, word.part);
    }
  }
  return std::nullopt;
}

const LeafPart* LeafHandOut::Next() {
  int64_t head[3] = {-1, 0, 0};  // of whom, which, bytes of tokens that come with it
  std::string tokens;
  if (Leads()) {
    if (!own_.empty()) {
      head[0] = ranks_.rank();
      head[1] = own_.front();
      own_.pop_front();
      TellAllOnceEmpty();
      Serve();
    } else if (const auto taken = TakeOver(&tokens)) {
      head[0] = taken->first;
      head[1] = taken->second;
      head[2] = static_cast<int64_t>(tokens.size());
    }
  }
  Communicator& mates = mesh_.mates();
  if (mates.size() > 1) {
    mates.Broadcast(head, sizeof head, 0);
    tokens.resize(head[2]);
    mates.Broadcast(tokens.data(), tokens.size(), 0);
  }
  if (head[0] < 0) return nullptr;
  const LeafPart& part = of_ranks_[head[0]][head[1]];
  if (head[0] != ranks_.rank()) {
    Unpack(part, tokens);
    ++taken_over_;
  }
  return &part;
}

void LeafHandOut::End() {
  if (!Leads()) return;
  for (int peer = 0; peer < ranks_.size(); ++peer)
    if (peer != ranks_.rank()) Tell(peer, kEnd);
  for (int peer = 0; peer < ranks_.size(); ++peer)
    while (!peers_[peer].ended) Hear(peer);
}

std::string LeafHandOut::Pack(const LeafPart& part) const {
  std::string bytes;
  for (const size_t i : part.sequences) {
    const TrainSequence& sequence = *leaves_[part.leaf][i];
    Append(sequence.tokens, &bytes);
    Append(sequence.old_logprobs, &bytes);
    Append(sequence.ref_logprobs, &bytes);
  }
  return bytes;
}

void LeafHandOut::Unpack(const LeafPart& part, const std::string& tokens) {
  std::string_view bytes = tokens;
  for (const size_t i : part.sequences) {
    TrainSequence& sequence = taken_.emplace_back(*leaves_[part.leaf][i]);
    TakeFrom(&bytes, &sequence.tokens);
    TakeFrom(&bytes, &sequence.old_logprobs);
    TakeFrom(&bytes, &sequence.ref_logprobs);
    leaves_[part.leaf][i] = &sequence;
  }
  TEMPER_CHECK(bytes.empty());
}

}  // namespace temper

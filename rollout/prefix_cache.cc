// SPDX-License-Identifier: Apache-2.0
#include "rollout/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace temper {
namespace {

int64_t CommonBeginning(absl::Span<const int32_t> a, absl::Span<const int32_t> b) {
  const size_t most = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + most, b.begin()).first - a.begin();
}

}  // namespace

std::pair<PrefixCache::Node*, int64_t> PrefixCache::Nearest(Node& node, absl::Span<const int32_t> tokens) {
  if (node.children.empty()) return {nullptr, 0};
  tokens = tokens.subspan(0, kPagePositions);
  // In the order of their tokens the one with the longest common beginning stands beside these.
  const auto after = node.children.lower_bound({tokens.begin(), tokens.end()});
  std::pair<Node*, int64_t> best = {nullptr, 0};
  const auto look = [&](Children::iterator child) {
    const int64_t common = CommonBeginning(child->first, tokens);
    if (common > best.second) best = {child->second.get(), common};
  };
  if (after != node.children.end()) look(after);
  if (after != node.children.begin()) look(std::prev(after));
  return best;
}

PrefixCache::Match PrefixCache::Find(absl::Span<const int32_t> tokens) {
  Match match;
  Node* node = &root_;
  while (match.tokens < static_cast<int64_t>(tokens.size())) {
    const auto [child, common] = Nearest(*node, tokens.subspan(match.tokens));
    if (common == 0) break;
    node = child;
    match.tokens += common;
    if (common < kPagePositions) {
      match.partial = child->page;
      break;
    }
    match.whole.push_back(child->page);
  }
  Touch(node);
  return match;
}

void PrefixCache::Insert(absl::Span<const int32_t> tokens, absl::Span<const int32_t> pages) {
  TEMPER_CHECK(PagesFor(static_cast<int64_t>(tokens.size())) <= static_cast<int64_t>(pages.size()));
  Node* node = &root_;
  for (size_t page = 0; page * kPagePositions < tokens.size(); ++page) {
    const absl::Span<const int32_t> held = tokens.subspan(page * kPagePositions, kPagePositions);
    const auto [at, is_new] = node->children.try_emplace({held.begin(), held.end()});
    if (is_new) {
      at->second = std::make_unique<Node>();
      at->second->page = pages[page];
      at->second->parent = node;
      at->second->self = at;
      at->second->use = by_use_.insert(by_use_.end(), at->second.get());
      pages_->Keep(pages[page]);
    }
    node = at->second.get();
  }
  Touch(node);
}

void PrefixCache::Touch(Node* node) {
  for (; node != &root_; node = node->parent) by_use_.splice(by_use_.end(), by_use_, node->use);
}

void PrefixCache::Forget(Node& node) {
  for (auto& [tokens, child] : node.children) {
    Forget(*child);
    pages_->LetGo(child->page);
    by_use_.erase(child->use);
  }
  node.children.clear();
}

bool PrefixCache::Evict() {
  if (pages_->unused_pages() == 0) return false;
  const auto oldest = std::find_if(by_use_.begin(), by_use_.end(),
                                   [&](const Node* node) { return !pages_->owned(node->page); });
  TEMPER_CHECK(oldest != by_use_.end());
  Node* const node = *oldest;
  Forget(*node);
  pages_->LetGo(node->page);
  by_use_.erase(oldest);
  node->parent->children.erase(node->self);
  return true;
}

void PrefixCache::Clear() { Forget(root_); }

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "rollout/page_allocator.h"

namespace temper {

// What the pages of the cache hold, by the tokens in them and before them: a tree with a page a node. All of
// it belongs to one policy version; Clear when the weights change. Keeps its pages beside their owners, until
// they are wanted: then the one that was not asked for the longest goes first. One thread.
class PrefixCache {
 public:
  explicit PrefixCache(PageAllocator* pages) : pages_(pages) {}

  // The longest beginning of some tokens that is here. Whole pages can be shared; what is left of the
  // beginning is the first positions of one more page, to be copied.
  struct Match {
    std::vector<int32_t> whole;
    int32_t partial = -1;  // -1: none
    int64_t tokens = 0;
  };
  Match Find(absl::Span<const int32_t> tokens);

  // The first pages of a sequence hold these tokens from position 0 on, the last one perhaps others behind
  // them. What is here already stays as it is.
  void Insert(absl::Span<const int32_t> tokens, absl::Span<const int32_t> pages);

  // Frees pages of no owner: the one not asked for the longest, and those that only it leads to. False: there
  // is none.
  bool Evict();
  void Clear();

 private:
  struct Node;
  using Children = std::map<std::vector<int32_t>, std::unique_ptr<Node>>;
  struct Node {
    int32_t page = -1;
    Node* parent = nullptr;
    Children::iterator self;  // in the parent's children
    std::list<Node*>::iterator use;
    Children children;
  };

  // The child that has the most of `tokens` at its beginning, and how many.
  static std::pair<Node*, int64_t> Nearest(Node& node, absl::Span<const int32_t> tokens);
  // A node counts as used after all that it leads to, so that they go before it.
  void Touch(Node* node);
  void Forget(Node& node);  // all that it leads to

  PageAllocator* const pages_;
  Node root_;
  std::list<Node*> by_use_;  // the one not asked for the longest first
};

}  // namespace temper

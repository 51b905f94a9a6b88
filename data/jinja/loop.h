// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/jinja/operators.h"

namespace temper::jinja {

// How far a for is. A condition is asked when its element comes up, and one element ahead only where the
// template asks for what is next; where it asks for the length, of all that are left (as Jinja does).
class LoopState {
 public:
  using Passes = std::function<bool(const Value&)>;

  LoopState(std::vector<Value> elements, bool has_size, int level, Passes passes,
            std::function<Value(const Value&)> recurse)
      : recurse(std::move(recurse)),
        level(level),
        elements_(std::move(elements)),
        passes_(std::move(passes)) {
    if (has_size) length_ = static_cast<int64_t>(elements_.size());
  }

  bool Next();
  int64_t index() const { return index_; }  // from 0; -1 before the first
  const Value& current() const { return current_; }
  const std::optional<Value>& previous() const { return previous_; }
  const std::optional<Value>& Peek();
  int64_t Length();

  const std::function<Value(const Value&)> recurse;  // of a recursive loop
  const int level;
  std::optional<std::vector<Value>> last_changed;

 private:
  std::optional<Value> Take();

  std::vector<Value> elements_;
  Passes passes_;
  size_t at_ = 0;
  int64_t index_ = -1;
  bool has_current_ = false;
  Value current_;
  std::optional<Value> previous_, next_;
  std::optional<int64_t> length_;
};

// The variable `loop`.
class Loop : public Object {
 public:
  explicit Loop(LoopState* state) : state_(state) {}
  void Finish() { state_ = nullptr; }

  std::string type() const override { return "LoopContext"; }
  bool GetAttribute(Runtime& runtime, TextView name, Value* value) override;
  bool is_callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override;

 private:
  LoopState* state_;  // null: the loop is over
};

}  // namespace temper::jinja

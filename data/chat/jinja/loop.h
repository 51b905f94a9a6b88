// SPDX-License-Identifier: Apache-2.0
// What a template holds while it runs: its variables and loops.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/chat/jinja/operators.h"

namespace temper::jinja {

// Variables of a loop's round, a macro's call or a block; what is not here is looked for outside.
struct Scope {
  Scope* outer = nullptr;
  bool is_kept = false;  // a macro was defined in here, and may outlive it
  std::vector<std::pair<std::string_view, Value>> variables;  // names are the template's

  void Set(Runtime& runtime, std::string_view name, Value value) {
    size_t at = 0;
    while (at < variables.size() && variables[at].first != name) ++at;
    if (!runtime.Step(at / kVariablesAStep)) return;
    if (at == variables.size()) variables.emplace_back(name, Value());
    variables[at].second = std::move(value);
  }

  // Null: there is none.
  const Value* Find(Runtime& runtime, std::string_view name) const {
    size_t looked = 0;
    const Value* found = nullptr;
    for (const Scope* scope = this; scope != nullptr && found == nullptr; scope = scope->outer) {
      ++looked;
      for (size_t at = 0; at < scope->variables.size() && found == nullptr; ++at, ++looked) {
        if (scope->variables[at].first == name) found = &scope->variables[at].second;
      }
    }
    return runtime.Step(looked / kVariablesAStep) ? found : nullptr;
  }

  static constexpr size_t kVariablesAStep = 4;  // names are short (lexer.cc)
};

// All scopes of a render; those closed are used again.
class Scopes {
 public:
  Scope* Open(Scope* outer) {
    if (free_.empty()) {
      all_.emplace_back();
      free_.push_back(&all_.back());
    }
    Scope* scope = free_.back();
    free_.pop_back();
    scope->outer = outer;
    return scope;
  }
  void Close(Scope* scope) {
    if (scope->is_kept) return;
    scope->variables.clear();
    free_.push_back(scope);
  }

 private:
  std::deque<Scope> all_;
  std::vector<Scope*> free_;
};

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

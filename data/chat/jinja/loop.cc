// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/loop.h"

namespace temper::jinja {
namespace {

Value LoopMethod(const char* name, std::function<Value(Runtime&, const Arguments&)> call) {
  return std::make_shared<const Function>(Function{name, std::move(call)});
}

}  // namespace

std::optional<Value> LoopState::Take() {
  while (at_ < elements_.size()) {
    const Value& element = elements_[at_++];
    if (passes_(element)) return element;
  }
  return std::nullopt;
}

bool LoopState::Next() {
  std::optional<Value> next = std::move(next_);
  next_.reset();
  if (!next.has_value()) next = Take();
  if (!next.has_value()) return false;
  if (has_current_) previous_ = std::move(current_);
  current_ = *std::move(next);
  has_current_ = true;
  ++index_;
  return true;
}

const std::optional<Value>& LoopState::Peek() {
  if (!next_.has_value()) next_ = Take();
  return next_;
}

int64_t LoopState::Length() {
  if (length_.has_value()) return *length_;
  std::vector<Value> rest;
  while (std::optional<Value> element = Take()) rest.push_back(*std::move(element));
  length_ = index_ + 1 + static_cast<int64_t>(rest.size()) + (next_.has_value() ? 1 : 0);
  // They have passed: not asked again.
  elements_ = std::move(rest);
  at_ = 0;
  passes_ = [](const Value&) { return true; };
  return *length_;
}

bool Loop::GetAttribute(Runtime& runtime, TextView name, Value* value) {
  if (state_ == nullptr) {
    *value = runtime.Fail("loop is used after its loop");
    return true;
  }
  LoopState& state = *state_;
  if (Equal(name, "index")) {
    *value = state.index() + 1;
  } else if (Equal(name, "index0")) {
    *value = state.index();
  } else if (Equal(name, "first")) {
    *value = state.index() == 0;
  } else if (Equal(name, "last")) {
    *value = !state.Peek().has_value();
  } else if (Equal(name, "length")) {
    *value = state.Length();
  } else if (Equal(name, "revindex")) {
    *value = state.Length() - state.index();
  } else if (Equal(name, "revindex0")) {
    *value = state.Length() - state.index() - 1;
  } else if (Equal(name, "depth")) {
    *value = static_cast<int64_t>(state.level) + 1;
  } else if (Equal(name, "depth0")) {
    *value = static_cast<int64_t>(state.level);
  } else if (Equal(name, "previtem")) {
    *value = state.index() > 0 ? *state.previous() : Value::MakeUndefined("there is no previous item");
  } else if (Equal(name, "nextitem")) {
    *value = state.Peek().has_value() ? *state.Peek() : Value::MakeUndefined("there is no next item");
  } else if (Equal(name, "cycle")) {
    *value = LoopMethod("cycle", [index = state.index()](Runtime& running, const Arguments& arguments) {
      if (arguments.values.empty()) return running.Fail("cycle: has nothing to go through");
      return arguments.values[index % arguments.values.size()];
    });
  } else if (Equal(name, "changed")) {
    *value = LoopMethod("changed", [this](Runtime& running, const Arguments& arguments) -> Value {
      if (state_ == nullptr) return running.Fail("loop is used after its loop");
      std::optional<std::vector<Value>>& last = state_->last_changed;
      bool is_same = last.has_value() && last->size() == arguments.values.size();
      for (size_t i = 0; is_same && i < last->size(); ++i)
        is_same = IsEqual(running, (*last)[i], arguments.values[i]);
      last = arguments.values;
      return !is_same;
    });
  } else {
    return false;
  }
  return true;
}

Value Loop::Call(Runtime& runtime, const Arguments& arguments) {
  if (state_ == nullptr || state_->recurse == nullptr) {
    return runtime.Fail("loop(...) wants a loop with the word recursive");
  }
  const Bound bound(runtime, "loop", arguments, {"iterable"}, 1);
  return runtime.failed() ? Value() : state_->recurse(bound[0]);
}

}  // namespace temper::jinja

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/jinja/value.h"

namespace temper::jinja {

// Variables of a loop's round, a macro's call or a block; what is not here is looked for outside.
struct Scope {
  Scope* outer = nullptr;
  bool is_kept = false;  // a macro was defined in here, and may outlive it
  std::vector<std::pair<std::string_view, Value>> variables;  // names are the template's

  void Set(std::string_view name, Value value) {
    for (auto& [each, old] : variables) {
      if (each == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }

  const Value* Find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
      for (const auto& [each, value] : scope->variables) {
        if (each == name) return &value;
      }
    }
    return nullptr;
  }
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

}  // namespace temper::jinja

// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/runtime.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/stop.h"
#include "core/text.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {

Value Runtime::Fail(const std::string& what) {
  if (!failed())
    status_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line_, ": ", Printable(what, 500)));
  return Value();
}

bool Runtime::Step(size_t steps) {
  if (failed()) return false;
  if (steps > static_cast<size_t>(kMaxSteps - steps_)) {
    Fail(absl::StrCat("the template does more than ", kMaxSteps, " steps"));
    return false;
  }
  if ((steps_ ^ (steps_ + static_cast<int64_t>(steps))) >= kStepsAQuestion && StopRequested()) {
    status_ = CheckStop();
    return false;
  }
  steps_ += static_cast<int64_t>(steps);
  return true;
}

bool Runtime::Room(size_t characters) {
  if (failed()) return false;
  if (characters > static_cast<size_t>(std::min(kMaxText, kMaxRoom - room_))) {
    Fail(absl::StrCat("the template makes a text of more than ", kMaxText, " characters, or more than ",
                      kMaxRoom, " in all"));
    return false;
  }
  room_ += static_cast<int64_t>(characters);
  return true;
}

Bound::Bound(Runtime& runtime, const std::string& function, const Arguments& arguments,
             std::initializer_list<const char*> names, size_t required)
    : runtime_(runtime), function_(function), values_(names.size(), nullptr) {
  if (arguments.values.size() > names.size()) {
    runtime.Fail(absl::StrCat(function, ": takes at most ", names.size(), " arguments, here are ",
                              arguments.values.size()));
  }
  const size_t count = std::min(arguments.values.size(), names.size());
  for (size_t i = 0; i < count; ++i) values_[i] = &arguments.values[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) {
      runtime.Fail(absl::StrCat(function, ": has no argument ", name));
    } else if (std::exchange(values_[found - names.begin()], &value) != nullptr) {
      runtime.Fail(absl::StrCat(function, ": has twice its argument ", name));
    }
  }
  static const Value undefined;
  for (size_t i = 0; i < required; ++i) {
    if (values_[i] != nullptr) continue;
    runtime.Fail(absl::StrCat(function, ": lacks its argument ", names.begin()[i]));
    values_[i] = &undefined;
  }
}

int64_t Bound::Int(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if ((*this)[i].is_integral()) return (*this)[i].AsInt();
  runtime_.Fail(absl::StrCat(function_, ": wants a whole number, not ", TypeName((*this)[i])));
  return otherwise;
}

Text Bound::String(size_t i, Text otherwise) const {
  if (!has(i)) return otherwise;
  if ((*this)[i].is_string()) return Text((*this)[i].AsText());
  runtime_.Fail(absl::StrCat(function_, ": wants a text, not ", TypeName((*this)[i])));
  return otherwise;
}

bool Bound::Truth(size_t i, bool otherwise) const {
  return has(i) ? IsTrue(runtime_, (*this)[i]) : otherwise;
}

}  // namespace temper::jinja

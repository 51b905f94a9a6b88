// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ctime>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "data/chat/jinja/value.h"

namespace temper::jinja {

// One render: its clock, its limits (templates are not trusted), what it owns, and the first thing that went
// wrong. After a failure all goes on with undefined values and comes to nothing; loops ask failed().
class Runtime {
 public:
  static constexpr int kMaxDepth = 200;                   // lists in lists
  static constexpr int64_t kMaxSteps = int64_t{1} << 26;  // nodes evaluated, elements looked at
  static constexpr size_t kCharactersAStep = 4;           // what looking at a text costs
  static constexpr int64_t kStepsAQuestion = 1 << 16;     // whether a stop was requested
  static constexpr int64_t kMaxRoom = int64_t{1} << 26;   // characters made, in all
  static constexpr int64_t kMaxText = int64_t{1} << 24;   // characters of one text
  static constexpr int kMaxCalls = 1500;                  // nodes and calls in each other
  static constexpr int64_t kMaxRange = 100000;            // as Jinja's sandbox

  explicit Runtime(std::string name) : name_(std::move(name)) {}

  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }
  // The first failure stays; one line, `NAME:LINE: what`. Returns undefined.
  Value Fail(const std::string& what);
  Value FailUndefined(const Value& undefined) { return Fail(undefined.WhyUndefined()); }

  // Says that so much is about to be done or made. False, and a failure, when there is too much of it or a
  // stop was requested (core/stop.h): then Cancelled.
  bool Step(size_t steps = 1);
  bool Room(size_t characters);
  // So many characters are about to be looked at.
  bool Touch(size_t characters) { return Step(1 + characters / kCharactersAStep); }

  template <class T, class... A>
  T* Own(A&&... arguments) {
    auto object = std::make_unique<T>(std::forward<A>(arguments)...);
    T* raw = object.get();
    Room(64);
    objects_.push_back(std::move(object));
    return raw;
  }

  void set_line(int line) { line_ = line; }
  int line() const { return line_; }
  int& depth() { return depth_; }
  void set_now(const std::tm& now, int microseconds) {
    now_ = now;
    microseconds_ = microseconds;
  }
  const std::optional<std::tm>& now() const { return now_; }
  int microseconds() const { return microseconds_; }

 private:
  const std::string name_;
  std::optional<std::tm> now_;
  int microseconds_ = 0;
  absl::Status status_;
  int line_ = 1, depth_ = 0;
  int64_t steps_ = 0, room_ = 0;
  std::vector<std::unique_ptr<Object>> objects_;
};

// A call's arguments by name, as Python binds them.
class Bound {
 public:
  Bound(Runtime& runtime, const std::string& function, const Arguments& arguments,
        std::initializer_list<const char*> names, size_t required = 0);
  bool has(size_t i) const { return values_[i] != nullptr; }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value Or(size_t i, Value otherwise) const { return has(i) ? *values_[i] : std::move(otherwise); }
  // Of the kind, or a failure.
  int64_t Int(size_t i, int64_t otherwise) const;
  Text String(size_t i, Text otherwise) const;
  bool Truth(size_t i, bool otherwise) const;

 private:
  Runtime& runtime_;
  const std::string function_;
  std::vector<const Value*> values_;
};

}  // namespace temper::jinja

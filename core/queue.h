// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/check.h"

namespace temper {

// What lies between two loops: at most `capacity` items, in order. Any number of threads on either side.
template <class T>
class Queue {
 public:
  Queue(std::string name, size_t capacity) : name_(std::move(name)), capacity_(capacity) {
    TEMPER_CHECK(capacity >= 1, "queue ", name_);
  }

  // Blocks while full. False, and the item is dropped, once closed.
  bool Push(T item) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Queue::HasRoomOrClosed));
    if (closed_) return false;
    items_.push_back(std::move(item));
    return true;
  }

  // Blocks while empty. Nothing, once closed and empty.
  std::optional<T> Pop() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Queue::HasItemOrClosed));
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  // Drops the items inside; how many.
  size_t Clear() {
    absl::MutexLock lock(&mutex_);
    const size_t count = items_.size();
    items_.clear();
    return count;
  }

  // Wakes all who wait. Items that are inside can still be popped. May be called again.
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  size_t size() const {
    absl::MutexLock lock(&mutex_);
    return items_.size();
  }
  const std::string& name() const { return name_; }

 private:
  bool HasRoomOrClosed() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return closed_ || items_.size() < capacity_;
  }
  bool HasItemOrClosed() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return closed_ || !items_.empty(); }

  const std::string name_;
  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace temper

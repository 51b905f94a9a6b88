// SPDX-License-Identifier: Apache-2.0
// Preset tsan only. Debian's Abseil is not built for ThreadSanitizer, so its mutexes order nothing in the
// sanitizer's eyes. Here each blocking call is taken in front of the library's own and says what it orders;
// reads inside are left out, because whoever unlocks evaluates other threads' conditions.
#include <dlfcn.h>

#include <string>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

template <typename Result, typename Object, typename... Arguments>
Result Ordered(const char* method, const void* what, Object* object, Arguments... arguments) {
#define TEMPER_TEXT_(name) #name
#define TEMPER_TEXT(name) TEMPER_TEXT_(name)
  const std::string space = TEMPER_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  const bool is_const = method[0] == 'K';
  const std::string symbol = std::string("_ZN") + (is_const ? "K" : "") + "4absl" +
                             std::to_string(space.size()) + space + (method + is_const);
  const auto real = reinterpret_cast<Result (*)(Object*, Arguments...)>(dlsym(RTLD_NEXT, symbol.c_str()));
  if (real == nullptr) __builtin_trap();
  struct Order {
    void* what;
    explicit Order(void* w) : what(w) {
      __tsan_release(what);
      AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    }
    ~Order() {
      AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
      __tsan_acquire(what);
    }
  } order(const_cast<void*>(what));
  return real(object, arguments...);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() { Ordered<void>("5Mutex4LockEv", this, this); }
void Mutex::Unlock() { Ordered<void>("5Mutex6UnlockEv", this, this); }
bool Mutex::TryLock() { return Ordered<bool>("5Mutex7TryLockEv", this, this); }
void Mutex::ReaderLock() { Ordered<void>("5Mutex10ReaderLockEv", this, this); }
void Mutex::ReaderUnlock() { Ordered<void>("5Mutex12ReaderUnlockEv", this, this); }
void Mutex::Await(const Condition& c) { Ordered<void>("5Mutex5AwaitERKNS0_9ConditionE", this, this, &c); }
void Mutex::LockWhen(const Condition& c) {
  Ordered<void>("5Mutex8LockWhenERKNS0_9ConditionE", this, this, &c);
}
bool Mutex::AwaitWithTimeout(const Condition& c, Duration d) {
  return Ordered<bool>("5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE", this, this, &c, d);
}
void CondVar::Wait(Mutex* mu) { Ordered<void>("7CondVar4WaitEPNS0_5MutexE", mu, this, mu); }
bool CondVar::WaitWithTimeout(Mutex* mu, Duration d) {
  return Ordered<bool>("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE", mu, this, mu, d);
}
void Notification::Notify() { Ordered<void>("12Notification6NotifyEv", this, this); }
void Notification::WaitForNotification() const {
  Ordered<void>("K12Notification19WaitForNotificationEv", this, this);
}
bool BlockingCounter::DecrementCount() {
  return Ordered<bool>("15BlockingCounter14DecrementCountEv", this, this);
}
void BlockingCounter::Wait() { Ordered<void>("15BlockingCounter4WaitEv", this, this); }

ABSL_NAMESPACE_END
}  // namespace absl

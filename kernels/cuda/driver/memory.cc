// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/driver/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <new>

#include "absl/base/attributes.h"
#include "absl/synchronization/mutex.h"
#include "kernels/cuda/driver/driver.h"

namespace temper::kernels::sim {
namespace {

constexpr int64_t kPage = 4096;
constexpr int64_t kPoisoned = int64_t{64} << 20;  // bytes of an allocation that are touched at once

// The device's addresses, a page that belongs to nobody, and as many bytes of the host's.
struct Allocation {
  int64_t bytes, pages;  // both in bytes
};

ABSL_CONST_INIT absl::Mutex mutex(absl::kConstInit);
std::map<uintptr_t, Allocation>& Allocations() {
  static auto* const all = new std::map<uintptr_t, Allocation>;
  return *all;
}

void Free(void* memory) {
  absl::MutexLock lock(&mutex);
  const auto found = Allocations().find(reinterpret_cast<uintptr_t>(memory));
  munmap(memory, 2 * found->second.pages + kPage);
  Allocations().erase(found);
}

}  // namespace

std::shared_ptr<void> AllocateMemory(int64_t bytes) {
  const int64_t pages = std::max<int64_t>((bytes + kPage - 1) / kPage, 1) * kPage;
  void* const memory =
      mmap(nullptr, 2 * pages + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* const host = static_cast<char*>(memory) + pages + kPage;
  if (mprotect(host, pages, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  std::memset(host, 0xff, std::min(bytes, kPoisoned));
  absl::MutexLock lock(&mutex);
  Allocations()[reinterpret_cast<uintptr_t>(memory)] = {bytes, pages};
  return {memory, Free};
}

int64_t TakenBytes() {
  absl::ReaderMutexLock lock(&mutex);
  int64_t bytes = 0;
  for (const auto& [first, allocation] : Allocations()) bytes += allocation.bytes;
  return bytes;
}

Reached Reach(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  absl::ReaderMutexLock lock(&mutex);
  const auto behind = Allocations().upper_bound(at);
  if (behind != Allocations().begin()) {
    const auto& [first, allocation] = *std::prev(behind);
    const auto offset = static_cast<int64_t>(at - first), apart = allocation.pages + kPage;
    if (offset < apart)
      return {const_cast<char*>(static_cast<const char*>(address)) + apart, allocation.bytes - offset, false};
  }
  return {const_cast<void*>(address), std::numeric_limits<int64_t>::max(), true};
}

}  // namespace temper::kernels::sim

// SPDX-License-Identifier: Apache-2.0
#include "kernels/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "core/check.h"

namespace temper::kernels {
namespace {

Isa Detect() {
  Isa best = Isa::kPlain;
  if (Supported(Isa::kAvx2)) best = Isa::kAvx2;
  if (Supported(Isa::kAvx512)) best = Isa::kAvx512;
  if (const char* wish = std::getenv("TEMPER_ISA")) {
    for (Isa isa : {Isa::kPlain, Isa::kAvx2, Isa::kAvx512}) {
      if (Name(isa) == wish && Supported(isa)) best = isa;
    }
  }
  return best;
}

std::atomic<Isa>& Active() {
  static std::atomic<Isa> active{Detect()};
  return active;
}

}  // namespace

Isa ActiveIsa() { return Active().load(std::memory_order_relaxed); }

void ForceIsa(Isa isa) {
  TEMPER_CHECK(Supported(isa), "this CPU has no ", std::string(Name(isa)));
  Active().store(isa);
}

bool Supported(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::kPlain:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  }
#endif
  return isa == Isa::kPlain;
}

std::string_view Name(Isa isa) {
  switch (isa) {
    case Isa::kPlain:
      return "plain";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "?";
}

}  // namespace temper::kernels

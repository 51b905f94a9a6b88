// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace temper::kernels {

// The instruction sets the CPU kernels are compiled for. The bits do not depend on the choice, only the speed
// does.
enum class Isa { kPlain, kAvx2, kAvx512 };

// The best one this CPU has, unless ForceIsa or the environment's TEMPER_ISA (plain, avx2, avx512) chose a
// lesser one.
Isa ActiveIsa();

// For tests. Asking for more than the CPU has is a broken invariant.
void ForceIsa(Isa isa);
bool Supported(Isa isa);
std::string_view Name(Isa isa);

// Picks FUNCTION out of the three namespaces that kernels/cpu/*.cc is compiled into.
#define TEMPER_DISPATCH(FUNCTION)                                                        \
  (::temper::kernels::ActiveIsa() == ::temper::kernels::Isa::kAvx512 ? &avx512::FUNCTION \
   : ::temper::kernels::ActiveIsa() == ::temper::kernels::Isa::kAvx2 ? &avx2::FUNCTION   \
                                                                     : &plain::FUNCTION)

}  // namespace temper::kernels

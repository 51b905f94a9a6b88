// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/gpu_check/cases.h"

#include "absl/strings/str_cat.h"

namespace temper::kernels {

std::vector<Case> Cases() {
  std::vector<Case> all;
  AddRowCases(&all);
  AddProductCases(&all);
  AddAttentionCases(&all);
  AddExpertCases(&all);
  AddTokenCases(&all);
  AddOptimizerCases(&all);
  return all;
}

std::string DigestOf(const Case& a_case, Backend& backend) {
  Held held(backend);
  a_case.call(held);
  return held.Digest();
}

std::string SizeText(int64_t rows, int64_t cols, int64_t between) {
  return absl::StrCat(rows, " x ", cols, between > 0 ? absl::StrCat(" apart ", between) : "");
}

}  // namespace temper::kernels

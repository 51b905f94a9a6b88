// SPDX-License-Identifier: Apache-2.0
// Calls of every function of a backend on numbers that are made here. What a call wrote has the same hash on
// every backend with the fixed orders: digests.txt has those of the simulated device, a GPU's must be equal.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/kernels/gpu_check/held.h"

namespace temper::kernels {

struct Case {
  std::string name, shape;
  std::function<void(Held&)> call;  // and tells what was written
};

// All of them, whose names and shapes together are unique.
std::vector<Case> Cases();
std::string DigestOf(const Case& a_case, Backend& backend);

// The parts of Cases().
void AddRowCases(std::vector<Case>* all);
void AddProductCases(std::vector<Case>* all);
void AddAttentionCases(std::vector<Case>* all);
void AddExpertCases(std::vector<Case>* all);
void AddTokenCases(std::vector<Case>* all);
void AddOptimizerCases(std::vector<Case>* all);

// "5 x 711 apart 1".
std::string SizeText(int64_t rows, int64_t cols, int64_t between = 0);

}  // namespace temper::kernels

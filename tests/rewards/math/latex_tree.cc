// SPDX-License-Identifier: Apache-2.0
// The tree of each line of LaTeX, for latex_cases.py.
#include <iostream>
#include <string>

#include "rewards/math/latex/latex.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto tree = temper::math::ParseLatex(line);
    std::cout << (tree.ok() ? DebugString(*tree) : "ERROR " + std::string(tree.status().message())) << "\n";
  }
}

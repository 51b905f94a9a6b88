// SPDX-License-Identifier: Apache-2.0
// On their own since runs keep them and the program prints them.
#pragma once

namespace temper {

inline constexpr char kVersion[] = "0.1.0";  // CMakeLists.txt's; a test compares

// Of the orders of all sums and draws (docs/exactness.md), and with it the form of what holds their results.
// Another has other bits: runs, checkpoints and trajectories say theirs, and none goes on under another.
inline constexpr int kNumerics = 2;

}  // namespace temper

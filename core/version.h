// SPDX-License-Identifier: Apache-2.0
// On its own since runs keep it and the program prints it.
#pragma once

namespace temper {

inline constexpr char kVersion[] = "0.1.0";  // CMakeLists.txt's; a test compares

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// What the headers of kernels/cuda say of a launch, which tests hold to what is counted and measured.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "gtest/gtest.h"

namespace temper::kernels {

inline std::string HeaderText(const std::string& header) {
  const auto text = ReadFile(absl::StrCat("kernels/cuda/", header));
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

// What the header says of a function, in one line.
inline std::string SaidOf(const std::string& header, const std::string& function) {
  const std::string text = HeaderText(header);
  const size_t end = text.find(absl::StrCat("  void ", function, "("));
  EXPECT_NE(end, std::string::npos) << header << ", " << function;
  if (end == std::string::npos) return "";
  const size_t begin = text.rfind("/*", end);
  std::string line;
  for (const char c : text.substr(begin, end - begin)) {
    const bool space = c == ' ' || c == '\n' || c == '\\';
    if (!space || (!line.empty() && line.back() != ' ')) line += space ? ' ' : c;
  }
  return line;
}

}  // namespace temper::kernels

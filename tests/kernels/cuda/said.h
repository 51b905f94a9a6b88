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

// What a header's text says of a function, in one line; "" where no comment of its own stands before it.
inline std::string SaidIn(const std::string& text, const std::string& function) {
  const size_t end = text.find(absl::StrCat("  void ", function, "("));
  const size_t begin = end == std::string::npos ? end : text.rfind("/*", end);
  if (begin == std::string::npos) return "";
  const size_t behind = text.find("*/", begin) + 2;
  if (text.find_first_not_of(" \\\n", behind) != end + 2) return "";
  std::string line;
  for (const char c : text.substr(begin, behind - begin)) {
    const bool space = c == ' ' || c == '\n' || c == '\\';
    if (!space || (!line.empty() && line.back() != ' ')) line += space ? ' ' : c;
  }
  return line;
}

// The same of a header of kernels/cuda.
inline std::string SaidOf(const std::string& header, const std::string& function) {
  const std::string said = SaidIn(HeaderText(header), function);
  EXPECT_NE(said, "") << header << " says nothing of " << function;
  return said;
}

}  // namespace temper::kernels

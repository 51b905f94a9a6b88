// SPDX-License-Identifier: Apache-2.0
#include "core/terminal.h"

#include "core/log.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(Terminal, ShowsWhatItWouldObey) {
  EXPECT_EQ(TerminalText("a\tb\n\nc\n"), "a\tb\n\nc\n");
  EXPECT_EQ(TerminalText("\x1b]0;pwned\x07\r\u202Ex\n"), "\\x1b]0;pwned\\x07\\x0d\\xe2\\x80\\xaex\n");
  EXPECT_EQ(TerminalText(std::string(1000, 'x')), std::string(1000, 'x'));
}

TEST(Terminal, LogLinesHaveNoControlsWhateverTheySay) {
  testing::internal::CaptureStderr();
  LogInfo("file \x1b[2J\u009B.json: is no model");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "file \\x1b[2J\\xc2\\x9b.json: is no model\n");
}

}  // namespace
}  // namespace temper

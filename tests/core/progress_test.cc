// SPDX-License-Identifier: Apache-2.0
#include "core/progress.h"

#include <thread>
#include <vector>

#include "core/log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct FakeScreen {
  double time = 0;
  int width = 80;
  std::vector<std::string> lines, bars;
  Progress::Screen Make(bool terminal, bool color = false) {
    return {.terminal = terminal,
            .color = color,
            .width = [this] { return width; },
            .now = [this] { return time; },
            .draw = [this](const std::string& bar) { bars.push_back(bar); },
            .line = [this](const std::string& line) { lines.push_back(line); }};
  }
};

TEST(Progress, ElsewhereThanOnATerminalALineEveryTenSecondsAndTheLast) {
  FakeScreen screen;
  Progress progress(screen.Make(false));
  progress.Start("zero", 40);
  for (int step = 1; step <= 40; ++step) {
    screen.time += 1;
    progress.Note("rollout 1/2");
    progress.Step(step, "acc 0.5");
  }
  progress.Finish();
  progress.Finish();
  EXPECT_THAT(screen.lines,
              ElementsAre("zero 0/40 0:00", "zero 9/40 0:10 eta 0:34  acc 0.5  rollout 1/2",
                          "zero 19/40 0:20 eta 0:22  acc 0.5  rollout 1/2",
                          "zero 29/40 0:30 eta 0:11  acc 0.5  rollout 1/2",
                          "zero 39/40 0:40 eta 0:01  acc 0.5  rollout 1/2", "zero 40/40 0:40  acc 0.5"));
  EXPECT_TRUE(screen.bars.empty());
}

// One step of thousands, the first, is no pace: "eta 126:18:59".
TEST(Progress, TellsWhenItWillEndOnceThePaceIsSteady) {
  FakeScreen screen;
  Progress progress(screen.Make(false));
  progress.Start("eval", 4096);
  screen.time = 111;
  progress.Step(1, "");
  screen.time = 140;
  progress.Step(200, "");
  EXPECT_EQ(screen.lines[1], "eval 1/4096 1:51");
  EXPECT_THAT(screen.lines[2], HasSubstr("eval 200/4096 2:20 eta "));
}

TEST(Progress, OnATerminalTheBarFitsTheWidthAndGoesAwayAtTheEnd) {
  FakeScreen screen;
  Progress progress(screen.Make(true));
  progress.Start("zero", 4);
  screen.time = 2;
  progress.Step(2, "acc 0.5");
  screen.time = 2.05;
  progress.Step(3, "too soon");
  screen.width = 20;
  screen.time = 3;
  progress.Step(3, "ä wide text that does not fit");
  progress.Finish();
  EXPECT_THAT(screen.bars, ElementsAre("zero 0/4 [" + std::string(30, ' ') + "] 0:00",
                                       "zero 2/4 [" + std::string(15, '=') + std::string(15, ' ') +
                                           "] 0:02 eta 0:02  acc 0.5",
                                       "zero 3/4 0:03 eta 0", ""));
  EXPECT_THAT(screen.lines, ElementsAre("zero 3/4 0:03 eta 0:01  ä wide text that does not fit"));
}

TEST(Progress, TimeLeftCountsOnlyTheStepsOfThisProcess) {
  FakeScreen screen;
  Progress progress(screen.Make(false));
  progress.Start("zero", 100, 90);
  screen.time = 20;
  progress.Step(95, "");
  EXPECT_EQ(screen.lines.back(), "zero 95/100 0:20 eta 0:20");
}

TEST(Progress, ColourIsOnlyAroundTheStage) {
  FakeScreen screen;
  Progress progress(screen.Make(true, true));
  progress.Start("zero", 4);
  EXPECT_THAT(screen.bars.back(), ::testing::StartsWith("\x1b[1mzero\x1b[0m 0/4 ["));
}

TEST(Progress, WhatItShowsHasNoControls) {
  FakeScreen screen;
  Progress progress(screen.Make(true));
  progress.Start("reading \x1b]0;pwned\x07.jsonl", 4);
  screen.time = 1;
  progress.Step(1, "\u009B2J");
  EXPECT_THAT(screen.bars, ::testing::Each(::testing::StartsWith("reading \\x1b]0;pwned\\x07.jsonl ")));
  EXPECT_THAT(screen.bars.back(), ::testing::EndsWith("  \\xc2\\x9b2J"));
}

TEST(Progress, ManyThreadsMayReport) {
  FakeScreen screen;
  Progress progress(screen.Make(true));
  progress.Start("zero", 1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 250; ++i) progress.Step(i, std::to_string(t));
    });
  }
  for (std::thread& thread : threads) thread.join();
  progress.Finish();
  EXPECT_EQ(screen.bars.back(), "");
}

TEST(Log, LinesCarryThePrefixAndMoveTheBarDown) {
  ::testing::internal::CaptureStderr();
  LogInfo("one ", 1);
  SetLogPrefix("rank 3: ");
  DrawStatusLine("\x1b[1mbar\x1b[0m");
  LogWarning("two\nlines");
  DrawStatusLine("");
  DrawStatusLine("");
  LogError("three");
  SetLogPrefix("");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "one 1\n\r\x1b[K\x1b[1mbar\x1b[0m\r\x1b[Krank 3: warning: two\nrank 3: warning: "
            "lines\n\x1b[1mbar\x1b[0m\r\x1b[Krank 3: "
            "error: three\n");
}

TEST(Log, LinesOfManyThreadsStayWhole) {
  ::testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) LogInfo(std::string(50, 'a' + t));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.size(), 4u * 200 * 51);
  for (size_t i = 0; i < text.size(); i += 51) {
    ASSERT_EQ(text.substr(i, 51), std::string(50, text[i]) + "\n");
  }
}

}  // namespace
}  // namespace temper

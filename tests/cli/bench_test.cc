// SPDX-License-Identifier: Apache-2.0
#include "cli/bench.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_split.h"
#include "core/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/isa.h"
#include "rewards/sandbox/sandbox.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// What the command prints on standard output.
std::vector<Json> Lines(const std::vector<std::string>& arguments) {
  CommandLine line;
  line.arguments = arguments;
  testing::internal::CaptureStdout();
  const absl::Status status = RunBench(line);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(status.ok()) << status;
  std::vector<Json> lines;
  for (absl::string_view row : absl::StrSplit(out, '\n', absl::SkipEmpty()))
    lines.push_back(Json::parse(row));
  return lines;
}

absl::Status Refused(const std::vector<std::string>& arguments) {
  CommandLine line;
  line.arguments = arguments;
  return RunBench(line);
}

TEST(Bench, AProductIsFourLinesThatStandBesideLibTorch) {
  const auto lines =
      Lines({"product", "--sizes", "24", "--rows", "1,3", "--rounds", "1", "--round-ms", "0.1"});
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[0]["bench"], "product.forward");
  EXPECT_EQ(lines[7]["bench"], "product.dw");
  EXPECT_EQ(lines[7]["shape"], "m3 n24 k24");
  for (const Json& line : lines) {
    for (const char* key : {"median_us", "gflops", "share", "ratio", "best_ratio"})
      EXPECT_GT(line[key], 0) << line << key;
    EXPECT_EQ(line["isa"], std::string(kernels::Name(kernels::ActiveIsa())));
  }
}

TEST(Bench, AStepCountsTheTokensItSampled) {
  Folder folder;
  WriteModel(folder, TinyDeepseek());
  const auto lines =
      Lines({"grpo", "train",           "generate", "--model",           folder.path(), "--rounds",
             "1",    "--prompts",       "2",        "--samples",         "2",           "--new-tokens",
             "3",    "--sequences",     "2",        "--sequence-tokens", "5",           "--batches",
             "2",    "--prompt-tokens", "4"});
  ASSERT_EQ(lines.size(), 3u);
  const double tokens[] = {2 * 2 * 3, 2 * 5, 2 * 3};
  for (int i = 0; i < 3; ++i) {
    const double counted =
        lines[i]["tokens_per_second"].get<double>() * lines[i]["median_us"].get<double>() / 1e6;
    EXPECT_NEAR(counted, tokens[i], 0.01) << lines[i];
  }
}

TEST(Bench, TheSandboxStandsBesideTheBareProgram) {
  if (const auto sandbox = Sandbox::Create(); !sandbox.ok()) GTEST_SKIP() << sandbox.status().message();
  const auto lines = Lines({"sandbox", "--threads", "1", "--rounds", "1"});
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0]["bench"], "sandbox.python");
  EXPECT_GT(lines[0]["ratio"].get<double>(), 0);
}

TEST(Bench, WhatItDoesNotKnowIsRefused) {
  EXPECT_EQ(Refused({"prodct"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Refused({"prodct"}).message()),
              HasSubstr("product, generate, train, grpo, sandbox"));
  EXPECT_THAT(std::string(Refused({}).message()), HasSubstr("product"));
}

TEST(Bench, ABadTokenListIsNamed) {
  const std::string path = std::filesystem::path(testing::TempDir()) / "bench_tokens.jsonl";
  std::ofstream(path) << "[1, 2]\n[1, 99999]\n";
  EXPECT_THAT(std::string(Refused({"train", "--token-file", path}).message()),
              HasSubstr("bench_tokens.jsonl:2"));
}

}  // namespace
}  // namespace temper

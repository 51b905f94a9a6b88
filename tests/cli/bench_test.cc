// SPDX-License-Identifier: Apache-2.0
// `temper bench`, which is a program of its own, from outside.
#include "absl/strings/str_split.h"
#include "core/json/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/isa.h"
#include "model/kv_cache.h"
#include "rewards/sandbox/sandbox.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// What `temper bench` prints on standard output.
std::vector<Json> Measured(const std::string& arguments) {
  const Ended ended = Shell("$TEMPER bench " + arguments);
  EXPECT_EQ(ended.code, 0) << ended.err;
  std::vector<Json> lines;
  for (absl::string_view row : absl::StrSplit(ended.out, '\n', absl::SkipEmpty()))
    lines.push_back(Json::parse(row));
  return lines;
}

TEST(Bench, AProductIsFourLinesThatStandBesideLibTorch) {
  const auto lines = Measured("product --sizes 24 --rows 1,3 --rounds 1 --round-ms 0.1");
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
  const auto lines = Measured(absl::StrCat(
      "grpo train generate --model ", folder.path(),
      " --rounds 1 --prompts 2 --samples 2 --new-tokens 3 --sequences 2 --sequence-tokens 5 --batches 2 "
      "--prompt-tokens 4"));
  ASSERT_EQ(lines.size(), 3u);
  const double tokens[] = {2 * 2 * 3, 2 * 5, 2 * 3};
  for (int i = 0; i < 3; ++i) {
    const double counted =
        lines[i]["tokens_per_second"].get<double>() * lines[i]["median_us"].get<double>() / 1e6;
    EXPECT_NEAR(counted, tokens[i], 0.01) << lines[i];
    if (i < 2) EXPECT_GT(lines[i]["peak_memory_bytes"], 1 << 20) << lines[i];
  }
}

TEST(Bench, AWeightMayHaveOtherOutputsThanInputs) {
  const auto lines = Measured("product --sizes 40x24 --rows 3 --rounds 1 --round-ms 0.1");
  ASSERT_EQ(lines.size(), 4u);
  for (const Json& line : lines) {
    EXPECT_EQ(line["shape"], "m3 n40 k24");
    const double flop = line["gflops"].get<double>() * line["median_us"].get<double>() * 1e3;
    EXPECT_NEAR(flop, 2 * 3 * 40 * 24, 60) << line;
  }
  for (const char* size : {"0", "3x", "x3", "3x4x5", "-1", "1048577", "threex4"}) {
    EXPECT_THAT(Shell(absl::StrCat("$TEMPER bench product --sizes '", size, "'")).err,
                HasSubstr("is neither N nor NxK"))
        << size;
  }
}

TEST(Bench, APassOfPromptsAndAStepOfDecodingAreMeasuredAlone) {
  Folder folder;
  WriteModel(folder, TinyDeepseek());
  const auto lines = Measured(absl::StrCat("prefill decode --model ", folder.path(),
                                           " --rounds 1 --round-ms 0.1 --batches 3 --contexts 5,66"));
  ASSERT_EQ(lines.size(), 4u);
  const double tokens[] = {3 * 5, 3 * 66, 3, 3};
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["bench"], i < 2 ? "prefill" : "decode");
    EXPECT_EQ(lines[i]["shape"], i % 2 == 0 ? "batch3 context5" : "batch3 context66");
    const double counted =
        lines[i]["tokens_per_second"].get<double>() * lines[i]["median_us"].get<double>() / 1e6;
    EXPECT_NEAR(counted, tokens[i], 0.01 * tokens[i]) << lines[i];
  }
  // A longer context is more keys and values to read, of the same weights.
  const auto bytes = [](const Json& line) {
    return line["gbps"].get<double>() * line["median_us"].get<double>() * 1e3;
  };
  const ModelConfig config = Parsed(TinyDeepseek());
  const double position = static_cast<double>(KvCache::BytesPerPage(config)) / kernels::kAttentionBlock;
  EXPECT_NEAR(bytes(lines[3]) - bytes(lines[2]), 3 * 61 * position, 0.02 * bytes(lines[3]));
  EXPECT_GT(lines[3]["memory_share"], 0);
  EXPECT_THAT(Shell(absl::StrCat("$TEMPER bench decode --contexts 100000 --model ", folder.path())).err,
              HasSubstr("max_position_embeddings"));
}

TEST(Bench, TheSandboxStandsBesideTheBareProgram) {
  if (const auto sandbox = Sandbox::Create(); !sandbox.ok()) GTEST_SKIP() << sandbox.status().message();
  const auto lines = Measured("sandbox --threads 1 --rounds 1");
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0]["bench"], "sandbox.python");
  EXPECT_GT(lines[0]["ratio"].get<double>(), 0);
}

TEST(Bench, WhatItDoesNotKnowIsRefused) {
  const Ended unknown = Shell("$TEMPER bench prodct");
  EXPECT_EQ(unknown.code, kUserExit);
  EXPECT_EQ(unknown.err,
            "error: bench prodct: unknown; there are: product, prefill, decode, generate, train, grpo, "
            "sandbox, tokenize\n");
  EXPECT_EQ(unknown.out, "");
  EXPECT_THAT(Shell("$TEMPER bench").err, HasSubstr("One or more of: product"));
  EXPECT_THAT(Shell("$TEMPER bench train --sequence 3").err, HasSubstr("did you mean --sequences?"));
}

TEST(Bench, ABadTokenListIsNamed) {
  const Folder folder;
  const std::string path = folder.Write("tokens.jsonl", "[1, 2]\n[1, 99999]\n");
  EXPECT_THAT(Shell("$TEMPER bench train --token-file " + path).err, HasSubstr("tokens.jsonl:2"));
}

TEST(Bench, WithoutItsProgramOneLineSaysWhich) {
  const Ended ended = Shell(
      "at=$(mktemp -d \"$TEMPER.XXXX\") && ln \"$TEMPER\" $at/temper && ($at/temper bench product; "
      "$at/temper bench --help >$at/help; echo $?); rm -r $at");
  EXPECT_THAT(ended.err, StartsWith("error: /"));
  EXPECT_THAT(
      ended.err,
      HasSubstr("/temper_bench: No such file or directory; temper bench is this program beside temper"));
  EXPECT_EQ(ended.out, "0\n");
}

}  // namespace
}  // namespace temper

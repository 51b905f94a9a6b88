// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

std::string Bytes(const std::string& directory) {
  return ReadFile(directory + "/model.safetensors").value_or("?");
}

TEST(Init, WritesAPolicyThatOtherCommandsRead) {
  const Folder folder;
  const std::string out = folder.path() + "/model";
  EXPECT_EQ(Lines("init", {kTinyTokenizer, "--out", out}), std::vector<std::string>{out});
  EXPECT_EQ(ReadFile(out + "/tokenizer.json").value(),
            ReadFile(std::string(kTinyTokenizer) + "/tokenizer.json").value());
  const std::vector<std::string> rows =
      Lines("sample", {"--model", out, "--max-new-tokens", "3"}, "{\"prompt\":\"1+1\"}\n");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_THAT(rows[0], HasSubstr("\"logprobs\":[-"));
}

TEST(Init, DrawsTheWeightsOfTheLibraryFromTheSeedAndTheScales) {
  const Folder folder, a, b, c;
  const std::string config = folder.path();
  folder.Write("config.json", DumpJson(TinyQwen2()));
  Lines("init", {config, "--out", a.path() + "/m", "--seed", "5", "--embedding-std", "0.5", "--linear-gain",
                 "0.7", "--head-gain", "2"});
  const auto read = ReadPolicy(a.path() + "/m");
  ASSERT_TRUE(read.ok()) << read.status();
  const Parameters expected =
      InitializeParameters(read->config, 5, {.embedding_std = 0.5f, .linear_gain = 0.7f, .head_gain = 2.0f});
  ASSERT_EQ(read->parameters.list().size(), expected.list().size());
  for (const Parameter& parameter : expected.list()) {
    const at::Tensor& value = read->parameters[parameter.name];
    ASSERT_EQ(value.numel(), parameter.value.numel()) << parameter.name;
    EXPECT_EQ(std::memcmp(value.const_data_ptr(), parameter.value.const_data_ptr(), value.numel() * 4), 0)
        << parameter.name;
  }
  Lines("init", {config, "--out", b.path() + "/m"});
  Lines("init", {config, "--out", c.path() + "/m", "--seed", "0"});
  EXPECT_EQ(Bytes(b.path() + "/m"), Bytes(c.path() + "/m"));
  EXPECT_NE(Bytes(b.path() + "/m"), Bytes(a.path() + "/m"));
}

TEST(Init, OverwritesNothing) {
  const Folder folder;
  folder.Write("model", "mine");
  EXPECT_THAT(ErrorOf("init", {kTinyTokenizer, "--out", folder.path() + "/model"}),
              HasSubstr("/model: is there already"));
  EXPECT_EQ(folder.Read("model"), "mine");
}

TEST(Init, RefusesWhatCannotBecomeAModelAndLeavesNothing) {
  const Folder folder, small;
  const std::string out = folder.path() + "/model";
  EXPECT_THAT(ErrorOf("init", {folder.path(), "--out", out}), HasSubstr("/config.json: cannot read"));
  EXPECT_THAT(ErrorOf("init", {"--out", out}), HasSubstr("expected a folder with config.json"));
  EXPECT_THAT(ErrorOf("init", {kTinyTokenizer, "more", "--out", out}), HasSubstr("unexpected argument more"));
  EXPECT_THAT(ErrorOf("init", {kTinyTokenizer}), HasSubstr("--out"));

  const std::string tokenizer = ReadFile(std::string(kTinyTokenizer) + "/tokenizer.json").value();
  small.Write("tokenizer.json", tokenizer);
  small.Write("config.json", DumpJson(With(TinyQwen2(), "vocab_size", 300)));
  EXPECT_THAT(ErrorOf("init", {small.path(), "--out", out}), HasSubstr("/tokenizer.json: has ids up to 356"));
  small.Write("config.json", DumpJson(With(With(TinyQwen2(), "vocab_size", 1 << 24), "hidden_size", 49152)));
  EXPECT_THAT(ErrorOf("init", {small.path(), "--out", out}), HasSubstr("of memory are free"));
  EXPECT_EQ(ListDirectory(folder.path()).value(), std::vector<std::string>{});
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// A model directory that is not whole: each fault is one error that names the file, and the tensor or the
// line.
#include <filesystem>

#include "gmock/gmock.h"
#include "model/files/safetensors.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kFirst[] = "model-00001-of-00002.safetensors", kSecond[] = "model-00002-of-00002.safetensors",
               kIndex[] = "model.safetensors.index.json";

// A model in two shards; each test has a fresh one.
class BadModel : public ::testing::Test {
 protected:
  BadModel() {
    WriteModel(folder_, WithWords(TinyLlama()), kTinyTokenizer);
    std::filesystem::remove(folder_.path() + "/model.safetensors");
    const Parameters parameters = InitializeParameters(Parsed(WithWords(TinyLlama())), 5, {});
    for (const Parameter& parameter : parameters.list())
      (shards_[0].size() < 5 ? shards_[0] : shards_[1]).push_back({parameter.name, parameter.value});
    WriteShards();
    WriteIndex({});
    EXPECT_TRUE(Sample().ok()) << Sample();
  }
  void WriteShards() const {
    EXPECT_TRUE(WriteSafetensors(folder_.path() + "/" + kFirst, shards_[0]).ok());
    EXPECT_TRUE(WriteSafetensors(folder_.path() + "/" + kSecond, shards_[1]).ok());
  }
  // Where the tensors are, but for `changes`.
  void WriteIndex(const Json& changes) const {
    Json map = Json::object();
    for (const NamedTensor& tensor : shards_[0]) map[tensor.name] = kFirst;
    for (const NamedTensor& tensor : shards_[1]) map[tensor.name] = kSecond;
    if (!changes.is_null()) map.update(changes);
    folder_.Write(kIndex, Json{{"weight_map", map}}.dump());
  }
  absl::Status Sample() const {
    return RunCommand("sample", {"--model", folder_.path(), "--max-new-tokens", "1"}, "{\"prompt\":\"a\"}\n")
        .status;
  }
  void ExpectError(const std::string& file, const std::string& what) const {
    const absl::Status status = Sample();
    EXPECT_TRUE(IsUsers(status)) << status;
    EXPECT_THAT(std::string(status.message()), StartsWith(folder_.path() + "/" + file + ":"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }

  const Folder folder_;
  std::vector<NamedTensor> shards_[2];
};

TEST_F(BadModel, WhoseShardsAndIndexDisagreeNamesTheTensorAndTheFiles) {
  const std::string name = shards_[0][0].name, other = shards_[1][0].name;
  WriteIndex({{name, "model-00003-of-00003.safetensors"}});
  ExpectError("model-00003-of-00003.safetensors",
              "is missing, and " + folder_.path() + "/" + kIndex + " has tensor " + name + " in it");
  WriteIndex({{"model.layers.9.mlp.up_proj.weight", kFirst}});
  ExpectError(kIndex, std::string("tensor model.layers.9.mlp.up_proj.weight: is not in ") + kFirst);
  WriteIndex({});
  shards_[1].push_back(shards_[0][0]);
  WriteShards();
  ExpectError(kSecond, "tensor " + name + ": is in " + folder_.path() + "/" + kFirst + " too");
  shards_[1].pop_back();
  shards_[1].erase(shards_[1].begin());  // neither in a shard nor in the index
  WriteShards();
  WriteIndex({});
  ExpectError(kIndex, "tensor " + other + ": is missing");
}

TEST_F(BadModel, WhoseShardIsMissingOrCutIsNamed) {
  const std::string path = folder_.path() + "/" + kSecond;
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  ExpectError(kSecond, " leave the 7103 bytes of data");
  std::filesystem::resize_file(path, 20);
  ExpectError(kSecond, "the file was cut");
  std::filesystem::remove(path);
  ExpectError(kSecond, "is missing");
}

TEST_F(BadModel, WithAKeyTwiceOrDeepJsonIsNamedByTheLine) {
  for (const char* file :
       {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", kIndex}) {
    const std::string whole = folder_.Read(file);
    ASSERT_EQ(whole[0], '{') << file;
    folder_.Write(file, "{\"x\":1,\n\"x\":2," + whole.substr(1));
    ExpectError(file, absl::StrCat(file, ":2: byte 11: duplicate key \"x\""));
    for (const int levels : {128, 5000, 1'000'000}) {
      folder_.Write(
          file, "{\"x\":\n" + std::string(levels, '[') + std::string(levels, ']') + "," + whole.substr(1));
      ExpectError(file, absl::StrCat(file, ":2: byte 134: nested deeper than 128 levels"));
    }
    folder_.Write(file, whole);
  }
}

TEST_F(BadModel, WhoseTokenizerFitsNeitherItselfNorTheEmbeddingIsNamed) {
  Json tokenizer = Json::parse(folder_.Read("tokenizer.json"));
  tokenizer["model"]["merges"].push_back("Q zebra");
  const size_t merge = tokenizer["model"]["merges"].size() - 1;
  folder_.Write("tokenizer.json", tokenizer.dump());
  ExpectError("tokenizer.json", absl::StrCat("model.merges[", merge, "]: zebra is not in the vocabulary"));
  tokenizer["model"]["merges"].erase(merge);
  tokenizer["model"]["vocab"]["zebra"] = 400;
  folder_.Write("tokenizer.json", tokenizer.dump());
  ExpectError("tokenizer.json", "has ids up to 400, but the model's vocab_size is 400");
  tokenizer["model"]["vocab"]["zebra"] = 399;  // the last row
  folder_.Write("tokenizer.json", tokenizer.dump());
  EXPECT_TRUE(Sample().ok()) << Sample();
}

}  // namespace
}  // namespace temper

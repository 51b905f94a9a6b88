// SPDX-License-Identifier: Apache-2.0
#include "model/files/shared_tensors.h"

#include <map>
#include <vector>

#include "ATen/ops/full.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/hugging_face.h"
#include "tests/core/test_folder.h"
#include "tests/model/configs.h"
#include "tests/model/slices.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSmallFiles = 20'000;

// Nothing divides evenly that need not.
ModelConfig Odd(bool tied = false) {
  Json json = TinyDeepseek();
  json.update(
      Json::parse(R"({"num_attention_heads": 4, "vocab_size": 711, "n_routed_experts": 10, "n_group": 1,
    "topk_group": 1, "num_hidden_layers": 3, "num_nextn_predict_layers": 0})"));
  json["tie_word_embeddings"] = tied;
  return Parsed(json);
}

std::vector<MeshSizes> Meshes() {
  return {{.dp_replicate = 3},
          {.dp_replicate = 1, .dp_shard = 3},
          {.dp_replicate = 2, .dp_shard = 5},
          {.dp_replicate = 1, .pp = 3},
          {.dp_replicate = 1, .tp = 2},
          {.dp_replicate = 1, .ep = 4},
          {.dp_replicate = 2, .cp = 2},
          {.dp_replicate = 1, .dp_shard = 3, .pp = 2, .tp = 2, .ep = 2, .cp = 2}};
}

std::string Text(const MeshSizes& sizes) {
  std::string text;
  for (int i = 0; i < kAxes; ++i) text += std::to_string(sizes[static_cast<Axis>(i)]) + " ";
  return text;
}

std::map<std::string, std::string> Files(const std::string& folder) {
  std::map<std::string, std::string> files;
  const auto names = ListDirectory(folder);
  for (const std::string& name : *names) files[name] = *ReadFile(folder + "/" + name);
  return files;
}

void OnMesh(const MeshSizes& sizes, const std::function<void(const Mesh&)>& body) {
  ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& world) {
    const auto mesh = Mesh::Create(sizes, world);
    ASSERT_TRUE(mesh.ok()) << mesh.status();
    body(*mesh);
  });
}

// A model's parameters with two weights more that go along.
Parameters WithMore(const ModelConfig& config, const MeshPlace& place) {
  const Parameters own = InitializeParameters(config, 5, {}, place);
  Layout layout(config, place,
                {{"value_head.weight", {3, 12}}, {"model.layers.3.eh_proj.weight", {2, 3, 4}}});
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : layout.entries())
    values.push_back(entry.along >= 0 ? at::full(entry.shape, 0.5f + static_cast<float>(entry.along))
                                      : own[entry.name]);
  return Parameters(std::move(layout), std::move(values));
}

TEST(SharedTensors, WhatRanksDrawIsTheirPartOfOneDraw) {
  const ModelConfig config = Odd();
  const Parameters whole = InitializeParameters(config, 5, {});
  for (const MeshSizes& sizes : Meshes()) {
    for (int64_t rank = 0; rank < RanksOf(sizes); ++rank) {
      const Parameters mine = InitializeParameters(config, 5, {}, PlaceOf(sizes, rank));
      const Parameters expected = Slice(whole, mine.layout());
      for (const Parameter& parameter : mine.list())
        ASSERT_TRUE(parameter.value.equal(expected[parameter.name])) << Text(sizes) << parameter.name;
    }
  }
}

TEST(SharedTensors, EveryLayoutWritesTheSameFilesAndReadsThoseOfEveryOther) {
  for (const bool tied : {false, true}) {
    const ModelConfig config = Odd(tied);
    TestFolder folder;
    const Parameters whole = WithMore(config, {});
    ASSERT_TRUE(MakeDirectories(folder / "one").ok());
    ASSERT_TRUE(WritePolicy(config, whole, "", folder / "one", {.file_bytes = kSmallFiles}).ok());
    const auto expected = Files(folder / "one");
    ASSERT_GE(expected.size(), 6u) << "several files, and an index";
    for (const MeshSizes& sizes : Meshes()) {
      const std::string directory = folder / ("of " + Text(sizes));
      ASSERT_TRUE(MakeDirectories(directory).ok());
      OnMesh(sizes, [&](const Mesh& mesh) {
        const absl::Status written =
            WritePolicy(config, WithMore(config, mesh.place()), "", directory, {&mesh.world(), kSmallFiles});
        ASSERT_TRUE(written.ok()) << written;
        const auto read = ReadPolicy(folder / "one", {.place = mesh.place()});
        ASSERT_TRUE(read.ok()) << read.status();
        const Parameters mine = Slice(whole, read->parameters.layout());
        ASSERT_EQ(read->parameters.list().size(), mine.list().size());
        for (const Parameter& parameter : mine.list())
          ASSERT_TRUE(parameter.value.equal(read->parameters[parameter.name])) << parameter.name;
      });
      EXPECT_EQ(Files(directory), expected) << Text(sizes);
    }
  }
}

// Of what another rank has nothing is read: the headers of all files and this rank's own bytes.
TEST(SharedTensors, ARankReadsItsPartAlone) {
  const ModelConfig config = Odd();
  TestFolder folder;
  const Parameters whole = InitializeParameters(config, 5, {});
  ASSERT_TRUE(WritePolicy(config, whole, "", folder.path(), {.file_bytes = kSmallFiles}).ok());
  int64_t headers = 0;
  for (const auto& [name, bytes] : Files(folder.path()))
    if (name.find(".safetensors") != std::string::npos && name.find("index") == std::string::npos)
      headers += static_cast<int64_t>(bytes.size());
  headers -= whole.layout().elements() * 4;
  for (const MeshSizes& sizes : Meshes()) {
    for (int64_t rank = 0; rank < RanksOf(sizes); ++rank) {
      const auto read = ReadPolicy(folder.path(), {.place = PlaceOf(sizes, rank)});
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(read->bytes_read, headers + read->parameters.layout().elements() * 4) << Text(sizes) << rank;
    }
  }
}

TEST(SharedTensors, AFileThatCannotBeWrittenIsAnErrorOnEveryRank) {
  const ModelConfig config = Odd();
  TestFolder folder;
  ASSERT_TRUE(
      WritePolicy(config, InitializeParameters(config, 5, {}), "", folder / "", {.file_bytes = kSmallFiles})
          .ok());
  // The second file's name is taken by a folder that is not empty.
  const std::string second = folder / std::next(Files(folder.path()).begin(), 3)->first;
  ASSERT_THAT(second, HasSubstr("model-00002-of-"));
  ASSERT_TRUE(RemoveTree(second).ok());
  ASSERT_TRUE(MakeDirectories(second + "/x").ok());
  int64_t errors = 0;
  OnMesh({.dp_replicate = 1, .tp = 2}, [&](const Mesh& mesh) {
    const Parameters mine = InitializeParameters(config, 5, {}, mesh.place());
    const absl::Status status = WritePolicy(config, mine, "", folder.path(), {&mesh.world(), kSmallFiles});
    EXPECT_EQ(status.message(), absl::StrCat(mesh.is_first() ? "rank 1 of 2 cannot go on: " : "", second,
                                             ": is a folder, not a file"));
    const int64_t failed = mesh.world().Sum(status.ok() ? 0 : 1);
    if (mesh.is_first()) errors = failed;
  });
  EXPECT_EQ(errors, 2);
}

}  // namespace
}  // namespace temper

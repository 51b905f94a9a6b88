// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/optimizer_files.h"

#include <functional>
#include <map>

#include "ATen/ops/empty.h"
#include "comm/mesh.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"
#include "tests/model/configs.h"
#include "tests/model/slices.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kSmallFiles = 30'000, kOneFile = int64_t{1} << 40;

ModelConfig Odd() {
  Json json = TinyDeepseek();
  json.update(
      Json::parse(R"({"num_attention_heads": 4, "vocab_size": 711, "n_routed_experts": 10, "n_group": 1,
    "topk_group": 1, "num_hidden_layers": 3, "num_nextn_predict_layers": 0, "tie_word_embeddings": true})"));
  return Parsed(json);
}

// Moments of the layout's weights that differ everywhere: each the number of its element among all.
struct State {
  State(const ModelConfig& config, const MeshPlace& place, bool filled)
      : parameters(InitializeParameters(config, filled ? 5 : 6, {}, place)) {
    const Layout& layout = parameters.layout();
    m = at::empty({layout.trained_elements()}, at::kFloat).zero_();
    v = at::empty({layout.trained_elements()}, at::kFloat).zero_();
    if (!filled) return;
    const Layout whole(config);
    for (const LayoutEntry& entry : layout.entries()) {
      if (!entry.trained) continue;
      const LayoutEntry& all = whole.entries()[whole.Find(entry.name)];
      const int64_t width = all.shape.size() == 2 ? all.shape[1] : 1;
      float* to = m.mutable_data_ptr<float>() + entry.offset;
      for (const LayoutBlock& block : BlocksOf(entry))
        for (int64_t i = 0; i < block.rows; ++i)
          for (int64_t j = 0; j < block.columns; ++j)
            *to++ = static_cast<float>(all.offset + (block.first_row + i) * width + block.first_column + j);
    }
    v.copy_(m).neg_();
  }
  OptimizerPart Part(const ModelConfig& config, bool rounded) const {
    return {config, parameters, rounded, m, v};
  }

  Parameters parameters;
  at::Tensor m, v;
};

std::map<std::string, std::string> Files(const std::string& checkpoint) {
  std::map<std::string, std::string> files;
  const auto names = ListDirectory(checkpoint + "/state");
  for (const std::string& name : *names) files[name] = *ReadFile(checkpoint + "/state/" + name);
  return files;
}

absl::Status WriteWhole(const std::string& checkpoint, const ModelConfig& config, int64_t file_bytes,
                        bool rounded) {
  EXPECT_TRUE(MakeDirectories(checkpoint + "/state").ok());
  const State state(config, {}, true);
  return WriteOptimizer(checkpoint, state.Part(config, rounded), {&Mesh::Single().world(), file_bytes});
}

TEST(OptimizerFiles, EveryLayoutWritesTheSameBytesAndReadsThoseOfEveryOther) {
  const ModelConfig config = Odd();
  for (const bool rounded : {false, true}) {
    for (const int64_t file_bytes : {kOneFile, kSmallFiles}) {
      TestFolder folder;
      ASSERT_TRUE(WriteWhole(folder / "one", config, file_bytes, rounded).ok());
      const auto expected = Files(folder / "one");
      ASSERT_EQ(expected.size() > 2, file_bytes == kSmallFiles);
      int number = 0;
      for (const MeshSizes& sizes : std::vector<MeshSizes>{{.dp_replicate = 1, .dp_shard = 3},
                                                           {.dp_replicate = 1, .dp_shard = 2, .cp = 2},
                                                           {.dp_replicate = 1, .pp = 3},
                                                           {.dp_replicate = 1, .tp = 2, .ep = 2},
                                                           {.dp_replicate = 2, .dp_shard = 2, .pp = 2}}) {
        const std::string checkpoint = folder / std::to_string(number++);
        ASSERT_TRUE(MakeDirectories(checkpoint + "/state").ok());
        ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& world) {
          const MeshPlace place = PlaceOf(sizes, world.rank());
          const State mine(config, place, true), read(config, place, false);
          const absl::Status written =
              WriteOptimizer(checkpoint, mine.Part(config, rounded), {&world, file_bytes});
          ASSERT_TRUE(written.ok()) << written;
          const absl::Status status = ReadOptimizer(folder / "one", read.Part(config, rounded));
          ASSERT_TRUE(status.ok()) << status;
          EXPECT_TRUE(read.m.equal(mine.m));
          EXPECT_TRUE(read.v.equal(mine.v));
          for (const Parameter& parameter : read.parameters.list())
            EXPECT_EQ(parameter.value.equal(mine.parameters[parameter.name]),
                      rounded || parameter.init == LayoutEntry::Init::kOne || !parameter.trained ||
                          parameter.elements == 0)
                << parameter.name;
        });
        EXPECT_EQ(Files(checkpoint), expected) << number;
      }
    }
  }
}

TEST(OptimizerFiles, WhatIsMissingOrDoesNotFitIsNamed) {
  const ModelConfig config = Odd();
  TestFolder folder;
  ASSERT_TRUE(WriteWhole(folder / "many", config, kSmallFiles, false).ok());
  const State state(config, {}, false);
  const auto error = [&](const std::string& checkpoint, const OptimizerPart& part) {
    return std::string(ReadOptimizer(folder / checkpoint, part).message());
  };
  EXPECT_EQ(error("many", state.Part(config, false)), "");
  EXPECT_THAT(error("many", state.Part(config, true)),
              HasSubstr("tensor weights.model.embed_tokens.weight is missing"));
  const auto names = ListDirectory(folder / "many/state");
  ASSERT_GE(names->size(), 3u);
  ASSERT_TRUE(RemoveTree(folder / ("many/state/" + names->at(1))).ok());
  EXPECT_THAT(error("many", state.Part(config, false)),
              HasSubstr(names->at(2) + ": tensor m does not go on where the file before it ends"));
  for (const std::string& name : *names) ASSERT_TRUE(RemoveTree(folder / ("many/state/" + name)).ok());
  EXPECT_THAT(error("many", state.Part(config, false)), HasSubstr("optimizer.safetensors: is missing"));
}

}  // namespace
}  // namespace temper

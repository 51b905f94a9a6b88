// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/model_directory.h"

#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// A run with as much in it as the search for a model looks at.
class ModelDirectoryTest : public ::testing::Test {
 protected:
  ModelDirectoryTest() {
    Make("run/config.yaml",
         "stages:\n  warm: {kind: sft, from: x}\n  go: {kind: rl, from: warm}\n"
         "  best: {kind: collect, from: go}\n  look: {kind: eval, from: go}\n");
  }
  void Make(const std::string& name, const std::string& text = "{}") const {
    const std::string path = folder_ / name;
    ASSERT_TRUE(MakeDirectories(path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(WriteFileAtomic(path, text).ok());
  }
  void Checkpoint(const std::string& name) const {
    Make("run/" + name + "/config.json");
    Make("run/" + name + "/trainer.json");
  }
  std::string Of(const std::string& name) const {
    const absl::StatusOr<std::string> found = ModelDirectory(folder_ / name);
    if (!found.ok()) return std::string(found.status().message());
    return found->substr(folder_.path().size() + 1);
  }
  const TestFolder folder_;
};

TEST_F(ModelDirectoryTest, IsItselfWhereThereIsAModel) {
  Make("model/config.json");
  EXPECT_EQ(Of("model"), "model");
  Checkpoint("go/checkpoints/step-000002");
  EXPECT_EQ(Of("run/go/checkpoints/step-000002"), "run/go/checkpoints/step-000002");
}

// As huggingface_hub lays out ~/.cache/huggingface/hub.
TEST_F(ModelDirectoryTest, IsTheRevisionThatTheHubsCacheCallsMain) {
  Make("models--o--n/refs/main", "0a1b2c");
  Make("models--o--n/snapshots/0a1b2c/config.json");
  Make("models--o--n/snapshots/999999/config.json");
  EXPECT_EQ(Of("models--o--n"), "models--o--n/snapshots/0a1b2c");
}

TEST_F(ModelDirectoryTest, IsTheNewestCheckpointOfAStage) {
  Checkpoint("warm/checkpoints/step-000002");
  Checkpoint("warm/checkpoints/step-000010");
  Make("run/warm/checkpoints/.step-000012.tmp/config.json");  // cut off while it was written
  EXPECT_EQ(Of("run/warm"), "run/warm/checkpoints/step-000010");
}

TEST_F(ModelDirectoryTest, IsTheNewestOfARunsLastStageThatHasOne) {
  Checkpoint("warm/checkpoints/step-000010");
  ASSERT_TRUE(MakeDirectories(folder_ / "run/go/checkpoints").ok());  // begun, and stopped before its first
  EXPECT_EQ(Of("run"), "run/warm/checkpoints/step-000010");
  Checkpoint("go/checkpoints/step-000001");
  Make("run/best/dataset.jsonl");  // stages that sample have none of their own
  Make("run/look/stage.json");
  EXPECT_EQ(Of("run"), "run/go/checkpoints/step-000001");
  EXPECT_EQ(Of("run/"), "run//go/checkpoints/step-000001");
}

TEST_F(ModelDirectoryTest, OfARunWithoutCheckpointsIsAnErrorThatSaysSo) {
  EXPECT_THAT(Of("run"), HasSubstr("no stage of this run has a checkpoint yet"));
  Make("run/config.yaml", "stages: {warm: {kind: walk}}\n");
  EXPECT_THAT(Of("run"), HasSubstr("run/config.yaml:1: stages.warm.kind"));
}

TEST_F(ModelDirectoryTest, IsThePathWhereNothingIsKnownOfIt) {
  EXPECT_EQ(Of("nothing"), "nothing");
  Make("folder/model.gguf");
  EXPECT_EQ(Of("folder"), "folder");
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// A small recipe on disks that fail and forget: what must hold after whatever became of a run.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "gmock/gmock.h"
#include "tests/core/files/failing_disk.h"
#include "tests/core/files/forgetting_disk.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {

// By stage: the step of the newest checkpoint, and a large one where it is finished.
inline std::map<std::string, int64_t> HowFarRunIs(const std::vector<std::string>& paths) {
  std::map<std::string, int64_t> far;
  for (const std::string& path : paths) {
    const std::string stage = path.substr(0, path.find('/'));
    const size_t step = path.find("/checkpoints/step-");
    int64_t& at = far[stage];
    if (path == stage + "/stage.json") at = 1'000'000;
    int64_t number = 0;
    if (step != path.npos && absl::SimpleAtoi(path.substr(step + 18), &number)) at = std::max(at, number);
  }
  return far;
}

inline std::vector<std::string> PathsBelow(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    paths.push_back(entry.path().string().substr(folder.size() + 1));
  return paths;
}

// Pretraining, RL with a reference that is refreshed and evaluations, and a dataset of its samples.
class Disturbed : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    made_ = new TestFolder();
    WriteSmallModel(*made_ / "model");
    recipe_ = new RecipeConfig(
        SmallRecipe(*made_ / "model", {"stages.base.pretrain.checkpoint_every=1",
                                       "stages.collect.collect.prompts=6", "stages.zero.rl.steps=3"}));
    recipe_->stages.erase(recipe_->stages.begin() + 4, recipe_->stages.end());
    recipe_->stages.erase(recipe_->stages.begin() + 2);
    recipe_->stages[0].pretrain.documents[0].count = 16;
    // A thread that writes meanwhile would give operations other numbers each time.
    for (StageConfig& stage : recipe_->stages)
      stage.rl.checkpoint_in_background = stage.pretrain.checkpoint_in_background = InBackground::kNo;
    std::filesystem::create_directories(*made_ / "undisturbed");
    disk_ = new ForgettingDisk(*made_ / "undisturbed");
    const DiskInPlace in_place(disk_);
    ASSERT_TRUE(Start(*made_ / "undisturbed").ok());
    digest_ = new std::string(Digest(*made_ / "undisturbed"));
  }
  static void TearDownTestSuite() {
    delete made_;
    delete recipe_;
    delete disk_;
    delete digest_;
  }

  static absl::Status Start(const std::string& run, const std::function<bool()>& stop = Never) {
    SelfCommunicator self;
    return RunRecipe(*recipe_, run, self, stop);
  }

  // A start goes on, silently, from no less than `least`, and, where `to_the_end`, ends as the undisturbed
  // run did.
  static void ExpectGoesOn(const std::string& run, const std::map<std::string, int64_t>& least,
                           bool to_the_end) {
    constexpr int kCalls = 5;
    int calls = 0;
    testing::internal::CaptureStderr();
    const absl::Status status = Start(run, [&] { return !to_the_end && ++calls > kCalls; });
    testing::internal::GetCapturedStderr();
    EXPECT_TRUE(status.ok() || (absl::IsCancelled(status) && !to_the_end)) << status;
    const std::vector<std::string> paths = PathsBelow(run);
    std::map<std::string, int64_t> far = HowFarRunIs(paths);
    for (const auto& [stage, step] : least) EXPECT_GE(far[stage], step) << stage;
    for (const std::string& path : paths) {
      EXPECT_FALSE(absl::EndsWith(path, ".damaged") && !absl::StrContains(path, "journal")) << path;
      EXPECT_FALSE(absl::EndsWith(path, ".tmp") || absl::EndsWith(path, ".old")) << path;
    }
    if (to_the_end) {
      EXPECT_EQ(Digest(run), *digest_);
    }
  }

  // What a loss of power may leave of the undisturbed run, by a seed.
  static void LosePower(uint64_t seed, bool to_the_end) { LosePower(*disk_, seed, to_the_end); }
  static void LosePower(const ForgettingDisk& disk, uint64_t seed, bool to_the_end) {
    const int64_t at =
        static_cast<int64_t>(ForgettingDisk::Hash(seed, 0) % static_cast<uint64_t>(disk.operations() + 1));
    SCOPED_TRACE(absl::StrCat("seed ", seed, " (TEMPER_SEED=", seed,
                              " makes it alone): the power goes before operation ", at, " of ",
                              disk.operations()));
    const std::string run = *made_ / "left";
    WriteTree(disk.After(at, seed), run);
    const Tree least = disk.Least(at);
    std::vector<std::string> paths(least.folders.begin(), least.folders.end());
    for (const auto& [path, bytes] : least.files) paths.push_back(path);
    ExpectGoesOn(run, HowFarRunIs(paths), to_the_end);
  }
  // Seeds from `first` on, each `through`-th of them to the run's end.
  static void LosePowers(uint64_t first, uint64_t seeds, uint64_t through) {
    if (const char* const one = std::getenv("TEMPER_SEED"))
      return LosePower(std::strtoull(one, nullptr, 10), true);
    for (uint64_t seed = first; seed < first + seeds && !HasFailure(); ++seed)
      LosePower(seed, seed % through == 0);
  }

  static TestFolder* made_;
  static RecipeConfig* recipe_;
  static ForgettingDisk* disk_;  // that the undisturbed run was written to
  static std::string* digest_;
};
inline TestFolder* Disturbed::made_;
inline RecipeConfig* Disturbed::recipe_;
inline ForgettingDisk* Disturbed::disk_;
inline std::string* Disturbed::digest_;

}  // namespace temper

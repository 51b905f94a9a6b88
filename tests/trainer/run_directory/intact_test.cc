// SPDX-License-Identifier: Apache-2.0
// A run whose files were damaged, removed or replaced: a resume names the file or goes on to the same bits,
// and never to others.
#include "trainer/run_directory/intact.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "core/files/sealed.h"
#include "gmock/gmock.h"
#include "model/files/weight_conversion.h"
#include "model/files/weight_files.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/sums.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

// All regular files of a folder but the lock, by path in it.
std::vector<std::string> FilesBelow(const std::string& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().filename() != ".lock")
      files.insert(entry.path().string().substr(folder.size() + 1));
  }
  return {files.begin(), files.end()};
}

// Removes what a checkpoint may be written into meanwhile: an entry that was listed may be gone, or a new one
// there.
void RemoveBesideTheRun(const std::string& path) {
  for (std::error_code error; fs::exists(path);) fs::remove_all(path, error);
}

void FlipBit(const std::string& path, double where = 0.5) {
  std::string bytes = *ReadFile(path);
  ASSERT_FALSE(bytes.empty()) << path;
  bytes[static_cast<size_t>(where * static_cast<double>(bytes.size() - 1))] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
}

// Stages base, zero (a reference that is refreshed, checkpoints, evaluations) and collect. One run is stopped
// in zero's last update but one, the other is finished; each test works on a copy.
class Intact : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    made_ = new TestFolder();
    WriteSmallModel(*made_ / "model");
    recipe_ = new RecipeConfig(SmallRecipe(*made_ / "model"));
    recipe_->stages.erase(recipe_->stages.begin() + 4, recipe_->stages.end());
    recipe_->stages.erase(recipe_->stages.begin() + 2);
    ASSERT_TRUE(Run(*made_ / "finished").ok());
    digest_ = new std::string(Digest(*made_ / "finished"));
    // After zero's third update; base has six.
    const absl::Status stopped = Run(*made_ / "stopped", [&] {
      const std::string lines = ReadFile(*made_ / "stopped/metrics.jsonl").value_or("");
      return std::count(lines.begin(), lines.end(), '\n') == 9;
    });
    ASSERT_TRUE(absl::IsCancelled(stopped)) << stopped;
    ASSERT_TRUE(FileExists(*made_ / "stopped/zero/checkpoints/step-000002"));
    ASSERT_TRUE(FileExists(*made_ / "stopped/zero/checkpoints/step-000003"));
    ASSERT_TRUE(FileExists(*made_ / "stopped/zero/reference-000002"));
  }
  static void TearDownTestSuite() {
    delete made_;
    delete recipe_;
    delete digest_;
  }

  static absl::Status Run(const std::string& directory, const std::function<bool()>& stop = Never) {
    SelfCommunicator self;
    return RunRecipe(*recipe_, directory, self, stop);
  }
  // A copy of one of the two.
  std::string Copy(const std::string& name) {
    fs::remove_all(run_);
    fs::copy(*made_ / name, run_, fs::copy_options::recursive);
    return run_;
  }
  // What a start says, and what it wrote to standard error.
  absl::Status Resume() {
    testing::internal::CaptureStderr();
    const absl::Status status = Run(run_);
    said_ = testing::internal::GetCapturedStderr();
    return status;
  }
  // Whether the file only tells those who look from outside; no bit of the run hangs on it.
  static bool IsForOthers(const std::string& file) {
    return file == "journal.jsonl" || file == "status.json";
  }
  // Whether the file is of a checkpoint that is not the newest of its stage, or of the reference of such a
  // one.
  bool IsOlder(const std::string& file) {
    if (absl::StrContains(file, "reference-000002")) return true;
    const size_t begin = file.find("/checkpoints/");
    if (begin == file.npos) return false;
    const auto all = Checkpoints(absl::StrCat(run_, "/", file.substr(0, begin), "/checkpoints"));
    return !absl::StartsWith(absl::StrCat(run_, "/", file), all.value().back());
  }
  void ExpectNamed(const absl::Status& status, const std::string& file) {
    EXPECT_FALSE(status.ok()) << file;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file.empty() ? run_ : run_ + "/" + file));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
  }

  static inline TestFolder* made_;
  static inline RecipeConfig* recipe_;
  static inline std::string* digest_;
  TestFolder folder_;
  const std::string run_ = folder_ / "run";
  std::string said_;
};

TEST_F(Intact, OneBitOfAnyFileOfAFinishedRunIsNamedByAStartAndByTheDigest) {
  int named = 0;
  for (const std::string& file : FilesBelow(Copy("finished"))) {
    if (IsForOthers(file)) continue;
    const std::string bytes = *ReadFile(run_ + "/" + file);
    FlipBit(run_ + "/" + file, static_cast<double>(named % 7) / 7);
    ExpectNamed(RunDigest(run_).status(), file);
    ++named;
    // What a start writes anew, or does not read.
    const bool read = file != "summary.json" && !IsOlder(file);
    if (read) ExpectNamed(Resume(), file);
    fs::remove(run_ + "/" + file);
    if (file == "config.yaml" || absl::EndsWith(file, "/stage.json")) {  // told by what others say of it
      EXPECT_FALSE(RunDigest(run_).ok()) << file;
    } else if (file != "summary.json") {
      ExpectNamed(RunDigest(run_).status(), file);
    }
    if (file == "collect/stage.json") {  // the last one: what it says is done again
      EXPECT_TRUE(Resume().ok());
      EXPECT_EQ(Digest(run_), *digest_);
    } else if (read) {
      ExpectNamed(Resume(), file);
    }
    ASSERT_TRUE(WriteFileAtomic(run_ + "/" + file, bytes).ok());
  }
  EXPECT_GT(named, 30);
  EXPECT_TRUE(Resume().ok());
  EXPECT_EQ(Digest(run_), *digest_);
}

// As the weights of a large model lie there.
TEST_F(Intact, EveryShardOfACheckpointIsInTheDigestAndOneThatIsMissingIsNamed) {
  const std::string folder = "zero/checkpoints/step-000003", checkpoint = Copy("stopped") + "/" + folder;
  {
    const auto files = OpenWeightFiles(checkpoint);
    ASSERT_TRUE(files.ok()) << files.status();
    const auto plan = PlanConversion(
        *files, false,
        {.shard_bytes = static_cast<int64_t>(fs::file_size(checkpoint + "/model.safetensors")) / 2});
    ASSERT_TRUE(plan.ok()) << plan.status();
    ASSERT_GT(plan->shards.size(), 1u);
    ASSERT_TRUE(WriteConversion(*plan, checkpoint, [](int64_t) { return absl::OkStatus(); }).ok());
  }
  fs::remove(checkpoint + "/model.safetensors");
  const std::string state = StatePath(checkpoint);
  Json json = *ReadSealedJson(state);
  const auto seal = [&] {
    fs::remove(state);  // no part of its own sums
    json["checksums"] = *SumsOfFolder(checkpoint, Mesh::Single().world());
    ASSERT_TRUE(WriteSealedJson(state, json).ok());
  };
  seal();

  const std::string digest = Digest(run_);
  std::set<std::string> digests = {digest};
  int shards = 0;
  for (const std::string& file : FilesBelow(checkpoint)) {
    if (!absl::StartsWith(file, "model")) continue;
    ++shards;
    const std::string path = checkpoint + "/" + file, bytes = *ReadFile(path);
    fs::remove(path);
    ExpectNamed(RunDigest(run_).status(), folder + "/" + file);
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    FlipBit(path);
    ExpectNamed(RunDigest(run_).status(), folder + "/" + file);
    // Other weights that were written so are another run.
    seal();
    digests.insert(Digest(run_));
    ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
    seal();
  }
  EXPECT_GE(shards, 3);  // with the index
  EXPECT_EQ(digests.size(), static_cast<size_t>(shards) + 1);
  EXPECT_EQ(Digest(run_), digest);
  EXPECT_TRUE(Resume().ok());
  EXPECT_EQ(Digest(run_), *digest_);
}

TEST_F(Intact, ASummaryOfOtherStagesIsNamedAndOneWithoutTheLastStageIsWhatAKillLeaves) {
  const std::string summary = Copy("finished") + "/summary.json";
  Json rows = *ParseJson(*ReadFile(summary), summary);
  ASSERT_EQ(rows.size(), 3u) << SummaryText(rows);
  const Json all = rows;
  rows.erase(rows.size() - 1);
  ASSERT_TRUE(WriteFileAtomic(summary, SummaryText(rows)).ok());
  EXPECT_EQ(Digest(run_), *digest_);
  rows.erase(rows.size() - 1);
  ASSERT_TRUE(WriteFileAtomic(summary, SummaryText(rows)).ok());
  ExpectNamed(RunDigest(run_).status(), "summary.json");
  rows = all;
  rows[1]["pass@1"] = 0.875;
  ASSERT_TRUE(WriteFileAtomic(summary, SummaryText(rows)).ok());
  ExpectNamed(RunDigest(run_).status(), "summary.json");
  EXPECT_TRUE(Resume().ok());
  EXPECT_EQ(*ReadFile(summary), SummaryText(all));
}

TEST_F(Intact, WhatAPowerLossLeavesBehindFinishedRecordsIsCutOff) {
  Copy("stopped");
  for (const char* file :
       {"/base/evaluation/held_out.rank-0.records", "/zero/trajectories/rollout-000000.rank-0.records"}) {
    std::ofstream(run_ + file, std::ios::app) << std::string(4096, '\0') << "rubbish";
    ExpectNamed(RunDigest(run_).status(), file + 1);
    EXPECT_TRUE(Resume().ok());
    EXPECT_THAT(said_, HasSubstr(absl::StrCat(run_, file, ": cuts off the 4103 bytes after its last whole")));
    EXPECT_EQ(Digest(run_), *digest_);
  }
}

TEST_F(Intact, CheckpointsThatAreRemovedUnderTheRunEndItAndNoneIsWrittenWithoutTokenizer) {
  const std::string checkpoints = run_ + "/zero/checkpoints";
  bool removed = false;
  const absl::Status status = Run(run_, [&] {
    if (!removed && FileExists(checkpoints + "/step-000002")) {
      RemoveBesideTheRun(checkpoints);
      fs::create_directory(checkpoints);
      removed = true;
    }
    return false;
  });
  // The next checkpoint may be being written there already, in the background.
  EXPECT_THAT(std::string(status.message()),
              AnyOf(HasSubstr("json: was removed while the run goes on"),
                    AllOf(HasSubstr("/.step-000003."), HasSubstr("No such file or directory"))));
  EXPECT_TRUE(Checkpoints(checkpoints)->empty());
  EXPECT_TRUE(Run(run_).ok());
  EXPECT_EQ(Digest(run_), *digest_);
}

TEST_F(Intact, AnyFileThatAResumeNeedsAndThatIsRemovedUnderTheRunIsNamedWithTheNextCheckpoint) {
  int named = 0;
  for (const std::string& file : FilesBelow(Copy("stopped"))) {
    const bool again =
        file == "summary.json" || file == "report.html" || file == "config_history.txt" || IsForOthers(file);
    if (again || absl::StartsWith(file, "zero/checkpoints") || absl::StrContains(file, "reference-"))
      continue;
    Copy("stopped");
    if (IsOlder(file)) continue;
    const absl::Status status = Run(run_, [&] {
      fs::remove(run_ + "/" + file);
      return false;
    });
    ExpectNamed(status, file);
    EXPECT_FALSE(FileExists(run_ + "/zero/stage.json")) << file;
    ++named;
  }
  EXPECT_GE(named, 15);
  fs::remove_all(run_);
  const std::string reference = "zero/reference-000002";
  ExpectNamed(Run(run_,
                  [&] {
                    fs::remove_all(run_ + "/" + reference);
                    return false;
                  }),
              reference);
}

TEST_F(Intact, WhatIsReplacedUnderTheRunIsNamedWithTheNextCheckpoint) {
  for (const std::string file : {"config.yaml", "files.json", "base/stage.json"}) {
    Copy("stopped");
    bool done = false;
    const absl::Status status = Run(run_, [&] {
      const std::string path = run_ + "/" + file;
      if (!std::exchange(done, true))
        EXPECT_TRUE(WriteFileAtomic(path, ReadFile(path).value_or("") + "# x\n").ok());
      return false;
    });
    ExpectNamed(status, file);
    EXPECT_FALSE(FileExists(run_ + "/zero/stage.json")) << file;
  }
}

TEST_F(Intact, ADatasetThatIsDamagedBeforeALaterStageReadsItIsNamed) {
  const std::string stage = Copy("finished") + "/collect", path = stage + "/dataset.jsonl";
  const std::string bytes = *ReadFile(path);
  EXPECT_TRUE(CheckFileOfFinished(stage, path).ok());
  FlipBit(path);
  ExpectNamed(CheckFileOfFinished(stage, path), "collect/dataset.jsonl");
  for (const std::string& other : {bytes + bytes, bytes.substr(1), std::string()}) {
    ASSERT_TRUE(WriteFileAtomic(path, other).ok());
    ExpectNamed(CheckFileOfFinished(stage, path), "collect/dataset.jsonl");
  }
  fs::remove(path);
  ExpectNamed(CheckFileOfFinished(stage, path), "collect/dataset.jsonl");
}

// In one start, while a stage between them trains on something else; of the same size, and still good JSON.
TEST_F(Intact, ADatasetThatIsReorderedBeforeALaterStageReadsItIsNotTrainedOn) {
  RecipeConfig recipe = SmallRecipe(*made_ / "model");
  recipe.stages.erase(recipe.stages.begin() + 5, recipe.stages.end());
  std::swap(recipe.stages[2], recipe.stages[3]);
  ASSERT_EQ(recipe.stages[3].name, "cold_start");
  ASSERT_EQ(recipe.stages[4].name, "sft");
  Copy("stopped");
  SelfCommunicator self;
  bool done = false;
  const absl::Status status = RunRecipe(recipe, run_, self, [&] {
    const std::string path = run_ + "/collect/dataset.jsonl";
    if (done || !FileExists(run_ + "/collect/stage.json")) return false;
    done = true;
    const std::string bytes = ReadFile(path).value_or("");
    const size_t second = bytes.find('\n') + 1;
    EXPECT_TRUE(WriteFileAtomic(path, bytes.substr(second) + bytes.substr(0, second)).ok());
    return false;
  });
  ExpectNamed(status, "collect/dataset.jsonl");
  EXPECT_TRUE(FileExists(run_ + "/cold_start/stage.json"));
  EXPECT_FALSE(FileExists(run_ + "/sft/checkpoints"));
}

TEST_F(Intact, AFinishedStageWithoutItsStageJsonIsNamedBeforeALaterOneLosesItsMetrics) {
  Copy("stopped");
  fs::remove(run_ + "/base/stage.json");
  const std::string metrics = *ReadFile(run_ + "/metrics.jsonl");
  const absl::Status status = Resume();
  ExpectNamed(status, "base/stage.json");
  EXPECT_THAT(std::string(status.message()), HasSubstr("is missing, but the later stage zero has begun"));
  EXPECT_EQ(*ReadFile(run_ + "/metrics.jsonl"), metrics);
}

TEST_F(Intact, AStageThatBeginsAgainSaysSo) {
  for (const bool folder_too : {false, true}) {
    Copy("stopped");
    const std::string checkpoints = run_ + "/zero/checkpoints";
    fs::remove_all(checkpoints);
    if (!folder_too) fs::create_directory(checkpoints);
    EXPECT_TRUE(Resume().ok());
    EXPECT_THAT(
        said_,
        HasSubstr("stage zero: begins again, with the 3 updates that it had done: it has no checkpoint"));
    EXPECT_EQ(Digest(run_), *digest_);
  }
}

TEST_F(Intact, OneBitOfAnyFileOfAStoppedRunIsNamedOrEndsInTheSameBits) {
  int named = 0, fell_back = 0;
  for (const std::string& file : FilesBelow(Copy("stopped"))) {
    Copy("stopped");
    const std::string bytes = *ReadFile(run_ + "/" + file);
    if (bytes.empty()) continue;
    FlipBit(run_ + "/" + file, static_cast<double>((named + fell_back) % 5) / 5);
    const absl::Status status = Resume();
    if (!status.ok()) {
      ExpectNamed(status, file);
      ++named;
      continue;
    }
    if (const absl::Status digest = RunDigest(run_).status(); !digest.ok()) {  // of an older checkpoint
      ExpectNamed(digest, file);
      ASSERT_TRUE(WriteFileAtomic(run_ + "/" + file, bytes).ok());
    }
    EXPECT_EQ(Digest(run_), *digest_) << file;
    if (!absl::StrContains(file, "step-000003") && !absl::StrContains(file, "reference-000002")) continue;
    EXPECT_THAT(said_, HasSubstr(file)) << file;
    ++fell_back;
  }
  EXPECT_GT(named, 10);
  EXPECT_GT(fell_back, 6);
}

TEST_F(Intact, ADamagedNewestCheckpointIsPutAsideAndTheOneBeforeGoesOn) {
  const std::string newest = "zero/checkpoints/step-000003";
  const auto damages = std::vector<std::pair<std::string, std::function<void(const std::string&)>>>{
      {"config.json", [](const std::string& path) { FlipBit(path, 0.3); }},
      {"tokenizer.json", [](const std::string& path) { fs::remove(path); }},
      {"model.safetensors", [](const std::string& path) { fs::resize_file(path, 1000); }},
      {"state/state.json", [](const std::string& path) { fs::remove(path); }},
      {"state/optimizer.safetensors", [](const std::string& path) { fs::resize_file(path, 0); }}};
  for (const auto& [file, damage] : damages) {
    Copy("stopped");
    damage(absl::StrCat(run_, "/", newest, "/", file));
    const absl::Status status = Resume();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(said_, HasSubstr(absl::StrCat(run_, "/", newest, "/", file, ": is ")));
    EXPECT_THAT(
        said_,
        HasSubstr(": stage zero goes on from checkpoints/step-000002, and what is damaged is kept as"));
    EXPECT_TRUE(FileExists(absl::StrCat(run_, "/", newest, ".damaged")));
    EXPECT_EQ(Digest(run_), *digest_) << file;
    EXPECT_TRUE(Resume().ok());
  }
  // None is whole: nothing is moved, and nothing begins anew.
  Copy("stopped");
  FlipBit(absl::StrCat(run_, "/", newest, "/config.json"));
  FlipBit(run_ + "/zero/checkpoints/step-000002/config.json");
  ExpectNamed(Resume(), newest + "/config.json");
  EXPECT_TRUE(FileExists(absl::StrCat(run_, "/", newest)));
  EXPECT_FALSE(FileExists(absl::StrCat(run_, "/", newest, ".damaged")));
}

TEST_F(Intact, AFileThatThisRunDidNotWriteIsNoPartOfACheckpoint) {
  Copy("stopped");
  const std::string template_file = run_ + "/zero/checkpoints/step-000003/chat_template.jinja";
  ASSERT_TRUE(WriteFileAtomic(template_file, "{{ 1 }}").ok());
  ASSERT_TRUE(WriteFileAtomic(run_ + "/zero/checkpoints/step-000003/README.md", "mine").ok());
  ExpectNamed(Resume(), "zero/checkpoints/step-000003/chat_template.jinja");
  fs::remove(template_file);
  EXPECT_TRUE(Resume().ok()) << said_;
  EXPECT_EQ(Digest(run_), *digest_);
}

TEST_F(Intact, TailsThatAPowerLossLeftInRecordsAreCutOff) {
  for (const std::string& tail : {std::string(1, '\0'), std::string(12, '\0'), std::string(4096, '\0'),
                                  std::string(9, '\xff'), std::string(5000, 'x')}) {
    // In collect's first rollout, some of whose samples are there.
    Copy("stopped");
    const std::string records = run_ + "/collect/trajectories/rollout-000000.rank-0.records";
    int64_t calls = 0;
    ASSERT_TRUE(absl::IsCancelled(Run(run_, [&] { return FileExists(records) && ++calls > 10; })));
    ASSERT_TRUE(FileExists(records));
    std::ofstream(records, std::ios::binary | std::ios::app) << tail;
    const absl::Status status = Resume();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(said_, HasSubstr(absl::StrCat(records, ": cuts off the ", tail.size(), " bytes")));
    EXPECT_EQ(Digest(run_), *digest_) << tail.size();
  }
}

TEST_F(Intact, ARunFolderThatIsRemovedRenamedOrReplacedEndsTheRunAndIsNotMadeAgain) {
  for (const char* at : {"base/checkpoints/step-000002", "zero/trajectories/rollout-000001.rank-0.records"}) {
    const auto end_by = [&](const std::function<void()>& act) {
      fs::remove_all(run_);
      bool done = false;
      const absl::Status status = Run(run_, [&] {
        if (FileExists(absl::StrCat(run_, "/", at)) && !std::exchange(done, true)) act();
        return false;
      });
      ExpectNamed(status, "");
      EXPECT_THAT(std::string(status.message()), HasSubstr("removed, renamed or replaced while this"));
    };
    end_by([&] { RemoveBesideTheRun(run_); });
    EXPECT_FALSE(FileExists(run_)) << at;
    end_by([&] { fs::rename(run_, folder_ / "moved"); });
    EXPECT_FALSE(FileExists(run_)) << at;
    // What was renamed goes on once it is back.
    fs::rename(folder_ / "moved", run_);
    EXPECT_TRUE(Resume().ok()) << said_;
    EXPECT_EQ(Digest(run_), *digest_);
    end_by([&] {
      fs::rename(run_, folder_ / "moved");
      fs::copy(*made_ / "stopped", run_, fs::copy_options::recursive);
    });
    EXPECT_EQ(*ReadFile(run_ + "/metrics.jsonl"), *ReadFile(*made_ / "stopped/metrics.jsonl"));
    fs::remove_all(folder_ / "moved");
  }
}

TEST_F(Intact, RecordsThatAreRemovedWhileTheStageRunsAreNamedAtItsEnd) {
  const std::string file = "zero/trajectories/rollout-000000.rank-0.records";
  bool done = false;
  const absl::Status status = Run(run_, [&] {
    if (FileExists(run_ + "/zero/checkpoints/step-000003") && !std::exchange(done, true))
      fs::remove(run_ + "/" + file);
    return false;
  });
  ExpectNamed(status, file);
  EXPECT_FALSE(FileExists(run_ + "/zero/stage.json"));
}

TEST_F(Intact, ASecondStartIsRefusedAlsoWhereTheLockFileWasRemoved) {
  Copy("stopped");
  absl::Status second;
  bool done = false;
  const absl::Status first = Run(run_, [&] {
    if (std::exchange(done, true)) return false;
    fs::remove(run_ + "/.lock");
    second = Run(run_);
    return false;
  });
  EXPECT_THAT(std::string(second.message()), HasSubstr(run_ + ": another process works in this folder"));
  EXPECT_TRUE(first.ok()) << first;
  EXPECT_EQ(Digest(run_), *digest_);
}

TEST_F(Intact, OfAnEarlierFormatIsSaidToBeSoAndNotDamaged) {
  Copy("stopped");
  const std::string path = run_ + "/zero/checkpoints/step-000003/state/state.json";
  ASSERT_TRUE(WriteFileAtomic(path, R"({"format":1,"step":3,"metrics_offset":9})").ok());
  const absl::Status status = Resume();
  ExpectNamed(status, "zero/checkpoints/step-000003/state/state.json: format 1, but this temper reads");
  EXPECT_TRUE(FileExists(path));
}

}  // namespace
}  // namespace temper

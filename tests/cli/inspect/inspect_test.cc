// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect/inspect.h"

#include <sys/stat.h>

#include <bit>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "cli/inspect/records.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "gmock/gmock.h"
#include "tests/cli/synthetic_run.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

std::string Text(const std::string& path) {
  const auto text = Inspect(path);
  return text.ok() ? *text : std::string(text.status().message());
}

SyntheticRun Written() {
  SyntheticRun run;
  run.Write();
  return run;
}

TEST(Inspect, TellsAModelsConfigAndTensors) {
  const std::string text = Text("tests/goldens/qwen2");
  EXPECT_THAT(text, HasSubstr("model        qwen2, "));
  EXPECT_THAT(text, HasSubstr("model.embed_tokens.weight"));
  EXPECT_THAT(text, HasSubstr("  BF16 [711, 60]\n"));
  EXPECT_EQ(Text("tests/goldens/qwen2/model.safetensors"), text.substr(text.find("parameters")));
}

TEST(Inspect, CountsParameters) {
  const std::string path = testing::TempDir() + "/two.safetensors";
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b.c":{"dtype":"BF16","shape":[1200],"data_offsets":[24,2424]}})";
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i));
  ASSERT_TRUE(WriteFileAtomic(path, bytes + header + std::string(2424, '\0')).ok());
  EXPECT_EQ(Text(path),
            "parameters   1,206 in 2 tensors (1 BF16, 1 F32), 2,424 bytes\n"
            "  a    F32  [2, 3]\n"
            "  b.c  BF16 [1200]\n");
  ASSERT_TRUE(WriteFileAtomic(path, bytes + header).ok());
  EXPECT_THAT(Text(path), HasSubstr("two.safetensors"));
}

TEST(Inspect, TellsACheckpointsState) {
  const std::string folder = testing::TempDir() + "/checkpoint";
  ASSERT_TRUE(RemoveTree(folder).ok());
  ASSERT_TRUE(MakeDirectories(folder + "/state").ok());
  for (const char* name : {"/config.json", "/model.safetensors"}) {
    ASSERT_TRUE(WriteFileAtomic(folder + name, *ReadFile(std::string("tests/goldens/qwen2") + name)).ok());
  }
  ASSERT_TRUE(WriteFileAtomic(folder + "/state/state.json", R"({"step":40,"policy_version":41})").ok());
  EXPECT_THAT(Text(folder), HasSubstr("state\n  step               40\n  policy_version     41\n"));
}

TEST(Inspect, TellsARunsStagesAndLastMetrics) {
  const SyntheticRun run = Written();
  const std::string text = Text(run.directory);
  EXPECT_THAT(text, HasSubstr(", seed 0\n"));
  EXPECT_THAT(text,
              HasSubstr("  base           pretrain  done, pass@1 0.2137, hard/pass@1 0.0871, 61.2 s\n"));
  EXPECT_THAT(
      text,
      HasSubstr("  zero           rl        done, pass@1 0.8613, hard/pass@1 0.3312, 91.2 s, 3 rollouts\n"));
  EXPECT_THAT(text, HasSubstr("last metrics final, update 40\n  reward/mean "));
  ASSERT_TRUE(RemoveTree(run.directory + "/summary.json").ok());
  EXPECT_THAT(Text(run.directory), HasSubstr("update 40 of 40, 3 rollouts"));
}

TEST(Inspect, CountsTrajectoriesAndVerdicts) {
  const std::string prefix = Written().directory + "/zero/trajectories/rollout-000001";
  const std::string counts =
      ": 4 groups, 32 trajectories, 1216 tokens\n"
      "  tasks     chain 2, find_x 2\n"
      "  length    mean 38.0, p10 24, p50 38, p90 52\n"
      "  stop      eos 28, length 4\n";
  EXPECT_THAT(Text(prefix), testing::StartsWith(prefix + counts));
  EXPECT_THAT(Text(RecordPath(prefix, 0)), testing::StartsWith(RecordPath(prefix, 0) + counts));
  EXPECT_THAT(Text(prefix), testing::EndsWith("  accuracy  correct 24, wrong 8\n  format    correct 32\n"));
}

TEST(Inspect, OfAStageIsATableWithALineARollout) {
  const SyntheticRun run = Written();
  const std::string text = Text(run.directory + "/zero");
  EXPECT_EQ(text,
            "records         groups  samples  tokens    p10    p50    p90    cut  accuracy    format\n"
            "rollout-000000       4       32    38.0     24     38     52  12.5%     62.5%    100.0%\n"
            "rollout-000001       4       32    38.0     24     38     52  12.5%     75.0%    100.0%\n"
            "rollout-000002       4       32    38.0     24     38     52  12.5%     62.5%    100.0%\n"
            "held_out             4       32    38.0     24     38     52  12.5%     62.5%    100.0%\n"
            "Of each rule: the share of completions that it calls correct.\n");
  EXPECT_THAT(Text(run.directory + "/zero/trajectories"), HasSubstr("rollout-000002       4"));
  EXPECT_THAT(Text(run.directory + "/base"), HasSubstr("evaluation/held_out: 4 groups"));
}

TEST(Inspect, SaysWhatItCannotRead) {
  EXPECT_EQ(Text("/nowhere"), "/nowhere: is not there");
  EXPECT_THAT(Text("tests/cli"), HasSubstr("tests/cli: is neither a model, nor a run, nor trajectories"));
  const std::string path = RecordPath(Written().directory + "/zero/trajectories/rollout-000001", 0);
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_THAT(Text(path), HasSubstr(path));
  EXPECT_EQ(Inspect(path).status().code(), absl::StatusCode::kDataLoss);
}

std::vector<Json> Exported(const std::string& path) {
  const std::string out = SyntheticRun().directory + ".jsonl";
  EXPECT_TRUE(RemoveTree(out).ok());
  const absl::Status status = RunInspect({.arguments = {path, "--export", out}});
  EXPECT_TRUE(status.ok()) << status.message();
  std::vector<Json> rows;
  for (const auto line : absl::StrSplit(ReadFile(out).value_or(""), '\n', absl::SkipEmpty())) {
    rows.push_back(ParseJson(std::string(line), out).value_or(Json()));
  }
  return rows;
}

TEST(Export, WritesEveryTrajectoryWithTheBitsOfItsLogprobs) {
  const SyntheticRun run = Written();
  const std::vector<Json> rows = Exported(run.directory + "/zero/trajectories/rollout-000001");
  ASSERT_EQ(rows.size(), 32u);
  const Trajectory sample = run.Sample("problem-1", 2, 1);
  const Json& row = rows[8 + 2];
  EXPECT_EQ(row["stage"], "zero");
  EXPECT_EQ(row["rollout"], 1);
  EXPECT_EQ(row["prompt_id"], "problem-1");
  EXPECT_EQ(row["prompt"], "Q 1 a -3 b *2 ? <think>");
  EXPECT_EQ(row["completion"], run.text);
  EXPECT_EQ(row["tokens"].get<std::vector<int32_t>>(), sample.tokens);
  for (size_t i = 0; i < sample.logprobs.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(static_cast<float>(row["logprobs"][i].get<double>())),
              std::bit_cast<uint32_t>(sample.logprobs[i]));
  }
  EXPECT_EQ(DumpJson(row["segments"]), R"([{"kind":"sampled","first":0,"count":32,"policy_version":1}])");
  EXPECT_EQ(row["stop"], "eos");
  EXPECT_EQ(row["reward"], 0.1);  // format alone
  EXPECT_LT(row["advantage"], 0.0);
  EXPECT_EQ(row["solved"], false);
  EXPECT_EQ(rows[8]["reward"], 1.1);
  EXPECT_EQ(rows[8]["solved"], true);
  EXPECT_EQ(DumpJson(row["verdicts"][0]),
            R"({"rule":"accuracy","verdict":"wrong","score":0.0,"extracted":"3","reason":"3 is not 8"})");
}

TEST(Export, OfTokensThatWereGivenHasNoLogprobs) {
  Trajectory trajectory;
  trajectory.tokens = {5, 6, 7, 8};
  trajectory.logprobs = {-0.5f, -0.25f};
  trajectory.Extend(Segment::Kind::kSampled, 2, 1);
  trajectory.Extend(Segment::Kind::kGiven, 3, 2);
  trajectory.Extend(Segment::Kind::kSampled, 3, 1);
  const Json row = TrajectoryJson(Group(), trajectory, Earned());
  EXPECT_EQ(DumpJson(row["logprobs"]), "[-0.5,null,null,-0.25]");
  EXPECT_EQ(DumpJson(row["segments"]), R"([{"kind":"sampled","first":0,"count":1,"policy_version":2},)"
                                       R"({"kind":"given","first":1,"count":2,"policy_version":3},)"
                                       R"({"kind":"sampled","first":3,"count":1,"policy_version":3}])");
}

TEST(Export, TakesAStageAndAWholeRun) {
  const SyntheticRun run = Written();
  EXPECT_EQ(Exported(run.directory + "/zero").size(), 4 * 32u);  // three rollouts and an evaluation
  const std::vector<Json> rows = Exported(run.directory);
  EXPECT_EQ(rows.size(), (4 + 4 + 1) * 32u);
  EXPECT_EQ(rows[0]["stage"], "evaluation/held_out");  // of base, which has no rollouts
  EXPECT_EQ(rows[1]["reward"], 1.1);
  EXPECT_TRUE(rows[1]["advantage"].is_null());
}

TEST(Export, LeavesNothingBehindAnError) {
  const SyntheticRun run = Written();
  const std::string out = testing::TempDir() + "/kept.jsonl";
  ASSERT_TRUE(WriteFileAtomic(out, "before").ok());
  const std::string path = RecordPath(run.directory + "/zero/trajectories/rollout-000002", 0);
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_FALSE(RunInspect({.arguments = {run.directory + "/zero", "--export", out}}).ok());
  EXPECT_EQ(*ReadFile(out), "before");
  EXPECT_FALSE(FileExists(out + ".tmp"));
}

TEST(Export, LeavesOtherFilesBesideItsOwnAndReplacesNoDeviceOrPipe) {
  const SyntheticRun run = Written();
  const std::string out = testing::TempDir() + "/rows.jsonl", pipe = testing::TempDir() + "/export_pipe";
  ASSERT_TRUE(WriteFileAtomic(out + ".tmp", "mine").ok());
  EXPECT_TRUE(RunInspect({.arguments = {run.directory + "/zero", "--export", out}}).ok());
  EXPECT_EQ(*ReadFile(out + ".tmp"), "mine");
  EXPECT_TRUE(RemoveTree(out + ".tmp").ok() && RemoveTree(pipe).ok());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(std::string(RunInspect({.arguments = {run.directory + "/zero", "--export", pipe}}).message()),
              HasSubstr("export_pipe: is a pipe, not a file"));
  struct stat info;
  ASSERT_EQ(stat(pipe.c_str(), &info), 0);
  EXPECT_TRUE(S_ISFIFO(info.st_mode));
}

TEST(RunInspect, SaysWhatItWants) {
  EXPECT_THAT(std::string(RunInspect({.arguments = {}}).message()), HasSubstr("temper inspect PATH"));
  EXPECT_THAT(std::string(RunInspect({.arguments = {"tests", "--digest"}}).message()),
              HasSubstr("tests: --digest is of a run directory"));
  EXPECT_THAT(std::string(RunInspect({.arguments = {"tests/goldens", "--export", "-"}}).message()),
              HasSubstr("tests/goldens: --export found no trajectories"));
  EXPECT_THAT(InspectHelp(), HasSubstr("--digest"));
}

}  // namespace
}  // namespace temper

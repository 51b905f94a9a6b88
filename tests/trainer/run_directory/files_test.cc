// SPDX-License-Identifier: Apache-2.0
// The files that stages read: alike on every rank, and the same when a run goes on.
#include "trainer/run_directory/files.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "comm/threads.h"
#include "core/random.h"
#include "core/version.h"
#include "gmock/gmock.h"
#include "model/files/hugging_face.h"
#include "model/files/safetensors.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A policy in two shards, as large models lie there.
void WriteShardedPolicy(const std::string& config_directory, const std::string& directory) {
  absl::StatusOr<ModelConfig> config = ReadPolicyConfig(config_directory);
  ASSERT_TRUE(config.ok()) << config.status();
  const Parameters parameters = InitializeParameters(*config, RandomKey(3, "policy", 0, ""), InitScales());
  fs::create_directories(directory);
  ASSERT_TRUE(WritePolicy(*config, parameters, config_directory, directory).ok());
  fs::remove(directory + "/model.safetensors");
  std::vector<NamedTensor> shards[2];
  Json map = Json::object();
  for (size_t i = 0; i < parameters.list().size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    shards[i % 2].push_back({parameter.name, parameter.value});
    map[parameter.name] = absl::StrCat("model-0000", i % 2 + 1, "-of-00002.safetensors");
  }
  for (int i = 0; i < 2; ++i) {
    const std::string path = absl::StrCat(directory, "/model-0000", i + 1, "-of-00002.safetensors");
    ASSERT_TRUE(WriteSafetensors(path, shards[i], {{"format", "pt"}}).ok());
  }
  const Json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
  std::ofstream(directory + "/model.safetensors.index.json") << index.dump();
}

class RunFilesTest : public ::testing::Test {
 protected:
  RunFilesTest() {
    WriteSmallModel(folder_ / "model");
    WriteShardedPolicy(folder_ / "model", folder_ / "a/policy");
    Write("a/documents.jsonl", R"({"prompt":"1 + 1?","completion":"2"}
{"prompt":"1 + 2?","completion":"3"}
{"prompt":"1 + 3?","completion":"4"}
{"prompt":"1 + 4?","completion":"5"}
)");
    Write("a/problems.jsonl", R"({"question":"2 + 1?","answer":"3","refusal":false}
{"question":"2 + 2?","answer":"4","refusal":false}
{"question":"2 + 3?","answer":"5","refusal":false}
)");
    Write("a/measured.jsonl", "{\"question\":\"3 + 1?\",\"answer\":\"4\",\"refusal\":false}\n");
    Write("a/refusals.txt", "i cannot\n");
  }

  void Write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::string Read(const std::string& name) { return ReadFile(folder_ / name).value_or(""); }

  // An sft stage, then rl, from what lies in one folder.
  RecipeConfig Recipe(const std::string& place = "a") {
    constexpr char kText[] = R"(
threads: 1
evaluation: {problems: 1, samples_per_prompt: 2, sampling: {max_new_tokens: 4}, before: false}
rl:
  steps: 2
  prompts_per_step: 2
  samples_per_prompt: 2
  gradient_leaves: 4
  sampling: {max_new_tokens: 8}
  skip_groups_without_spread: false
  problems: {files: [DIR/problems.jsonl]}
  reward: {rules: [{rule: harmless, refusals: DIR/refusals.txt}, {rule: repetition, ngram: 1}]}
stages:
  first:
    kind: sft
    from: DIR/policy
    sft:
      documents: [{kind: file, file: DIR/documents.jsonl}]
      prompts_per_step: 2
      epochs: 2
      gradient_leaves: 4
      checkpoint_every: 1
  second:
    kind: rl
    from: first
    evaluation: {held_out: {files: [DIR/measured.jsonl]}}
)";
    RecipeConfig recipe;
    const std::string text = absl::StrReplaceAll(kText, {{"DIR", folder_ / place}});
    const absl::Status status = ReadConfig(text, "r.yaml", {}, recipe);
    EXPECT_TRUE(status.ok()) << status;
    return recipe;
  }

  absl::Status Run(const RecipeConfig& recipe, const std::string& run, int64_t stop_after = 1 << 20) {
    SelfCommunicator self;
    int64_t calls = 0;
    return RunRecipe(recipe, folder_ / run, self, [&] { return ++calls > stop_after; });
  }
  // Stopped as soon as a stage has begun.
  void Begin(const std::string& stage, const std::string& run) {
    for (int64_t calls = 0;
         LatestCheckpoint(folder_ / (run + "/" + stage + "/checkpoints")).value_or("") == ""; ++calls) {
      ASSERT_LT(calls, 200);
      ASSERT_TRUE(absl::IsCancelled(Run(Recipe(), run, calls)));
    }
    ASSERT_FALSE(FileExists(folder_ / (run + "/" + stage + "/stage.json")));
  }

  TestFolder folder_;
};

// What a careless copy has another byte of.
struct Change {
  std::string file;
  std::function<std::string(std::string)> edit;
};

std::string FlipABitInTheMiddle(std::string bytes) {
  bytes[bytes.size() * 3 / 4] ^= 1;
  return bytes;
}

const Change kOfFirst[] = {
    {"policy/config.json",
     [](const std::string& text) {
       Json json = Json::parse(text);
       json["rope_theta"] = 1001.0;
       return json.dump();
     }},
    {"policy/model-00002-of-00002.safetensors", FlipABitInTheMiddle},
    {"policy/tokenizer.json", [](const std::string& text) { return text + "\n"; }},
    {"policy/chat_template.jinja", [](const std::string&) { return "{{ messages[0].content }}"; }},
    {"documents.jsonl", [](const std::string& text) { return text.substr(0, text.find('\n') + 1); }}};
const Change kOfSecond[] = {
    {"problems.jsonl", [](const std::string& text) { return text.substr(0, text.find('\n') + 1); }},
    {"measured.jsonl", [](const std::string& text) { return text + "\n"; }},
    {"refusals.txt", [](const std::string& text) { return text + "never\n"; }}};

std::vector<Change> All() {
  std::vector<Change> all(std::begin(kOfFirst), std::end(kOfFirst));
  all.insert(all.end(), std::begin(kOfSecond), std::end(kOfSecond));
  return all;
}

TEST_F(RunFilesTest, RanksWithAnotherFileAreToldWhichAndTrainNothing) {
  for (const Change& change : All()) {
    fs::remove_all(folder_ / "b");
    fs::copy(folder_ / "a", folder_ / "b", fs::copy_options::recursive);
    Write("b/" + change.file, change.edit(Read("a/" + change.file)));
    for (const int ranks : {2, 4}) {
      ThreadWorld(ranks).Run([&](Communicator& comm) {
        const absl::Status status =
            RunRecipe(Recipe(comm.rank() == 1 ? "b" : "a"), folder_ / "run", comm, Never);
        EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << change.file;
        EXPECT_THAT(std::string(status.message()),
                    AllOf(HasSubstr("of rank 1 differs from rank 0's: " + (folder_ / "b/" + change.file)),
                          HasSubstr("start every rank with the same files")));
      });
      EXPECT_FALSE(FileExists(folder_ / "run/first")) << change.file;
    }
  }
}

TEST_F(RunFilesTest, RanksMayHaveTheirFilesInPlacesOfTheirOwn) {
  ASSERT_TRUE(Run(Recipe(), "one").ok());
  fs::copy(folder_ / "a", folder_ / "b", fs::copy_options::recursive);
  ThreadWorld(2).Run([&](Communicator& comm) {
    const absl::Status status = RunRecipe(Recipe(comm.rank() == 1 ? "b" : "a"), folder_ / "two", comm, Never);
    EXPECT_TRUE(status.ok()) << status;
  });
  EXPECT_EQ(Digest(folder_ / "two"), Digest(folder_ / "one"));
}

TEST_F(RunFilesTest, RanksOfAnotherRecipeOrRunDirectoryAreToldSo) {
  const auto refusal = [&](const RecipeConfig& other, const std::string& run) {
    std::string message;
    ThreadWorld(2).Run([&](Communicator& comm) {
      const bool odd = comm.rank() == 1;
      const absl::Status status =
          RunRecipe(odd ? other : Recipe(), folder_ / (odd ? run : "run"), comm, Never);
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      if (!odd) message = std::string(status.message());
    });
    return message;
  };
  RecipeConfig other = Recipe();
  other.stages[1].rl.loss.kl_coef = 0.5;
  EXPECT_THAT(refusal(other, "run"),
              HasSubstr("the recipe's stages.second.rl.kl_coef of rank 1 differs from rank 0's: 0.5, not 0"));
  EXPECT_FALSE(FileExists(folder_ / "run"));
  EXPECT_THAT(refusal(Recipe(), "elsewhere"), HasSubstr("config.yaml of rank 1 differs from rank 0"));
  // One rank has an earlier copy of the run directory.
  Begin("first", "run");
  fs::copy(folder_ / "run", folder_ / "earlier", fs::copy_options::recursive);
  Begin("second", "run");
  EXPECT_THAT(refusal(Recipe(), "earlier"), HasSubstr("has of stage first of rank 1 differs from rank 0's"));
}

TEST_F(RunFilesTest, AResumeWithAnotherFileOfAStageThatHasBegunNamesItAndStops) {
  ASSERT_TRUE(Run(Recipe(), "undisturbed").ok());
  Begin("first", "run");
  for (const Change& change : kOfFirst) {
    const std::string was = Read("a/" + change.file);
    Write("a/" + change.file, change.edit(was));
    const absl::Status status = Run(Recipe(), "run");
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << change.file << " " << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(folder_ / ("a/" + change.file)), HasSubstr("stage first began"),
                      HasSubstr(", or use another --run-dir")));
    if (was.empty()) {
      fs::remove(folder_ / ("a/" + change.file));
    } else {
      Write("a/" + change.file, was);
    }
  }
  const absl::Status status = Run(Recipe(), "run");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Digest(folder_ / "run"), Digest(folder_ / "undisturbed"));
}

TEST_F(RunFilesTest, OtherFilesOfAStageThatHasNotBegunAreAsIfTheyHadBeenThereFromTheBeginning) {
  for (const Change& change : kOfSecond) {
    const std::string was = Read("a/" + change.file);
    const std::string old_run = "old-" + change.file, new_run = "new-" + change.file;
    Begin("first", old_run);
    // In second's first rollout, whose samples are of the old file.
    for (int64_t calls = 0;
         !FileExists(folder_ / (old_run + "/second/trajectories/rollout-000000.rank-0.records")); ++calls) {
      ASSERT_LT(calls, 200);
      ASSERT_TRUE(absl::IsCancelled(Run(Recipe(), old_run, calls)));
    }
    Write("a/" + change.file, change.edit(was));
    const absl::Status status = Run(Recipe(), old_run);
    EXPECT_TRUE(status.ok()) << status;
    ASSERT_TRUE(Run(Recipe(), new_run).ok());
    EXPECT_EQ(Digest(folder_ / old_run), Digest(folder_ / new_run)) << change.file;
    EXPECT_EQ(Read(old_run + "/files.json"), Read(new_run + "/files.json"));
    EXPECT_THAT(Read(old_run + "/config_history.txt"), HasSubstr(change.file));
    // Of the finished run nothing is read again.
    Write("a/" + change.file, was);
    EXPECT_TRUE(Run(Recipe(), new_run).ok());
  }
}

TEST_F(RunFilesTest, ALaterEvaluationThatNowAsksWhatABegunStageTrainsOnIsNamed) {
  ASSERT_TRUE(Run(Recipe(), "undisturbed").ok());
  Begin("first", "run");
  const std::string was = Read("a/measured.jsonl");
  // A document's own question, which would be left out from here on; and one that nobody trains on.
  Write("a/measured.jsonl", was + R"({"question":"1 + 2?","answer":"3","refusal":false})");
  const absl::Status status = Run(Recipe(), "run");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("stage first: what evaluations ask is left out"), HasSubstr("[[4,"),
                    HasSubstr("[[3,"), HasSubstr("set back what the evaluations of all stages read")));
  Write("a/measured.jsonl", was + R"({"question":"9 + 9?","answer":"18","refusal":false})");
  Begin("second", "run");
  Write("a/measured.jsonl", was);
}

TEST_F(RunFilesTest, TheSameFilesElsewhereAreTheSameFiles) {
  ASSERT_TRUE(Run(Recipe(), "undisturbed").ok());
  Begin("first", "run");
  fs::rename(folder_ / "a", folder_ / "b");
  Write("b/documents.jsonl", Read("b/documents.jsonl") + "\n");
  const absl::Status other = Run(Recipe("b"), "run");
  EXPECT_THAT(std::string(other.message()), HasSubstr("stages.first.sft.documents[0].file: "));
  EXPECT_THAT(std::string(other.message()), HasSubstr("b/documents.jsonl now: stage first has begun"));
  std::string text = Read("b/documents.jsonl");
  text.pop_back();
  Write("b/documents.jsonl", text);
  const absl::Status status = Run(Recipe("b"), "run");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Digest(folder_ / "run"), Digest(folder_ / "undisturbed"));
  // A finished run too.
  fs::rename(folder_ / "b", folder_ / "a");
  EXPECT_TRUE(Run(Recipe(), "run").ok());
}

TEST_F(RunFilesTest, ARunKeepsTheSha256OfEveryFileThatItsStagesRead) {
  ASSERT_TRUE(Run(Recipe(), "run").ok());
  const Json kept = Json::parse(Read("run/files.json"));
  EXPECT_EQ(kept["temper"], kVersion);
  EXPECT_THAT(kept["numerics"].get<std::string>(), HasSubstr("f32, exact"));
  std::set<std::string> paths;
  for (const Json& file : kept["files"]) {
    const std::string path = file["path"];
    EXPECT_EQ(file["sha256"], *Sha256OfFile(path));
    EXPECT_EQ(file["bytes"], fs::file_size(path));
    paths.insert(path);
  }
  for (const char* name :
       {"documents.jsonl", "problems.jsonl", "measured.jsonl", "refusals.txt", "policy/config.json",
        "policy/generation_config.json", "policy/tokenizer.json", "policy/tokenizer_config.json",
        "policy/model.safetensors.index.json", "policy/model-00001-of-00002.safetensors",
        "policy/model-00002-of-00002.safetensors"}) {
    EXPECT_EQ(paths.count(folder_ / ("a/" + std::string(name))), 1u) << name;
  }
  EXPECT_EQ(paths.size(), 11u);
}

TEST_F(RunFilesTest, ARunOfAnotherTemperIsFinishedWithThat) {
  Begin("first", "run");
  const std::string kept = Read("run/files.json");
  RunFiles other = *KeptFiles(folder_ / "run");
  other.temper = "0.0.9";
  Write("run/files.json", other.Text());
  const absl::Status status = Run(Recipe(), "run");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("stage first began with temper 0.0.9, and this is"));
  for (const std::string& damaged : {kept.substr(0, kept.size() / 2), FlipABitInTheMiddle(kept)}) {
    Write("run/files.json", damaged);
    EXPECT_THAT(std::string(Run(Recipe(), "run").message()), HasSubstr("run/files.json: is not what was"));
  }
  Write("run/files.json", kept);
  EXPECT_TRUE(Run(Recipe(), "run").ok());
}

TEST_F(RunFilesTest, AProgramThatJudgesIsAFileOfTheRun) {
  Write("a/judge.py", "#!/usr/bin/env python3\n");
  RecipeConfig recipe = Recipe();
  RuleConfig& rule = recipe.stages[1].rl.reward.rules[0];
  rule.rule = "process";
  rule.process.command = {"python3", folder_ / "a/judge.py", "--log", folder_ / "a/problems.jsonl"};
  const absl::StatusOr<RunFiles> files = ReadRunFiles(recipe, folder_ / "run", false, Never, nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  std::vector<std::string> fields;
  for (const RunFile& file : files->files) {
    if (file.stage == "second") fields.push_back(file.field);
  }
  EXPECT_THAT(fields, ::testing::Contains("rl.reward.rules[0].command[1]"));
  EXPECT_THAT(fields, ::testing::Not(::testing::Contains("rl.reward.rules[0].command[3]")));
}

TEST_F(RunFilesTest, ReadingThemHearsARequestToStop) {
  std::ofstream(folder_ / "a/documents.jsonl") << std::string(40 << 20, '\n');
  const absl::Status status = ReadRunFiles(
                                  Recipe(), folder_ / "run", false, [] { return true; }, nullptr)
                                  .status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(RunFilesTest, AProgramElsewhereIsTheSameAndAnotherIsNamedAlsoWhileTheRunGoesOn) {
  const auto with_judge = [&](const std::string& folder) {
    RecipeConfig recipe = Recipe();
    RuleConfig& rule = recipe.stages[1].rl.reward.rules[0];
    rule.rule = "process";
    rule.process.command = {"python3", folder_ / (folder + "/judge.py"), "--strict"};
    return recipe;
  };
  const auto files_of = [&](const RecipeConfig& recipe) {
    return ReadRunFiles(recipe, folder_ / "run", true, Never, nullptr).value();
  };
  const auto changes = [&](const RecipeConfig& before, const RunFiles& kept, const RecipeConfig& now) {
    const RunFiles files = files_of(now);
    return CompareConfigs(WithProgramsByContent(before.stages[1], {&kept}),
                          WithProgramsByContent(now.stages[1], {&files, &kept}));
  };
  const auto held = [](const RecipeConfig& recipe) {
    std::string text;
    for (const Held& each : HeldOfRecipe(recipe, true)) absl::StrAppend(&text, each.what, each.value, "\n");
    return text;
  };
  Write("a/judge.py", "print(1)\n");
  fs::create_directories(folder_ / "elsewhere");
  Write("elsewhere/judge.py", "print(1)\n");
  const RecipeConfig here = with_judge("a"), there = with_judge("elsewhere");
  const RunFiles kept = files_of(here);
  EXPECT_EQ(changes(here, kept, there).size(), 0u);
  EXPECT_EQ(held(here), held(there));
  RecipeConfig other_word = there;
  other_word.stages[1].rl.reward.rules[0].process.command[2] = "--lenient";
  EXPECT_EQ(changes(here, kept, other_word).size(), 1u);
  EXPECT_NE(held(here), held(other_word));

  EXPECT_TRUE(CheckPrograms(kept, "second").ok());
  Write("a/judge.py", "print(2)\n");
  EXPECT_THAT(std::string(CheckPrograms(kept, "second").message()),
              AllOf(HasSubstr("a/judge.py: was replaced while the run goes on"),
                    HasSubstr("stages.second.rl.reward.rules[0].command[1]")));
  EXPECT_TRUE(CheckPrograms(kept, "first").ok());
  Write("elsewhere/judge.py", "print(2)\n");
  const auto other = changes(here, kept, there);
  ASSERT_EQ(other.size(), 1u);
  EXPECT_THAT(other[0].after, HasSubstr("judge.py (SHA-256 "));
}

TEST_F(RunFilesTest, WhatOnlyFinishedStagesReadNeedNotBeThereAnyMore) {
  ASSERT_TRUE(Run(Recipe(), "undisturbed").ok());
  Begin("second", "run");
  fs::remove_all(folder_ / "a/policy");
  fs::remove(folder_ / "a/documents.jsonl");
  testing::internal::CaptureStderr();
  const absl::Status status = Run(Recipe(), "run");
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(said, HasSubstr("a/documents.jsonl: is not there any more, and only stage first, which is "
                              "finished, read it"));
  EXPECT_EQ(Digest(folder_ / "run"), Digest(folder_ / "undisturbed"));
  fs::remove_all(folder_ / "a");
  EXPECT_TRUE(Run(Recipe(), "run").ok());
  EXPECT_EQ(Digest(folder_ / "run"), Digest(folder_ / "undisturbed"));
}

// The model was measured before first trained, by a stage of its own.
TEST_F(RunFilesTest, AModelThatWasMeasuredFirstNeedNotBeThereAnyMore) {
  RecipeConfig recipe = Recipe();
  for (StageConfig& stage : recipe.stages) {
    stage.evaluation.before = true;
    stage.evaluation.source.files = {folder_ / "a/measured.jsonl"};
  }
  ASSERT_TRUE(Run(recipe, "undisturbed").ok());
  ASSERT_TRUE(FileExists(folder_ / "undisturbed/first.before/stage.json"));
  for (int64_t calls = 0; LatestCheckpoint(folder_ / "run/second/checkpoints").value_or("") == ""; ++calls) {
    ASSERT_LT(calls, 200);
    ASSERT_TRUE(absl::IsCancelled(Run(recipe, "run", calls)));
  }
  fs::remove_all(folder_ / "a/policy");
  const absl::Status status = Run(recipe, "run");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Digest(folder_ / "run"), Digest(folder_ / "undisturbed"));
}

TEST_F(RunFilesTest, WhatBecameOfAFileIsSaidWithWhatToDoWhereTheStageHasBegun) {
  RunFiles kept, now;
  kept.files = {{"one", "rl.problems.files[0]", "", "/d/a.jsonl", 1, std::string(64, 'a')},
                {"one", "from", "b.json", "/m/b.json", 1, std::string(64, 'b')}};
  now.files = {{"one", "rl.problems.files[0]", "", "/e/a.jsonl", 1, std::string(64, 'c')},
               {"one", "from", "chat_template.jinja", "/m/chat_template.jinja", 1, std::string(64, 'd')}};
  EXPECT_THAT(
      now.Differences(kept, "one", true),
      ::testing::ElementsAre(
          "/e/a.jsonl: is not the file that stage one began with: SHA-256 aaaaaaaaaaaa then, cccccccccccc "
          "now "
          "(stages.one.rl.problems.files[0]): restore it, or use another --run-dir",
          "/m/b.json: is missing, and stage one began with it (stages.one.from): restore it, or use another "
          "--run-dir",
          "/m/chat_template.jinja: was not there when stage one began (stages.one.from): move it away, or "
          "use "
          "another --run-dir"));
  EXPECT_THAT(now.Differences(kept, "one", false),
              ::testing::ElementsAre("/e/a.jsonl: is another file: SHA-256 aaaaaaaaaaaa then, cccccccccccc "
                                     "now (stages.one.rl.problems.files[0])",
                                     "/m/b.json: is gone (stages.one.from)",
                                     "/m/chat_template.jinja: is new (stages.one.from)"));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// What a clumsy user does: each mistake is one error that names the thing and the place, and leaves all files
// as they were.
#include <filesystem>
#include <map>

#include "core/files/crc32c.h"
#include "core/files/sealed.h"
#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A recipe of one stage that is over in a second.
constexpr char kRecipe[] = R"(seed: 0
evaluation: {problems: 0}
stages:
  base:
    kind: pretrain
    pretrain:
      init: {directory: configs/tiny/base}
      documents: [{kind: corpus, count: 8}]
      prompts_per_step: 4
      gradient_leaves: 2
  again:
    kind: sft
    from: base
    sft:
      documents: [{kind: cold_start, count: 4}]
      prompts_per_step: 4
      gradient_leaves: 2
)";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// Every file below the folder, with its checksum.
// But those that tell of every start, of one that is refused too.
std::map<std::string, uint32_t> FilesOf(const std::string& folder) {
  std::map<std::string, uint32_t> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    const std::string name = entry.path().filename().string();
    if (name == ".lock" || name == "journal.jsonl" || name == "status.json") continue;
    if (entry.is_regular_file()) files[path] = *Crc32cOfFile(path);
  }
  return files;
}

TEST(BadRecipe, IsRefusedBeforeAnythingIsMade) {
  struct Mistake {
    std::string from, to, message;
  };
  const Mistake mistakes[] = {
      {"stages:", "stagse:", ":3: stagse: unknown key; did you mean stages?"},
      {"count: 8", "cuont: 8",
       ":8: stages.base.pretrain.documents[0].cuont: unknown key; did you mean count?"},
      {"kind: pretrain", "kind: pretrian", ":5: stages.base.kind: expected one of"},
      {"prompts_per_step: 4", "prompts_per_step: four",
       ":9: stages.base.pretrain.prompts_per_step: expected a"},
      {"prompts_per_step: 4", "prompts_per_step: 010",
       ":9: stages.base.pretrain.prompts_per_step: expected a"},
      {"prompts_per_step: 4", "prompts_per_step: 0", ":9: stages.base.pretrain.prompts_per_step: must be"},
      {"gradient_leaves: 2", "gradient_leaves: 0", ":10: stages.base.pretrain.gradient_leaves: must be 1"},
      {"seed: 0", "seed: 0\nseed: 1", ":2: duplicate key seed"},
      {"    kind: sft", "\tkind: sft", ":12: a tab in the indentation"},
      {"kind: sft", "kind: \"sft", ":12: a quote is not closed"},
      {"seed: 0", "seed: &a 0", ":1: anchors"},
      {"from: base", "from: bsae",
       ":13: stages.again.from: bsae is neither a stage before this one nor a model"},
      {"from: base", "from: again", ":13: stages.again.from: again is neither"},
      {"again:", "../again:", ":11: stages.../again: a name is made of letters"},
      {"configs/tiny/base", "configs/tiny/none",
       ":7: stages.base.pretrain.init.directory: configs/tiny/none has no"},
      {"[{kind: corpus, count: 8}]", "[]", ":8: stages.base.pretrain.documents: is empty"},
      {"count: 4", "count: 0", ":15: stages.again.sft.documents[0].count: a generator needs one"},
  };
  for (const Mistake& mistake : mistakes) {
    const Folder folder;
    const std::string recipe = folder.Write("r.yaml", Replaced(kRecipe, mistake.from, mistake.to));
    const Ran ran = RunCommand("run", {recipe, "--run-dir", folder.path() + "/run"});
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), StartsWith(recipe + ":"));
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(mistake.message));
    EXPECT_FALSE(FileExists(folder.path() + "/run")) << mistake.to;
  }
}

TEST(BadRunDirectory, IsTheUsersMistake) {
  const Folder folder;
  const std::string recipe = folder.Write("r.yaml", kRecipe), file = folder.Write("file", "mine");
  const std::pair<std::string, std::string> mistakes[] = {
      {file, file + ": cannot make the folder: File exists"},
      {file + "/run", file + ": cannot make the folder: File exists"},
      {"/proc/temper", "/proc/temper: cannot make the folder: "},
      {folder.path() + "/" + std::string(300, 'x'), "cannot make the folder: File name too long"},
  };
  for (const auto& [directory, message] : mistakes) {
    const Ran ran = RunCommand("run", {recipe, "--run-dir", directory});
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(message));
  }
  EXPECT_EQ(folder.Read("file"), "mine");
}

// One run; each test damages a copy.
class DamagedRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    whole_ = new Folder;
    recipe_ = whole_->Write("r.yaml", kRecipe);
    const Ran ran = RunCommand("run", {recipe_, "--run-dir", whole_->path() + "/run"});
    ASSERT_TRUE(ran.status.ok()) << ran.status;
  }
  static void TearDownTestSuite() { delete whole_; }

  DamagedRun() : run_(folder_.path() + "/run") { Restore(); }
  void Restore() {
    std::filesystem::remove_all(run_);
    std::filesystem::copy(whole_->path() + "/run", run_, std::filesystem::copy_options::recursive);
  }
  // The last stage is to be done, from its last checkpoint on.
  void Reopen() { std::filesystem::remove(run_ + "/again/stage.json"); }

  // Is refused with the message, and nothing changes.
  void ExpectRefused(const std::string& message) {
    const auto before = FilesOf(run_);
    const Ran ran = RunCommand("run", {recipe_, "--run-dir", run_});
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(message));
    EXPECT_EQ(FilesOf(run_), before) << message;
  }

  static inline Folder* whole_ = nullptr;
  static inline std::string recipe_;
  const Folder folder_;
  const std::string run_;
};

TEST_F(DamagedRun, WithAFileThatWasCutIsRefusedByItsName) {
  for (const char* name : {"config.yaml", "base/stage.json", "again/stage.json"}) {
    for (int part = 0; part < 16; part += 5) {
      Restore();
      const std::string path = run_ + "/" + name;
      std::filesystem::resize_file(path, std::filesystem::file_size(path) * part / 16);
      ExpectRefused(path);
    }
  }
}

TEST_F(DamagedRun, WithADamagedCheckpointIsRefusedByTheFilesName) {
  const std::string checkpoint = "/again/checkpoints/step-000001/";
  for (const char* name :
       {"model.safetensors", "state/optimizer.safetensors", "state/state.json", "config.json",
        "tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    Restore();
    Reopen();
    const std::string path = run_ + checkpoint + name;
    const std::string bytes = *ReadFile(path);
    std::filesystem::resize_file(path, bytes.size() / 2);
    ExpectRefused(path);
    if (!absl::EndsWith(name, ".safetensors")) continue;
    std::string flipped = bytes;
    flipped[bytes.size() - 4] ^= 1;
    ASSERT_TRUE(WriteFileAtomic(path, flipped).ok());
    ExpectRefused(path + ": is not what was written");
  }
}

TEST_F(DamagedRun, WithMetricsThatAreGoneOrCutIsRefused) {
  Reopen();
  const std::string path = run_ + "/metrics.jsonl";
  std::filesystem::resize_file(path, 100);
  ExpectRefused(path + ": has 100 bytes where ");
}

TEST_F(DamagedRun, WhoseEarlierStageLostItsRowKeepsTheMetricsOfTheLaterOnes) {
  std::filesystem::remove(run_ + "/base/stage.json");
  ExpectRefused(run_ + "/base/stage.json: is missing, but the later stage again is finished");
}

TEST_F(DamagedRun, OfAnotherRecipeIsLeftAlone) {
  const auto before = FilesOf(run_);
  const Ran ran = RunCommand("run", {recipe_, "--run-dir", run_, "--set", "seed=8"});
  EXPECT_TRUE(IsUsers(ran.status));
  EXPECT_THAT(std::string(ran.status.message()),
              HasSubstr("/config.yaml:2: seed: 0 there, 8 now: stage base began with it"));
  EXPECT_EQ(FilesOf(run_), before);
}

TEST(BadPlan, IsRefusedInOneLine) {
  const Folder folder;
  int files = 0;
  const auto file = [&](const std::string& text) {
    return folder.Write(absl::StrCat("c", files++, ".yaml"), text);
  };
  struct Mistake {
    std::vector<std::string> arguments;
    std::string message;
  };
  const auto cluster = [](const std::string& name) { return std::vector<std::string>{"--cluster", name}; };
  const auto mesh = [](const std::string& set) {
    return std::vector<std::string>{"--ranks", "4", "--set", set};
  };
  const std::string most = std::to_string(std::numeric_limits<int64_t>::max());
  const Mistake mistakes[] = {
      {cluster("0x8xh800"), "--cluster 0x8xh800: is no MACHINESxDEVICESxNAME"},
      {cluster("100001x8xh800"), "is no MACHINESxDEVICESxNAME"},
      {cluster("64x8xh900"), "h900 is none of h800"},
      {cluster("-1x8xh800"), "is neither a file, nor the name of one"},
      {cluster(folder.path() + "/none.yaml"), "none.yaml: cannot read"},
      {cluster(file("nodes: 0\n")), "c0.yaml:1: nodes: must be"},
      {cluster(file("nodes: 1\ndevice: 5\n")), "c1.yaml:2: device: 5 is none of"},
      {cluster(file("devices: 8\n")), "c2.yaml:1: devices: unknown key"},
      {cluster(file(std::string("\x00\xff", 2))), "c3.yaml:1: "},
      {mesh("mesh.tp=0"), "--set mesh.tp=0: must be at least 1"},
      {mesh("mesh.tp=3"), "mesh.tp is 3, and 4 ranks"},
      {mesh("mesh.tp=" + most), "mesh.tp is " + most},
      {mesh("mesh={tp: 2, dp_replicate: " + most + "}"), "mesh.dp_replicate is " + most},
      {mesh("mesh={tp: 65536, pp: 65536, ep: 65536, cp: 65536}"), "mesh.pp is 65536"},
      {mesh("mesh={pp: 2, pp_chunks: " + most + "}"), "mesh.pp is 2, but with mesh.pp_chunks " + most},
      {mesh("rollout.mesh={tp: 3}"), "rollout.mesh.tp is 3, and 4 ranks"},
      {mesh("rollout.mesh={cp: 2}"), "--set rollout.mesh={cp: 2}: unknown key"},
      {mesh("rollout.mesh={ep: 4, dp_replicate: " + most + "}"), "rollout.mesh.dp_replicate is " + most},
  };
  for (const auto& [arguments, message] : mistakes) {
    std::vector<std::string> all = {"configs/tiny/short.yaml"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Ran ran = RunCommand("plan", all);
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(message)) << arguments.back();
  }
  // The cluster says what there is, not the recipe.
  const auto of_cpus = [](const std::string& device) {
    return Lines("plan", {"configs/tiny/short.yaml", "--cluster", "1x4xcpu", "--set", "device=" + device});
  };
  EXPECT_EQ(of_cpus("cuda"), of_cpus("cpu"));
}

class BadRows : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new Folder;
    WriteModel(*folder_, WithWords(TinyDeepseek()), kTinyTokenizer);
  }
  static void TearDownTestSuite() { delete folder_; }
  static inline Folder* folder_ = nullptr;
};

TEST_F(BadRows, OfSampleNameTheLine) {
  const std::pair<std::string, std::string> mistakes[] = {
      {R"({"tokens":[]})", "the prompt has no tokens"},
      {R"({"tokens":[5,400]})", "tokens[1]: 400 is no token id of 0 to 399"},
      {R"({"tokens":[-1]})", "tokens[0]: -1 is no token id"},
      {R"({"prompt":")"
       "\xff"
       R"("})",
       "byte 12: "},
      {std::string("{\"prompt\":\"a\0\"}", 14), "byte 13: "},
      {R"({"prompt":"\ud800"})", "byte 18: "},
      {R"({"prompt":"a","prompt":"b"})", "byte 22: duplicate key \"prompt\""},
      {R"({"prompt":"a","tokens":[1]})", "has both prompt and tokens"},
      {R"({"prompt":"a)", "byte 12: "},
      {R"({"prompt":3})", "prompt: expected a string, found 3"},
      {"[]", "a row is an object"},
      {"{}", "has neither prompt nor tokens nor messages"},
      {std::string(100'000, '['), "nested deeper than 128 levels"},
      {"{\"tokens\":[1" +
           absl::StrCat(std::string(),
                        [] {
                          std::string more;
                          for (int i = 0; i < 100'000; ++i) more += ",1";
                          return more;
                        }()) +
           "]}",
       "exceed the model's max_position_embeddings"},
  };
  for (const auto& [row, message] : mistakes) {
    const Ran ran = RunCommand("sample", {"--model", folder_->path(), "--max-new-tokens", "2"},
                               "\n{\"id\":\"x\",\"prompt\":\"a\"}\n" + row + "\n");
    EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), StartsWith("standard input:3: "));
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr(message));
    EXPECT_EQ(ran.out, "");
  }
}

TEST_F(BadRows, OfEvalNameTheFileAndAreSkippedOnlyWhenAsked) {
  const std::string good = "{\"question\":\"a\",\"answer\":\"#### 2\"}\n";
  const std::pair<std::string, std::string> mistakes[] = {
      {"", ": holds no problem"},
      {"\n \n", ": holds no problem"},
      {good + "{\"question\":\n" + good, ":2: byte 12: "},
      {good + "[1]\n", ":2: is not a JSON object"},
      {good + "{\"q\":\"a\"}\n",
       ":2: has no question, problem, prompt, messages, conversations or instruction"},
      {good + "{\"question\":\"a\"}\n", ":2: problem 2: has no reference answer"},
      {"\x1f\x8b\x08\n", ":1: byte 1: "},
  };
  const Folder data;
  for (const auto& [text, message] : mistakes) {
    const std::string path = data.Write("d.jsonl", text);
    const std::string error =
        ErrorOf("eval", {"--model", folder_->path(), "--data", path, "--k", "1", "--max-new-tokens", "2"});
    EXPECT_THAT(error, StartsWith(path + message));
  }
  const std::string path = data.Write("d.jsonl", good + "{\"question\":\n" + good);
  const auto lines = Lines("eval", {"--model", folder_->path(), "--data", path, "--k", "1",
                                    "--max-new-tokens", "2", "--skip-bad-lines"});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(Json::parse(lines[0])["n"], 2);
  EXPECT_EQ(ErrorOf("eval", {"--model", folder_->path(), "--data", "/dev/zero", "--k", "1"}),
            "/dev/zero: is a device, not a file");
}

TEST(Program, SaysWhatItsStandardFilesDo) {
  const std::string score = "$TEMPER score --rule format";
  const std::string row = "echo '{\"completion\":\"x\"}' | ";
  EXPECT_EQ(Shell(score + " <&-").err, "error: standard input: is closed\n");
  EXPECT_EQ(Shell(score + " <&-").code, 2);
  EXPECT_EQ(Shell(row + score + " >&-").err, "error: standard output: Bad file descriptor\n");
  EXPECT_EQ(Shell(row + score + " >/dev/full").err, "error: standard output: No space left on device\n");
  EXPECT_EQ(Shell(row + score + " >/dev/full").code, 1);
  EXPECT_EQ(Shell(row + score + " 2>/dev/full").code, 0);
  const Folder folder;
  folder.Write("config.yaml", SealedYaml("seed: 1\n"));
  for (const char* command : {"$TEMPER inspect ", "$TEMPER inspect --digest ", "$TEMPER report "}) {
    const Ended full = Shell(command + folder.path() + " >/dev/full");
    EXPECT_EQ(full.err, "error: standard output: No space left on device\n") << command;
    EXPECT_EQ(full.code, 1) << command;
  }
  EXPECT_EQ(Shell("$TEMPER").err, "error: expected a command; see temper --help\n");
  EXPECT_EQ(Shell("$TEMPER").code, 2);
  const Ended bare = Shell(row + "env -i LANG=C LC_ALL=xx_YY COLUMNS=1 " + score);
  EXPECT_EQ(bare.code, 0) << bare.err;
  EXPECT_THAT(bare.out, EndsWith("}\n"));
}

TEST(Program, AtAFileSizeLimitLeavesNoHalfFile) {
  const Folder folder;
  const std::string out = folder.path() + "/model";
  const Ended ended = Shell("ulimit -f 100; $TEMPER init configs/tiny/base --out " + out);
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, EndsWith("cannot write: File too large\n"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/config/config.h"

#include <limits>

#include "core/files/file.h"
#include "core/json/json.h"
#include "core/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

enum class Kind { kRl, kSft };

struct Optimizer {
  double learning_rate = 1e-3;
  float beta = 0.9f;
  bool operator==(const Optimizer&) const = default;
  template <class V>
  void Fields(V& v) {
    v.Field("learning_rate", learning_rate, "Peak learning rate.", MoreThan(0.0), AtMost(1.0));
    v.Field("beta", beta, "Decay.", Between(0.0, 1.0));
  }
};

struct Document {
  std::string file;
  int count = 1;
  bool operator==(const Document&) const = default;
  template <class V>
  void Fields(V& v) {
    v.Field("file", file, "A file.", Required());
    v.Field("count", count, "How many.", AtLeast(0));
  }
};

struct Stage {
  std::string name;
  Kind kind = Kind::kRl;
  Optimizer optimizer = {};
  int64_t epochs = 1;
  std::vector<Document> documents = {};
  bool operator==(const Stage&) const = default;
  template <class V>
  void Fields(V& v) {
    v.Choice("kind", kind, {{"rl", Kind::kRl}, {"sft", Kind::kSft}}, "What it does.");
    v.Section("optimizer", optimizer, "AdamW.");
    if (v.All() || kind == Kind::kSft) {
      v.Field("epochs", epochs, "Passes.", AtLeast(1));
      v.List("documents", documents, "What is trained on.");
    }
  }
};

struct Recipe {
  int64_t seed = 0;
  uint64_t big = 5;
  bool fast = false;
  std::string model = "base";
  std::optional<double> limit;
  std::vector<int64_t> lengths = {1, 2};
  std::vector<std::string> rules = {"a", "b"};
  std::vector<double> weights;
  Optimizer optimizer;
  std::optional<Optimizer> second = {};
  std::vector<Stage> stages = {};
  bool operator==(const Recipe&) const = default;
  template <class V>
  void Fields(V& v) {
    v.Field("seed", seed, "Of every draw.", AtLeast(0));
    v.Field("big", big, "A count.");
    v.Field("fast", fast, "Be fast.", Free());
    v.Field("model", model, "A path.");
    v.Field("limit", limit, "A limit.", AtLeast(0.0));
    v.Field("lengths", lengths, "Fewest and most.", AtLeast(0));
    v.Field("rules", rules, "Rules.");
    v.Field("weights", weights, "Weights.");
    v.Check(lengths.size() == 2 && lengths[0] <= lengths[1], "lengths", "must be two, the smaller first");
    v.Section("optimizer", optimizer, "Default of all stages.");
    v.Section("second", second, "A second one, or null.");
    v.NamedSections("stages", stages, "In order.", [this](Stage& stage) { stage.optimizer = optimizer; });
  }
};

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Recipe recipe;
  const absl::Status status = ReadConfig(text, "r.yaml", overrides, recipe);
  if (!status.ok()) {
    EXPECT_EQ(recipe, Recipe()) << "an error left something behind";
  }
  return status.ok() ? "accepted" : std::string(status.message());
}

Recipe Read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Recipe recipe;
  const absl::Status status = ReadConfig(text, "r.yaml", overrides, recipe);
  EXPECT_TRUE(status.ok()) << status;
  return recipe;
}

TEST(Config, ReadsEveryKindOfFieldAndStagesInTheFilesOrder) {
  const Recipe recipe = Read(R"(
seed: 7   # a comment
fast: true
model: "a \"b\" é"
limit: 2.5
lengths: [3, 4]
rules: []
weights: [1, -2e-3]
optimizer: {learning_rate: 0.5}
second: {}
stages:
  zero:
    kind: sft
    optimizer:
      beta: 0.25
    documents:
      - file: x y
      - {file: z, count: 3}
  a: {kind: rl}
)");
  Recipe expected{.seed = 7,
                  .fast = true,
                  .model = "a \"b\" é",
                  .limit = 2.5,
                  .lengths = {3, 4},
                  .rules = {},
                  .weights = {1, -2e-3},
                  .optimizer = {.learning_rate = 0.5}};
  expected.second = Optimizer();
  expected.stages = {{.name = "zero",
                      .kind = Kind::kSft,
                      .optimizer = {.learning_rate = 0.5, .beta = 0.25f},
                      .documents = {{.file = "x y"}, {.file = "z", .count = 3}}},
                     {.name = "a", .optimizer = {.learning_rate = 0.5}}};
  EXPECT_EQ(recipe, expected);
}

TEST(Config, WhatIsWrittenReadsBackToTheSameStruct) {
  RandomStream random(1, Purpose::kTask);
  for (int i = 0; i < 300; ++i) {
    Recipe recipe;
    recipe.seed = random.NextBelow(INT64_MAX);
    recipe.fast = random.NextBelow(2);
    recipe.optimizer.learning_rate = std::min(1.0, std::exp(-100 * random.NextUniform()));
    recipe.optimizer.beta = static_cast<float>(random.NextUniform());
    recipe.lengths = {1, int64_t(random.NextBelow(100) + 1)};
    for (const char* text :
         {"",   "null", "~",    "true", "No",  "0x1", "010", "1e6", "- a", "a: b", "# c", "'",
          "\"", "\\",   "a\nb", "\t",   " x ", "*a",  "&a",  "!t",  "<<",  "é漢",  "[1]", "{",
          "%a", "@",    "`",    "?",    "|",   ">",   "-",   "---", "...", "\x01", "a,b"}) {
      recipe.rules.push_back(text);
    }
    recipe.model = recipe.rules[random.NextBelow(recipe.rules.size())];
    if (random.NextBelow(2)) recipe.limit = random.NextUniform() * 1e300;
    if (random.NextBelow(2)) recipe.second = Optimizer{.learning_rate = 0.125};
    if (random.NextBelow(2)) recipe.weights = {-0.0, 1e-300, 1.7976931348623157e308, -5};
    for (uint64_t n = random.NextBelow(4); n > 0; --n) {
      Stage stage{.name = "s" + std::to_string(n),
                  .kind = random.NextBelow(2) ? Kind::kSft : Kind::kRl,
                  .optimizer = recipe.optimizer};
      if (stage.kind == Kind::kSft) {
        stage.documents.resize(random.NextBelow(3), Document{.file = "- no", .count = 2});
        stage.epochs = 9;
      }
      recipe.stages.push_back(stage);
    }
    const std::string text = WriteConfig(recipe);
    ASSERT_EQ(Read(text), recipe) << text;
    ASSERT_EQ(WriteConfig(Read(text)), text);
  }
  EXPECT_EQ(Read(WriteConfig(Recipe())), Recipe());
}

TEST(Config, IsWrittenInTheOrderOfDeclaration) {
  Recipe recipe;
  recipe.stages = {{.name = "zero", .kind = Kind::kSft, .documents = {{.file = "f"}, {.file = "g"}}}};
  EXPECT_EQ(WriteConfig(recipe), R"(seed: 0
big: 5
fast: false
model: base
limit: null
lengths: [1, 2]
rules: [a, b]
weights: []
optimizer:
  learning_rate: 0.001
  beta: 0.9
second: null
stages:
  zero:
    kind: sft
    optimizer:
      learning_rate: 0.001
      beta: 0.9
    epochs: 1
    documents:
      - file: f
        count: 1
      - file: g
        count: 1
)");
}

TEST(Config, UnknownKeysNameFileLinePathAndTheNearestKey) {
  EXPECT_EQ(ErrorOf("seed: 1\nsede: 2\n"), "r.yaml:2: sede: unknown key; did you mean seed?");
  EXPECT_EQ(ErrorOf("stages:\n  zero:\n    optimizer:\n      lerning_rate: 1\n"),
            "r.yaml:4: stages.zero.optimizer.lerning_rate: unknown key; did you mean learning_rate?");
  EXPECT_EQ(ErrorOf("optimizer: {temperature: 1}"),
            "r.yaml:1: optimizer.temperature: unknown key; known are learning_rate, beta");
  EXPECT_EQ(ErrorOf("stages: {a: {kind: rl, epochs: 1}}"),
            "r.yaml:1: stages.a.epochs: unknown key; known are kind, optimizer");
}

TEST(Config, ManyUnknownKeysAreToldInTimeOfTheirNumber) {
  std::string text = "seed: 1\n";
  for (int i = 0; i < 100000; ++i) text += "key_" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(ErrorOf(text), HasSubstr("r.yaml:2: key_0: unknown key"));
}

TEST(Config, AWrongKindBringsNoOtherErrorsAlong) {
  EXPECT_EQ(ErrorOf("stages: {a: {kind: stf, epochs: 1}}"),
            "r.yaml:1: stages.a.kind: expected one of rl, sft, found \"stf\"; did you mean sft?");
}

TEST(Config, WrongTypesAndRangesNameWhatIsExpectedAndFound) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"seed: 1O", "seed: expected a whole number in plain digits, found \"1O\""},
      {"seed: 010", "seed: expected a whole number in plain digits, found \"010\""},
      {"seed: 1e6", "seed: expected a whole number in plain digits, found \"1e6\""},
      {"seed: 1.0", "seed: expected a whole number in plain digits, found \"1.0\""},
      {"seed: 0x10", "seed: expected a whole number in plain digits, found \"0x10\""},
      {"seed: +1", "seed: expected a whole number in plain digits, found \"+1\""},
      {"seed: 1_000", "seed: expected a whole number in plain digits, found \"1_000\""},
      {"seed: '1'", "seed: expected a whole number in plain digits, found \"1\" in quotes"},
      {"seed:", "seed: expected a whole number in plain digits, found nothing"},
      {"seed: .nan", "seed: expected a whole number in plain digits, found \".nan\""},
      {"seed: .inf", "seed: expected a whole number in plain digits, found \".inf\""},
      {"seed: 18446744073709551616",
       "seed: expected a whole number of at most 64 bits, found \"18446744073709551616\""},
      {"seed: -1", "seed: must be at least 0, found -1"},
      {"big: -1", "big: must be at least 0, found -1"},
      {"seed: [1]", "seed: expected a whole number in plain digits, found a list"},
      {"seed: {a: 1}", "seed: expected a whole number in plain digits, found a section"},
      {"fast: yes", "fast: expected true or false, found \"yes\""},
      {"fast: 'true'", "fast: expected true or false, found \"true\" in quotes"},
      {"model: ~", "model: expected text (\"\" for none), found nothing"},
      {"limit: .nan", "limit: expected a number, found \".nan\""},
      {"limit: -.inf", "limit: expected a number, found \"-.inf\""},
      {"limit: 1e999", "limit: expected a number that is neither too large nor too small, found \"1e999\""},
      {"limit: 1e-999", "limit: expected a number that is neither too large nor too small, found \"1e-999\""},
      {"limit: 1,5", "limit: expected a number, found \"1,5\""},
      {"limit: 01.5", "limit: expected a number, found \"01.5\""},
      {"limit: 1.", "limit: expected a number, found \"1.\""},
      {"limit: -0.5", "limit: must be at least 0, found -0.5"},
      {"lengths: 3", "lengths: expected a list such as [a, b], found \"3\""},
      {"lengths: [1, x]", "lengths[1]: expected a whole number in plain digits, found \"x\""},
      {"lengths: [1, -1]", "lengths[1]: must be at least 0, found -1"},
      {"lengths: [2, 1]", "lengths: must be two, the smaller first"},
      {"optimizer: 3", "optimizer: expected a section of settings, found \"3\""},
      {"optimizer: [a]", "optimizer: expected a section of settings, found a list"},
      {"optimizer: {learning_rate: 0}",
       "optimizer.learning_rate: must be more than 0 and at most 1, found 0"},
      {"optimizer: {learning_rate: 1e30}",
       "optimizer.learning_rate: must be more than 0 and at most 1, found 1e30"},
      {"optimizer: {beta: 2}", "optimizer.beta: must be 0 to 1, found 2"},
      {"stages: [a]", "stages: expected sections by name, found a list"},
      {"stages: {a: 3}", "stages.a: expected a section of settings, found \"3\""},
      {"stages: {../x: {}}", "stages.../x: a name is made of letters, digits, _ and -"},
      {"stages: {a: {kind: sft, documents: {file: x}}}",
       "stages.a.documents: expected a list of sections, found a section"},
      {"stages: {a: {kind: sft, documents: [x]}}",
       "stages.a.documents[0]: expected a section of settings, found \"x\""},
      {"stages: {a: {kind: sft, documents: [{count: 3}]}}", "stages.a.documents[0].file: is required"},
      {"stages: {a: {kind: sft, documents: [{file: ''}]}}",
       "stages.a.documents[0].file: expected text that is not empty, found \"\" in quotes"},
      {"stages: {a: {kind: sft, documents: [{file: x, count: 2147483648}]}}",
       "stages.a.documents[0].count: must be 0 to 2147483647, found 2147483648"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(ErrorOf("\n" + text + "\n"), "r.yaml:2: " + error);
}

TEST(Config, AllErrorsAreToldEachOnItsLine) {
  EXPECT_EQ(
      ErrorOf("seed: -1\nfast: 3\nx: 1\n"),
      "r.yaml:1: seed: must be at least 0, found -1\nr.yaml:2: fast: expected true or false, found \"3\"\n"
      "r.yaml:3: x: unknown key; known are seed, big, fast, model, limit, lengths, rules, weights, "
      "optimizer, "
      "second, stages");
}

TEST(Config, RefusesWhatYamlCppReadsInASurprisingWay) {
  const std::string deep = "seed: " + std::string(1000, '[');
  std::string laughs = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'z'; ++c)
    laughs += std::string(1, c) + ": &" + c + " [*" + char(c - 1) + ", *" + char(c - 1) + "]\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"seed: 1\nfast: true\nseed: 2\n", "r.yaml:3: duplicate key seed"},
      {"optimizer: {beta: 0.1, beta: 0.2}", "r.yaml:1: duplicate key beta"},
      {"seed: 1\n'seed': 2\n", "r.yaml:2: duplicate key seed"},
      {"a: &x 1\n", "r.yaml:1: anchors"},
      {"a: *x\n", "r.yaml:1: "},
      {"a: &x [*x]\n", "r.yaml:1: anchors"},
      {laughs, "r.yaml:1: anchors"},
      {"optimizer:\n  <<: {beta: 0.1}\n", "r.yaml:2: merges (<<) are not supported"},
      {"seed: !!int 3\n", "r.yaml:1: tags (tag:yaml.org,2002:int) are not supported"},
      {"seed: 1\n---\nseed: 2\n", "r.yaml:2: a second document"},
      {"seed: 1\n---\n", "r.yaml:2: a second document"},
      {"model: \"a\n", "r.yaml:1: a quote is not closed"},
      {"model: 'it''s\nseed: 1\n", "r.yaml:1: a quote is not closed"},
      {"seed: 1\nmodel: \"a\\\"", "r.yaml:2: illegal EOF in scalar"},
      {"model: [a, b\n", "r.yaml:"},
      {"optimizer:\n\tbeta: 0.1\n", "r.yaml:2: a tab in the indentation"},
      {"seed: 1\nmodel: \xff\n", "r.yaml:2: byte 16 is not UTF-8"},
      {"model: \xc0\x80\n", "r.yaml:1: byte 8 is not UTF-8"},
      {"seed: 1\nmodel: \"a\\Nb\"\n", "r.yaml:2: an escape that makes no UTF-8"},
      {"model: [\"\\_\"]\n", "r.yaml:1: an escape that makes no UTF-8"},
      {"\xEF\xBB\xBFseed: 1\n", "r.yaml:1: starts with a byte order mark"},
      {std::string("\xFF\xFEs\0e\0", 6), "r.yaml:1: is UTF-16"},
      {std::string("\xFE\xFF\0s\0e", 6), "r.yaml:1: is UTF-16"},
      {std::string("\0s\0e", 4), "r.yaml:1: is UTF-16"},
      {std::string("s\0e\0", 4), "r.yaml:1: is UTF-16"},
      {std::string("seed: 1\0", 8), "r.yaml:1: byte 8 is a control character"},
      {"seed: 1\n\x04garbage: [", "r.yaml:2: byte 9 is a control character"},
      {deep + std::string(1000, ']'), "r.yaml:1: nested deeper than 64 levels"},
      {deep, "r.yaml:"},
      {"", "r.yaml:1: is empty"},
      {"\n# only a comment\n", "r.yaml:1: is empty"},
      {"---\n", "r.yaml:1: is empty"},
      {"~\n", "r.yaml:1: is empty"},
      {"just words\n", "r.yaml:1: expected settings such as `name: value`, found a single value"},
      {"- a\n- b\n", "r.yaml:1: expected settings such as `name: value`, found a list"},
      {"? [a]\n: 1\n", "r.yaml:1: a key is a list or a map"},
      {": 1\n", "r.yaml:1: a key is missing"},
      {"null: 1\n", "r.yaml:1: a key is missing"},
      {"seed: 1\n  fast: true\n", "r.yaml:2: "},
      {"seed: 1: 2\n", "r.yaml:1: "},
      {"@x: 1\n", "r.yaml:1: "},
  };
  for (const auto& [text, error] : cases) {
    const std::string found = ErrorOf(text);
    EXPECT_THAT(found, StartsWith(error)) << text.substr(0, 100);
    EXPECT_EQ(found.find('\n'), std::string::npos) << found;
  }
}

TEST(Config, EveryCutAndEveryFlippedByteOfAFileIsReadOrRefusedWithoutHarm) {
  const std::string text =
      WriteConfig(Read("stages: {a: {kind: sft, documents: [{file: \"q'\\n\"}]}, b: {}}"));
  RandomStream random(3, Purpose::kTask);
  for (size_t cut = 0; cut < text.size(); ++cut) {
    for (const std::string& hostile :
         {text.substr(0, cut), text.substr(0, cut) + char(random.NextBelow(256)) + text.substr(cut + 1)}) {
      Recipe recipe;
      const absl::Status status = ReadConfig(hostile, "r.yaml", {}, recipe);
      if (!status.ok()) {
        EXPECT_THAT(std::string(status.message()), StartsWith("r.yaml:"));
      }
    }
  }
}

TEST(Config, OverridesReachStagesDefaultsAndItemsOfLists) {
  const std::string text = "stages: {a: {kind: sft, documents: [{file: x}]}, b: }\n";
  const Recipe recipe = Read(
      text, {"seed=9", "optimizer.learning_rate=0.25", "stages.b.optimizer.beta=0.5",
             "stages.a.documents.0.count=4", "lengths=[5, 6]", "model=", "seed=10", "second={beta: 0.125}"});
  EXPECT_EQ(recipe.seed, 10);
  EXPECT_EQ(recipe.stages[0].optimizer.learning_rate, 0.25);
  EXPECT_EQ(recipe.stages[1].optimizer, (Optimizer{.learning_rate = 0.25, .beta = 0.5f}));
  EXPECT_EQ(recipe.stages[0].documents[0].count, 4);
  EXPECT_THAT(recipe.lengths, ElementsAre(5, 6));
  EXPECT_EQ(recipe.model, "");
  EXPECT_EQ(recipe.second->beta, 0.125f);
}

TEST(Config, ErrorsOfOverridesNameTheOverride) {
  const std::string text = "seed: 1\nstages: {zero: {}}\n";
  EXPECT_EQ(ErrorOf(text, {"seed=x"}), "--set seed=x: expected a whole number in plain digits, found \"x\"");
  EXPECT_EQ(ErrorOf(text, {"sede=1"}), "--set sede=1: unknown key; did you mean seed?");
  EXPECT_EQ(ErrorOf(text, {"optimizer.bta=1"}), "--set optimizer.bta=1: unknown key; did you mean beta?");
  EXPECT_EQ(ErrorOf(text, {"stages.zreo.kind=rl"}),
            "--set stages.zreo.kind=rl: there is no zreo; did you mean zero?");
  EXPECT_EQ(ErrorOf(text, {"seed"}), "--set seed: expected name=value, such as rl.steps=100");
  EXPECT_EQ(ErrorOf(text, {"=1"}), "--set =1: expected name=value, such as rl.steps=100");
  EXPECT_EQ(ErrorOf(text, {"seed.x=1"}), "--set seed.x=1: there is no x in a single value");
  EXPECT_EQ(ErrorOf(text, {"a..b=1"}), "--set a..b=1: a part of the name is empty");
  EXPECT_THAT(ErrorOf(text, {"seed=[1"}), StartsWith("--set seed=[1: value:1: "));
  EXPECT_THAT(ErrorOf(text, {"seed=\xff"}), StartsWith("--set seed=\\xff: value:1: byte 1 is not UTF-8"));
}

struct SampleOptions {
  std::string model;
  int64_t max_new_tokens = 16;
  double temperature = 1;
  bool ignore_eos = false;
  bool stream = true;
  std::vector<std::string> rule;
  std::vector<std::string> set;
  std::vector<int64_t> lengths;
  Kind mode = Kind::kRl;
  Optimizer optimizer;
  template <class V>
  void Fields(V& v) {
    v.Field("model", model, "The model's folder.", Required());
    v.Field("max_new_tokens", max_new_tokens, "At most so many.", Between(1, 100));
    v.Field("temperature", temperature, "Of sampling.");
    v.Field("ignore_eos", ignore_eos, "It does not stop.");
    v.Field("stream", stream, "Print at once.");
    v.Field("rule", rule, "Rules.");
    v.Field("set", set, "Overrides.", Repeated());
    v.Field("lengths", lengths, "Lengths.");
    v.Choice("mode", mode, {{"rl", Kind::kRl}, {"sft", Kind::kSft}}, "Mode.");
    v.Section("optimizer", optimizer, "AdamW.");
  }
};

TEST(Config, TellsWhereAKeyIsSaid) {
  const std::string text = R"(seed: 1
stages:
  a:
    kind: sft
    documents:
      - file: x
      - {file: y,
         count: 3}
  b: {kind: rl}
)";
  Recipe recipe;
  ConfigPlaces places;
  EXPECT_EQ(places.Of("seed"), "seed");
  EXPECT_FALSE(places.Says("seed"));
  ASSERT_FALSE(ReadConfig(text, "r.yaml", {"seed=x"}, recipe, &places).ok());
  EXPECT_EQ(places.Of("seed"), "seed") << "after an error as before";
  const std::string set = "stages.a.documents.0.file=z";
  const absl::Status status = ReadConfig(text, "r.yaml", {set, "optimizer={beta: 0.5}"}, recipe, &places);
  ASSERT_TRUE(status.ok()) << status;
  const std::pair<std::string, std::string> said[] = {
      {"seed", "r.yaml:1: seed"},
      {"stages", "r.yaml:2: stages"},
      {"stages.a", "r.yaml:3: stages.a"},
      {"stages.a.documents", "r.yaml:5: stages.a.documents"},
      {"stages.a.documents[0]", "r.yaml:6: stages.a.documents[0]"},
      {"stages.a.documents[0].file", "--set " + set},
      {"stages.a.documents[1].count", "r.yaml:8: stages.a.documents[1].count"},
      {"stages.b.kind", "r.yaml:9: stages.b.kind"},
      {"optimizer", "--set optimizer={beta: 0.5}"},
      {"optimizer.beta", "--set optimizer={beta: 0.5}"},
  };
  for (const auto& [path, place] : said) {
    EXPECT_TRUE(places.Says(path)) << path;
    EXPECT_EQ(places.Of(path), place);
  }
  // The nearest section that is there.
  const std::pair<std::string, std::string> unsaid[] = {
      {"big", "r.yaml:1: big"},
      {"stages.a.documents[0].count", "r.yaml:6: stages.a.documents[0].count"},
      {"stages.a.documents[2]", "r.yaml:5: stages.a.documents[2]"},
      {"stages.a.documents[x]", "r.yaml:5: stages.a.documents[x]"},
      {"stages.b.optimizer.beta", "r.yaml:9: stages.b.optimizer.beta"},
      {"stages.c.kind", "r.yaml:2: stages.c.kind"},
      {"optimizer.learning_rate", "r.yaml:1: optimizer.learning_rate"},
      {"seed[0].x", "r.yaml:1: seed[0].x"},
  };
  for (const auto& [path, place] : unsaid) {
    EXPECT_FALSE(places.Says(path)) << path;
    EXPECT_EQ(places.Of(path), place);
  }
}

TEST(Options, AreTheSameFieldsAsNamesAndValues) {
  SampleOptions options;
  const auto rest = ParseOptions({"a.jsonl",
                                  "--model",
                                  "null",
                                  "--max-new-tokens=7",
                                  "--temperature",
                                  "-1.5",
                                  "--ignore-eos",
                                  "--no-stream",
                                  "--rule",
                                  "x,y",
                                  "--set",
                                  "a=[1, 2]",
                                  "--set",
                                  "b=c=d",
                                  "--mode=sft",
                                  "--lengths=1,2",
                                  "--optimizer.learning-rate",
                                  "0.5",
                                  "-",
                                  "--",
                                  "--model"},
                                 options);
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_THAT(*rest, ElementsAre("a.jsonl", "-", "--model"));
  EXPECT_EQ(options.model, "null");
  EXPECT_EQ(options.max_new_tokens, 7);
  EXPECT_EQ(options.temperature, -1.5);
  EXPECT_TRUE(options.ignore_eos);
  EXPECT_FALSE(options.stream);
  EXPECT_THAT(options.rule, ElementsAre("x", "y"));
  EXPECT_THAT(options.set, ElementsAre("a=[1, 2]", "b=c=d"));
  EXPECT_THAT(options.lengths, ElementsAre(1, 2));
  EXPECT_EQ(options.mode, Kind::kSft);
  EXPECT_EQ(options.optimizer.learning_rate, 0.5);
}

TEST(Options, TheLastOfSeveralWinsUnlessItMayBeGivenAgain) {
  SampleOptions options;
  ASSERT_TRUE(ParseOptions({"--model", "a", "--lengths", "1,2", "--set", "x=1", "--model", "b", "--lengths",
                            "3", "--set", "y=2"},
                           options)
                  .ok());
  EXPECT_EQ(options.model, "b");
  EXPECT_THAT(options.lengths, ElementsAre(3));
  EXPECT_THAT(options.set, ElementsAre("x=1", "y=2"));
}

TEST(Options, ErrorsNameTheOption) {
  const auto error = [](std::vector<std::string> arguments) {
    SampleOptions options;
    return std::string(ParseOptions(arguments, options).status().message());
  };
  EXPECT_EQ(error({}), "--model: is required");
  EXPECT_EQ(error({"--model"}), "--model: expected a value after it");
  EXPECT_EQ(error({"--modle", "x"}), "--modle: unknown option; did you mean --model?");
  EXPECT_EQ(error({"--xyzzyxyzzy"}), "--xyzzyxyzzy: unknown option; see --help");
  EXPECT_EQ(error({"-m", "x"}), "-m: unknown option; options begin with --");
  EXPECT_EQ(error({"--model=m", "--max-new-tokens", "1e3"}),
            "--max-new-tokens: expected a whole number in plain digits, found \"1e3\"");
  EXPECT_EQ(error({"--model=m", "--max-new-tokens", "101"}), "--max-new-tokens: must be 1 to 100, found 101");
  EXPECT_EQ(error({"--model=m", "--ignore-eos=maybe"}),
            "--ignore-eos: expected true or false, found \"maybe\"");
  EXPECT_EQ(error({"--model=m", "--lengths", "1,x"}),
            "--lengths: expected a whole number in plain digits, found \"x\"");
  EXPECT_EQ(error({"--model=m", "--mode", "sf"}),
            "--mode: expected one of rl, sft, found \"sf\"; did you mean sft?");
}

TEST(Options, HelpNamesEveryOptionWithDefaultAndRange) {
  const std::string help = OptionsHelp(DescribeConfig<SampleOptions>());
  EXPECT_THAT(help, HasSubstr("  --model TEXT                    The model's folder. (required)\n"));
  EXPECT_THAT(help, HasSubstr("  --max-new-tokens N              At most so many. (default 16; 1 to 100)\n"));
  EXPECT_THAT(help, HasSubstr("  --ignore-eos                    It does not stop.\n"));
  EXPECT_THAT(help, HasSubstr("  --mode TEXT                     Mode. (one of rl, sft; default rl)\n"));
  EXPECT_THAT(help, HasSubstr("--optimizer.learning-rate X"));
}

TEST(Config, ComparedNamesEachFieldThatDiffersAndWhetherItIsFree) {
  const Recipe before = Read("stages: {a: {kind: sft, documents: [{file: x}]}, b: {kind: rl}}\n");
  Recipe after = before;
  EXPECT_TRUE(CompareConfigs(before, after).empty());
  after.fast = true;
  after.limit = 0.5;
  after.stages[0].documents[0].count = 3;
  after.stages[1].kind = Kind::kSft;
  std::vector<std::string> told;
  for (const FieldChange& change : CompareConfigs(before, after))
    told.push_back(change.path + ": " + change.before + " -> " + change.after +
                   (change.free ? " (free)" : ""));
  EXPECT_EQ(told, (std::vector<std::string>{"fast: false -> true (free)", "limit: null -> 0.5",
                                            "stages.a.documents[0].count: 1 -> 3", "stages.b.kind: rl -> sft",
                                            "stages.b.epochs: nothing -> 1"}));
}

struct Pauses {
  std::optional<double> minutes = {};
  template <class V>
  void Fields(V& v) {
    v.Field("minutes", minutes, "Between two.", AtLeast(0.0), None("auto"));
  }
};

TEST(Config, AnOptionalMayHaveAWordForNone) {
  Pauses pauses;
  EXPECT_EQ(WriteConfig(pauses), "minutes: auto\n");
  EXPECT_TRUE(ReadConfig("minutes: 2.5", "r.yaml", {}, pauses).ok());
  EXPECT_EQ(pauses.minutes, 2.5);
  EXPECT_TRUE(ReadConfig("minutes: 2.5", "r.yaml", {"minutes=auto"}, pauses).ok());
  EXPECT_EQ(pauses.minutes, std::nullopt);
  const auto error = [&](const std::string& text) {
    return std::string(ReadConfig(text, "r.yaml", {}, pauses).message());
  };
  EXPECT_EQ(error("minutes: soon"), "r.yaml:1: minutes: expected a number or auto, found \"soon\"");
  EXPECT_EQ(error("minutes: null"), "r.yaml:1: minutes: expected a number or auto, found nothing");
  EXPECT_EQ(error("minutes: -1"), "r.yaml:1: minutes: must be at least 0, found -1");
  EXPECT_THAT(MarkdownDocs(DescribeConfig<Pauses>(), "##"),
              HasSubstr("| `minutes` | number, or auto | `auto` | at least 0 | Between two. |\n"));
}

TEST(Docs, HaveATableForTheTopAndOneForEachSection) {
  const std::string docs = MarkdownDocs(DescribeConfig<Recipe>(), "##");
  EXPECT_THAT(docs, StartsWith("\n| name | type | default | range | what |\n|---|---|---|---|---|\n"
                               "| `seed` | whole number | `0` | at least 0 | Of every draw. |\n"));
  EXPECT_THAT(docs, HasSubstr("\n## stages.NAME.optimizer\nAdamW.\nThe fields are those of `optimizer`.\n"));
  EXPECT_THAT(docs, HasSubstr("\n## stages.NAME.documents[]\nWhat is trained on.\n"));
  EXPECT_THAT(docs, HasSubstr("| `file` | text | required |  | A file. |\n"));
  EXPECT_THAT(docs, HasSubstr("| `fast` (free) | true or false |"));
  EXPECT_THAT(docs, HasSubstr("| `limit` | number, or null | `null` | at least 0 | A limit. |\n"));
}

struct Lengths {
  int64_t most = 4;
  template <class V>
  void Fields(V& v) {
    v.Field("most", most, "The most.");
  }
};
struct Judge {
  std::string rule;
  Lengths lengths;
  template <class V>
  void Fields(V& v) {
    v.Field("rule", rule, "Which.");
    v.Case("rule", rule, "long", lengths);
    v.Case("rule", rule, "short", lengths);
  }
};
struct Judges {
  Judge first, second;
  template <class V>
  void Fields(V& v) {
    v.Section("first", first, "One.");
    v.Section("second", second, "Two.");
  }
};

TEST(Case, HasItsFieldsOnlyWithItsValue) {
  Judge judge;
  ASSERT_TRUE(ReadConfig("rule: short\nmost: 7\n", "f", {}, judge).ok());
  EXPECT_EQ(judge.lengths.most, 7);
  EXPECT_EQ(WriteConfig(judge), "rule: short\nmost: 7\n");
  EXPECT_THAT(std::string(ReadConfig("rule: none\nmost: 7\n", "f", {}, judge).message()),
              HasSubstr("f:2: most"));
}

TEST(Docs, SayWhoseTheFieldsOfACaseAreAndTellAFactOnce) {
  EXPECT_EQ(MarkdownDocs(DescribeConfig<Judges>(), "##"),
            "\n## first\nOne.\n"
            "\n| name | type | default | range | what |\n|---|---|---|---|---|\n"
            "| `rule` | text | `\"\"` |  | Which. |\n"
            "\nOnly with `rule`: long, short\n"
            "\n| name | type | default | range | what |\n|---|---|---|---|---|\n"
            "| `most` | whole number | `4` |  | The most. |\n"
            "\n## second\nTwo.\nThe fields are those of `first`.\n");
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// sample and logprobs: the exactness contract through the program.
#include <algorithm>

#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kPrompts[] =
    "{\"id\":\"a\",\"tokens\":[3]}\n{\"id\":7,\"tokens\":[5,6,7,8,9,10,11]}\n{\"tokens\":[36,0,1,2]}\n"
    "{\"id\":\"long\",\"tokens\":[4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,"
    "4,4,4,4,4,4,4,4,4,"
    "4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4]}\n";

std::vector<std::string> Sample(const std::string& model, std::vector<std::string> options,
                                const std::string& prompts = kPrompts) {
  options.insert(options.begin(), {"--model", model, "--max-new-tokens", "20", "--samples-per-prompt", "3"});
  return Lines("sample", options, prompts);
}

class EachFamily : public ::testing::TestWithParam<Json (*)()> {};
INSTANTIATE_TEST_SUITE_P(Models, EachFamily, ::testing::Values(TinyDeepseek, TinyQwen2, TinyLlama));

TEST_P(EachFamily, LogprobsOfSampledTokensAreTheSampledFloats) {
  const Folder folder;
  const std::string model = WriteModel(folder, GetParam()());
  for (const char* temperature : {"1", "0.7"}) {
    const std::vector<std::string> samples = Sample(model, {"--temperature", temperature, "--ignore-eos"});
    ASSERT_EQ(samples.size(), 12u);
    std::string rows;
    for (const std::string& line : samples) {
      const Json sample = Json::parse(line);
      Json tokens = sample["prompt_tokens"];
      tokens.insert(tokens.end(), sample["tokens"].begin(), sample["tokens"].end());
      absl::StrAppend(&rows, DumpJson(Json{{"tokens", tokens}}), "\n");
    }
    const std::vector<std::string> lines = Lines(
        "logprobs", {"--model", model, "--temperature", temperature, "--tokens-per-microbatch", "100"}, rows);
    ASSERT_EQ(lines.size(), samples.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      const Json sample = Json::parse(samples[i]), given = Json::parse(lines[i]);
      EXPECT_TRUE(given["logprobs"][0].is_null());
      ASSERT_EQ(sample["logprobs"].size(), 20u);
      const size_t prompt = sample["prompt_tokens"].size();
      ASSERT_EQ(given["logprobs"].size(), prompt + 20);
      for (size_t t = 0; t < 20; ++t)
        EXPECT_EQ(given["logprobs"][prompt + t].get<float>(), sample["logprobs"][t].get<float>())
            << i << " " << t;
    }
  }
}

TEST_P(EachFamily, BatchThreadsCacheDraftsAndTheOrderOfPromptsDoNotMatter) {
  const Folder folder;
  const std::string model = WriteModel(folder, GetParam()());
  const std::vector<std::string> expected = Sample(model, {"--seed", "3", "--threads", "1"});
  ASSERT_EQ(expected.size(), 12u);
  for (const std::vector<std::string>& options :
       std::vector<std::vector<std::string>>{{"--max-batch", "1"},
                                             {"--max-batch", "5", "--threads", "3"},
                                             {"--threads", "2", "--cache-mib", "1"},
                                             {"--draft-tokens", "0"},
                                             {"--max-batch", "1", "--draft-tokens", "64"}}) {
    std::vector<std::string> all = {"--seed", "3"};
    all.insert(all.end(), options.begin(), options.end());
    EXPECT_EQ(Sample(model, all), expected);
  }
  const std::vector<std::string> last =
      Sample(model, {"--seed", "3"}, "{\"id\":3,\"tokens\":[36,0,1,2]}\n{\"id\":\"a\",\"tokens\":[3]}\n");
  ASSERT_EQ(last.size(), 6u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(last[i], expected[6 + i]);  // a row without id is called by its line
    EXPECT_EQ(last[3 + i], expected[i]);
  }
}

TEST(Sample, RowsAreInTheOrderOfTheInputAndSamplesDiffer) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyDeepseek());
  const std::vector<std::string> lines = Sample(model, {});
  const Json ids = Json::array({"a", 7, 3, "long"});
  for (size_t i = 0; i < lines.size(); ++i) {
    const Json row = Json::parse(lines[i]);
    EXPECT_EQ(row["id"], ids[i / 3]);
    EXPECT_EQ(row["sample"], i % 3);
    EXPECT_EQ(row["text"], "");  // no tokenizer
    EXPECT_EQ(row["tokens"].size(), row["logprobs"].size());
    EXPECT_EQ(row["stop"], row["tokens"].back() == 1 ? "eos" : "length");
  }
  EXPECT_NE(Json::parse(lines[0])["tokens"], Json::parse(lines[1])["tokens"]);
  EXPECT_NE(Sample(model, {"--seed", "1"}), lines);
}

TEST(Sample, TextGoesInAndOutThroughTheTokenizer) {
  const Folder folder;
  const std::string model = WriteModel(folder, WithWords(TinyLlama()), kTinyTokenizer);
  const std::vector<std::string> lines =
      Lines("sample", {"--model", model, "--max-new-tokens", "9", "--ignore-eos"},
            "{\"prompt\":\"Q 7 a -3 ? <think>\"}\n");
  ASSERT_EQ(lines.size(), 1u);
  const Json row = Json::parse(lines[0]);
  const std::vector<std::string> ids = Lines("tokenize", {"--tokenizer", model}, "\"Q 7 a -3 ? <think>\"");
  EXPECT_EQ(row["prompt_tokens"], Json::parse(ids[0])["ids"]);
  const std::vector<std::string> text =
      Lines("tokenize", {"--tokenizer", model, "--decode", "--no-special-tokens"},
            DumpJson(Json{{"ids", row["tokens"]}}));
  EXPECT_EQ(Json::parse(text[0])["text"], row["text"]);
}

TEST(Sample, BadRowsAreNamedByFileAndLine) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyDeepseek());
  const auto error = [&](const std::string& rows) {
    return ErrorOf("sample",
                   {"--model", model, "--max-new-tokens", "250", "--prompts", folder.Write("rows", rows)});
  };
  const std::string at = absl::StrCat(folder.path(), "/rows:2: "), good = "{\"tokens\":[1]}\n";
  EXPECT_THAT(error(good + "{\"tokens\":[37]}"), StartsWith(at + "tokens[0]: 37"));
  EXPECT_THAT(error(good + "{\"tokens\":[]}"), StartsWith(at + "the prompt has no tokens"));
  EXPECT_THAT(error(good + "{\"tokens\":[1,2,3,4,5,6,7]}"),
              StartsWith(at + "a prompt of 7 tokens and --max-new-tokens 250"));
  EXPECT_THAT(error(good + "{\"id\":\"x\"}"), StartsWith(at + "has neither"));
  EXPECT_THAT(error(good + "{\"tokens\":[1],\"prompt\":\"x\"}"), StartsWith(at + "has both"));
  EXPECT_THAT(error(good + "{\"prompt\":\"x\"}"), HasSubstr("no tokenizer.json"));
  EXPECT_THAT(error(good + "[1]"), StartsWith(at + "a row is an object"));
  EXPECT_THAT(error(good + "{\"id\":1.5,\"tokens\":[1]}"), StartsWith(at + "id: "));
  EXPECT_THAT(error(good + "{\"id\":1,\"tokens\":[1]}"), StartsWith(at + "id 1 is also that of line 1"));
  EXPECT_THAT(error("{\"id\":\"u\",\"tokens\":[1]}\n{\"id\":\"u\",\"tokens\":[2]}"),
              StartsWith(at + "id \"u\" is also"));
}

TEST(Sample, MessagesNeedATokenizerWithRoles) {
  const Folder folder;
  const std::string model = WriteModel(folder, WithWords(TinyLlama()), kTinyTokenizer);
  const auto error = [&](const std::string& messages) {
    return ErrorOf("sample", {"--model", model}, absl::StrCat("{\"messages\":", messages, "}"));
  };
  EXPECT_THAT(error("3"), StartsWith("standard input:1: messages"));
  EXPECT_THAT(error("[{\"role\":\"user\",\"content\":\"hi\"}]"), StartsWith("standard input:1: messages: "));
}

TEST(Sample, AStopTextEndsTheCompletionThatHasIt) {
  const Folder folder;
  const std::string model = WriteModel(folder, WithWords(TinyLlama()), kTinyTokenizer);
  const std::vector<std::string> options = {"--model", model, "--max-new-tokens", "40", "--ignore-eos"};
  const std::string prompt = "{\"prompt\":\"Q\"}";
  const Json whole = Json::parse(Lines("sample", options, prompt).at(0));
  // The third token's own text, wherever it comes first.
  const Json id = whole["tokens"][2];
  const std::string text = Json::parse(
      Lines("tokenize", {"--tokenizer", model, "--decode"}, DumpJson(Json{{"ids", Json::array({id})}}))
          .at(0))["text"];
  std::vector<std::string> stopping = options;
  stopping.insert(stopping.end(), {"--stop", text});
  const Json cut = Json::parse(Lines("sample", stopping, prompt).at(0));
  EXPECT_EQ(cut["stop"], "stop");
  ASSERT_LE(cut["tokens"].size(), 3u);
  for (size_t i = 0; i < cut["tokens"].size(); ++i) {
    EXPECT_EQ(cut["tokens"][i], whole["tokens"][i]);
    EXPECT_EQ(cut["logprobs"][i], whole["logprobs"][i]);
  }
  EXPECT_THAT(ErrorOf("sample", {"--model", model, "--stop", ""}, prompt), StartsWith("--stop: "));
}

TEST(Sample, AStopIdEndsTheCompletionAndNotBeforeTheMinimum) {
  const Folder folder;
  const std::string model = WriteModel(folder, WithWords(TinyLlama()), kTinyTokenizer);
  const auto sample = [&](const std::vector<std::string>& more) {
    std::vector<std::string> options = {"--model", model, "--max-new-tokens", "40", "--ignore-eos"};
    options.insert(options.end(), more.begin(), more.end());
    return Json::parse(Lines("sample", options, "{\"prompt\":\"Q\"}").at(0));
  };
  const Json whole = sample({});
  const Json cut = sample({"--stop-token-ids", "1," + DumpJson(whole["tokens"][2])});
  EXPECT_EQ(cut["stop"], "stop");
  EXPECT_LE(cut["tokens"].size(), 3u);
  EXPECT_EQ(cut["tokens"].back(), whole["tokens"][cut["tokens"].size() - 1]) << "it is kept";
  const Json late = sample({"--stop-token-ids", DumpJson(whole["tokens"][2]), "--min-new-tokens", "20"});
  EXPECT_GT(late["tokens"].size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_NE(late["tokens"][i], whole["tokens"][2]);
  const auto error = [&](const std::vector<std::string>& more) {
    std::vector<std::string> options = {"--model", model, "--max-new-tokens", "40"};
    options.insert(options.end(), more.begin(), more.end());
    return ErrorOf("sample", options, "{\"prompt\":\"Q\"}");
  };
  EXPECT_THAT(error({"--min-new-tokens", "41"}), StartsWith("--min-new-tokens: is more than max_new_tokens"));
  EXPECT_THAT(error({"--stop-token-ids", "99999"}),
              ::testing::HasSubstr("stop token 99999 is outside the model's vocabulary of"));
  EXPECT_THAT(error({"--stop-token-ids", "a"}), StartsWith("--stop-token-ids"));
}

TEST(Sample, NoRowsGiveNoRows) {
  const Folder folder;
  EXPECT_TRUE(Sample(WriteModel(folder, TinyLlama()), {}, "\n").empty());
}

TEST(Logprobs, BadRowsAreNamedByFileAndLine) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyLlama());
  const auto error = [&](const std::string& row) {
    return ErrorOf("logprobs", {"--model", model}, absl::StrCat("{\"tokens\":[1]}\n", row));
  };
  EXPECT_THAT(error("{\"tokens\":[]}"), StartsWith("standard input:2: tokens: is empty"));
  EXPECT_THAT(error("{\"tokens\":[1,99]}"), StartsWith("standard input:2: tokens[1]: 99"));
  EXPECT_THAT(error("3"), StartsWith("standard input:2: tokens: expected"));
  EXPECT_EQ(Lines("logprobs", {"--model", model}, "{\"tokens\":[1]}")[0],
            "{\"tokens\":[1],\"logprobs\":[null]}");
}

TEST(Policy, ATokenizerLargerThanTheEmbeddingIsRefused) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyLlama(), kTinyTokenizer);
  const std::string error = ErrorOf("sample", {"--model", model}, kPrompts);
  EXPECT_THAT(error, StartsWith(model));
  EXPECT_THAT(error, HasSubstr("vocab_size is 37"));
}

TEST(Policy, OnADeviceThatIsNotThereIsRefused) {
  const Folder folder;
  const std::string model = WriteModel(folder, TinyLlama());
  for (const char* command : {"sample", "logprobs"}) {
    EXPECT_EQ(ErrorOf(command, {"--model", model, "--device", "tpu"}, ""),
              "--device: tpu is no device: cpu, cuda, cuda:N or sim");
    EXPECT_THAT(ErrorOf(command, {"--model", model, "--device", "cuda:99"}, ""),
                StartsWith("--device: cuda:99: "));
    EXPECT_TRUE(RunCommand(command, {"--model", model, "--device", "cpu"}, "").status.ok());
  }
}

TEST(Policy, AMissingModelIsTheUsersInput) {
  for (const char* command : {"sample", "logprobs"}) {
    const Ran ran = RunCommand(command, {"--model", "/nothing/here"}, "");
    EXPECT_EQ(ran.status.code(), absl::StatusCode::kNotFound) << ran.status;
    EXPECT_THAT(std::string(ran.status.message()), HasSubstr("/nothing/here/config.json"));
  }
}

}  // namespace
}  // namespace temper

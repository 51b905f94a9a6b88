// SPDX-License-Identifier: Apache-2.0
// What a collect stage keeps, read as the stage that learns from it reads it.
#include <map>

#include "data/dataset/dataset.h"
#include "gmock/gmock.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

// The template writes the first token, and the tokenizer puts one before every text.
TEST(Collect, KeepsPromptsThatGiveTheIdsThatWereSampledAfter) {
  const Folder model, project;
  WriteModel(model, WithWords(TinyQwen2()), kTinyTokenizer);
  model.Write("chat_template.jinja",
              "<bos>{% for m in messages %}{{ m.role }}: {{ m.content }}<eos>{% endfor %}"
              "{% if add_generation_prompt %}<think>{% endif %}");
  project.Write(
      "asked.jsonl",
      "{\"id\":\"a\",\"question\":\"2 plus <think> 3?\",\"answer\":\"5\"}\n"
      "{\"id\":\"b\",\"messages\":[{\"role\":\"user\",\"content\":\"1 plus 1?\"}],\"answer\":\"2\"}\n");
  for (const char* form : {"chat", "none"}) {
    const std::string recipe = project.Write(
        "recipe.yaml",
        absl::StrCat(
            "rl: {problems: {files: [asked.jsonl], template: ", form,
            "}, sampling: {max_new_tokens: 230, temperature: 8}, reward: {rules: [{rule: number}]}}\n"
            "stages: {best: {kind: collect, from: ",
            model.path(),
            ", collect: {prompts: 2, samples_per_prompt: 16, keep_per_prompt: 16, "
            "min_reward: 0}}}\n"));
    const std::string run = absl::StrCat(project.path(), "/", form);
    const Ran ran = RunCommand("run", {recipe, "--run-dir", run});
    ASSERT_TRUE(ran.status.ok()) << ran.status;
    std::map<std::string, std::vector<int32_t>> sampled;  // by the prompt's id
    for (const std::string& line : Lines("inspect", {run + "/best", "--export", "-"})) {
      const Json row = Json::parse(line);
      sampled[row["prompt_id"]] = row["prompt_tokens"].get<std::vector<int32_t>>();
    }
    const std::string dataset = run + "/best/dataset.jsonl";
    const auto tokenizer = Tokenizer::Load(model.path()).value();
    const auto file = DocumentFile::Open(dataset, *tokenizer);
    ASSERT_TRUE(file.ok()) << file.status();
    const std::vector<std::string> rows = absl::StrSplit(ReadFile(dataset).value(), '\n', absl::SkipEmpty());
    ASSERT_EQ((*file)->size(), static_cast<int64_t>(rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) {
      Document document = (*file)->Read(static_cast<int64_t>(i)).value();
      document.tokens.resize(document.first_target);
      EXPECT_EQ(document.tokens, sampled[Json::parse(rows[i])["id"]]) << form << rows[i];
    }
  }
}

}  // namespace
}  // namespace temper

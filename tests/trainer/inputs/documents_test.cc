// SPDX-License-Identifier: Apache-2.0
#include "trainer/inputs/documents.h"

#include <algorithm>
#include <numeric>

#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/inputs/inputs.h"

namespace temper {
namespace {

// The documents of one pass, in order.
std::vector<int64_t> Pass(int64_t documents, const SftConfig& config, uint64_t seed, const std::string& stage,
                          int64_t pass) {
  std::vector<int64_t> order;
  const int64_t steps = SftSteps(documents, config) / config.epochs;
  DocumentOrder of(documents, config, seed, stage);
  for (int64_t step = pass * steps; step < (pass + 1) * steps; ++step) {
    const std::vector<int64_t> chosen = of.OfStep(step);
    EXPECT_LE(static_cast<int64_t>(chosen.size()), config.prompts_per_step);
    EXPECT_GT(chosen.size(), 0u);
    order.insert(order.end(), chosen.begin(), chosen.end());
  }
  return order;
}

TEST(Documents, ArePermutedInEachPassByItsNameAlone) {
  SftConfig config;
  config.epochs = 3;
  for (const auto& [documents, per_step] : {std::pair<int64_t, int64_t>(23, 5), {20, 5}, {1, 8}, {7, 1}}) {
    config.prompts_per_step = per_step;
    EXPECT_EQ(SftSteps(documents, config), 3 * ((documents + per_step - 1) / per_step));
    std::vector<int64_t> all(documents);
    std::iota(all.begin(), all.end(), 0);
    for (int64_t pass = 0; pass < 3; ++pass) {
      const std::vector<int64_t> order = Pass(documents, config, 1, "sft", pass);
      std::vector<int64_t> sorted = order;
      std::sort(sorted.begin(), sorted.end());
      EXPECT_EQ(sorted, all) << documents << " documents, pass " << pass;
      if (documents < 20) continue;
      EXPECT_NE(order, Pass(documents, config, 1, "sft", (pass + 1) % 3));
      EXPECT_NE(order, Pass(documents, config, 2, "sft", pass));
      EXPECT_NE(order, Pass(documents, config, 1, "cold_start", pass));
    }
  }
}

// `place`: the file or stage.
DocumentsConfig From(DocumentsKind kind, int64_t count, const std::string& place = "") {
  DocumentsConfig config;
  config.kind = kind;
  config.count = count;
  (kind == DocumentsKind::kFile ? config.file : config.stage) = place;
  return config;
}

class LoadedDocuments : public ::testing::Test {
 protected:
  LoadedDocuments() : tokenizer_(*Tokenizer::Load("configs/tiny/base")) {
    recipe_.seed = 3;
    stage_.name = "sft";
    stage_.kind = StageKind::kSft;
    stage_.from = "configs/tiny/base";
    context_.recipe = &recipe_;
    context_.run_directory = folder_.path();
  }
  absl::StatusOr<std::vector<TrainSequence>> Load(const std::vector<DocumentsConfig>& documents) {
    stage_.sft.documents = documents;
    recipe_.stages = {stage_};
    context_.stage = &recipe_.stages[0];
    TEMPER_ASSIGN_OR_RETURN(inputs_, Inputs::Open(recipe_, {.run_directory = folder_.path()}));
    context_.inputs = inputs_.get();
    TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<DocumentSource> source,
                            DocumentSource::Open(context_, documents, *tokenizer_));
    std::vector<TrainSequence> sequences;
    for (int64_t i = 0; i < source->size(); ++i) {
      TEMPER_ASSIGN_OR_RETURN(TrainSequence sequence, source->Read(i));
      sequences.push_back(std::move(sequence));
    }
    return sequences;
  }
  std::string Error(const DocumentsConfig& documents) {
    return std::string(Load({documents}).status().message());
  }

  TestFolder folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  RecipeConfig recipe_;
  StageConfig stage_;
  StageContext context_;
  std::unique_ptr<Inputs> inputs_;
};

TEST_F(LoadedDocuments, CountTheCompletionAndItsEndToken) {
  ASSERT_TRUE(MakeDirectories(folder_ / "collect").ok());
  const std::string line =
      R"({"prompt":"Q 7 a -3 ? <think>","completion":" 7 a -3 4 </think> <answer> 4 </answer>"})";
  ASSERT_TRUE(WriteFileAtomic(folder_ / "collect/dataset.jsonl", line + "\n" + line + "\n").ok());
  const auto sequences =
      Load({From(DocumentsKind::kColdStart, 5), From(DocumentsKind::kCollect, 0, "collect"),
            From(DocumentsKind::kGeneral, 2)});
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  ASSERT_EQ(sequences->size(), 9u);
  const TrainSequence& collected = (*sequences)[5];
  EXPECT_EQ(collected.tokens.back(), 2);
  const absl::Span<const int32_t> tokens = collected.tokens;
  EXPECT_EQ(tokenizer_->Decode(tokens.first(collected.ranges[0].begin), false), "<bos>Q 7 a -3 ? <think>");
  EXPECT_EQ(tokenizer_->Decode(tokens.subspan(collected.ranges[0].begin), true),
            " 7 a -3 4 </think> <answer> 4 </answer>");
  for (const TrainSequence& sequence : *sequences) {
    EXPECT_GE(sequence.ranges[0].begin, 1);
    EXPECT_GT(sequence.counted(), 0);
  }
}

TEST_F(LoadedDocuments, AreTheSameForEveryStageAndOthersForAnotherSeed) {
  const auto one = Load({From(DocumentsKind::kCorpus, 30)});
  stage_.name = "student";
  const auto same = Load({From(DocumentsKind::kCorpus, 30)});
  recipe_.seed = 4;
  const auto other = Load({From(DocumentsKind::kCorpus, 30)});
  ASSERT_TRUE(one.ok() && same.ok() && other.ok());
  int64_t equal = 0;
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_EQ((*one)[i].tokens, (*same)[i].tokens);
    equal += (*one)[i].tokens == (*other)[i].tokens ? 1 : 0;
  }
  EXPECT_LT(equal, 5);
}

TEST_F(LoadedDocuments, OfAGeneratorAreMadeWhenTheyAreAskedFor) {
  const std::vector<DocumentsConfig> many = {From(DocumentsKind::kCorpus, 100'000'000)};
  const auto source = DocumentSource::Open(context_, many, *tokenizer_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->size(), 100'000'000);
  EXPECT_EQ((*source)->Read(29)->tokens, Load({From(DocumentsKind::kCorpus, 30)})->back().tokens);
  EXPECT_GT((*source)->Read(99'999'999)->tokens.size(), 1u);
}

TEST_F(LoadedDocuments, OfAFileThatEvaluationsAskAreLeftOut) {
  ASSERT_TRUE(WriteFileAtomic(folder_ / "asked.jsonl", "{\"question\":\"a b?\",\"answer\":1}\n").ok());
  ASSERT_TRUE(
      WriteFileAtomic(folder_ / "sft.jsonl",
                      "{\"prompt\":\"A B?\",\"completion\":\"1\"}\n{\"prompt\":\"c\",\"completion\":\"2\"}\n")
          .ok());
  stage_.evaluation.source.files = {folder_ / "asked.jsonl"};
  const auto sequences = Load({From(DocumentsKind::kFile, 0, folder_ / "sft.jsonl")});
  ASSERT_TRUE(sequences.ok()) << sequences.status();
  ASSERT_EQ(sequences->size(), 1u);
  EXPECT_EQ((*sequences)[0].tokens, MakeDocument("c", "2", *tokenizer_)->tokens);
}

TEST_F(LoadedDocuments, ThatAreTooFewOrDamagedAreErrorsThatSayWhere) {
  ASSERT_TRUE(
      WriteFileAtomic(folder_ / "two.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\"\n").ok());
  EXPECT_THAT(Error(From(DocumentsKind::kFile, 0, folder_ / "two.jsonl")),
              ::testing::HasSubstr("two.jsonl:2"));
  ASSERT_TRUE(WriteFileAtomic(folder_ / "one.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\"}\n").ok());
  EXPECT_EQ(Error(From(DocumentsKind::kFile, 3, folder_ / "one.jsonl")),
            "stage sft: documents.0: 3 documents are wanted, there are 1");
  ASSERT_TRUE(WriteFileAtomic(folder_ / "none.jsonl", "").ok());
  EXPECT_NE(Error(From(DocumentsKind::kFile, 0, folder_ / "none.jsonl")), "");
  EXPECT_THAT(Error(From(DocumentsKind::kCollect, 0, "collect")),
              ::testing::HasSubstr("collect/dataset.jsonl"));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "trainer/documents.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "core/status.h"
#include "data/dataset.h"
#include "data/tasks/tiny.h"

namespace temper {
namespace {

// A document of a generator of the tiny language.
tiny::Document Generated(const DocumentsConfig& config, uint64_t key, int64_t index) {
  if (config.kind == "corpus")
    return tiny::CorpusDocument(key, index, {config.reasoning, config.chinese_share});
  if (config.kind == "cold_start") {
    return tiny::ColdStartDocument(key, index,
                                   {config.chain_steps[0], config.chain_steps[1], config.find_x_steps[0],
                                    config.find_x_steps[1], config.find_x_share});
  }
  return tiny::GeneralDocument(key, index);
}

absl::StatusOr<std::vector<Document>> Load(const StageContext& context, const DocumentsConfig& config,
                                           const Tokenizer& tokenizer, size_t number) {
  if (config.kind == "collect")
    return ReadDocuments(DatasetPath(StageDirectory(context.run_directory, config.stage)), tokenizer);
  if (config.kind == "file") return ReadDocuments(config.file, tokenizer);
  // The same corpus for every stage that asks for it in the same place, such as two bases.
  const uint64_t key = RandomKey(context.recipe->seed, config.kind, number, "documents");
  std::vector<Document> documents;
  for (int64_t i = 0; i < config.count; ++i) {
    const tiny::Document text = Generated(config, key, i);
    TEMPER_ASSIGN_OR_RETURN(Document document, MakeDocument(text.prompt, text.completion, tokenizer));
    documents.push_back(std::move(document));
  }
  return documents;
}

}  // namespace

std::string DatasetPath(const std::string& stage_directory) { return stage_directory + "/dataset.jsonl"; }

absl::StatusOr<std::vector<TrainSequence>> LoadDocuments(const StageContext& context,
                                                         const std::vector<DocumentsConfig>& documents,
                                                         const Tokenizer& tokenizer) {
  std::vector<TrainSequence> sequences;
  for (size_t number = 0; number < documents.size(); ++number) {
    const DocumentsConfig& config = documents[number];
    TEMPER_ASSIGN_OR_RETURN(std::vector<Document> loaded, Load(context, config, tokenizer, number));
    const size_t wanted = config.count == 0 ? loaded.size() : static_cast<size_t>(config.count);
    if (loaded.size() < wanted) {
      return absl::InvalidArgumentError(absl::StrCat("stage ", context.stage->name, ": documents.", number,
                                                     ": ", wanted, " documents are wanted, there are ",
                                                     loaded.size()));
    }
    loaded.resize(wanted);
    for (Document& document : loaded) {
      TrainSequence sequence;
      sequence.tokens = std::move(document.tokens);
      sequence.first_target = document.first_target;
      sequences.push_back(std::move(sequence));
    }
  }
  if (sequences.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("stage ", context.stage->name, ": there is no document to train on"));
  }
  return sequences;
}

int64_t SftSteps(int64_t documents, const SftConfig& config) {
  const int64_t pass = (documents + config.prompts_per_step - 1) / config.prompts_per_step;
  return pass * config.epochs;
}

std::vector<int64_t> DocumentsOfStep(int64_t documents, const SftConfig& config, uint64_t seed,
                                     const std::string& stage, int64_t step) {
  const int64_t steps = (documents + config.prompts_per_step - 1) / config.prompts_per_step;
  const int64_t pass = step / steps;
  const std::vector<int64_t> order =
      Permutation(documents, RandomKey(seed, stage, static_cast<uint64_t>(pass), "documents"));
  const int64_t begin = step % steps * config.prompts_per_step;
  return {order.begin() + begin, order.begin() + std::min(documents, begin + config.prompts_per_step)};
}

}  // namespace temper

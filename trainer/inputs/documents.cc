// SPDX-License-Identifier: Apache-2.0
#include "trainer/inputs/documents.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "core/status.h"
#include "data/tasks/tiny/tiny.h"
#include "trainer/inputs/inputs.h"
#include "trainer/run_directory/intact.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// A document of a generator of the tiny language.
tiny::Document Generated(const DocumentsConfig& config, uint64_t key, int64_t index) {
  if (config.kind == DocumentsKind::kCorpus)
    return tiny::CorpusDocument(key, index, {config.reasoning, config.chinese_share});
  if (config.kind == DocumentsKind::kColdStart) {
    return tiny::ColdStartDocument(key, index,
                                   {config.chain_steps[0], config.chain_steps[1], config.find_x_steps[0],
                                    config.find_x_steps[1], config.find_x_share});
  }
  return tiny::GeneralDocument(key, index);
}

}  // namespace

absl::Status CheckDocumentCount(const StageConfig& stage, size_t number, int64_t there) {
  const SftConfig& config = stage.kind == StageKind::kPretrain ? stage.pretrain : stage.sft;
  const int64_t count = config.documents[number].count;
  if (count <= there) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("stage ", stage.name, ": documents.", number, ": ", count,
                                                 " documents are wanted, there are ", there));
}

absl::StatusOr<DocumentSource::Part> DocumentSource::OpenPart(const StageContext& context,
                                                              const DocumentsConfig& config,
                                                              const Tokenizer& tokenizer, size_t number) {
  Part part;
  if (config.kind == DocumentsKind::kCollect || config.kind == DocumentsKind::kFile) {
    if (config.kind == DocumentsKind::kFile) {
      part.file = context.inputs->Documents(*context.stage, config);
    } else {  // what a collect stage sampled from had nothing held out in it
      const std::string collected = StageDirectory(context.run_directory, config.stage);
      const std::string path = DatasetPath(collected);
      TEMPER_RETURN_IF_ERROR(CheckFileOfFinished(collected, path));
      DocumentFileOptions options;
      options.now = context.recipe->Date();
      TEMPER_ASSIGN_OR_RETURN(part.file, DocumentFile::Open(path, tokenizer, options));
    }
    TEMPER_RETURN_IF_ERROR(CheckDocumentCount(*context.stage, number, part.file->size()));
    part.size = config.count == 0 ? part.file->size() : config.count;
    return part;
  }
  // The same corpus for every stage that asks for it in the same place, such as two bases.
  part.key = RandomKey(context.recipe->seed, NameIn(kDocumentsKinds, config.kind), number, "documents");
  part.generator = config;
  part.size = config.count;
  return part;
}

absl::StatusOr<std::unique_ptr<DocumentSource>> DocumentSource::Open(
    const StageContext& context, const std::vector<DocumentsConfig>& documents, const Tokenizer& tokenizer) {
  auto source = std::unique_ptr<DocumentSource>(new DocumentSource(tokenizer));
  for (size_t number = 0; number < documents.size(); ++number) {
    TEMPER_ASSIGN_OR_RETURN(Part part, OpenPart(context, documents[number], tokenizer, number));
    source->size_ += part.size;
    source->parts_.push_back(std::move(part));
  }
  if (source->size_ > 0) return source;
  return absl::InvalidArgumentError(
      absl::StrCat("stage ", context.stage->name, ": there is no document to train on"));
}

absl::StatusOr<TrainSequence> DocumentSource::Read(int64_t index) const {
  size_t p = 0;
  for (; index >= parts_[p].size; ++p) index -= parts_[p].size;
  TrainSequence sequence;
  Document document;
  if (parts_[p].file == nullptr) {
    const tiny::Document text = Generated(parts_[p].generator, parts_[p].key, index);
    TEMPER_ASSIGN_OR_RETURN(document, MakeDocument(text.prompt, text.completion, tokenizer_));
  } else {
    TEMPER_ASSIGN_OR_RETURN(document, parts_[p].file->Read(index));
  }
  sequence.tokens = std::move(document.tokens);
  sequence.CountFrom(document.first_target);
  return sequence;
}

int64_t SftSteps(int64_t documents, const SftConfig& config) {
  const int64_t pass = (documents + config.prompts_per_step - 1) / config.prompts_per_step;
  return pass * config.epochs;
}

std::vector<int64_t> DocumentOrder::OfStep(int64_t step) {
  const int64_t steps = (documents_ + per_step_ - 1) / per_step_;
  if (step / steps != pass_) {
    pass_ = step / steps;
    order_ = Permutation(documents_, RandomKey(seed_, stage_, static_cast<uint64_t>(pass_), "documents"));
  }
  const int64_t begin = step % steps * per_step_;
  return {order_.begin() + begin, order_.begin() + std::min(documents_, begin + per_step_)};
}

}  // namespace temper

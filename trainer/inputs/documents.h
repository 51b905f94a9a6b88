// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/stage.h"
#include "trainer/update/loss.h"

namespace temper {

// The documents of an sft or pretrain stage, in the config's order, as sequences of an update. The same on
// every rank. None is held: each is read or generated when it is asked for. The tokenizer must outlive it.
class DocumentSource {
 public:
  static absl::StatusOr<std::unique_ptr<DocumentSource>> Open(const StageContext& context,
                                                              const std::vector<DocumentsConfig>& documents,
                                                              const Tokenizer& tokenizer);
  int64_t size() const { return size_; }
  absl::StatusOr<TrainSequence> Read(int64_t index) const;

 private:
  struct Part {
    int64_t size = 0;
    std::shared_ptr<const DocumentFile> file;  // its first `size`; null: of a generator
    DocumentsConfig generator;
    uint64_t key = 0;  // of its draws
  };
  explicit DocumentSource(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  static absl::StatusOr<Part> OpenPart(const StageContext& context, const DocumentsConfig& config,
                                       const Tokenizer& tokenizer, size_t number);
  const Tokenizer& tokenizer_;
  std::vector<Part> parts_;
  int64_t size_ = 0;
};

// Whether documents[number] of the stage has as many as are wanted of it.
absl::Status CheckDocumentCount(const StageConfig& stage, size_t number, int64_t there);

// Updates that `documents` documents make.
int64_t SftSteps(int64_t documents, const SftConfig& config);

// Which documents an update has: each pass over them has its own order, a function of (seed, stage, pass);
// the last update of a pass may be smaller. Holds the order of one pass.
class DocumentOrder {
 public:
  DocumentOrder(int64_t documents, const SftConfig& config, uint64_t seed, const std::string& stage)
      : documents_(documents), per_step_(config.prompts_per_step), seed_(seed), stage_(stage) {}
  std::vector<int64_t> OfStep(int64_t step);

 private:
  const int64_t documents_, per_step_;
  const uint64_t seed_;
  const std::string stage_;
  int64_t pass_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/loss.h"
#include "trainer/stage.h"

namespace temper {

// The documents of an sft or pretrain stage, in the config's order, as sequences of an update. The same on
// every rank. Those of files stay there until they are asked for.
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
    std::vector<Document> made;                // by a generator, or
    std::shared_ptr<const DocumentFile> file;  // its first `size`
  };
  static absl::StatusOr<Part> OpenPart(const StageContext& context, const DocumentsConfig& config,
                                       const Tokenizer& tokenizer, size_t number);
  std::vector<Part> parts_;
  int64_t size_ = 0;
};

// Whether documents[number] of the stage has as many as are wanted of it.
absl::Status CheckDocumentCount(const StageConfig& stage, size_t number, int64_t there);

// Updates that `documents` documents make, and the documents of update `step`: each pass over them has its
// own order, a function of (seed, stage, pass); the last update of a pass may be smaller.
int64_t SftSteps(int64_t documents, const SftConfig& config);
std::vector<int64_t> DocumentsOfStep(int64_t documents, const SftConfig& config, uint64_t seed,
                                     const std::string& stage, int64_t step);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/config/config.h"
#include "data/dataset/dataset.h"
#include "trainer/config/updates.h"

namespace temper {

// Where sft and pretrain documents come from. Counts are documents; they are mixed and shuffled.
enum class DocumentsKind { kFile, kCollect, kCorpus, kColdStart, kGeneral };
inline constexpr std::initializer_list<std::pair<const char*, DocumentsKind>> kDocumentsKinds = {
    {"file", DocumentsKind::kFile},
    {"collect", DocumentsKind::kCollect},
    {"corpus", DocumentsKind::kCorpus},
    {"cold_start", DocumentsKind::kColdStart},
    {"general", DocumentsKind::kGeneral}};

struct DocumentsConfig {
  DocumentsKind kind = DocumentsKind::kFile;
  int64_t count = 0;                          // 0: all (collect, file)
  std::string stage;                          // collect: the stage whose dataset it is
  std::string file;                           // file: rows of prompt and completion
  PromptOptions prompt;                       // file
  bool skip_bad_lines = false;                // file
  bool reasoning = true;                      // corpus: false leaves out every document that reasons
  double chinese_share = 0.3;                 // corpus: documents whose little words are Chinese
  std::vector<int64_t> chain_steps = {2, 6};  // cold_start
  std::vector<int64_t> find_x_steps = {2, 3};
  double find_x_share = 0.5;

  template <class V>
  void Fields(V& v) {
    v.Choice("kind", kind, kDocumentsKinds,
             "file: JSONL or Parquet; collect: a collect stage's dataset; corpus, cold_start, general: "
             "generators of the tiny language.");
    v.Field("count", count, "Documents; 0: all there are (collect, file).", AtLeast(0));
    v.Field("stage", stage, "collect: the stage whose dataset it is.");
    v.Field("file", file,
            "file: JSONL or Parquet with prompt and completion, messages, text, ...: docs/data.md.", Place());
    if (v.All() || kind == DocumentsKind::kFile) {
      prompt.Fields(v);
      v.Field("skip_bad_lines", skip_bad_lines,
              "file: leave out (and count) rows that are no documents or too long for the model, instead of "
              "stopping.");
    }
    v.Field("reasoning", reasoning,
            "corpus: false leaves out every document that reasons before it answers.");
    v.Field("chinese_share", chinese_share, "corpus: share of documents whose little words are Chinese.",
            Between(0.0, 1.0));
    v.Field("chain_steps", chain_steps, "cold_start: fewest and most operations of a chain problem.");
    v.Field("find_x_steps", find_x_steps, "cold_start: fewest and most operations of a find-x problem.");
    v.Field("find_x_share", find_x_share, "cold_start: share of find-x problems.", Between(0.0, 1.0));
  }
};

struct SftConfig : UpdatesConfig {
  int64_t epochs = 1;
  double mtp_weight = 0;
  std::vector<DocumentsConfig> documents;

  template <class V>
  void Fields(V& v) {
    v.Field("epochs", epochs, "Passes over the documents, each in its own order.", AtLeast(1));
    v.Field(
        "mtp_weight", mtp_weight,
        "DeepSeek-V3's multi-token prediction module (num_nextn_predict_layers: 1) is trained: so many times "
        "its loss, the mean over the same tokens each predicted one token earlier, is added (V3: 0.3, then "
        "0.1); pretrain draws it. 0: its weights go along as they are.",
        Between(0.0, 100.0));
    UpdatesConfig::Fields(v);
    v.List("documents", documents, "What is trained on.");
  }
};

// Where a model that nobody trained yet comes from.
struct InitConfig {
  std::string directory;  // config.json and tokenizer.json
  double embedding_std = 0.02;
  double linear_gain = 1.0;
  double head_gain = 1.0;

  template <class V>
  void Fields(V& v) {
    v.Field("directory", directory,
            "Folder with config.json and the tokenizer's files; weights are drawn at random.", Place());
    v.Field("embedding_std", embedding_std, "Standard deviation of the embedding.", Between(0.0, 1e30));
    v.Field("linear_gain", linear_gain, "Linears are drawn from N(0, gain^2 / fan_in).", Between(0.0, 1e30));
    v.Field("head_gain", head_gain, "The same of the head.", Between(0.0, 1e30));
  }
};

struct PretrainConfig : SftConfig {
  InitConfig init;

  template <class V>
  void Fields(V& v) {
    v.Section("init", init, "The model before its first update.");
    SftConfig::Fields(v);
  }
};

}  // namespace temper

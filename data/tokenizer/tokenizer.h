// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace temper {

class Decoder;

// BPE out of a Hugging Face tokenizer.json, byte-level (DeepSeek-V3/R1, Qwen2/2.5/3, Llama-3) or
// SentencePiece style (Llama-2), on Oniguruma and ICU: the same ids and texts as the `tokenizers` package
// (docs/tokenizer.md says where not). Immutable, so any number of threads may use it at once.
class Tokenizer {
 public:
  // `path` is a tokenizer.json or a folder with one. In a folder, tokenizer_config.json and
  // generation_config.json, where they are, say which tokens end a text. A component of an unknown type is an
  // error, never ignored.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& path);
  ~Tokenizer();

  // For a model whose embedding has so many rows. Tokens of the vocabulary beyond them are an error (`folder`
  // names the tokenizer's): the two do not belong together. Added tokens beyond them (a padding token that no
  // embedding was made for) are fine until a text has one, which Encode refuses. Call it before others use
  // it.
  absl::Status FitTo(int64_t rows, const std::string& folder);

  // Largest id + 1.
  int64_t vocab_size() const;
  // Ids that end a completion, ascending; may be empty.
  const std::vector<int32_t>& eos_ids() const;
  // More of them, which the model names.
  void AddEosIds(const std::vector<int32_t>& ids);
  std::optional<int32_t> TokenId(std::string_view token) const;  // by its content ("<think>")
  bool HasToken(int64_t id) const;
  // A text that is decoded from this id on lacks what the ids before it say of it: a byte token (<0x0A>).
  bool JoinsPrevious(int32_t id) const;

  struct EncodeOptions {
    bool added_tokens = true;  // "<think>" in the text becomes its token; false: a user's text stays text
    bool add_special_tokens = true;  // what the post-processor adds (a BOS)
    // Parts of the text, ascending and apart: in them added tokens stay text (what a user said in a chat).
    // They break nothing else: the text between added tokens is split and merged as a whole.
    absl::Span<const std::string_view> plain = {};
  };
  // Text that is not UTF-8, and a regular expression that exceeds its limits, are errors.
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, const EncodeOptions& options) const;
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const {
    return Encode(text, EncodeOptions());
  }
  // Ids outside the vocabulary are left out; bytes that are no UTF-8 become U+FFFD.
  // As the ids come, one by one: StreamDecoder.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special_tokens = true) const;

  // The files a checkpoint needs (tokenizer.json, tokenizer_config.json, ...), by name, as they were read.
  const std::vector<std::pair<std::string, std::string>>& files() const;

 private:
  friend class StreamDecoder;
  struct State;
  // What the decoder is fed; nothing for an id that has no token or is left out.
  std::optional<std::string_view> TokenText(int32_t id, bool skip_special_tokens) const;
  const Decoder& decoder() const;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace temper

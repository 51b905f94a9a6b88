// SPDX-License-Identifier: Apache-2.0
#include "cli/logprobs.h"

#include "absl/strings/str_cat.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "cli/line/rows.h"
#include "trainer/update/step.h"

namespace temper {
namespace {

struct LogprobsOptions : PolicyOptions {
  float temperature = 1;
  std::string input = "-";
  int64_t tokens_per_microbatch = 4096;

  template <class V>
  void Fields(V& v) {
    PolicyOptions::Fields(v);
    v.Field("temperature", temperature, "log_softmax(logits / T); 0 means 1.", Between(0.0, 100.0));
    v.Field("input", input, "Rows: {\"tokens\":[..]}; -: standard input.");
    v.Field("tokens_per_microbatch", tokens_per_microbatch,
            "Tokens that go through the model at once. Changes speed and memory, never bits.",
            Between(1, 1 << 24));
  }
};

absl::StatusOr<TrainSequence> SequenceOf(const Row& row, const ModelConfig& config) {
  TrainSequence sequence;
  TEMPER_ASSIGN_OR_RETURN(sequence.tokens, TokensOf(row.json, "tokens", config.vocab_size, row.name));
  const int64_t length = static_cast<int64_t>(sequence.tokens.size());
  if (length == 0) return absl::InvalidArgumentError(absl::StrCat(row.name, ": tokens: is empty"));
  if (config.max_positions > 0 && length > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": tokens: ", length,
                                                   " exceed the model's max_position_embeddings ",
                                                   config.max_positions));
  }
  if (length > 1) sequence.CountFrom(1);
  return sequence;
}

// The rows of `sequences`, in their order.
absl::Status WriteRows(const std::vector<TrainSequence>& sequences, const LogprobsOptions& options,
                       CausalLm& model) {
  std::vector<std::vector<float>> logprobs(sequences.size());
  std::vector<const TrainSequence*> longer;  // a single token has no logprob
  std::vector<size_t> rows;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].tokens.size() < 2) continue;
    longer.push_back(&sequences[i]);
    rows.push_back(i);
  }
  const float temperature = options.temperature > 0 ? options.temperature : 1.0f;
  SequenceLogprobs(model, longer, {options.tokens_per_microbatch, temperature},
                   [&](size_t i, absl::Span<const float> values) {
                     logprobs[rows[i]].assign(values.begin(), values.end());
                   });
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::string values = FloatsText(logprobs[i]);  // "[..]", to be "[null,..]"
    TEMPER_RETURN_IF_ERROR(
        WriteOut(absl::StrCat("{\"tokens\":", IdsText(sequences[i].tokens), ",\"logprobs\":[null",
                              logprobs[i].empty() ? "" : ",", values.substr(1), "}")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunLogprobs(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const LogprobsOptions options, OptionsOf<LogprobsOptions>(line));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(options.input));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<CommandPolicy> policy, CommandPolicy::Open(options));
  std::vector<TrainSequence> sequences;
  int64_t tokens = 0;
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows->Next());
    if (!row) return WriteRows(sequences, options, policy->model());
    TEMPER_ASSIGN_OR_RETURN(TrainSequence sequence, SequenceOf(*row, policy->model().config()));
    tokens += static_cast<int64_t>(sequence.tokens.size());
    sequences.push_back(std::move(sequence));
    if (tokens < options.tokens_per_microbatch) continue;
    TEMPER_RETURN_IF_ERROR(WriteRows(sequences, options, policy->model()));
    sequences.clear();
    tokens = 0;
  }
}

std::string LogprobsHelp() { return HelpOf<LogprobsOptions>(); }

}  // namespace temper

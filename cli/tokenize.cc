// SPDX-License-Identifier: Apache-2.0
#include "cli/tokenize.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "cli/line/rows.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {
namespace {

struct TokenizeOptions {
  std::string tokenizer;
  std::string input = "-";
  bool decode = false;
  bool special_tokens = true;

  template <class V>
  void Fields(V& v) {
    v.Field("tokenizer", tokenizer,
            "A tokenizer.json, a directory with one, or the folder of a run or a stage.", Required());
    v.Field("input", input, "Rows: \"text\", or with --decode {\"ids\":[..]}; -: standard input.");
    v.Field("decode", decode, "From ids to text.");
    v.Field("special_tokens", special_tokens,
            "Add the tokens that the tokenizer puts around a text; with --decode, show special tokens.");
  }
};

absl::StatusOr<std::string> EncodeRow(const Row& row, const TokenizeOptions& options,
                                      const Tokenizer& tokenizer) {
  if (!row.json.is_string())
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": expected a text in quotes"));
  const auto ids = tokenizer.Encode(row.json.get<std::string>(),
                                    {.added_tokens = true, .add_special_tokens = options.special_tokens});
  if (!ids.ok()) return absl::InvalidArgumentError(absl::StrCat(row.name, ": ", ids.status().message()));
  return absl::StrCat("{\"ids\":", IdsText(*ids), "}");
}

absl::StatusOr<std::string> DecodeRow(const Row& row, const TokenizeOptions& options,
                                      const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                          TokensOf(row.json, "ids", std::numeric_limits<int32_t>::max(), row.name));
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!tokenizer.HasToken(ids[i])) {
      return absl::InvalidArgumentError(absl::StrCat(row.name, ": ids[", i, "]: ", ids[i],
                                                     " is not in the vocabulary of ", options.tokenizer));
    }
  }
  return DumpJson(Json{{"text", tokenizer.Decode(ids, !options.special_tokens)}});
}

}  // namespace

absl::Status RunTokenize(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const TokenizeOptions options, OptionsOf<TokenizeOptions>(line));
  TEMPER_ASSIGN_OR_RETURN(const std::string path, FindModel(options.tokenizer));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(path));
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(options.input));
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows->Next());
    if (!row) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const std::string text, options.decode ? DecodeRow(*row, options, *tokenizer)
                                                                   : EncodeRow(*row, options, *tokenizer));
    TEMPER_RETURN_IF_ERROR(WriteRow(text));
  }
}

std::string TokenizeHelp() { return HelpOf<TokenizeOptions>(); }

}  // namespace temper

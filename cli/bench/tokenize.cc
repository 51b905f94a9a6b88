// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/bench/report.h"
#include "cli/line/rows.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {
namespace {

absl::StatusOr<std::vector<std::string>> ReadTexts(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RowReader> rows, RowReader::Open(path));
  std::vector<std::string> texts;
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const std::optional<Row> row, rows->Next());
    if (!row) return texts;
    if (!row->json.is_string())
      return absl::InvalidArgumentError(absl::StrCat(row->name, ": expected a text in quotes"));
    texts.push_back(row->json.get<std::string>());
  }
}

absl::Status ReportTimes(const std::string& bench, const std::string& shape,
                         const std::vector<double>& seconds, size_t tokens) {
  Measurement m;
  m.bench = bench;
  m.shape = shape;
  m.median_us = 1e6 * Median(seconds);
  m.best_us = 1e6 * *std::min_element(seconds.begin(), seconds.end());
  m.tokens = static_cast<double>(tokens);
  return Report(m);
}

}  // namespace

absl::Status BenchTokenize(const BenchOptions& options) {
  if (options.tokenizer.empty() || options.text_file.empty())
    return absl::InvalidArgumentError("bench tokenize: needs --tokenizer and --text-file");
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> texts, ReadTexts(options.text_file));
  size_t bytes = 0, tokens = 0;
  for (const std::string& text : texts) bytes += text.size();
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<double> loads, encodes;
  for (int64_t round = 0; round < options.rounds; ++round) {
    const double begin = Seconds();
    TEMPER_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(options.tokenizer));
    loads.push_back(Seconds() - begin);
  }
  for (int64_t round = 0; round < options.rounds; ++round) {
    tokens = 0;
    const double begin = Seconds();
    for (const std::string& text : texts) {
      TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer->Encode(text));
      tokens += ids.size();
    }
    encodes.push_back(Seconds() - begin);
  }
  TEMPER_RETURN_IF_ERROR(
      ReportTimes("tokenize.load", absl::StrCat("ids", tokenizer->vocab_size()), loads, 0));
  return ReportTimes("tokenize.encode", absl::StrCat("texts", texts.size(), " bytes", bytes), encodes,
                     tokens);
}

}  // namespace temper

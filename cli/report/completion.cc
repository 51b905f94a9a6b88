// SPDX-License-Identifier: Apache-2.0
#include "cli/report/completion.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/report/text.h"
#include "core/files/file.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kTextLimit = 3000, kReasonLimit = 300;
constexpr size_t kHeadTokens = 360, kTailTokens = 180;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

bool HasReplacement(const std::string& text) { return text.find("\uFFFD") != std::string::npos; }

}  // namespace

std::string Shortened(const std::string& text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t head = limit * 2 / 3, tail = text.size() - limit / 3;
  while (head > 0 && IsContinuation(text[head])) --head;
  while (tail < text.size() && IsContinuation(text[tail])) ++tail;
  return absl::StrCat(text.substr(0, head), " [… ", tail - head, " bytes left out …] ", text.substr(tail));
}

CompletionWriter::CompletionWriter(const ReportRun& run, const ReportStage& stage) {
  const std::string directory = PolicyDirectory(run, stage);
  if (directory.empty() || !FileExists(directory + "/tokenizer.json")) return;
  if (auto tokenizer = Tokenizer::Load(directory); tokenizer.ok()) tokenizer_ = *std::move(tokenizer);
}

Json CompletionWriter::Write(const Trajectory& trajectory, const Earned& earned, bool solved) const {
  double sum = 0;
  for (const float logprob : trajectory.logprobs) sum += logprob;
  Json json = {{"sample", trajectory.sample},
               {"tokens", trajectory.sampled()},
               {"logprob", JsonNumber(sum, 3)},
               {"stop", Name(trajectory.stop)},
               {"ok", solved}};
  if (earned.reward) json["reward"] = JsonNumber(*earned.reward, 3);
  if (earned.advantage) json["advantage"] = JsonNumber(*earned.advantage, 3);
  json["verdicts"] = Json::array();
  for (const Verdict& verdict : trajectory.verdicts) {
    // A full score that found nothing has no reason that tells anything.
    const bool plain =
        verdict.kind == VerdictKind::kCorrect && verdict.score == 1 && verdict.extracted.empty();
    json["verdicts"].push_back({{"rule", verdict.rule},
                                {"kind", Name(verdict.kind)},
                                {"score", JsonNumber(verdict.score, 3)},
                                {"extracted", Shortened(verdict.extracted, kReasonLimit)},
                                {"reason", plain ? "" : Shortened(verdict.reason, kReasonLimit)}});
  }
  if (tokenizer_ != nullptr) {
    WriteTokens(trajectory, &json);
  } else {
    json["text"] = Shortened(trajectory.text, kTextLimit);
  }
  return json;
}

// A token whose bytes are no whole character goes together with those after it.
void CompletionWriter::WriteTokens(const Trajectory& trajectory, Json* json) const {
  const std::vector<std::optional<float>> by_token = LogprobsByToken(trajectory);
  const size_t size = by_token.size();
  const bool cut = size > kHeadTokens + kTailTokens;
  Json pieces = Json::array(), logprobs = Json::array();
  for (size_t i = 0; i < size;) {
    if (cut && i >= kHeadTokens && i < size - kTailTokens) {
      pieces.push_back(absl::StrCat(" [… ", size - kTailTokens - i, " tokens left out …] "));
      logprobs.push_back(nullptr);
      i = size - kTailTokens;
      continue;
    }
    size_t end = i + 1;
    const auto decode = [&] { return tokenizer_->Decode({&trajectory.tokens[i], end - i}, false); };
    std::string piece = decode();
    while (HasReplacement(piece) && end < size && end - i < 4) {
      ++end;
      piece = decode();
    }
    if (HasReplacement(piece)) {
      end = i + 1;
      piece = decode();
    }
    double logprob = 0;
    for (size_t t = i; t < end; ++t) logprob += by_token[t].value_or(0);
    pieces.push_back(std::move(piece));
    logprobs.push_back(by_token[i] ? JsonNumber(logprob, 3) : Json(nullptr));  // null: given
    i = end;
  }
  (*json)["pieces"] = std::move(pieces);
  (*json)["logprobs"] = std::move(logprobs);
}

}  // namespace temper

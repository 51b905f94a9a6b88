// SPDX-License-Identifier: Apache-2.0
// Cases of kernels/token_logprob.h and kernels/sample.h.
#include "absl/strings/str_cat.h"
#include "tests/kernels/gpu_check/cases.h"

namespace temper::kernels {
namespace {

struct Head {
  int64_t rows, cols, vocab;
  bool part;  // the third quarter of the vocabulary
  Type type = Type::kF32;
};

void TokenLogprobs(Held& held, const Head& s) {
  const int64_t begin = s.part ? s.vocab / 2 : 0, end = s.part ? s.vocab / 4 * 3 : s.vocab;
  const Matrix hidden = held.Numbers(s.rows, s.cols, {1}),
               head = held.Numbers(end - begin, s.cols, {2, 0, 1, s.type}),
               dhidden = held.Numbers(s.rows, s.cols, {3}), dhead = held.Numbers(end - begin, s.cols, {4});
  std::vector<int32_t> targets;
  for (int64_t row = 0; row < s.rows; ++row)
    targets.push_back(row % 3 == 1 ? -1 : static_cast<int32_t>((row * 311 + s.vocab - 1) % s.vocab));
  std::vector<float> logprob(s.rows), dlogprob = kernels::Numbers(s.rows, 5);
  std::vector<LogSumExp> sums(s.rows, LogSumExp{3, 1});
  std::vector<double> entropy(s.rows);
  std::vector<LogitPart> parts(s.rows);
  const AxisPart part{begin, s.part ? s.vocab : 0};
  TokenLogprobsTask task{
      .hidden = hidden, .head = head, .targets = targets.data(), .temperature = 0.7f, .part = part};
  if (s.part) {
    task.parts = parts.data();
  } else {
    task.logprob = logprob.data();
    task.sums = sums.data();
    task.entropy = entropy.data();
  }
  held.backend.TokenLogprobs(task);
  for (int64_t row = 0; row < s.rows; ++row) {
    held.OnHost(entropy[row]);
    const float numbers[] = {logprob[row],   sums[row].max,  sums[row].log_sum,
                             parts[row].max, parts[row].sum, parts[row].target};
    held.OnHost(numbers, std::size(numbers));
  }
  held.backend.TokenLogprobsBackward({.hidden = hidden,
                                      .head = head,
                                      .targets = targets.data(),
                                      .temperature = 0.7f,
                                      .sums = sums.data(),
                                      .dlogprob = dlogprob.data(),
                                      .dhidden = dhidden,
                                      .dhead = dhead,
                                      .part = part});
  held.Wrote(dhidden);
  held.Wrote(dhead);
}

// Many logits are equal, so that ids decide, and some are -inf.
void Sample(Held& held, int64_t vocab, const std::vector<SampleParameters>& parameters) {
  const auto rows = static_cast<int64_t>(parameters.size());
  std::vector<float> logits = kernels::Numbers(rows * (vocab + 1), 1, 3);
  for (float& x : logits) x = std::nearbyint(x * 4) / 4;
  for (int64_t i = 0; i < vocab - 2; i += 7) logits[i] = -std::numeric_limits<float>::infinity();
  std::vector<double> uniforms;
  for (int64_t row = 0; row < rows; ++row)
    uniforms.push_back(static_cast<double>(row * 37 % 100) / 100 + 0.009);
  std::vector<SampledToken> tokens(rows);
  held.backend.Sample(
      {held.Given(rows, vocab, logits, {1, 1}), parameters, uniforms, absl::MakeSpan(tokens)});
  for (const SampledToken& token : tokens) {
    held.OnHost(int64_t{token.id});
    held.OnHost(&token.logprob, 1);
    held.OnHost(&token.entropy, 1);
  }
}

const int32_t kBanned[] = {0, 1, 4, 4};

}  // namespace

void AddTokenCases(std::vector<Case>* all) {
  for (const Head& s : {Head{7, 20, 711, false}, Head{2, 5, 8300, false}, Head{5, 12, 712, true},
                        Head{7, 20, 711, false, Type::kBf16}, Head{5, 12, 712, true, Type::kBf16}}) {
    all->push_back({"token logprobs",
                    absl::StrCat(SizeText(s.rows, s.vocab), " of ", s.cols, s.part ? ", a part" : "",
                                 s.type == Type::kBf16 ? ", bf16" : ""),
                    [s](Held& held) { TokenLogprobs(held, s); }});
  }
  const std::vector<SampleParameters> parameters = {
      {},
      {.temperature = 0.7f},
      {.temperature = 0},
      {.top_k = 3},
      {.temperature = 0.6f, .top_p = 0.9f},
      {.min_p = 0.1f},
      {.temperature = 1.2f, .top_k = 40, .top_p = 0.8f, .min_p = 0.01f},
      {.top_k = 900, .top_p = 0.99f},
      {.banned = kBanned},
      {.temperature = 0, .banned = kBanned},
      {.top_p = 0.5f, .banned = kBanned}};
  for (const int64_t vocab : {5, 2100})
    all->push_back({"sample", absl::StrCat("11 x ", vocab),
                    [vocab, parameters](Held& held) { Sample(held, vocab, parameters); }});
}

}  // namespace temper::kernels

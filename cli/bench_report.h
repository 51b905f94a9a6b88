// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/config.h"

namespace temper {

struct BenchOptions {
  std::string model;
  std::string device = "cpu";
  int64_t threads = 2;
  int64_t rounds = 7;
  double round_ms = 20;
  std::vector<int64_t> sizes = {256, 1024, 2048};
  std::vector<int64_t> rows = {1, 8, 64, 256, 1024};
  std::vector<int64_t> batches = {64, 256};
  std::string token_file;
  std::string tokenizer;
  std::string text_file;
  int64_t prompt_tokens = 32;
  int64_t new_tokens = 128;
  int64_t sequences = 64;
  int64_t sequence_tokens = 128;
  int64_t prompts = 16;
  int64_t samples = 8;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "model", model,
        "generate, train, grpo: a model directory (random weights where it has none); empty: a V3-like model "
        "of 5.2 million weights.");
    v.Field("device", device,
            "generate, train, grpo: where the policy lives: cpu, cuda or cuda:N. Not exact on a GPU.");
    v.Field("threads", threads,
            "Threads of each side. With 1 the CPU's time is taken, with more the clock's.", Between(1, 1024));
    v.Field("rounds", rounds, "Rounds of each measurement; the median counts.", Between(1, 1000));
    v.Field("round_ms", round_ms, "product: a round repeats one side for at least so long.", MoreThan(0.0));
    v.Field("sizes", sizes, "product: inputs and outputs (K = N).", Between(1, 1 << 16));
    v.Field("rows", rows, "product: rows (M).", Between(1, 1 << 20));
    v.Field("batches", batches, "generate: sequences that decode together.", Between(1, 1 << 16));
    v.Field("token_file", token_file,
            "generate, train, grpo: lists of token ids, a JSON array a line, instead of random ones.");
    v.Field("tokenizer", tokenizer, "tokenize: a tokenizer.json, or a directory with one.");
    v.Field("text_file", text_file, "tokenize: texts, a JSON string a line.");
    v.Field("prompt_tokens", prompt_tokens, "generate, grpo: tokens of each prompt.", Between(1, 1 << 20));
    v.Field("new_tokens", new_tokens, "generate, grpo: tokens drawn after each prompt.", Between(1, 1 << 20));
    v.Field("sequences", sequences, "train: sequences of an update.", Between(1, 1 << 16));
    v.Field("sequence_tokens", sequence_tokens, "train: tokens of each sequence.", Between(2, 1 << 20));
    v.Field("prompts", prompts, "grpo: prompts of a step.", Between(1, 1 << 16));
    v.Field("samples", samples, "grpo: samples of each prompt.", Between(2, 1 << 16));
  }
};

// One measurement: its JSON line on standard output, its row of a table on standard error.
struct Measurement {
  std::string bench;  // "product.forward"
  std::string shape;  // "m1 n256 k256"
  double median_us = 0;
  double best_us = 0;
  double flop = 0;         // of one repetition
  double peak_gflops = 0;  // 0: not told
  double baseline_us = 0;  // 0: no other side
  double best_baseline_us = 0;
  double tokens = 0;  // of one repetition; 0: none
};
absl::Status Report(const Measurement& m);
void ReportHeading();

// Of a steady clock; or, with one thread, of the process's CPU time, which a busy machine disturbs less.
void ChooseClock(int64_t threads);
double Seconds();
double Median(std::vector<double> values);

// Seconds that one call of each side takes: medians, and the least (a busy machine spoils it last). The two
// take turns, `rounds` times; a turn is a call to warm up, then calls for `round_seconds`.
struct Pair {
  double ours = 0, theirs = 0;
  double best_ours = 0, best_theirs = 0;
};
Pair InTurns(absl::FunctionRef<void()> ours, absl::FunctionRef<void()> theirs, int64_t rounds,
             double round_seconds);

absl::Status BenchProduct(
    const BenchOptions& options);  // cli/bench_product.cc: the only file with LibTorch's operators
absl::Status BenchGenerate(const BenchOptions& options);
absl::Status BenchTrain(const BenchOptions& options);
absl::Status BenchGrpo(const BenchOptions& options);
absl::Status BenchTokenize(const BenchOptions& options);
absl::Status BenchSandbox(const BenchOptions& options);

}  // namespace temper

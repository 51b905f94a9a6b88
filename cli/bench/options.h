// SPDX-License-Identifier: Apache-2.0
// What `temper bench` takes: all that temper itself, which starts temper_bench, knows of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "kernels/matrix.h"
#include "trainer/config/recipe.h"

namespace temper {

struct BenchName {
  const char* name;
  const char* summary;
};
inline constexpr BenchName kBenchNames[] = {
    {"product", "forward, dX and dW of a linear layer against LibTorch, in turns"},
    {"prefill", "tokens a second of prompts, none drawn"},
    {"decode", "tokens a second of a step that draws one for each sequence, at contexts of so many tokens"},
    {"generate", "tokens a second of continuous batching, prompts and draws"},
    {"train", "tokens a second of whole updates"},
    {"grpo", "a whole step: groups sampled, the reference's logprobs, one update"},
    {"sandbox", "a Python program in rule code's sandbox, beside the same program without one"},
    {"tokenize", "loading a tokenizer, and tokens a second of encoding"},
};

struct BenchOptions {
  std::string model;
  std::string device = "cpu";
  kernels::Type weights = kernels::Type::kF32;
  kernels::Type cache = kernels::Type::kF32;
  int64_t threads = 2;
  int64_t rounds = 7;
  double round_ms = 20;
  std::vector<std::string> sizes = {"256", "1024", "2048"};
  std::vector<int64_t> rows = {1, 8, 64, 256, 1024};
  std::vector<int64_t> batches = {64, 256};
  std::vector<int64_t> contexts = {512, 2048};
  std::string token_file;
  std::string tokenizer;
  std::string text_file;
  int64_t prompt_tokens = 32;
  int64_t shared_tokens = 0;
  int64_t new_tokens = 128;
  int64_t draft_tokens = 0;
  Drafts drafts = Drafts::kRepeats;
  double temperature = 1;
  int64_t sequences = 64;
  int64_t sequence_tokens = 128;
  int64_t prompts = 16;
  int64_t samples = 8;
  int64_t gradient_leaves = UpdatesConfig().gradient_leaves;
  int64_t tokens_per_microbatch = UpdatesConfig().tokens_per_microbatch;
  int64_t tokens_per_shared_prompt = RlConfig().tokens_per_shared_prompt;
  TrainPass::Keep keep = UpdatesConfig().keep;

  bool by_mtp() const { return drafts == Drafts::kMtp && draft_tokens > 0; }

  template <class V>
  void Fields(V& v) {
    v.Field("model", model,
            "prefill to grpo: a model directory (random weights where it has none); empty: a V3-like model "
            "of 5.2 million weights.");
    v.Field("device", device,
            "prefill to grpo: where the policy lives: cpu, cuda or cuda:N. GPUs of sm_90 (H100, H200) are to "
            "have the CPU's bits, others are not exact. sim: a simulated GPU, for the smallest models.");
    v.Choice("weights", weights, {{"f32", kernels::Type::kF32}, {"bf16", kernels::Type::kBf16}},
             "prefill to grpo: what is computed with.");
    v.Choice("cache", cache, {{"f32", kernels::Type::kF32}, {"bf16", kernels::Type::kBf16}},
             "prefill to grpo: what keys and values are rounded to.");
    v.Field("threads", threads,
            "Threads of each side. With 1 the CPU's time is taken, with more the clock's.", Between(1, 1024));
    v.Field("rounds", rounds, "Rounds of each measurement; the median counts.", Between(1, 1000));
    v.Field("round_ms", round_ms, "product, prefill, decode: a round repeats one side for at least so long.",
            MoreThan(0.0));
    v.Field("sizes", sizes, "product: outputs x inputs of a weight, as 4864x896; one number is both.");
    v.Field("rows", rows, "product: rows (M).", Between(1, 1 << 20));
    v.Field("batches", batches, "prefill, decode, generate: sequences in one batch.", Between(1, 1 << 16));
    v.Field("contexts", contexts, "prefill, decode: tokens of each sequence.", Between(1, 1 << 20));
    v.Field("token_file", token_file,
            "generate, train, grpo: lists of token ids, a JSON array a line, instead of random ones.");
    v.Field("tokenizer", tokenizer, "tokenize: a tokenizer.json, or a directory with one.");
    v.Field("text_file", text_file, "tokenize: texts, a JSON string a line.");
    v.Field("prompt_tokens", prompt_tokens, "generate, grpo: tokens of each prompt.", Between(1, 1 << 20));
    v.Field("shared_tokens", shared_tokens,
            "generate: so many of them are the same in every prompt, as under one system prompt.",
            Between(0, 1 << 20));
    v.Field("new_tokens", new_tokens, "generate, grpo: tokens drawn after each prompt.", Between(1, 1 << 20));
    v.Field("draft_tokens", draft_tokens, "generate: as in a recipe's sampling.", Between(0, 64));
    v.Choice("drafts", drafts, kDraftsNames, "generate: as in a recipe's sampling.");
    v.Field("temperature", temperature, "generate: of the draws; random weights repeat themselves at 0.",
            Between(0.0, 100.0));
    v.Field("sequences", sequences, "train: sequences of an update.", Between(1, 1 << 16));
    v.Field("sequence_tokens", sequence_tokens, "train: tokens of each sequence.", Between(2, 1 << 20));
    v.Field("prompts", prompts, "grpo: prompts of a step.", Between(1, 1 << 16));
    v.Field("samples", samples, "grpo: samples of each prompt.", Between(2, 1 << 16));
    v.Field("gradient_leaves", gradient_leaves, "train, grpo: as in a recipe.", Between(1, 1024));
    v.Field("tokens_per_microbatch", tokens_per_microbatch, "train, grpo: as in a recipe.",
            Between(1, 1 << 24));
    v.Field("tokens_per_shared_prompt", tokens_per_shared_prompt, "grpo: as in a recipe.",
            Between(0, 1 << 24));
    v.Choice("recompute", keep, kRecomputeNames, "train, grpo: as in a recipe.");
  }
};

}  // namespace temper

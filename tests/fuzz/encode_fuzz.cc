// SPDX-License-Identifier: Apache-2.0
// Byte 1 picks a tokenizer: temper's own tiny one or one of the tokenizer tests' cases. It encodes the rest,
// whose ids decode the same at once and one by one; the tiny one keeps every byte.
#include <fstream>
#include <map>
#include <vector>

#include "core/json/json.h"
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace temper {
namespace {

std::unique_ptr<Tokenizer> Load(const std::string& path) {
  auto tokenizer = Tokenizer::Load(path);
  TEMPER_CHECK(tokenizer.ok(), tokenizer.status().message());
  return *std::move(tokenizer);
}

std::vector<std::unique_ptr<Tokenizer>> LoadAll() {
  std::vector<std::unique_ptr<Tokenizer>> all;
  all.push_back(Load("configs/tiny/base/tokenizer.json"));
  std::ifstream file("tests/data/tokenizer/cases.jsonl");
  std::string line;
  std::getline(file, line);
  const Json base = *ParseJson(line, "base");
  std::map<std::string, Json> by_name;
  while (std::getline(file, line)) {
    const Json change = *ParseJson(line, "case");
    Json json = change.contains("from") ? by_name[change["from"]] : base;
    json.update(change["change"]);
    all.push_back(Load(InputFile(json.dump()).path()));
    by_name[change["name"]] = std::move(json);
  }
  return all;
}

}  // namespace
}  // namespace temper

FUZZ(bytes) {
  using namespace temper;
  static const auto tokenizers = LoadAll();
  if (bytes.empty()) return;
  const size_t index = static_cast<uint8_t>(bytes[0]) % tokenizers.size();
  const Tokenizer& tokenizer = *tokenizers[index];
  const std::string_view text = bytes.substr(1);
  Tokenizer::EncodeOptions options;
  options.add_special_tokens = false;
  const auto ids = tokenizer.Encode(text, options);
  if (!ids.ok()) return;
  std::string streamed;
  StreamDecoder decoder(tokenizer);
  for (const int32_t id : *ids) decoder.Add(id, streamed);
  decoder.Finish(streamed);
  TEMPER_CHECK(streamed == tokenizer.Decode(*ids), streamed);
  if (index == 0) TEMPER_CHECK(tokenizer.Decode(*ids, false) == text, streamed);
}

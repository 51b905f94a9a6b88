// SPDX-License-Identifier: Apache-2.0
#include "model/files/hugging_face.h"

#include <unistd.h>

#include <cmath>
#include <cstring>

#include "ATen/ops/ones.h"
#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "model/files/safetensors.h"
#include "tests/model/configs.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HuggingFace : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = absl::StrCat(::testing::TempDir(), "hugging_face_test_", getpid());
    ASSERT_TRUE(RemoveTree(directory_).ok());
    ASSERT_TRUE(MakeDirectories(directory_).ok());
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(directory_).ok()); }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(directory_ + "/" + name, text).ok());
  }
  void WriteTensors(const std::vector<NamedTensor>& tensors, const std::string& name = "model.safetensors") {
    ASSERT_TRUE(WriteSafetensors(directory_ + "/" + name, tensors).ok());
  }
  // The tensors of a random model of the config, which is written.
  std::vector<NamedTensor> Tensors(const Json& config) {
    Write("config.json", config.dump());
    std::vector<NamedTensor> tensors;
    const Parameters parameters = InitializeParameters(Parsed(config), 3, {});
    for (const Parameter& p : parameters.list()) tensors.push_back({p.name, p.value});
    return tensors;
  }
  std::string ErrorOf() {
    const auto policy = ReadPolicy(directory_);
    const std::string message(policy.status().message());
    if (!policy.ok()) {
      EXPECT_THAT(message, StartsWith(directory_));
      EXPECT_THAT(message, Not(HasSubstr("\n")));
    }
    return message;
  }
  std::string directory_;
};

at::Tensor& At(std::vector<NamedTensor>& tensors, const std::string& name) {
  for (NamedTensor& tensor : tensors) {
    if (tensor.name == name) return tensor.value;
  }
  throw std::runtime_error("no " + name);
}

bool SameBits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() &&
         memcmp(a.const_data_ptr(), b.const_data_ptr(), a.numel() * sizeof(float)) == 0;
}

TEST_F(HuggingFace, WhatIsWrittenIsReadBackBitByBitAndWrittenTheSame) {
  for (const Json& json : {TinyDeepseek(), TinyQwen2(), TinyLlama()}) {
    const ModelConfig config = Parsed(With(json, "torch_dtype", "bfloat16"));
    const Parameters parameters = InitializeParameters(config, 5, {});
    ASSERT_TRUE(WritePolicy(config, parameters, "", directory_).ok());
    const auto read = ReadPolicy(directory_);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->parameters.list().size(), parameters.list().size());
    for (size_t i = 0; i < parameters.list().size(); ++i) {
      const Parameter &a = parameters.list()[i], &b = read->parameters.list()[i];
      EXPECT_EQ(a.name, b.name);
      EXPECT_EQ(a.trained, b.trained);
      EXPECT_TRUE(SameBits(a.value, b.value)) << a.name;
    }
    EXPECT_EQ(read->config.eos_ids, config.eos_ids);
    EXPECT_THAT(read->config.json, HasSubstr("\"torch_dtype\": \"float32\""));

    const std::string again = directory_ + "/again";
    ASSERT_TRUE(MakeDirectories(again).ok());
    ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", again).ok());
    for (const char* name : {"config.json", "model.safetensors", "generation_config.json"}) {
      EXPECT_EQ(*ReadFile(directory_ + "/" + name), *ReadFile(again + "/" + name)) << name;
    }
  }
}

TEST_F(HuggingFace, ConfigJsonSaysWhatKeysAndValuesAreRoundedTo) {
  ModelConfig config = Parsed(TinyLlama());
  const Parameters parameters = InitializeParameters(config, 5, {});
  for (const kernels::Type cache : {kernels::Type::kBf16, kernels::Type::kF32, kernels::Type::kBf16}) {
    config.cache = cache;
    ASSERT_TRUE(WritePolicy(config, parameters, "", directory_).ok());
    const auto read = ReadPolicy(directory_);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->config.cache, cache);
    config = read->config;
    Json json = Json::parse(config.json);
    EXPECT_EQ(json.erase("temper_cache"), cache == kernels::Type::kBf16 ? 1u : 0u);
    EXPECT_EQ(json, TinyLlama());
  }
}

TEST_F(HuggingFace, TokenizerFilesComeAlong) {
  const std::string from = directory_ + "/from", to = directory_ + "/to";
  ASSERT_TRUE(MakeDirectories(from).ok() && MakeDirectories(to).ok());
  Write("from/tokenizer.json", "{}");
  Write("from/chat_template.jinja", "x");
  ASSERT_TRUE(MakeDirectories(from + "/additional_chat_templates").ok());
  Write("from/additional_chat_templates/tool_use.jinja", "z");
  Write("from/added_tokens.json", "{}");
  Write("from/tokenizer.model", "m");
  Write("from/unrelated", "y");
  const ModelConfig config = Parsed(TinyLlama());
  ASSERT_TRUE(WritePolicy(config, InitializeParameters(config, 5, {}), from, to).ok());
  EXPECT_THAT(*ListDirectory(to), ElementsAre("added_tokens.json", "additional_chat_templates",
                                              "chat_template.jinja", "config.json", "generation_config.json",
                                              "model.safetensors", "tokenizer.json", "tokenizer.model"));
  EXPECT_EQ(*ReadFile(to + "/additional_chat_templates/tool_use.jinja"), "z");
}

TEST_F(HuggingFace, ShardsAreReadThroughTheIndex) {
  const std::vector<NamedTensor> tensors = Tensors(TinyLlama());
  const std::vector<NamedTensor> first(tensors.begin(), tensors.begin() + 5),
      second(tensors.begin() + 5, tensors.end());
  WriteTensors(first, "a.safetensors");
  WriteTensors(second, "b.safetensors");
  Json map = Json::object();
  for (const NamedTensor& tensor : first) map[tensor.name] = "a.safetensors";
  for (const NamedTensor& tensor : second) map[tensor.name] = "b.safetensors";
  const auto index = [&](const Json& weight_map) {
    Write("model.safetensors.index.json",
          Json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}}.dump());
  };
  index(map);
  const auto read = ReadPolicy(directory_);
  ASSERT_TRUE(read.ok()) << read.status();
  for (const NamedTensor& tensor : tensors)
    EXPECT_TRUE(SameBits(tensor.value, read->parameters[tensor.name]));

  const std::string name = first[0].name;
  index(With(map, name, "c.safetensors"));
  EXPECT_THAT(ErrorOf(), HasSubstr("/c.safetensors: is missing, and "));
  EXPECT_THAT(ErrorOf(), HasSubstr("/model.safetensors.index.json has tensor " + name + " in it"));
  index(With(map, name, "../a.safetensors"));
  EXPECT_THAT(ErrorOf(), HasSubstr(name + ": '../a.safetensors' is not a .safetensors file of the folder"));
  index(With(map, name, "b.safetensors"));
  EXPECT_THAT(ErrorOf(), HasSubstr(name + ": is not in b.safetensors"));
  index(With(map, name, 3));
  EXPECT_THAT(ErrorOf(), HasSubstr(name + ": its shard is not a string"));
  index(Json::array());
  EXPECT_THAT(ErrorOf(), HasSubstr("weight_map: is not an object"));
  index(map);
  std::vector<NamedTensor> twice = second;
  twice.push_back(first[0]);
  WriteTensors(twice, "b.safetensors");
  EXPECT_THAT(ErrorOf(), HasSubstr("a.safetensors too"));
}

TEST_F(HuggingFace, MissingExtraAndMisshapenTensorsAreNamed) {
  std::vector<NamedTensor> tensors = Tensors(TinyLlama());
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  std::vector<NamedTensor> broken = tensors;
  std::erase_if(broken, [&](const NamedTensor& t) { return t.name == name; });
  WriteTensors(broken);
  EXPECT_EQ(ErrorOf(), directory_ + "/model.safetensors: tensor " + name + ": is missing");

  broken = tensors;
  for (const char* extra :
       {"model.layers.0.self_attn.q_proj.bias", "model.layers.x", "model.vision.weight"}) {
    broken = tensors;
    broken.push_back({extra, tensors[0].value});
    WriteTensors(broken);
    EXPECT_THAT(ErrorOf(),
                HasSubstr(absl::StrCat("tensor ", extra, ": a llama of this config has no such tensor")));
  }

  broken = tensors;
  At(broken, name) = at::zeros({20, 11}, at::kFloat);
  WriteTensors(broken);
  EXPECT_THAT(ErrorOf(), HasSubstr(name + ": has shape [20, 11]; config.json says [20, 12]"));

  broken = tensors;
  At(broken, name) = at::zeros({20, 12}, at::kLong);
  WriteTensors(broken);
  EXPECT_THAT(ErrorOf(), HasSubstr(name + ": has dtype I64"));

  broken = tensors;
  std::erase_if(broken, [&](const NamedTensor& t) { return t.name == "lm_head.weight"; });
  WriteTensors(broken);
  EXPECT_THAT(ErrorOf(),
              HasSubstr("lm_head.weight: is missing, and config.json has tie_word_embeddings false"));

  broken = tensors;
  broken.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", at::zeros({2}, at::kFloat)});
  WriteTensors(broken);
  EXPECT_EQ(ErrorOf(), "") << "what old checkpoints keep";

  ASSERT_EQ(unlink((directory_ + "/model.safetensors").c_str()), 0);
  EXPECT_THAT(ErrorOf(), HasSubstr("has neither model.safetensors nor"));
}

TEST_F(HuggingFace, WeightsThatAreNotFiniteOrWereNeverWrittenAreRefused) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<NamedTensor> tensors = Tensors(TinyLlama());
    At(tensors, "model.layers.1.mlp.up_proj.weight").mutable_data_ptr<float>()[239] = bad;
    WriteTensors(tensors);
    EXPECT_THAT(ErrorOf(), HasSubstr(absl::StrCat("tensor model.layers.1.mlp.up_proj.weight: element 239 is ",
                                                  std::isnan(bad) ? "nan"
                                                  : bad > 0       ? "inf"
                                                                  : "-inf")));
  }
  std::vector<NamedTensor> tensors = Tensors(TinyLlama());
  for (NamedTensor& tensor : tensors) tensor.value = at::zeros(tensor.value.sizes(), at::kFloat);
  WriteTensors(tensors);
  EXPECT_THAT(ErrorOf(), HasSubstr("every weight is zero"));
}

TEST_F(HuggingFace, MatricesOfBf16StayWhatTheyAreWhereTheyAreNotTrained) {
  std::vector<NamedTensor> tensors = Tensors(TinyQwen2());
  const std::string f32 = "model.layers.0.mlp.up_proj.weight";
  for (NamedTensor& tensor : tensors) {
    if (tensor.name != f32) tensor.value = tensor.value.to(at::kBFloat16);
  }
  tensors.push_back({"lm_head.weight", At(tensors, "model.embed_tokens.weight").clone()});
  WriteTensors(tensors);
  const auto floats = ReadPolicy(directory_), stored = ReadPolicy(directory_, {WeightNumbers::kAsStored});
  ASSERT_TRUE(floats.ok() && stored.ok()) << floats.status() << stored.status();
  for (const Parameter& parameter : stored->parameters.list()) {
    EXPECT_EQ(parameter.value.scalar_type() == at::kBFloat16,
              parameter.value.dim() == 2 && parameter.name != f32)
        << parameter.name;
    EXPECT_TRUE(SameBits(parameter.value.to(at::kFloat), floats->parameters[parameter.name]))
        << parameter.name;
  }
  // A directory of them is read back as they are.
  ASSERT_TRUE(WritePolicy(stored->config, stored->parameters, "", directory_).ok());
  const auto again = ReadPolicy(directory_, {WeightNumbers::kAsStored});
  ASSERT_TRUE(again.ok()) << again.status();
  for (const Parameter& parameter : stored->parameters.list())
    EXPECT_TRUE(parameter.value.equal(again->parameters[parameter.name])) << parameter.name;
  EXPECT_EQ(*Find(Json::parse(again->config.json), "torch_dtype"), "bfloat16");

  const std::string name = "model.layers.1.mlp.up_proj.weight";
  static_cast<uint16_t*>(At(tensors, name).mutable_data_ptr())[239] = 0x7fc0;
  WriteTensors(tensors);
  const auto bad = ReadPolicy(directory_, {WeightNumbers::kAsStored});
  EXPECT_THAT(std::string(bad.status().message()),
              HasSubstr(absl::StrCat("tensor ", name, ": element 239 is nan")));
}

TEST_F(HuggingFace, AStoredHeadOfATiedModelMustBeTheEmbedding) {
  std::vector<NamedTensor> tensors = Tensors(TinyQwen2());
  tensors.push_back({"lm_head.weight", At(tensors, "model.embed_tokens.weight").clone()});
  WriteTensors(tensors);
  const auto read = ReadPolicy(directory_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->parameters.Has("lm_head.weight"));
  tensors.back().value.mutable_data_ptr<float>()[7] += 1;
  WriteTensors(tensors);
  EXPECT_THAT(ErrorOf(), HasSubstr("lm_head.weight: differs from model.embed_tokens.weight"));
}

TEST_F(HuggingFace, MtpWeightsAreKeptAndNotTrained) {
  std::vector<NamedTensor> tensors = Tensors(TinyDeepseek());
  const at::Tensor projection = At(tensors, "lm_head.weight").clone();
  const std::string mtp = "model.layers.2.eh_proj.weight";
  tensors.push_back({mtp, projection});
  WriteTensors(tensors);
  const auto read = ReadPolicy(directory_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(SameBits(read->parameters[mtp], projection));
  for (const Parameter& p : read->parameters.list()) {
    EXPECT_EQ(p.trained, p.name != mtp && p.name != "model.layers.1.mlp.gate.e_score_correction_bias")
        << p.name;
  }
  ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", directory_).ok());
  EXPECT_TRUE(SameBits(ReadPolicy(directory_)->parameters[mtp], projection));
}

// It shares the embedding and the head, of which files have copies: what they were is of no account.
TEST_F(HuggingFace, OfAPolicyThatTrainsItsMtpModuleItsWeightsAreThePolicys) {
  const Json json = With(TinyDeepseek(), "trains_mtp", true);
  std::vector<NamedTensor> tensors = Tensors(json);
  const std::string embedding = "model.layers.2.embed_tokens.weight",
                    head = "model.layers.2.shared_head.head.weight";
  tensors.push_back({embedding, At(tensors, "lm_head.weight").clone()});
  WriteTensors(tensors);
  const auto read = ReadPolicy(directory_, Parsed(json), {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->parameters.Has(embedding));
  EXPECT_TRUE(SameBits(read->parameters["model.layers.2.eh_proj.weight"],
                       At(tensors, "model.layers.2.eh_proj.weight")));
  for (const Parameter& p : read->parameters.list())
    EXPECT_EQ(p.trained, !p.name.ends_with("e_score_correction_bias")) << p.name;
  ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", directory_).ok());
  const auto carried = ReadPolicy(directory_);
  ASSERT_TRUE(carried.ok()) << carried.status();
  EXPECT_TRUE(SameBits(carried->parameters[embedding], At(tensors, "model.embed_tokens.weight")));
  EXPECT_TRUE(SameBits(carried->parameters[head], At(tensors, "lm_head.weight")));
  EXPECT_EQ(carried->parameters.list().size(), read->parameters.list().size() + 2);

  std::erase_if(tensors, [](const NamedTensor& tensor) { return tensor.name.ends_with("enorm.weight"); });
  WriteTensors(tensors);
  EXPECT_THAT(std::string(ReadPolicy(directory_, Parsed(json), {}).status().message()),
              HasSubstr("model.layers.2.enorm.weight: is missing: the MTP module is to be trained"));
  tensors.push_back({"model.layers.2.other.weight", at::ones({1, 12}, at::kFloat)});
  tensors.push_back({"model.layers.2.enorm.weight", at::ones({12}, at::kFloat)});
  WriteTensors(tensors);
  EXPECT_THAT(std::string(ReadPolicy(directory_, Parsed(json), {}).status().message()),
              HasSubstr("model.layers.2.other.weight: a deepseek_v3 of this config has no such tensor"));
}

TEST_F(HuggingFace, TensorsBesideTheModelGoAlong) {
  std::vector<NamedTensor> tensors = Tensors(TinyLlama());
  const at::Tensor score = at::ones({1, 12}, at::kFloat);
  for (const char* name : {"score.weight", "v_head.summary.weight", "model.layers.2.mlp.up_proj.weight"})
    tensors.push_back({name, score});
  tensors.push_back({"model.rotary_emb.inv_freq", at::ones({2}, at::kFloat)});
  WriteTensors(tensors);
  const auto read = ReadPolicy(directory_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->parameters.Has("model.rotary_emb.inv_freq"));
  ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", directory_).ok());
  for (const char* name : {"score.weight", "v_head.summary.weight", "model.layers.2.mlp.up_proj.weight"})
    EXPECT_TRUE(SameBits(ReadPolicy(directory_)->parameters[name], score));
}

TEST_F(HuggingFace, WhatIsNoSafetensorsModelIsToldWhatToDo) {
  Write("adapter_config.json", "{}");
  Write("adapter_model.safetensors", "x");
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr(": has adapter_config.json and no config.json"),
                               HasSubstr("merge_and_unload")));
  Write("config.json", TinyLlama().dump());
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("has neither model.safetensors nor"), HasSubstr("but adapter_model"),
                               HasSubstr("merge_and_unload")));
  ASSERT_TRUE(RemoveTree(directory_ + "/adapter_model.safetensors").ok());
  Write("pytorch_model.bin", "x");
  EXPECT_THAT(ErrorOf(),
              HasSubstr("index.json, but pytorch_model.bin: from_pretrained(..).save_pretrained(..)"));

  std::vector<NamedTensor> tensors = Tensors(TinyLlama());
  for (NamedTensor& tensor : tensors) {
    if (tensor.name.ends_with("q_proj.weight")) tensor.name.replace(tensor.name.size() - 6, 6, "qweight");
  }
  WriteTensors(tensors);
  EXPECT_THAT(ErrorOf(),
              HasSubstr("q_proj.weight: is missing, but model.layers.0.self_attn.q_proj.qweight is there"));
  tensors = Tensors(TinyLlama());
  for (NamedTensor& tensor : tensors) tensor.name = "base_model.model." + tensor.name;
  WriteTensors(tensors);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("is missing"), HasSubstr("merge_and_unload")));
  tensors = Tensors(TinyLlama());
  for (NamedTensor& tensor : tensors) tensor.name = "language_model." + tensor.name;
  WriteTensors(tensors);
  EXPECT_THAT(ErrorOf(), HasSubstr("is missing; the file has language_model."));
}

TEST_F(HuggingFace, TheGenerationConfigKeepsItsBytes) {
  WriteTensors(Tensors(TinyLlama()));
  const std::string text = "{\"pad_token_id\": 3, \"temperature\": 0.60, \"eos_token_id\": [5], \"x\": NaN}";
  Write("generation_config.json", text);
  const auto read = ReadPolicy(directory_);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_TRUE(RemoveTree(directory_ + "/generation_config.json").ok());
  ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", directory_).ok());
  EXPECT_EQ(*ReadFile(directory_ + "/generation_config.json"), text);
}

TEST_F(HuggingFace, TheConfigKeepsWhatTemperDoesNotRead) {
  std::string text = With(TinyLlama(), "torch_dtype", "bfloat16").dump();
  text.replace(text.size() - 1, 1,
               ", \"far\": [1e999, NaN, 1000000000000000019884624838656], \"last\": 1.0}");
  Write("config.json", text);
  const auto config = ReadPolicyConfig(directory_);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_TRUE(WritePolicy(*config, InitializeParameters(*config, 5, {}), "", directory_).ok());
  const std::string written = *ReadFile(directory_ + "/config.json");
  EXPECT_THAT(written, HasSubstr("\"far\": [1e999, NaN, 1000000000000000019884624838656]"));
  EXPECT_THAT(written, HasSubstr("\"torch_dtype\": \"float32\""));
}

TEST_F(HuggingFace, EndTokensAreThoseOfTheGenerationConfig) {
  WriteTensors(Tensors(TinyLlama()));
  Write("generation_config.json", R"({"eos_token_id": [5, 1], "temperature": 0.6})");
  EXPECT_THAT(ReadPolicyConfig(directory_)->eos_ids, ElementsAre(5, 1));
  Write("generation_config.json", R"({"eos_token_id": 6})");
  EXPECT_THAT(ReadPolicyConfig(directory_)->eos_ids, ElementsAre(6));
  Write("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_THAT(ReadPolicyConfig(directory_)->eos_ids, ElementsAre(1, 2));
  Write("generation_config.json", R"({"eos_token_id": [1, 37]})");
  EXPECT_THAT(ErrorOf(),
              HasSubstr("generation_config.json: eos_token_id: is 37, not a token of vocab_size 37"));
  Write("generation_config.json", "{");
  EXPECT_THAT(ErrorOf(), HasSubstr("generation_config.json:1:"));
}

TEST_F(HuggingFace, AMissingOrBrokenConfigIsNamed) {
  EXPECT_THAT(ErrorOf(), HasSubstr("/config.json: cannot read: No such file"));
  Write("config.json", "{\"model_type\": \"bert\"}");
  EXPECT_THAT(ErrorOf(), HasSubstr("/config.json: model_type: is 'bert'"));
  Write("config.json", TinyLlama().dump());
  Write("model.safetensors", "cut");
  EXPECT_THAT(ErrorOf(), HasSubstr("/model.safetensors: has 3 bytes"));
}

}  // namespace
}  // namespace temper

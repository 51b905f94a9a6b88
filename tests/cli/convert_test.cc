// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "ATen/ops/empty.h"
#include "absl/strings/match.h"
#include "cli/inspect/inspect.h"
#include "gmock/gmock.h"
#include "model/files/dtype.h"
#include "model/files/fp8.h"
#include "model/files/weight_conversion.h"
#include "model/files/weight_files.h"
#include "tests/cli/models.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Two and more blocks a side, the last ones cut; experts of 128 rows, so that blocks can be stacked.
Json WideDeepseek() {
  Json json = TinyDeepseek();
  json["hidden_size"] = 140;
  json["intermediate_size"] = 260;
  json["moe_intermediate_size"] = 128;
  json["n_routed_experts"] = 3;
  json["n_group"] = 1;
  json["topk_group"] = 1;
  return json;
}

struct Stored {
  std::string dtype, bytes;
  std::vector<int64_t> shape;
  bool operator==(const Stored&) const = default;
};
using Tensors = std::map<std::string, Stored>;

Tensors Read(const std::string& directory) {
  Tensors tensors;
  const auto files = OpenWeightFiles(directory);
  EXPECT_TRUE(files.ok()) << files.status();
  if (!files.ok()) return tensors;
  for (const auto& [name, at] : files->tensors) {
    Stored& stored = tensors[name];
    stored = {at.info->dtype, std::string(at.info->end - at.info->begin, '?'), at.info->shape};
    EXPECT_TRUE(at.file->ReadBytes(*at.info, stored.bytes.data()).ok());
  }
  return tensors;
}

std::vector<float> Floats(const Stored& stored) {
  std::vector<float> values(stored.bytes.size() / DtypeBytes(stored.dtype));
  DecodeFloats(stored.dtype, stored.bytes.data(), values.size(), values.data());
  return values;
}

void Write(const std::string& directory, const Tensors& tensors) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, stored] : tensors) infos.push_back({name, stored.dtype, stored.shape});
  auto writer = SafetensorsWriter::Create(directory + "/model.safetensors", infos, {});
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const auto& [name, stored] : tensors)
    EXPECT_TRUE((*writer)->Write(name, 0, stored.bytes.data(), stored.bytes.size()).ok());
  EXPECT_TRUE((*writer)->Commit().ok());
}

class Convert : public ::testing::Test {
 protected:
  // A random policy; the MTP layer's weights and one that nothing knows are among them, all in F32.
  std::string Model(const Json& json, bool strange = true) {
    const ModelConfig config = Parsed(json);
    Parameters parameters = InitializeParameters(config, 5, {});
    std::vector<NamedTensor> tensors;
    for (const Parameter& p : parameters.list()) tensors.push_back({p.name, p.value});
    if (config.mtp_layers > 0) {
      const std::string mtp = absl::StrCat("model.layers.", config.num_layers, ".");
      for (const char* name : {"eh_proj.weight", "self_attn.o_proj.weight", "enorm.weight"})
        tensors.push_back({mtp + name, parameters["model.embed_tokens.weight"]});
    }
    if (strange) {
      at::Tensor counter = at::empty({3}, at::kLong);
      memset(counter.mutable_data_ptr(), 7, 24);
      tensors.push_back({"strange.counter", counter});
    }
    folder_.Write("config.json", json.dump());
    folder_.Write("tokenizer.json", "{}");
    folder_.Write("LICENSE", "free");
    folder_.Write("consolidated.safetensors", "other weights");
    EXPECT_TRUE(WriteSafetensors(folder_.path() + "/model.safetensors", tensors, {{"made", "by hand"}}).ok());
    return folder_.path();
  }
  // The new directory.
  std::string Converted(const std::string& model, const std::vector<std::string>& options) {
    const std::string out = absl::StrCat(out_.path(), "/", count_++);
    std::vector<std::string> arguments = {"--model", model, "--output", out};
    arguments.insert(arguments.end(), options.begin(), options.end());
    EXPECT_THAT(Lines("convert", arguments), ElementsAre(out));
    return out;
  }
  std::string Error(const std::string& model, const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"--model", model, "--output", out_.path() + "/new"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const std::string error = ErrorOf("convert", arguments);
    EXPECT_THAT(error, Not(HasSubstr("\n")));
    EXPECT_FALSE(FileExists(out_.path() + "/new"));
    EXPECT_FALSE(FileExists(out_.path() + "/.new.tmp"));
    return error;
  }
  const Folder folder_, out_;
  int count_ = 0;
};

TEST_F(Convert, WithoutOptionsEveryByteOfEveryTensorAndFileIsKept) {
  const std::string model = Model(WideDeepseek()), out = Converted(model, {});
  EXPECT_EQ(Read(out), Read(model));
  for (const char* name : {"/config.json", "/tokenizer.json", "/LICENSE"})
    EXPECT_EQ(*ReadFile(out + name), *ReadFile(model + name));
  EXPECT_FALSE(FileExists(out + "/consolidated.safetensors"));
  EXPECT_EQ(*ReadFile(out + "/generation_config.json"),
            "{\n  \"bos_token_id\": 0,\n  \"eos_token_id\": 1\n}\n");
  const auto file = SafetensorsFile::Open(out + "/model.safetensors");
  EXPECT_EQ((*file)->metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"made", "by hand"}}));
  EXPECT_EQ(*ReadFile(Converted(out, {}) + "/model.safetensors"), *ReadFile(out + "/model.safetensors"));
}

TEST_F(Convert, BfloatIsTheNearestAndOnceBfloatIsKept) {
  const std::string model = Model(WideDeepseek()), out = Converted(model, {"--dtype", "bf16"});
  const Tensors before = Read(model), after = Read(out);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, stored] : after) {
    const Stored& from = before.at(name);
    EXPECT_EQ(stored.shape, from.shape);
    if (name == "strange.counter" || absl::EndsWith(name, "e_score_correction_bias")) {
      EXPECT_EQ(stored, from) << name;
      continue;
    }
    EXPECT_EQ(stored.dtype, "BF16") << name;
    std::vector<uint16_t> words(stored.bytes.size() / 2);
    ASSERT_TRUE(EncodeBf16(Floats(from).data(), words.size(), words.data()));
    EXPECT_EQ(memcmp(words.data(), stored.bytes.data(), stored.bytes.size()), 0) << name;
  }
  EXPECT_THAT(*ReadFile(out + "/config.json"), HasSubstr("\"torch_dtype\": \"bfloat16\""));
  EXPECT_EQ(Read(Converted(out, {"--dtype", "bf16"})), after);
  const Tensors wide = Read(Converted(out, {"--dtype", "f32"}));
  for (const auto& [name, stored] : wide) {
    if (name != "strange.counter") {
      EXPECT_EQ(Floats(stored), Floats(after.at(name))) << name;
    }
  }
}

TEST_F(Convert, Fp8HasProjectionsInBlocksAndTheRestInBfloat) {
  const std::string model = Model(WideDeepseek()), out = Converted(model, {"--dtype", "fp8"});
  const Tensors before = Read(model), after = Read(out);
  std::vector<std::string> plain;
  for (const auto& [name, stored] : after) {
    if (absl::EndsWith(name, "_scale_inv")) continue;
    if (stored.dtype != kFp8Dtype) {
      plain.push_back(name);
      continue;
    }
    const std::vector<float> values = Floats(before.at(name));
    const int64_t rows = stored.shape[0], columns = stored.shape[1];
    std::vector<uint8_t> codes(values.size());
    std::vector<float> scales(Fp8Blocks(rows) * Fp8Blocks(columns));
    for (int64_t row = 0; row < rows; row += kFp8Block) {
      QuantizeBlockRow(&values[row * columns], std::min(kFp8Block, rows - row), columns,
                       &codes[row * columns], &scales[row / kFp8Block * Fp8Blocks(columns)]);
    }
    EXPECT_EQ(stored.bytes, std::string(codes.begin(), codes.end())) << name;
    EXPECT_EQ(after.at(name + "_scale_inv").shape,
              (std::vector<int64_t>{Fp8Blocks(rows), Fp8Blocks(columns)}));
    EXPECT_EQ(Floats(after.at(name + "_scale_inv")), scales) << name;
  }
  for (const std::string& name : plain) {
    EXPECT_TRUE(absl::EndsWith(name, "norm.weight") || name == "model.embed_tokens.weight" ||
                name == "lm_head.weight" || name == "strange.counter" ||
                name == "model.layers.2.eh_proj.weight" || name == "model.layers.1.mlp.gate.weight" ||
                name == "model.layers.1.mlp.gate.e_score_correction_bias")
        << name;
  }
  EXPECT_EQ(after.at("model.layers.2.self_attn.o_proj.weight").dtype, kFp8Dtype);
  EXPECT_EQ(after.at("model.layers.1.mlp.gate.e_score_correction_bias").dtype, "F32");
  EXPECT_EQ(after.at("model.layers.1.mlp.gate.weight").dtype, "BF16");
  const Json config = Json::parse(*ReadFile(out + "/config.json"));
  EXPECT_EQ(
      config["quantization_config"].dump(),
      R"({"activation_scheme":"dynamic","fmt":"e4m3","quant_method":"fp8","weight_block_size":[128,128]})");

  const auto inspected = Inspect(out);
  ASSERT_TRUE(inspected.ok()) << inspected.status();
  EXPECT_THAT(*inspected, HasSubstr("in blocks of 128x128"));
  EXPECT_EQ(Read(Converted(out, {})), after) << "FP8 is kept";
  EXPECT_EQ(Read(Converted(out, {"--dtype", "fp8"})), after);
}

TEST_F(Convert, Fp8ThroughBfloatAndBackHasTheSameCodes) {
  const std::string fp8 = Converted(Model(WideDeepseek()), {"--dtype", "fp8"});
  const std::string bf16 = Converted(fp8, {"--dtype", "bf16"});
  EXPECT_THAT(*ReadFile(bf16 + "/config.json"), Not(HasSubstr("quantization_config")));
  const Tensors first = Read(fp8), second = Read(Converted(bf16, {"--dtype", "fp8"}));
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [name, stored] : first) {
    if (!absl::EndsWith(name, "_scale_inv")) {
      EXPECT_EQ(second.at(name), stored) << name;
      continue;
    }
    const std::vector<float> a = Floats(stored), b = Floats(second.at(name));
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(b[i] / a[i], 1, 0x1p-8) << name;
  }
}

TEST_F(Convert, APolicyReadsAllFormsAsTheSameNumbers) {
  const std::string fp8 = Converted(Model(WideDeepseek(), /*strange=*/false), {"--dtype", "fp8"});
  const auto expected = ReadPolicy(Converted(fp8, {"--dtype", "f32"}));
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (const std::string& form : {fp8, Converted(fp8, {"--shard-size", "100000"}),
                                  Converted(fp8, {"--experts", "stacked", "--dtype", "f32"})}) {
    const auto read = ReadPolicy(form);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(read->parameters.list().size(), expected->parameters.list().size());
    for (const Parameter& parameter : expected->parameters.list()) {
      const at::Tensor& value = read->parameters[parameter.name];
      ASSERT_EQ(value.sizes(), parameter.value.sizes());
      EXPECT_EQ(memcmp(value.const_data_ptr(), parameter.value.const_data_ptr(), 4 * value.numel()), 0);
    }
    ASSERT_TRUE(WritePolicy(read->config, read->parameters, "", out_.path()).ok());
    EXPECT_THAT(out_.Read("config.json"), Not(HasSubstr("quantization_config"))) << "what is written is f32";
  }
}

TEST_F(Convert, ExpertsAreStackedAndSeparatedByteForByte) {
  const std::string model = Model(WideDeepseek());
  for (const char* dtype : {"keep", "bf16"}) {
    const std::string separate = Converted(model, {"--dtype", dtype});
    const Tensors expected = Read(separate);
    const std::string stacked = Converted(separate, {"--experts", "stacked"});
    const Tensors now = Read(stacked);
    const std::string layer = "model.layers.1.mlp.experts.";
    EXPECT_THAT(now.at(layer + "gate_up_proj").shape, ElementsAre(3, 256, 140));
    EXPECT_THAT(now.at(layer + "down_proj").shape, ElementsAre(3, 140, 128));
    EXPECT_EQ(now.count(layer + "0.gate_proj.weight"), 0u);
    EXPECT_EQ(now.at(layer + "gate_up_proj")
                  .bytes.substr(3 * expected.at(layer + "0.up_proj.weight").bytes.size(),
                                expected.at(layer + "0.up_proj.weight").bytes.size()),
              expected.at(layer + "1.up_proj.weight").bytes);
    EXPECT_EQ(Read(Converted(stacked, {"--experts", "separate"})), expected) << dtype;
    EXPECT_EQ(Read(Converted(stacked, {})), now);
    EXPECT_EQ(Read(Converted(model, {"--dtype", dtype, "--experts", "stacked"})), now) << dtype;
  }
}

// The experts of layer 1 as Transformers holds them, FP8 too.
Tensors StackedByHand(const Tensors& separate) {
  Tensors stacked;
  for (const auto& [name, stored] : separate) {
    if (!absl::StrContains(name, "layers.1.mlp.experts.")) stacked[name] = stored;
  }
  const std::string layer = "model.layers.1.mlp.experts.";
  for (const char* suffix : {"", "_scale_inv"}) {
    for (int64_t expert = 0; expert < 3; ++expert) {
      for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
        const Stored& from = separate.at(absl::StrCat(layer, expert, ".", name, ".weight", suffix));
        const bool down = name[0] == 'd';
        Stored& to = stacked[absl::StrCat(layer, down ? "down_proj" : "gate_up_proj", suffix)];
        to.dtype = from.dtype;
        to.shape = {3, from.shape[0] * (down ? 1 : 2), from.shape[1]};
        to.bytes += from.bytes;
      }
    }
  }
  return stacked;
}

TEST_F(Convert, StackedFp8IsSeparatedByteForByteAndNeverMade) {
  const std::string fp8 = Converted(Model(WideDeepseek()), {"--dtype", "fp8"});
  EXPECT_THAT(Error(fp8, {"--experts", "stacked"}), HasSubstr("FP8 and stacked"));
  EXPECT_THAT(Error(folder_.path(), {"--experts", "stacked", "--dtype", "fp8"}),
              HasSubstr("use --experts separate"));
  const Tensors separate = Read(fp8), stacked = StackedByHand(separate);
  const Tensors wide = Read(Converted(fp8, {"--dtype", "f32"}));
  Write(fp8, stacked);
  EXPECT_EQ(Read(Converted(fp8, {"--experts", "separate"})), separate);
  EXPECT_EQ(Read(Converted(fp8, {})), stacked);
  EXPECT_EQ(Read(Converted(fp8, {"--experts", "separate", "--dtype", "f32"})), wide);
}

TEST_F(Convert, Fp8BlocksThatStraddleExpertsCannotBeSeparatedButNumbersCan) {
  const std::string fp8 =
      Converted(Model(With(WideDeepseek(), "moe_intermediate_size", 192)), {"--dtype", "fp8"});
  Tensors stacked = StackedByHand(Read(fp8));
  // Blocks of [384, 140] are 3 x 2 for each expert, not 2 x 2 twice.
  Stored& scales = stacked["model.layers.1.mlp.experts.gate_up_proj_scale_inv"];
  scales.shape = {3, 3, 2};
  scales.bytes.resize(3 * 3 * 2 * 4);
  Write(fp8, stacked);
  EXPECT_THAT(Error(fp8, {"--experts", "separate"}), HasSubstr("192 rows are no multiple of 128"));
  const Tensors a = Read(Converted(fp8, {"--dtype", "f32"})),
                b = Read(Converted(fp8, {"--dtype", "f32", "--experts", "separate"}));
  EXPECT_EQ(a.at("model.layers.1.mlp.experts.gate_up_proj").bytes.substr(192 * 140 * 4, 192 * 140 * 4),
            b.at("model.layers.1.mlp.experts.0.up_proj.weight").bytes);
}

TEST_F(Convert, ShardsHaveAtMostTheSizeAndAnIndexAndTheSameTensors) {
  const std::string model = Model(WideDeepseek());
  for (const char* dtype : {"keep", "fp8"}) {
    const std::string whole = Converted(model, {"--dtype", dtype});
    const std::string out = Converted(model, {"--dtype", dtype, "--shard-size", "100000"});
    EXPECT_EQ(Read(out), Read(whole));
    const Json index = Json::parse(*ReadFile(out + "/model.safetensors.index.json"));
    int64_t total = 0, files = 0;
    const auto names = ListDirectory(out);
    for (const std::string& name : *names) {
      if (!absl::EndsWith(name, ".safetensors")) continue;
      ++files;
      const auto shard = SafetensorsFile::Open(out + "/" + name);
      ASSERT_TRUE(shard.ok());
      int64_t bytes = 0;
      for (const TensorInfo& info : (*shard)->tensors()) {
        bytes += info.end - info.begin;
        EXPECT_EQ(index["weight_map"][info.name], name);
      }
      EXPECT_TRUE(bytes <= 100000 || (*shard)->tensors().size() <= 2) << name << bytes;
      total += bytes;
    }
    EXPECT_GT(files, 3);
    EXPECT_TRUE(FileExists(absl::StrCat(out, "/model-00001-of-0000", files, ".safetensors")) || files > 9);
    EXPECT_EQ(index["metadata"]["total_size"], total);
    EXPECT_EQ(*ReadFile(Converted(out, {}) + "/model.safetensors"), *ReadFile(whole + "/model.safetensors"));
  }
}

TEST_F(Convert, WhatCannotBeConvertedIsNamedAndNothingIsLeft) {
  const std::string model = Model(WideDeepseek());
  EXPECT_THAT(ErrorOf("convert", {"--model", model, "--output", model}), HasSubstr(": is there already"));
  EXPECT_THAT(Error(model, {"--dtype", "int4"}), HasSubstr("expected one of"));
  EXPECT_THAT(Error("/nowhere", {}), HasSubstr("/nowhere/config.json: cannot read"));

  Tensors tensors = Read(model);
  const std::string up = "model.layers.1.mlp.experts.2.up_proj.weight";
  Tensors broken = tensors;
  const float bad[] = {std::numeric_limits<float>::max(), std::numeric_limits<float>::quiet_NaN()};
  memcpy(broken[up].bytes.data() + 400, &bad[1], 4);
  Write(model, broken);
  EXPECT_THAT(Error(model, {"--dtype", "bf16"}),
              HasSubstr("/model.safetensors: tensor " + up + ": element 100 is nan"));
  EXPECT_EQ(Read(Converted(model, {})), broken) << "bytes that are kept are not looked at";
  memcpy(broken[up].bytes.data() + 400, &bad[0], 4);
  Write(model, broken);
  EXPECT_THAT(Error(model, {"--dtype", "bf16"}), HasSubstr(up + ": has a number that BF16 cannot hold"));

  broken = tensors;
  broken.erase(up);
  Write(model, broken);
  EXPECT_THAT(Error(model, {}), HasSubstr(up + ": is missing"));
  broken = tensors;
  broken[up].shape = {140, 128};
  Write(model, broken);
  EXPECT_THAT(Error(model, {}), HasSubstr(up + ": has shape [140, 128]; config.json says [128, 140]"));
  broken = tensors;
  broken["model.layers.2.mlp.experts.1.up_proj.weight"] = tensors[up];
  Write(model, broken);
  EXPECT_THAT(Error(model, {"--experts", "stacked"}),
              HasSubstr("model.layers.2.mlp.experts.0.gate_proj.weight: is missing"));
  broken = tensors;
  broken[up].dtype = "BF16";
  broken[up].bytes.resize(broken[up].bytes.size() / 2);
  Write(model, broken);
  EXPECT_THAT(Error(model, {"--experts", "stacked"}), HasSubstr("name a --dtype to stack them"));

  Write(model, tensors);
  ASSERT_EQ(truncate((model + "/model.safetensors").c_str(), 100000), 0);
  EXPECT_THAT(Error(model, {}), HasSubstr("leave the"));
}

TEST_F(Convert, AStopEndsTheWork) {
  const auto files = OpenWeightFiles(Model(WideDeepseek()));
  ASSERT_TRUE(files.ok());
  const auto conversion = PlanConversion(*files, false, {.dtype = WeightDtype::kFp8});
  ASSERT_TRUE(conversion.ok()) << conversion.status();
  int64_t last = 0;
  EXPECT_TRUE(absl::IsCancelled(WriteConversion(*conversion, out_.path(), [&](int64_t bytes) {
    last = bytes;
    return bytes > 100000 ? absl::CancelledError("stop") : absl::OkStatus();
  })));
  EXPECT_LT(last, 300000);
  EXPECT_THAT(*ListDirectory(out_.path()), IsEmpty());
  EXPECT_TRUE(WriteConversion(*conversion, out_.path(), [&](int64_t bytes) {
                last = bytes;
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(last, conversion->bytes);
}

}  // namespace
}  // namespace temper

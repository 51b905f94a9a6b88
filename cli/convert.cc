// SPDX-License-Identifier: Apache-2.0
#include "cli/convert.h"

#include <sys/stat.h>

#include <memory>
#include <set>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "cli/line/rows.h"
#include "core/files/file.h"
#include "core/files/folder_link.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "data/tokenizer/folder.h"
#include "model/config/quantization.h"
#include "model/files/hugging_face.h"
#include "model/files/weight_conversion.h"

namespace temper {
namespace {

struct ConvertOptions {
  std::string model, output;
  ConversionOptions conversion;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "model", model,
        "A Hugging Face style directory (config.json and safetensors), or the folder of a run or a stage.",
        Required());
    v.Field("output", output, "Where the new directory is written; must not be there yet.", Required());
    v.Choice("dtype", conversion.dtype,
             {{"keep", WeightDtype::kKeep},
              {"f32", WeightDtype::kF32},
              {"bf16", WeightDtype::kBf16},
              {"fp8", WeightDtype::kFp8}},
             "Of the weights. fp8: DeepSeek's, projections in blocks of 128x128, the rest BF16. What has it "
             "already keeps its bytes.");
    v.Field("shard_size", conversion.shard_bytes, "A weight file has at most this many bytes of tensors.",
            AtLeast(1));
    v.Choice("experts", conversion.experts,
             {{"keep", ExpertLayout::kKeep},
              {"separate", ExpertLayout::kSeparate},
              {"stacked", ExpertLayout::kStacked}},
             "How the experts of a layer lie: each a weight of its own, or all in one; both are read "
             "everywhere.");
  }
};

bool IsRegularFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool IsWeights(const std::string& name) {
  for (const char* ending :
       {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json"}) {
    if (absl::EndsWith(name, ending)) return true;
  }
  return false;
}

absl::Status CopyFile(const std::string& from, const std::string& to) {
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(to));
  int64_t at = 0;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(from, [&](std::string_view bytes) {
    at += static_cast<int64_t>(bytes.size());
    return file->WriteAt(at - static_cast<int64_t>(bytes.size()), bytes);
  }));
  return file->Commit();
}

// The directory's other files as they are: tokenizer, templates, generation_config.json, licence, code.
absl::Status CopyOthers(const std::string& from, const WeightFiles& read, const std::string& to) {
  std::set<std::string> done = {from + "/config.json", read.name};
  for (const auto& file : read.files) done.insert(file->path());
  const std::vector<std::string> tokenizers = TokenizerFileNames(from);
  std::vector<std::string> left;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(from));
  for (const std::string& name : names) {
    const std::string source = absl::StrCat(from, "/", name);
    if (name[0] == '.' || done.count(source) > 0 || name == kMoreTemplates) continue;
    if (absl::c_linear_search(tokenizers, name)) continue;  // copied below
    if (IsWeights(name) || !IsRegularFile(source) || !OutsideTarget(from, name).empty()) {
      left.push_back(Printable(name));
      continue;
    }
    TEMPER_RETURN_IF_ERROR(CopyFile(source, absl::StrCat(to, "/", name)));
  }
  TEMPER_RETURN_IF_ERROR(CopyTokenizerFiles(from, to));
  if (!left.empty())
    LogInfo("not copied, folders, other weights and links to other places: ", absl::StrJoin(left, ", "));
  return absl::OkStatus();
}

std::string Gigabytes(int64_t bytes) { return absl::StrFormat("%.2f GB", static_cast<double>(bytes) * 1e-9); }

absl::Status WriteWeights(const Conversion& conversion, const std::string& directory) {
  Progress bar;
  constexpr int64_t kMegabyte = 1'000'000;
  bar.Start("convert, MB", (conversion.bytes + kMegabyte - 1) / kMegabyte);
  const absl::Status status = WriteConversion(conversion, directory, [&](int64_t bytes) {
    bar.Step((bytes + kMegabyte - 1) / kMegabyte, "");
    return StopRequested() ? absl::CancelledError("stopped; nothing was written") : absl::OkStatus();
  });
  bar.Finish();
  return status;
}

// What the config does not speak of is converted as the rest is, and the user should know of it.
void TellOthers(const ModelConfig& config, const std::vector<std::string>& others) {
  if (others.empty()) return;
  LogInfo(others.size(), " tensors are no weights of this ", config.model_type,
          " (MTP layers, or unknown) and go along: ", Printable(others[0]), others.size() > 1 ? ", ..." : "");
}

}  // namespace

absl::Status RunConvert(const CommandLine& line) {
  TEMPER_ASSIGN_OR_RETURN(const ConvertOptions options, OptionsOf<ConvertOptions>(line));
  if (FileExists(options.output)) {
    return absl::AlreadyExistsError(absl::StrCat(Printable(options.output, 1000),
                                                 ": is there already; name another --output, or remove it"));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string from, FindModel(options.model));
  TEMPER_ASSIGN_OR_RETURN(const ModelConfig config, ReadPolicyConfig(from));
  TEMPER_ASSIGN_OR_RETURN(const bool fp8, IsFp8Config(config.json, from + "/config.json"));
  TEMPER_ASSIGN_OR_RETURN(const WeightFiles files, OpenWeightFiles(from));
  TEMPER_ASSIGN_OR_RETURN(const auto weights, FindWeights(files, fp8, /*split_experts=*/true));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> others, CheckWeights(config, files.name, weights));
  TEMPER_ASSIGN_OR_RETURN(const Conversion conversion, PlanConversion(files, fp8, options.conversion));
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ConfigTextFor(config.json, options.conversion.dtype));
  TellOthers(config, others);

  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicDirectory> made,
                          AtomicDirectory::Create(options.output));
  const std::string& directory = made->temporary();
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(directory + "/config.json", text));
  TEMPER_RETURN_IF_ERROR(CopyOthers(from, files, directory));
  if (!FileExists(directory + "/generation_config.json")) {
    TEMPER_RETURN_IF_ERROR(
        WriteFileAtomic(directory + "/generation_config.json", GenerationConfigText(config)));
  }
  TEMPER_RETURN_IF_ERROR(WriteWeights(conversion, directory));
  TEMPER_RETURN_IF_ERROR(made->Commit());
  LogInfo(conversion.tensors, " weights, ", conversion.elements, " parameters, ", Gigabytes(conversion.bytes),
          " in ", conversion.shards.size(), conversion.shards.size() == 1 ? " file" : " files");
  return WriteOut(options.output);
}

std::string ConvertHelp() { return HelpOf<ConvertOptions>(); }

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/init.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/line/options.h"
#include "cli/line/policy.h"
#include "cli/line/rows.h"
#include "core/files/file.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/stop.h"
#include "data/tokenizer/tokenizer.h"
#include "model/files/hugging_face.h"
#include "model/parameters.h"

namespace temper {
namespace {

struct InitOptions {
  std::string out;
  uint64_t seed = 0;
  InitScales scales;

  template <class V>
  void Fields(V& v) {
    v.Field("out", out, "Where the model directory is written; must not be there yet.", Required());
    v.Field("seed", seed, "The weights are a function of it, the config and the scales.");
    v.Field("embedding_std", scales.embedding_std, "Standard deviation of the embedding.", AtLeast(0.0));
    v.Field("linear_gain", scales.linear_gain, "Linears are drawn from N(0, gain^2 / fan_in).", AtLeast(0.0));
    v.Field("head_gain", scales.head_gain, "The same of the head, where it is not the embedding.",
            AtLeast(0.0));
  }
};

// What would only be found out after the weights were drawn, and drawn for nothing.
absl::Status Check(const std::string& from, const ModelConfig& config, const std::string& out) {
  if (FileExists(out)) {
    return absl::AlreadyExistsError(
        absl::StrCat(Printable(out, 1000), ": is there already; name another --out, or remove it"));
  }
  if (FileExists(from + "/tokenizer.json")) {
    TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(from));
    TEMPER_RETURN_IF_ERROR(tokenizer->FitTo(config.vocab_size, from));
  }
  const int64_t bytes = Layout(config).elements() * 4, free = MemoryThatIsFree().bytes;
  if (bytes <= free) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("%s: its weights need %.1f GiB, and %.1f GiB of memory are free", Printable(from, 1000),
                      static_cast<double>(bytes) / (1 << 30), static_cast<double>(free) / (1 << 30)));
}

}  // namespace

absl::Status RunInit(const CommandLine& line) {
  InitOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) {
    return absl::InvalidArgumentError(
        rest.empty() ? std::string("expected a folder with config.json: temper init CONFIG_DIR --out DIR")
                     : absl::StrCat("unexpected argument ", Printable(rest[1]), "; see --help"));
  }
  const std::string& from = rest[0];
  TEMPER_ASSIGN_OR_RETURN(const ModelConfig config, ReadPolicyConfig(from));
  TEMPER_RETURN_IF_ERROR(Check(from, config, options.out));
  // Made first, so that a place that cannot be written costs no drawing.
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicDirectory> files, AtomicDirectory::Create(options.out));
  const Parameters parameters = InitializeParameters(config, options.seed, options.scales);
  TEMPER_RETURN_IF_ERROR(CheckStop());
  TEMPER_RETURN_IF_ERROR(WritePolicy(config, parameters, from, files->temporary()));
  TEMPER_RETURN_IF_ERROR(files->Commit());
  LogInfo(config.model_type, ", ", parameters.layout().elements(), " parameters, seed ", options.seed);
  return WriteOut(options.out);
}

std::string InitHelp() { return HelpOf<InitOptions>(); }

}  // namespace temper

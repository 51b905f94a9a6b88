// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include <utility>

#include "core/status.h"
#include "data/tokenizer/folder.h"
#include "kernels/backends/cpu.h"

namespace temper {
namespace {

absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerFor(const ModelConfig& config,
                                                        const std::string& directory) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(directory));
  TEMPER_RETURN_IF_ERROR(tokenizer->FitTo(config.vocab_size, directory));
  tokenizer->AddEosIds(config.eos_ids);
  return tokenizer;
}

}  // namespace

absl::StatusOr<OpenedPolicy> OpenPolicy(const std::string& directory, kernels::Backend* backend,
                                        const PolicyUse& use) {
  OpenedPolicy policy;
  TEMPER_ASSIGN_OR_RETURN(ModelConfig config, ReadPolicyConfig(directory));
  config.mtp = use.mtp;
  if (!use.may_lack_tokenizer || HasTokenizerFiles(directory)) {
    TEMPER_ASSIGN_OR_RETURN(policy.tokenizer, TokenizerFor(config, directory));
  }
  TEMPER_ASSIGN_OR_RETURN(
      PolicyFiles files,
      ReadPolicy(directory, std::move(config),
                 {use.trained ? WeightNumbers::kF32 : WeightNumbers::kAsStored, use.mesh->place()}));
  policy.bytes_read = files.bytes_read;
  policy.model = PolicyOf(std::move(files), backend, use);
  return policy;
}

std::unique_ptr<CausalLm> PolicyOf(PolicyFiles files, kernels::Backend* backend, const PolicyUse& use) {
  Parameters& parameters = files.parameters;
  files.config.cache = use.cache.value_or(files.config.cache);
  const bool keeps_both = use.bf16 && use.trained;
  if (use.bf16 && !use.trained) {
    ThreadPool pool(1);
    kernels::CpuBackend host(&pool);
    Parameters rounded = ForRounded(parameters, host);
    Round(parameters, host, &rounded);
    parameters = std::move(rounded);
  }
  return std::make_unique<CausalLm>(std::move(files.config), std::move(parameters), backend, keeps_both,
                                    *use.mesh);
}

absl::StatusOr<OpenedPolicy> MakePolicy(PolicyFiles files, const std::string& tokenizer_directory,
                                        kernels::Backend* backend, const PolicyUse& use) {
  OpenedPolicy policy;
  TEMPER_ASSIGN_OR_RETURN(policy.tokenizer, TokenizerFor(files.config, tokenizer_directory));
  policy.model = PolicyOf(std::move(files), backend, use);
  return policy;
}

}  // namespace temper

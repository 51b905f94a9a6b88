// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include <utility>

#include "core/status.h"
#include "data/tokenizer/folder.h"

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
  TEMPER_ASSIGN_OR_RETURN(const ModelConfig config, ReadPolicyConfig(directory));
  if (!use.may_lack_tokenizer || HasTokenizerFiles(directory)) {
    TEMPER_ASSIGN_OR_RETURN(policy.tokenizer, TokenizerFor(config, directory));
  }
  TEMPER_ASSIGN_OR_RETURN(
      PolicyFiles files, ReadPolicy(directory, use.trained ? WeightNumbers::kF32 : WeightNumbers::kAsStored));
  policy.model = std::make_unique<CausalLm>(std::move(files.config), std::move(files.parameters), backend);
  return policy;
}

absl::StatusOr<OpenedPolicy> MakePolicy(PolicyFiles files, const std::string& tokenizer_directory,
                                        kernels::Backend* backend) {
  OpenedPolicy policy;
  TEMPER_ASSIGN_OR_RETURN(policy.tokenizer, TokenizerFor(files.config, tokenizer_directory));
  policy.model = std::make_unique<CausalLm>(std::move(files.config), std::move(files.parameters), backend);
  return policy;
}

}  // namespace temper

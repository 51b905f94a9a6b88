// SPDX-License-Identifier: Apache-2.0
#include "cli/line/policy.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/log.h"
#include "core/memory.h"
#include "core/text.h"
#include "model/device.h"
#include "trainer/run_directory/model_directory.h"

namespace temper {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<kernels::Backend>> BackendOfOption(const std::string& name, ThreadPool* pool) {
  absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = BackendByName(name, pool);
  if (!backend.ok())
    return absl::InvalidArgumentError(absl::StrCat("--device: ", backend.status().message()));
  if (!(*backend)->exact()) LogInfo(NotExactText(name));
  return backend;
}

absl::StatusOr<std::string> FindModel(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string found, ModelDirectory(path));
  if (found != path) LogInfo("the model is the newest checkpoint, ", Printable(found, 1000));
  return found;
}

absl::StatusOr<std::unique_ptr<CommandPolicy>> CommandPolicy::Open(const PolicyOptions& options, MtpUse mtp) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  std::unique_ptr<CommandPolicy> policy(
      new CommandPolicy(options.threads > 0 ? static_cast<int>(options.threads) : static_cast<int>(cores)));
  TEMPER_ASSIGN_OR_RETURN(policy->backend_, BackendOfOption(options.device, &policy->pool_));
  TEMPER_ASSIGN_OR_RETURN(const std::string directory, FindModel(options.model));
  TEMPER_ASSIGN_OR_RETURN(policy->policy_, OpenPolicy(directory, policy->backend_.get(),
                                                      {.may_lack_tokenizer = true, .mtp = mtp}));
  return policy;
}

absl::StatusOr<SamplingOptions> CommandPolicy::Sampling(const DrawOptions& options) const {
  if (!options.stop.empty() && tokenizer() == nullptr)
    return absl::InvalidArgumentError("--stop: the model directory has no tokenizer.json");
  return options.For(tokenizer() == nullptr ? policy_.model->config().eos_ids : tokenizer()->eos_ids(),
                     tokenizer());
}

absl::StatusOr<std::unique_ptr<Engine>> CommandPolicy::MakeEngine(const DrawOptions& options,
                                                                  int64_t positions) {
  const int64_t free = MemoryThatIsFree().bytes;
  const int64_t cache = options.cache_mib > 0 ? options.cache_mib * kMiB : std::min(free / 2, 4096 * kMiB);
  auto engine =
      std::make_unique<Engine>(policy_.model.get(), EngineOptions{.max_batch = options.max_batch,
                                                                  .draft_tokens = options.draft_tokens,
                                                                  .mtp = options.by_mtp(),
                                                                  .cache_bytes = cache,
                                                                  .positions = positions});
  if (const int64_t needed = engine->cache_bytes(); needed > free && backend_->host_memory()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the cache of ", positions, " positions needs ", needed / kMiB, " MiB, and ", free / kMiB,
        " MiB of memory are free: lower --max-new-tokens, --max-batch or --cache-mib"));
  }
  return engine;
}

}  // namespace temper

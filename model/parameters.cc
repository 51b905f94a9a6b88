// SPDX-License-Identifier: Apache-2.0
#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "core/check.h"
#include "core/random.h"
#include "core/stop.h"
#include "core/thread_pool.h"

namespace temper {
namespace {

constexpr int64_t kDrawChunk = 65536;  // values of one stream of draws: part of what a seed means

float Deviation(const ParameterSpec& spec, const ModelConfig& config, const InitScales& scales) {
  const double fan_in = std::sqrt(static_cast<double>(spec.shape.back()));
  switch (spec.init) {
    case ParameterSpec::Init::kEmbedding:
      return scales.embedding_std;
    case ParameterSpec::Init::kLinear:
      return static_cast<float>(scales.linear_gain / fan_in);
    case ParameterSpec::Init::kResidual:
      return static_cast<float>(scales.linear_gain / fan_in / std::sqrt(2.0 * config.num_layers));
    case ParameterSpec::Init::kHead:
      return static_cast<float>(scales.head_gain / fan_in);
    case ParameterSpec::Init::kOne:
    case ParameterSpec::Init::kZero:
      break;
  }
  return 0;
}

void FillNormal(float* data, int64_t count, uint64_t key, float deviation, ThreadPool& pool) {
  pool.ParallelFor((count + kDrawChunk - 1) / kDrawChunk, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end && !StopRequested(); ++chunk) {
      RandomStream stream(key, Purpose::kInit, static_cast<uint32_t>(chunk));
      const int64_t last = std::min(count, (chunk + 1) * kDrawChunk);
      for (int64_t i = chunk * kDrawChunk; i < last; ++i) {
        data[i] = static_cast<float>(deviation * stream.NextNormal());
      }
    }
  });
}

}  // namespace

Parameters::Parameters(std::vector<Parameter> list) : list_(std::move(list)) {
  for (size_t i = 0; i < list_.size(); ++i) {
    TEMPER_CHECK(i == 0 || list_[i - 1].name < list_[i].name, list_[i].name, " is not in name order");
    TEMPER_CHECK(list_[i].value.is_contiguous(), list_[i].name);
  }
}

const Parameter* Parameters::Find(std::string_view name) const {
  const auto it = std::lower_bound(list_.begin(), list_.end(), name,
                                   [](const Parameter& p, std::string_view n) { return p.name < n; });
  return it == list_.end() || it->name != name ? nullptr : &*it;
}

const at::Tensor& Parameters::operator[](std::string_view name) const {
  const Parameter* parameter = Find(name);
  TEMPER_CHECK(parameter != nullptr, "no parameter ", std::string(name));
  return parameter->value;
}

int64_t Parameters::Elements(bool trained_only) const {
  int64_t elements = 0;
  for (const Parameter& parameter : list_) {
    if (parameter.trained || !trained_only) elements += parameter.value.numel();
  }
  return elements;
}

Parameters Parameters::ZerosLikeTrained() const {
  std::vector<Parameter> zeros;
  for (const Parameter& parameter : list_) {
    if (parameter.trained) {
      zeros.push_back({parameter.name, at::zeros(parameter.value.sizes(), parameter.value.options()), true});
    }
  }
  return Parameters(std::move(zeros));
}

Parameters Parameters::Clone() const {
  std::vector<Parameter> copies;
  for (const Parameter& parameter : list_) {
    copies.push_back({parameter.name, parameter.value.clone(), parameter.trained});
  }
  return Parameters(std::move(copies));
}

Parameters InitializeParameters(const ModelConfig& config, uint64_t seed, const InitScales& scales) {
  ThreadPool pool(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  std::vector<Parameter> list;
  for (const ParameterSpec& spec : ParameterSpecs(config)) {
    at::Tensor value = at::empty(spec.shape, at::kFloat);
    float* data = value.mutable_data_ptr<float>();
    if (spec.init == ParameterSpec::Init::kOne || spec.init == ParameterSpec::Init::kZero) {
      std::fill_n(data, value.numel(), spec.init == ParameterSpec::Init::kOne ? 1.0f : 0.0f);
    } else {
      FillNormal(data, value.numel(), RandomKey(seed, "init", 0, spec.name), Deviation(spec, config, scales),
                 pool);
    }
    list.push_back({spec.name, std::move(value), spec.trained});
  }
  return Parameters(std::move(list));
}

}  // namespace temper

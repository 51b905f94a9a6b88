// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/config/config.h"

namespace temper {

// One weight of the policy: its name (Hugging Face's), its shape, how it begins and where it stands.
struct LayoutEntry {
  enum class Init { kOne, kZero, kEmbedding, kLinear, kResidual, kHead };  // kResidual: o_proj, down_proj
  std::string name;
  std::vector<int64_t> shape;
  Init init = Init::kLinear;
  bool trained = true;  // false: selection bias (e_score_correction_bias), what only goes along
  int64_t elements = 0;
  int64_t offset = 0;  // of a trained weight, in a flat buffer of all that are trained (gradient, moments)
};

// The table of the policy's weights, in name order (plain byte order). What is read, drawn, written, stepped,
// summed or counted by weight goes by it.
class Layout {
 public:
  Layout() = default;
  // The weights that the policy of this config computes with.
  explicit Layout(const ModelConfig& config);
  // Fills in elements and offsets. A name that is there twice is a broken invariant.
  explicit Layout(std::vector<LayoutEntry> entries);

  const std::vector<LayoutEntry>& entries() const& { return entries_; }
  std::vector<LayoutEntry> entries() && { return std::move(entries_); }  // so that a loop over it may stand
  // Of the weight of this name in entries(); -1: there is none.
  int64_t Find(std::string_view name) const;
  int64_t elements() const { return elements_; }
  int64_t trained_elements() const { return trained_elements_; }

 private:
  std::vector<LayoutEntry> entries_;
  int64_t elements_ = 0, trained_elements_ = 0;
};

}  // namespace temper

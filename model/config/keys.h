// SPDX-License-Identifier: Apache-2.0
// What the readers of config.json share; not for other files.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "core/json/json.h"
#include "core/text.h"
#include "model/config/config.h"

namespace temper {

// Of one axis; products of a few of these still fit in 63 bits.
inline constexpr int64_t kMaxSize = int64_t{1} << 20;
inline constexpr int64_t kMaxHeads = 4096;
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxExperts = 4096;

// Typed reads of one object that remember the first thing that was wrong. A key that is absent or null is
// `otherwise`, where there is one.
class Keys {
 public:
  Keys(const Json& object, std::string name) : object_(object), name_(std::move(name)) {}

  bool Has(const std::string& key) const {
    const Json* value = Find(object_, key);
    return value != nullptr && !value->is_null();
  }
  // Present, be it null.
  bool Stated(const std::string& key) const { return Find(object_, key) != nullptr; }
  int64_t Int(const std::string& key, int64_t min, int64_t max) {
    return InRange(key, Keep(GetInt(object_, key, name_), min), min, max);
  }
  int64_t Int(const std::string& key, int64_t min, int64_t max, int64_t otherwise) {
    return Has(key) ? Int(key, min, max) : otherwise;
  }
  double Number(const std::string& key, double min, double max) {
    return InRange(key, Keep(GetDouble(object_, key, name_), min), min, max);
  }
  double Number(const std::string& key, double min, double max, double otherwise) {
    return Has(key) ? Number(key, min, max) : otherwise;
  }
  bool Bool(const std::string& key, bool otherwise) {
    return Keep(GetBool(object_, key, name_, otherwise), otherwise);
  }
  std::string Text(const std::string& key, const std::string& otherwise) {
    return Keep(GetString(object_, key, name_, otherwise), otherwise);
  }

  // What the key asks for would be silently ignored.
  template <class T>
  void Only(const std::string& key, const T& is, const T& can) {
    if (is != can) Fail(key, absl::StrCat("is ", Word(is), "; temper knows ", Word(can), " only"));
  }
  void Fail(const std::string& key, const std::string& what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(name_, ": ", key, ": ", what));
  }
  const Json* Member(const std::string& key) const { return Has(key) ? Find(object_, key) : nullptr; }
  const std::string& name() const { return name_; }
  const absl::Status& status() const { return status_; }
  void Keep(const absl::Status& status) { status_.Update(status); }

 private:
  static std::string Word(const std::string& word) { return absl::StrCat("'", Printable(word), "'"); }
  static std::string Word(bool word) { return word ? "true" : "false"; }
  static std::string Word(double word) { return FormatDouble(word); }

  template <class T>
  T Keep(const absl::StatusOr<T>& value, const T& otherwise) {
    status_.Update(value.status());
    return value.ok() ? *value : otherwise;
  }
  template <class T>
  T InRange(const std::string& key, T value, T min, T max) {
    if (value >= min && value <= max) return value;
    Fail(key, absl::StrCat("is ", value, ", not between ", min, " and ", max));
    return min;
  }

  const Json& object_;
  std::string name_;
  absl::Status status_;
};

// What a family's config.json says beyond what all families say; null for a model_type that temper does not
// know. The sizes that all have are read before.
using FamilyReader = void (*)(Keys& keys, ModelConfig* config);
FamilyReader FindFamily(const std::string& model_type);

// rope_scaling (Transformers 4) or rope_parameters (5) into config->rope; max_positions is read before.
void ReadRope(Keys& keys, ModelConfig* config);

}  // namespace temper

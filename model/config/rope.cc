// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "model/config/keys.h"

namespace temper {
namespace {

// rope_parameters and rope_scaling in one; where both are there, as tools write them for both versions, they
// must not contradict each other.
Json RopeSettings(Keys& keys) {
  Json settings = Json::object();
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const Json* given = keys.Member(key);
    if (given == nullptr) continue;
    if (!given->is_object()) {
      keys.Fail(key, "is not an object");
      continue;
    }
    for (const auto& [name, value] : given->items()) {
      if (value.is_null()) continue;
      const std::string setting = name == "type" ? "rope_type" : name;
      const Json* other = Find(settings, setting);
      if (other != nullptr && *other != value) {
        keys.Fail(key, absl::StrCat("has ", Printable(setting), " ", Printable(DumpJson(value), 60),
                                    ", and rope_parameters ", Printable(DumpJson(*other), 60),
                                    "; keep one of them"));
      }
      if (other == nullptr) settings[setting] = value;
    }
  }
  return settings;
}

// How many positions the rotation is made for. Qwen2.5's recipe for long texts, and those of linear scaling,
// leave max_position_embeddings at the original number.
int64_t Reach(const RopeConfig& rope, int64_t max_positions) {
  if (rope.type != "yarn" && rope.type != "linear") return max_positions;
  const int64_t original = rope.type == "yarn" ? rope.original_max_positions : max_positions;
  const double reach = rope.factor * static_cast<double>(original);
  return std::max(max_positions, static_cast<int64_t>(std::min<double>(reach, INT32_MAX)));
}

}  // namespace

void ReadRope(Keys& keys, ModelConfig* config) {
  static const char* const kKnown[] = {"rope_type",
                                       "rope_theta",
                                       "factor",
                                       "beta_fast",
                                       "beta_slow",
                                       "mscale",
                                       "mscale_all_dim",
                                       "truncate",
                                       "attention_factor",
                                       "low_freq_factor",
                                       "high_freq_factor",
                                       "original_max_position_embeddings",
                                       "partial_rotary_factor"};
  RopeConfig& rope = config->rope;
  const std::string key = keys.Has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const Json object = RopeSettings(keys);

  Keys in(object, absl::StrCat(keys.name(), ": ", key));
  for (const auto& [name, value] : object.items()) {
    const auto* end = std::end(kKnown);
    if (std::find(std::begin(kKnown), end, name) == end && !value.is_null()) {
      in.Fail(Printable(name), "temper does not know this setting");
    }
  }
  constexpr double kLarge = 1e12;
  rope.type = in.Text("rope_type", "default");
  if (rope.type != "default" && rope.type != "linear" && rope.type != "yarn" && rope.type != "llama3") {
    in.Fail("rope_type",
            absl::StrCat("is '", Printable(rope.type), "'; temper knows default, linear, yarn and llama3"));
  }
  rope.theta = in.Number("rope_theta", 1, kLarge, keys.Number("rope_theta", 1, kLarge, 10000));
  in.Only("partial_rotary_factor", in.Number("partial_rotary_factor", 0, 1, 1), 1.0);
  keys.Only("partial_rotary_factor", keys.Number("partial_rotary_factor", 0, 1, 1), 1.0);
  // YaRN without a factor extends the original context to max_position_embeddings.
  if (rope.type != "default" && (rope.type != "yarn" || in.Has("factor")))
    rope.factor = in.Number("factor", 1, kLarge);
  rope.mscale_all_dim = in.Number("mscale_all_dim", 0, 100, 0);
  if (rope.type == "yarn" || rope.type == "llama3") {
    rope.original_max_positions =
        in.Int("original_max_position_embeddings", 1, INT32_MAX, config->max_positions);
    rope.original_max_positions =
        keys.Int("original_max_position_embeddings", 1, INT32_MAX, rope.original_max_positions);
  }
  if (rope.type == "yarn") {
    if (!in.Has("factor")) {
      rope.factor = std::max(
          1.0, static_cast<double>(config->max_positions) / static_cast<double>(rope.original_max_positions));
    }
    rope.beta_fast = in.Number("beta_fast", 0, kLarge, 32);
    rope.beta_slow = in.Number("beta_slow", 0, kLarge, 1);
    if (rope.beta_fast == 0) rope.beta_fast = 32;
    if (rope.beta_slow == 0) rope.beta_slow = 1;
    rope.mscale = in.Number("mscale", 0, 100, 0);
    rope.attention_factor = in.Number("attention_factor", 0, 100, 0);
    rope.truncate = in.Bool("truncate", true);
    if (rope.theta <= 1) in.Fail("rope_theta", "must be greater than 1");
  }
  if (rope.type == "llama3") {
    rope.low_freq_factor = in.Number("low_freq_factor", 1e-6, kLarge);
    rope.high_freq_factor = in.Number("high_freq_factor", 1e-6, kLarge);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      in.Fail("high_freq_factor", "is not greater than low_freq_factor");
    }
  }
  config->max_positions = Reach(rope, config->max_positions);
  keys.Keep(in.status());
}

}  // namespace temper

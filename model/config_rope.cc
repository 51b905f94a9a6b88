// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "model/config_keys.h"

namespace temper {

void ReadRope(Keys& keys, ModelConfig* config) {
  static const char* const kKnown[] = {"type",
                                       "rope_type",
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
  const Json* four = keys.Member("rope_scaling");
  const Json* five = keys.Member("rope_parameters");
  if (four != nullptr && five != nullptr && *four != *five) {
    keys.Fail("rope_scaling", "differs from rope_parameters; keep one of them");
  }
  const std::string key = five != nullptr ? "rope_parameters" : "rope_scaling";
  static const Json kNone = Json::object();
  const Json& object = five != nullptr ? *five : four != nullptr ? *four : kNone;
  if (!object.is_object()) return keys.Fail(key, "is not an object");

  Keys in(object, absl::StrCat(keys.name(), ": ", key));
  for (const auto& [name, value] : object.items()) {
    const auto* end = std::end(kKnown);
    if (std::find(std::begin(kKnown), end, name) == end && !value.is_null()) {
      in.Fail(Printable(name), "temper does not know this setting");
    }
  }
  constexpr double kLarge = 1e12;
  rope.type = in.Text("rope_type", in.Text("type", "default"));
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
  keys.Keep(in.status());
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// What reading, writing and describing configs share; core/config/config.h is the door.
#pragma once

#include <string>

#include "core/config/config.h"

namespace temper {

// "at least 0", "more than 0 and at most 1", "1 to 4096"; empty where anything goes.
std::string RangeText(const Rule& rule);

// A value as YAML that reads back to it.
std::string ScalarText(Leaf::Type type, const Scalar& scalar);
std::string LeafText(const Leaf& leaf);
std::string NoneText(const Leaf& leaf);  // of an optional without one

// "rl.learning_rate" -> "--rl.learning-rate".
std::string OptionName(const std::string& path);

// How an error about `path` begins: `NAME:LINE: path`, or the override that gave `node` (null: nothing is
// there).
std::string PlaceText(const std::string& name, int line, const YamlNode* node, const std::string& path);

absl::Status ReadTree(const YamlNode& root, const std::string& name, bool options, VisitFields fields);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// A config is a struct that declares each of its fields once:
//
//   struct OptimizerConfig {
//     double learning_rate = 1e-3;
//     Schedule schedule = Schedule::kConstant;
//     template <class V>
//     void Fields(V& v) {
//       v.Field("learning_rate", learning_rate, "Peak learning rate of AdamW.", MoreThan(0.0), AtMost(1.0));
//       v.Choice("schedule", schedule, {{"constant", Schedule::kConstant}, {"linear", Schedule::kLinear}},
//       "Its shape.");
//     }
//   };
//   struct RunConfig {
//     std::string model;
//     OptimizerConfig optimizer;
//     std::vector<int64_t> lengths = {1, 2};
//     template <class V>
//     void Fields(V& v) {
//       v.Field("model", model, "Where the model is.", Required());
//       v.Section("optimizer", optimizer, "AdamW and its schedule.");
//       v.Field("lengths", lengths, "Fewest and most tokens.", AtLeast(0));
//     }
//   };
//
//   RunConfig config;                                                          // the defaults
//   TEMPER_RETURN_IF_ERROR(ReadConfigFile(path, {"optimizer.learning_rate=3e-4"}, config));
//   TEMPER_RETURN_IF_ERROR(WriteFileAtomic(resolved, WriteConfig(config)));    // reads back to the same
//   struct ParseOptions({"--model", "m", "--optimizer.learning-rate=1e-4"}, config);  // the same fields as
//   options MarkdownDocs(DescribeConfig<RunConfig>());                                 // and as
//   documentation
//
// Fields may come and go with the value of an earlier field, such as `if (v.All() || kind == kRl)
// v.Section(...)`: fields are read in the order of their declaration.
#pragma once

#include <string>
#include <vector>

#include "core/config/fields.h"
#include "core/config/yaml.h"
#include "core/status.h"

namespace temper {

// What a field is called and may be, for help and docs.
struct FieldText {
  std::string path;  // "rl.optimizer.learning_rate", "documents[].kind", "stages.NAME.from"
  std::string type;  // "whole number", "list of numbers", "one of: a, b"; "section" for one
  std::string default_value = {};
  std::string range = {};
  std::string help = {};
  bool is_section = false;
  bool required = false;
  Leaf::Type leaf = Leaf::kString;
  bool list = false;
  bool repeated = false;
  bool free = false;
  std::string when = {};  // of a Case: "`rule`: math"; several values have commas between
};

// Where a config that was read says its keys, for errors that show only when fields are seen together.
class ConfigPlaces {
 public:
  ConfigPlaces() = default;
  ConfigPlaces(YamlNode root, std::string name) : root_(std::move(root)), name_(std::move(name)) {}

  // Whether the file or an override says `path` ("a.b[0].c").
  bool Says(const std::string& path) const;
  // How an error about `path` begins: `NAME:LINE: a.b[0].c`, the line of the nearest section where the key
  // itself is not there, or `--set a.b.0.c=value`. Of no config: the path alone.
  std::string Of(const std::string& path) const;

 private:
  YamlNode root_;
  std::string name_;
};

using VisitFields = absl::FunctionRef<void(FieldVisitor&)>;
absl::Status ReadFields(const std::string& text, const std::string& name,
                        const std::vector<std::string>& overrides, VisitFields fields,
                        ConfigPlaces* places = nullptr);
absl::StatusOr<std::string> ReadConfigText(const std::string& path);
std::string WriteFields(VisitFields fields);
std::vector<FieldText> DescribeFields(VisitFields fields);

// A field that two configs do not say alike; "nothing" stands for one that only the other has.
struct FieldChange {
  std::string path, before, after;
  bool free = false, place = false;  // the field is Free(), Place()
};
std::vector<FieldChange> CompareFields(VisitFields before, VisitFields after);
absl::StatusOr<std::vector<std::string>> ReadOptions(const std::vector<std::string>& arguments,
                                                     const std::vector<FieldText>& texts, VisitFields fields);

// Reads YAML over what `config` holds (its defaults). `name` is the file's, for errors; overrides are
// "a.b.c=value". Errors, each on one line, at most 20: `NAME:LINE: a.b.c: what` or `--set a.b.c=value: what`.
// Unknown keys, wrong types and values out of range are errors, and whatever ParseYaml refuses. On an error
// `config` and `places` (null: nobody asks) are left as they were.
template <class T>
absl::Status ReadConfig(const std::string& text, const std::string& name,
                        const std::vector<std::string>& overrides, T& config,
                        ConfigPlaces* places = nullptr) {
  T read = config;
  TEMPER_RETURN_IF_ERROR(ReadFields(
      text, name, overrides, [&](FieldVisitor& v) { read.Fields(v); }, places));
  config = std::move(read);
  return absl::OkStatus();
}

// The same from a file of at most 16 MiB.
template <class T>
absl::Status ReadConfigFile(const std::string& path, const std::vector<std::string>& overrides, T& config,
                            ConfigPlaces* places = nullptr) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadConfigText(path));
  return ReadConfig(text, path, overrides, config, places);
}

// Every field, in the order of declaration, as YAML that reads back to the same struct.
template <class T>
std::string WriteConfig(const T& config) {
  T copy = config;
  return WriteFields([&](FieldVisitor& v) { copy.Fields(v); });
}

// Every field of T with its default; lists and named sections by one example item.
template <class T>
std::vector<FieldText> DescribeConfig(T example = T()) {
  return DescribeFields([&](FieldVisitor& v) { example.Fields(v); });
}

// What differs, in the order of declaration.
template <class T>
std::vector<FieldChange> CompareConfigs(T before, T after) {
  return CompareFields([&](FieldVisitor& v) { before.Fields(v); }, [&](FieldVisitor& v) { after.Fields(v); });
}

// Tables for docs/config.md: one for the top level and one for each section, headed `PREFIX path`.
std::string MarkdownDocs(const std::vector<FieldText>& fields, const std::string& prefix = "###");

// Command options over what `config` holds: `--name value`, `--name=value`, for true/false fields `--name`
// and
// `--no-name`; `_` is written `-`, a section's field `--section.name`, lists `a,b,c` (Repeated(): one item
// each time). Returns the arguments that are no options, in order; all after `--` are none. Lists of sections
// are no options.
template <class T>
absl::StatusOr<std::vector<std::string>> ParseOptions(const std::vector<std::string>& arguments, T& config) {
  T read = config;
  TEMPER_ASSIGN_OR_RETURN(
      std::vector<std::string> rest,
      ReadOptions(arguments, DescribeConfig<T>(config), [&](FieldVisitor& v) { read.Fields(v); }));
  config = std::move(read);
  return rest;
}

// A line or more for each option, for `--help`.
std::string OptionsHelp(const std::vector<FieldText>& fields);

}  // namespace temper

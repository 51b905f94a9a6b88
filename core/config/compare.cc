// SPDX-License-Identifier: Apache-2.0
// Comparing: the fields of two configs, by their paths.
#include <map>

#include "absl/strings/str_cat.h"
#include "core/config/config.h"
#include "core/config/text.h"

namespace temper {
namespace {

class Flattener : public FieldVisitor {
 public:
  struct Value {
    std::string path, text;
    bool free, place;
  };
  std::vector<Value> values;

 protected:
  void OnLeaf(const Leaf& leaf) override {
    values.push_back({path_ + leaf.name, LeafText(leaf), leaf.rule.free, leaf.rule.place});
  }

  void OnSection(const char* name, const char*, absl::FunctionRef<void(FieldVisitor&)> fields,
                 const Presence* presence) override {
    if (presence != nullptr && !presence->get()) return;
    Inside(name, [&] { fields(*this); });
  }

  void OnItems(const char* name, const char*, Items& items) override {
    for (size_t i = 0; i < items.size; ++i) {
      Inside(items.named ? absl::StrCat(name, ".", items.name(i)) : absl::StrCat(name, "[", i, "]"),
             [&] { items.visit(i, *this); });
    }
  }

 private:
  template <class F>
  void Inside(const std::string& name, F fields) {
    const std::string outer = path_;
    path_ += name + ".";
    fields();
    path_ = outer;
  }

  std::string path_;
};

}  // namespace

std::vector<FieldChange> CompareFields(VisitFields before, VisitFields after) {
  Flattener old_fields, new_fields;
  before(old_fields);
  after(new_fields);
  std::map<std::string, std::string> left;  // of the old ones, those that no new one has met
  for (const Flattener::Value& value : old_fields.values) left[value.path] = value.text;
  std::vector<FieldChange> changes;
  for (const auto& [path, text, free, place] : new_fields.values) {
    const auto was = left.find(path);
    if (was == left.end()) {
      changes.push_back({path, "nothing", text, free, place});
      continue;
    }
    if (was->second != text) changes.push_back({path, was->second, text, free, place});
    left.erase(was);
  }
  for (const auto& [path, text, free, place] : old_fields.values) {
    if (left.count(path) > 0) changes.push_back({path, text, "nothing", free, place});
  }
  return changes;
}

}  // namespace temper

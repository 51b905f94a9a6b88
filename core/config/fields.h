// SPDX-License-Identifier: Apache-2.0
// What a config's Fields(v) talks to; core/config/config.h is the door.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "core/check.h"

namespace temper {

// What a value must be. Several rules of a field hold together; those on numbers hold for each item of a
// list.
struct Rule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above = false;     // min itself is out
  bool required = false;  // no default
  bool repeated = false;  // as an option: one item each time, no commas
  bool free = false;      // reaches no bit of what is trained: may change when a run goes on
  bool place = false;     // says where files lie: what is in them counts, not the text
  // Of an optional: the word for no value, "auto"; null: it is null.
  const char* none = nullptr;
};
inline Rule AtLeast(double min) { return {.min = min}; }
inline Rule MoreThan(double min) { return {.min = min, .above = true}; }
inline Rule AtMost(double max) { return {.max = max}; }
inline Rule Between(double min, double max) { return {.min = min, .max = max}; }
inline Rule Required() { return {.required = true}; }
inline Rule Repeated() { return {.repeated = true}; }
inline Rule Free() { return {.free = true}; }
inline Rule Place() { return {.place = true}; }
inline Rule None(const char* word) { return {.none = word}; }

struct Scalar {
  bool boolean = false;
  int64_t integer = 0;
  double number = 0;
  std::string text;
};

// One field without its C++ type. A single value is a vector of one; an optional without a value is empty.
struct Leaf {
  enum Type { kBool, kInt, kDouble, kFloat, kString, kChoice };
  std::string name;
  std::string help;
  Type type = kString;
  bool list = false;
  bool optional = false;
  Rule rule = {};
  std::vector<std::string> choices = {};  // kChoice: the names, which get and set use
  std::function<std::vector<Scalar>()> get = {};
  std::function<void(const std::vector<Scalar>&)> set = {};
};

class FieldVisitor;

// A list of sections, or sections by name.
struct Items {
  bool named = false;
  size_t size = 0;
  std::function<std::string(size_t)> name;
  std::function<void()> clear;
  std::function<void(const std::string&)> append;
  std::function<void(size_t, FieldVisitor&)> visit;
  std::function<void(FieldVisitor&)> visit_example;
};

// The name that a table of choices has for a value.
template <class T>
const char* NameIn(std::initializer_list<std::pair<const char*, T>> choices, T value) {
  for (const auto& [name, choice] : choices) {
    if (choice == value) return name;
  }
  TEMPER_CHECK(false, "a value that is not in its table");
}

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  // bool, int, int64_t, uint64_t, float, double, std::string, or std::optional or std::vector of one of them.
  template <class T, class... Rules>
  void Field(const char* name, T& value, const char* help, Rules... rules);

  // One of a table of names.
  template <class T, class... Rules>
  void Choice(const char* name, T& value,
              std::initializer_list<std::pair<const char*, std::type_identity_t<T>>> choices,
              const char* help, Rules... rules);

  // A struct with Fields, or std::optional of one (absent or null: none).
  template <class T>
  void Section(const char* name, T& value, const char* help) {
    OnSection(
        name, help, [&](FieldVisitor& v) { value.Fields(v); }, nullptr);
  }
  template <class T>
  void Section(const char* name, std::optional<T>& value, const char* help);

  // A list of structs. What the file gives replaces the default list.
  template <class T>
  void List(const char* name, std::vector<T>& values, const char* help);

  // Structs with a `name` member that is the key, in the file's order. `prepare` fills in an item's defaults.
  template <class T>
  void NamedSections(const char* name, std::vector<T>& values, const char* help,
                     std::type_identity_t<std::function<void(T&)>> prepare = {});

  // Fields of the same section that are there only where the field `name`, declared before, is `value` (now
  // it is `is`); docs give them a table of their own.
  template <class T>
  void Case(const char* name, const std::string& is, const char* value, T& fields) {
    OnCase(name, value, is == value, [&](FieldVisitor& v) { fields.Fields(v); });
  }

  // A constraint over fields declared before; checked when reading, reported at `name`.
  virtual void Check(bool holds, const char* name, const char* message) {}

  // True where every field is wanted, whatever the values of others (docs, help).
  virtual bool All() const { return false; }

 protected:
  virtual void OnLeaf(const Leaf& leaf) = 0;
  // `presence`: of an optional section, reads (first) and sets whether there is one.
  struct Presence {
    std::function<bool()> get;
    std::function<void(bool)> set;
  };
  virtual void OnSection(const char* name, const char* help, absl::FunctionRef<void(FieldVisitor&)> fields,
                         const Presence* presence) = 0;
  virtual void OnItems(const char* name, const char* help, Items& items) = 0;
  virtual void OnCase(const char* name, const char* value, bool holds,
                      absl::FunctionRef<void(FieldVisitor&)> fields) {
    if (holds) fields(*this);
  }

 private:
  static Rule Merge(std::initializer_list<Rule> rules);
  template <class T>
  static Leaf::Type TypeOf(Rule& rule);
};

inline Rule FieldVisitor::Merge(std::initializer_list<Rule> rules) {
  Rule all;
  for (const Rule& rule : rules) {
    if (rule.min > all.min || (rule.min == all.min && rule.above)) {
      all.min = rule.min;
      all.above = rule.above;
    }
    if (rule.max < all.max) all.max = rule.max;
    all.required |= rule.required;
    all.repeated |= rule.repeated;
    all.free |= rule.free;
    all.place |= rule.place;
    if (rule.none != nullptr) all.none = rule.none;
  }
  return all;
}

// Also narrows the rule to what T holds.
template <class T>
Leaf::Type FieldVisitor::TypeOf(Rule& rule) {
  if constexpr (std::is_same_v<T, bool>) return Leaf::kBool;
  if constexpr (std::is_same_v<T, std::string>) return Leaf::kString;
  if constexpr (std::is_same_v<T, float>) return Leaf::kFloat;
  if constexpr (std::is_same_v<T, double>) return Leaf::kDouble;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if constexpr (std::is_unsigned_v<T>) rule = Merge({rule, AtLeast(0)});
    if constexpr (sizeof(T) < 8) {
      rule = Merge(
          {rule, Between(double(std::numeric_limits<T>::min()), double(std::numeric_limits<T>::max()))});
    }
    return Leaf::kInt;
  }
}

namespace fields {

template <class T>
struct Shape {
  using Item = T;
  static constexpr bool kList = false, kOptional = false;
};
template <class T>
struct Shape<std::optional<T>> {
  using Item = T;
  static constexpr bool kList = false, kOptional = true;
};
template <class T>
struct Shape<std::vector<T>> {
  using Item = T;
  static constexpr bool kList = true, kOptional = false;
};

template <class T>
auto& Slot(auto& scalar) {
  if constexpr (std::is_same_v<T, bool>) return scalar.boolean;
  if constexpr (std::is_same_v<T, std::string>) return scalar.text;
  if constexpr (std::is_floating_point_v<T>) return scalar.number;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return scalar.integer;
}

template <class T>
Scalar Erase(const T& value) {
  Scalar scalar;
  Slot<T>(scalar) = value;
  return scalar;
}

template <class T>
T Restore(const Scalar& scalar) {
  return static_cast<T>(Slot<T>(scalar));
}

}  // namespace fields

template <class T, class... Rules>
void FieldVisitor::Field(const char* name, T& value, const char* help, Rules... rules) {
  using Shape = fields::Shape<T>;
  using Item = typename Shape::Item;
  Leaf leaf{.name = name,
            .help = help,
            .list = Shape::kList,
            .optional = Shape::kOptional,
            .rule = Merge({rules...})};
  leaf.type = TypeOf<Item>(leaf.rule);
  leaf.get = [&value] {
    std::vector<Scalar> scalars;
    if constexpr (Shape::kList) {
      for (const Item& item : value) scalars.push_back(fields::Erase<Item>(item));
    } else if constexpr (Shape::kOptional) {
      if (value) scalars.push_back(fields::Erase<Item>(*value));
    } else {
      scalars.push_back(fields::Erase<Item>(value));
    }
    return scalars;
  };
  leaf.set = [&value](const std::vector<Scalar>& scalars) {
    if constexpr (Shape::kList) {
      value.clear();
      for (const Scalar& scalar : scalars) value.push_back(fields::Restore<Item>(scalar));
    } else if constexpr (Shape::kOptional) {
      value.reset();
      if (!scalars.empty()) value = fields::Restore<Item>(scalars[0]);
    } else {
      value = fields::Restore<Item>(scalars.at(0));
    }
  };
  OnLeaf(leaf);
}

template <class T, class... Rules>
void FieldVisitor::Choice(const char* name, T& value,
                          std::initializer_list<std::pair<const char*, std::type_identity_t<T>>> choices,
                          const char* help, Rules... rules) {
  Leaf leaf{.name = name, .help = help, .type = Leaf::kChoice, .rule = Merge({rules...})};
  for (const auto& choice : choices) leaf.choices.push_back(choice.first);
  leaf.get = [&]() -> std::vector<Scalar> { return {fields::Erase(std::string(NameIn(choices, value)))}; };
  leaf.set = [&](const std::vector<Scalar>& scalars) {
    for (const auto& choice : choices) {
      if (choice.first == scalars.at(0).text) value = choice.second;
    }
  };
  OnLeaf(leaf);
}

template <class T>
void FieldVisitor::Section(const char* name, std::optional<T>& value, const char* help) {
  T example;
  const Presence presence{[&] { return value.has_value(); },
                          [&](bool present) {
                            if (!present) value.reset();
                            if (present && !value) value.emplace();
                          }};
  OnSection(
      name, help, [&](FieldVisitor& v) { (value ? *value : example).Fields(v); }, &presence);
}

template <class T>
void FieldVisitor::List(const char* name, std::vector<T>& values, const char* help) {
  T example;
  Items items{.named = false,
              .size = values.size(),
              .name = [](size_t) { return std::string(); },
              .clear = [&] { values.clear(); },
              .append = [&](const std::string&) { values.emplace_back(); },
              .visit = [&](size_t i, FieldVisitor& v) { values[i].Fields(v); },
              .visit_example = [&](FieldVisitor& v) { example.Fields(v); }};
  OnItems(name, help, items);
}

template <class T>
void FieldVisitor::NamedSections(const char* name, std::vector<T>& values, const char* help,
                                 std::type_identity_t<std::function<void(T&)>> prepare) {
  T example;
  if (prepare) prepare(example);
  Items items{.named = true,
              .size = values.size(),
              .name = [&](size_t i) { return values[i].name; },
              .clear = [&] { values.clear(); },
              .append =
                  [&](const std::string& key) {
                    T& value = values.emplace_back();
                    if (prepare) prepare(value);
                    value.name = key;
                  },
              .visit = [&](size_t i, FieldVisitor& v) { values[i].Fields(v); },
              .visit_example = [&](FieldVisitor& v) { example.Fields(v); }};
  OnItems(name, help, items);
}

}  // namespace temper

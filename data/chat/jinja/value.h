// SPDX-License-Identifier: Apache-2.0
// What a template computes with: Python's None, bool, int (64 bits), float, str, list, tuple, dict, its views
// and iterators, functions, and Jinja's undefined. Values never change once made (as in Jinja's immutable
// sandbox), so they are shared freely and form no cycles; what does change (namespaces, loops) is an Object,
// which its Runtime owns.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/json/json.h"
#include "data/chat/jinja/text.h"

namespace temper::jinja {

class Runtime;
class Value;
struct Sequence;
struct Dict;
struct Function;
class Object;

struct Undefined {
  std::shared_ptr<const std::string> why;  // the error of whoever uses it ("'x' is undefined")
};
struct None {};
struct String {
  Text text;
  bool is_markup = false;  // what |safe makes: other text is HTML-escaped when joined to it
};

class Value {
 public:
  Value() : data_(Undefined()) {}
  Value(None) : data_(None()) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(Text text, bool is_markup = false)
      : data_(std::make_shared<const String>(String{std::move(text), is_markup})) {}
  explicit Value(TextView text) : Value(Text(text)) {}
  Value(std::shared_ptr<const Sequence> sequence) : data_(std::move(sequence)) {}
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  Value(std::shared_ptr<const Function> function) : data_(std::move(function)) {}
  Value(Object* object) : data_(object) {}
  Value(const char*) = delete;  // would be a bool
  static Value MakeUndefined(std::string why) {
    Value value;
    value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return value;
  }

  bool is_undefined() const { return Is<Undefined>(); }
  bool is_none() const { return Is<None>(); }
  bool is_bool() const { return Is<bool>(); }
  bool is_float() const { return Is<double>(); }
  bool is_integral() const { return Is<int64_t>() || Is<bool>(); }  // to Python a bool is an int
  bool is_number() const { return is_integral() || is_float(); }
  bool is_string() const { return Is<std::shared_ptr<const String>>(); }
  bool is_sequence() const { return Is<std::shared_ptr<const Sequence>>(); }
  bool is_dict() const { return Is<std::shared_ptr<const Dict>>(); }

  bool AsBool() const { return std::get<bool>(data_); }
  int64_t AsInt() const { return is_bool() ? AsBool() : std::get<int64_t>(data_); }
  double AsDouble() const { return is_float() ? std::get<double>(data_) : static_cast<double>(AsInt()); }
  TextView AsText() const { return std::get<std::shared_ptr<const String>>(data_)->text; }
  bool is_markup() const { return is_string() && std::get<std::shared_ptr<const String>>(data_)->is_markup; }
  const Sequence& AsSequence() const { return *std::get<std::shared_ptr<const Sequence>>(data_); }
  const Dict& AsDict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  const Function* AsFunction() const;  // null: is none
  Object* AsObject() const;            // null: is none
  std::string WhyUndefined() const;

  // The very same object, as Python's `is` sees it.
  bool IsSame(const Value& other) const;
  int depth() const;         // of lists and dicts in each other
  bool is_hashable() const;  // may be a dict's key

 private:
  template <class T>
  bool Is() const {
    return std::holds_alternative<T>(data_);
  }
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const String>,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<const Function>,
               Object*>
      data_;
};

struct Sequence {
  enum class Kind { kList, kTuple, kRange, kKeys, kValues, kItems, kIterator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  int depth = 1;
  bool is_hashable = false;  // a key of dicts, as all that is in it
  mutable size_t next = 0;   // of an iterator, which can be gone through once

  bool has_size() const { return kind != Kind::kIterator; }
  bool has_elements() const { return kind <= Kind::kRange; }  // takes [index]
};

// Keys in the order in which they were put in. Lookup is linear.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int depth = 1;

  const Value* Find(TextView key) const;
  const Value* Find(std::string_view ascii_key) const;
};

struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;
};

struct Function {
  std::string name;
  std::function<Value(Runtime&, const Arguments&)> call;
};

class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type() const = 0;                                          // for messages
  virtual bool GetAttribute(Runtime& runtime, TextView name, Value* value) = 0;  // false: has none
  virtual bool is_callable() const { return false; }
  virtual Value Call(Runtime& runtime, const Arguments& arguments);
  virtual Value* Member(const std::string& name) {
    return nullptr;
  }  // made if need be: what `set a.b` writes
};

// A string's text, or a list's elements, as a list; nesting beyond kMaxDepth fails.
Value MakeList(Runtime& runtime, std::vector<Value> items, Sequence::Kind kind = Sequence::Kind::kList);
Value MakeDict(Runtime& runtime, std::vector<std::pair<Value, Value>> items);
Value MakeText(Runtime& runtime, Text text, bool is_markup = false);  // where there is room for it

// `marked`: the texts came from a conversation (keys do too).
Value FromJson(Runtime& runtime, const Json& json, bool marked);

}  // namespace temper::jinja

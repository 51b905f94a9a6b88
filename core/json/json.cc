// SPDX-License-Identifier: Apache-2.0
#include "core/json/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kMaxJsonDepth = 128;

// Text that tells how far it was read, because nlohmann's callbacks have no place.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// The numbers of a JSON text, outside of its strings, that are beyond a double: the parser would refuse them.
class HugeNumbers {
 public:
  explicit HugeNumbers(std::string_view text) {
    int64_t number = 0;
    bool in_string = false;
    for (size_t at = 0; at < text.size(); ++at) {
      const char c = text[at];
      if (c == '"') in_string = !in_string;
      if (in_string && c == '\\') ++at;
      if (in_string || !(c == '-' || IsDigit(c))) continue;
      const size_t end = std::min(text.find_first_not_of("+-.0123456789Ee", at), text.size());
      if (IsHuge(text.substr(at, end - at))) places_.push_back({number, at, end - at});
      ++number;
      at = end - 1;
    }
  }
  bool empty() const { return places_.empty(); }
  // The text with a number of the same length in the place of each.
  std::string Replaced(std::string text) const {
    for (const Place& place : places_) {
      std::string small(place.bytes, '0');
      small[1] = '.';
      text.replace(place.at, place.bytes, small);
    }
    return text;
  }
  // What `text` has as its number-th number, where it is one of these; else empty.
  std::string_view Written(std::string_view text, int64_t number) const {
    const auto found = std::lower_bound(places_.begin(), places_.end(), number,
                                        [](const Place& place, int64_t n) { return place.number < n; });
    if (found == places_.end() || found->number != number) return {};
    return text.substr(found->at, found->bytes);
  }

 private:
  struct Place {
    int64_t number;
    size_t at, bytes;
  };
  static bool IsDigit(char c) { return '0' <= c && c <= '9'; }
  // Of a JSON number: any other word stays for the parser to refuse.
  static bool IsHuge(std::string_view word) {
    if (word.size() < 4 || (word.find_first_of("eE") == word.npos && word.size() < 300)) return false;
    const std::string text(word);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const size_t first = word[0] == '-' ? 1 : 0;
    const bool leading_zero = word[first] == '0' && IsDigit(word[first + 1]);
    const size_t point = word.find('.');
    return std::isinf(value) && *end == 0 && !leading_zero && IsDigit(word[first]) &&
           (point == word.npos || (point + 1 < word.size() && IsDigit(word[point + 1])));
  }

  std::vector<Place> places_;
};

class JsonBuilder : public nlohmann::json_sax<Json> {
 public:
  // `text` and `huge` outlive it; huge is null where numbers are rounded.
  JsonBuilder(std::string_view text, const HugeNumbers* huge) : text_(text), huge_(huge) {}

  Json root;
  std::string error;
  size_t error_byte = 0;  // 0: where reading stands

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(int64_t value) override { return Number(value, {}); }
  bool number_unsigned(uint64_t value) override {
    return value <= INT64_MAX ? Number(static_cast<int64_t>(value), {}) : Number(value, {});
  }
  bool number_float(double value, const std::string& written) override { return Number(value, written); }
  bool string(std::string& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return Fail("binary value"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& value) override {
    if (!open_.back().keys.insert(value).second) {
      return Fail(absl::StrCat("duplicate key \"", Printable(value), "\""));
    }
    open_.back().key = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ..."
    if (const size_t close = what.find("] "); close != what.npos) what.remove_prefix(close + 2);
    if (const size_t colon = what.find(": "); what.rfind("parse error at", 0) == 0 && colon != what.npos) {
      what.remove_prefix(colon + 2);
    }
    error_byte = position;
    return Fail(std::string(what));
  }

 private:
  struct Level {
    Json value;
    std::string key;
    absl::flat_hash_set<std::string> keys;
  };

  bool Fail(std::string what) {
    error = std::move(what);
    return false;
  }

  // `written`: how the text says it; of whole numbers nothing, for they lose no digit.
  bool Number(Json value, std::string_view written) {
    if (huge_ == nullptr) return Put(std::move(value));
    const int64_t number = numbers_++;
    if (const std::string_view huge = huge_->Written(text_, number); !huge.empty()) written = huge;
    if (written.empty() || value.dump() == written) return Put(std::move(value));
    return Put(Json::binary({written.begin(), written.end()}));
  }

  bool Put(Json value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (Level& level = open_.back(); level.value.is_array()) {
      level.value.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      // The vector underneath: ordered_map's own insertion looks through all keys each time.
      using Members = Json::object_t::Container;
      static_cast<Members&>(level.value.get_ref<Json::object_t&>())
          .emplace_back(std::move(level.key), std::move(value));
    }
    return true;
  }

  bool Open(Json value) {
    if (open_.size() == kMaxJsonDepth)
      return Fail(absl::StrCat("nested deeper than ", kMaxJsonDepth, " levels"));
    open_.push_back({std::move(value), {}, {}});
    return true;
  }

  bool Close() {
    Json value = std::move(open_.back().value);
    open_.pop_back();
    return Put(std::move(value));
  }

  const std::string_view text_;
  const HugeNumbers* const huge_;
  int64_t numbers_ = 0;
  std::vector<Level> open_;
};

bool HasWrittenNumbers(const Json& json) {
  if (!json.is_structured()) return json.is_binary();
  return std::any_of(json.begin(), json.end(), HasWrittenNumbers);
}

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

void DumpWritten(const Json& json, std::string* out) {
  if (json.is_binary()) {
    out->append(json.get_binary().begin(), json.get_binary().end());
  } else if (!json.is_structured()) {
    *out += Dump(json);
  } else {
    const bool is_object = json.is_object();
    *out += is_object ? '{' : '[';
    const char* comma = "";
    for (const auto& [key, value] : json.items()) {
      *out += std::exchange(comma, ",");
      if (is_object) *out += Dump(Json(key)) + ":";
      DumpWritten(value, out);
    }
    *out += is_object ? '}' : ']';
  }
}

template <typename T>
std::string Shortest(T value) {
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

absl::Status Wrong(const Json& object, const std::string& key, const std::string& name,
                   const std::string& expected) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected an object with ", key, ", found ", object.type_name()));
  }
  const Json* value = Find(object, key);
  if (value == nullptr) return absl::InvalidArgumentError(absl::StrCat(name, ": ", key, ": missing"));
  std::string text = DumpJson(*value);
  if (text.size() > 60) {
    const char* type = IsNumber(*value) ? "number" : value->type_name();
    text = absl::StrCat(type, " of ", text.size(), " bytes");
  }
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", key, ": expected ", expected, ", found ", text));
}

bool Absent(const Json& object, const std::string& key) {
  if (!object.is_object()) return false;
  const Json* value = Find(object, key);
  return value == nullptr || value->is_null();
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, const std::string& name, Numbers numbers) {
  const HugeNumbers huge(numbers == Numbers::kAsWritten ? text : "");
  const std::string replaced = huge.empty() ? "" : huge.Replaced(std::string(text));
  JsonBuilder builder(text, numbers == Numbers::kAsWritten ? &huge : nullptr);
  if (!huge.empty()) text = replaced;
  const char* furthest = text.data();
  const char* end = text.data() + text.size();
  if (Json::sax_parse(CountingIterator(text.data(), &furthest), CountingIterator(end, &furthest), &builder)) {
    return std::move(builder.root);
  }
  const size_t byte =
      std::min(text.size(), builder.error_byte > 0 ? builder.error_byte : size_t(furthest - text.data()));
  const auto line = 1 + std::count(text.begin(), text.begin() + byte, '\n');
  return absl::InvalidArgumentError(
      absl::StrCat(name, ":", line, ": byte ", byte, ": ", Printable(builder.error)));
}

std::string DumpJson(const Json& json) {
  if (!HasWrittenNumbers(json)) return Dump(json);
  std::string text;
  DumpWritten(json, &text);
  return text;
}

bool IsWrittenNumber(const Json& json) { return json.is_binary(); }
bool IsNumber(const Json& json) { return json.is_number() || IsWrittenNumber(json); }

std::string FormatFloat(float value) { return Shortest(value); }
std::string FormatDouble(double value) { return Shortest(value); }

const Json* Find(const Json& object, const std::string& key) {
  if (!object.is_object()) return nullptr;
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    if (name == key) return &value;
  }
  return nullptr;
}

absl::StatusOr<std::string> GetString(const Json& object, const std::string& key, const std::string& name) {
  const Json* value = Find(object, key);
  if (value == nullptr || !value->is_string()) return Wrong(object, key, name, "a string");
  return value->get<std::string>();
}

absl::StatusOr<int64_t> GetInt(const Json& object, const std::string& key, const std::string& name) {
  const Json* value = Find(object, key);
  if (value == nullptr || !value->is_number_integer() ||
      (value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX)) {
    return Wrong(object, key, name, "a whole number of at most 64 bits");
  }
  return value->get<int64_t>();
}

absl::StatusOr<double> GetDouble(const Json& object, const std::string& key, const std::string& name) {
  const Json* value = Find(object, key);
  if (value == nullptr || !IsNumber(*value)) return Wrong(object, key, name, "a number");
  if (!IsWrittenNumber(*value)) return value->get<double>();
  const double rounded = std::strtod(DumpJson(*value).c_str(), nullptr);
  if (!std::isfinite(rounded)) return Wrong(object, key, name, "a number that a double can hold");
  return rounded;
}

absl::StatusOr<bool> GetBool(const Json& object, const std::string& key, const std::string& name) {
  const Json* value = Find(object, key);
  if (value == nullptr || !value->is_boolean()) return Wrong(object, key, name, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> GetString(const Json& object, const std::string& key, const std::string& name,
                                      std::string otherwise) {
  return Absent(object, key) ? std::move(otherwise) : GetString(object, key, name);
}

absl::StatusOr<int64_t> GetInt(const Json& object, const std::string& key, const std::string& name,
                               int64_t otherwise) {
  return Absent(object, key) ? otherwise : GetInt(object, key, name);
}

absl::StatusOr<double> GetDouble(const Json& object, const std::string& key, const std::string& name,
                                 double otherwise) {
  return Absent(object, key) ? otherwise : GetDouble(object, key, name);
}

absl::StatusOr<bool> GetBool(const Json& object, const std::string& key, const std::string& name,
                             bool otherwise) {
  return Absent(object, key) ? otherwise : GetBool(object, key, name);
}

}  // namespace temper

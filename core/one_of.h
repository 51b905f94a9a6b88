// SPDX-License-Identifier: Apache-2.0
// Whether a value is one of a few.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <type_traits>

namespace temper {

template <class T>
concept TextItem = std::is_convertible_v<const T&, std::string_view>;

// IsOneOf(name, {"sin", "cos"}), IsOneOf(name, kNames): texts are compared as texts, whatever holds them.
constexpr bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> texts) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}
template <TextItem T, size_t n>
constexpr bool IsOneOf(std::string_view text, const T (&texts)[n]) {
  return std::find(std::begin(texts), std::end(texts), text) != std::end(texts);
}

// IsOneOf(kind, {Kind::kSum, Kind::kProduct}), IsOneOf(kind, kKinds).
template <class T>
constexpr bool IsOneOf(const T& value, std::initializer_list<T> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}
template <class T, size_t n>
requires(!TextItem<T> && !std::is_same_v<T, char>)  // a literal is an array of char that ends in 0
    constexpr bool IsOneOf(const T& value, const T (&values)[n]) {
  return std::find(std::begin(values), std::end(values), value) != std::end(values);
}

constexpr bool IsOneOf(char c, std::string_view characters) { return characters.find(c) != characters.npos; }

}  // namespace temper

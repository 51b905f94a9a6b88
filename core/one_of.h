// SPDX-License-Identifier: Apache-2.0
// Whether a value is one of a few.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>
#include <type_traits>

namespace temper {

// Texts are compared as texts, whatever holds them.
template <class T>
using OneOfItem = std::conditional_t<std::is_convertible_v<const T&, std::string_view>, std::string_view, T>;

// IsOneOf(name, {"sin", "cos"}), IsOneOf(kind, kKinds).
template <class T, size_t n>
requires(!std::is_same_v<T, char>)  // a literal is an array of char that ends in 0
    constexpr bool IsOneOf(const T& value, const OneOfItem<T> (&items)[n]) {
  return std::find(std::begin(items), std::end(items), OneOfItem<T>(value)) != std::end(items);
}

constexpr bool IsOneOf(char c, std::string_view characters) { return characters.find(c) != characters.npos; }

}  // namespace temper

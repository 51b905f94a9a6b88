// SPDX-License-Identifier: Apache-2.0
// Its own JSON, since a candidate's compilation must not wait for a library of templates. Comes before the
// candidate's code, whose macros must not reach it.
#include <unistd.h>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>
  namespace temper_driver {
  [[noreturn]] inline void Die(const std::string& why) {
    fprintf(stderr, "%s\n", why.c_str());
    _exit(1);
  }
  struct Reader {
    std::string text;
    size_t at = 0;
    char Peek() {
      while (at < text.size() && (text[at] == ' ' || text[at] == '\n')) ++at;
      return at < text.size() ? text[at] : 0;
    }
    bool Eat(char c) { return Peek() == c && ++at; }
    void Want(char c) {
      if (!Eat(c))
        Die(std::string("the arguments do not fit the function: expected ") + c + " at byte " +
            std::to_string(at));
    }
    bool Word(const char* word) {
      Peek();
      const std::string s = word;
      return text.compare(at, s.size(), s) == 0 && (at += s.size(), true);
    }
    void Utf8(unsigned c) {
      if (c < 0x80)
        out += char(c);
      else if (c < 0x800)
        out += char(0xc0 | c >> 6), out += char(0x80 | (c & 63));
      else
        out += char(0xe0 | c >> 12), out += char(0x80 | (c >> 6 & 63)), out += char(0x80 | (c & 63));
    }
    std::string out;
    std::string String() {
      Want('"');
      out.clear();
      while (at < text.size() && text[at] != '"') {
        if (text[at] != '\\') {
          out += text[at++];
          continue;
        }
        const char c = text[at + 1];
        at += 2;
        if (c == 'u')
          Utf8(unsigned(strtoul(text.substr(at, 4).c_str(), nullptr, 16))), at += 4;
        else
          out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
      }
      Want('"');
      return out;
    }
  };
  template <class T>
  struct Form;
  template <>
  struct Form<std::string> {
    static void Read(Reader& in, std::string& x) { x = in.String(); }
    static void Write(std::string& out, const std::string& x) {
      out += '"';
      for (const unsigned char c : x) {
        char text[8];
        if (c == '"' || c == '\\')
          out += '\\', out += char(c);
        else if (c < 32)
          snprintf(text, sizeof(text), "\\u%04x", c), out += text;
        else
          out += char(c);
      }
      out += '"';
    }
  };
  template <class T>
  struct Form {
    static_assert(std::is_arithmetic_v<T>, "a type that the driver of function tests does not know");
    static void Read(Reader& in, T& x) {
      in.Peek();
      char* end = nullptr;
      const char* begin = in.text.c_str() + in.at;
      if constexpr (std::is_same_v<T, bool>) {
        x = in.Word("true");
        if (!x && !in.Word("false")) in.Want('t');
        return;
      } else if constexpr (std::is_same_v<T, char>) {
        const std::string s = in.String();
        if (s.size() != 1) Die("the arguments do not fit the function: a char is a text of one byte");
        x = s[0];
        return;
      } else if constexpr (std::is_floating_point_v<T>)
        x = T(strtold(begin, &end));
      else
        end = const_cast<char*>(Whole(begin, x));
      if (end == begin || (!std::is_floating_point_v<T> && (*end == '.' || *end == 'e'))) in.Want('0');
      in.at += size_t(end - begin);
    }
    // strtoll would hold on to the largest number it has.
    static const char* Whole(const char* at, T& x) {
      const bool minus = *at == '-';
      x = 0;
      for (at += minus; *at >= '0' && *at <= '9'; ++at) {
        const T digit = T(*at - '0');
        T next;
        if (__builtin_mul_overflow(x, T(10), &next) ||
            (minus ? __builtin_sub_overflow(next, digit, &x) : __builtin_add_overflow(next, digit, &x)))
          Die("the arguments do not fit the function: a number beyond its type");
      }
      return at;
    }
    static void Write(std::string& out, const T& x) {
      char text[64];
      if constexpr (std::is_same_v<T, bool>)
        out += x ? "true" : "false";
      else if constexpr (std::is_same_v<T, char>)
        Form<std::string>::Write(out, std::string(1, x));
      else if constexpr (!std::is_floating_point_v<T>) {
        char* at = text + sizeof(text);
        T left = x;
        do {
          const int digit = int(left % 10);
          *--at = char('0' + (digit < 0 ? -digit : digit));
          left /= 10;
        } while (left != 0);
        if (x < 0) *--at = '-';
        out.append(at, size_t(text + sizeof(text) - at));
      } else if (!std::isfinite(x))
        out += std::isnan(x) ? "{\"f\":\"nan\"}" : x > 0 ? "{\"f\":\"inf\"}" : "{\"f\":\"-inf\"}";
      else {
        snprintf(text, sizeof(text), "%.*g", std::is_same_v<T, float> ? 9 : 17, double(x));
        out += text;
        if (std::string(text).find_first_of(".e") == std::string::npos) out += ".0";
      }
    }
  };
  template <class T, class A>
  struct Form<std::vector<T, A>> {
    static void Read(Reader& in, std::vector<T, A>& x) {
      in.Want('[');
      if (in.Eat(']')) return;
      do {
        T item{};
        Form<T>::Read(in, item);
        x.push_back(std::move(item));
      } while (in.Eat(','));
      in.Want(']');
    }
    static void Write(std::string& out, const std::vector<T, A>& x) {
      out += '[';
      bool first = true;
      for (const auto& item : x) {
        if (!first) out += ',';
        first = false;
        Form<T>::Write(out, item);
      }
      out += ']';
    }
  };
  template <class T>
  struct Fixed {  // array, pair, tuple
    static void Read(Reader& in, T& x) {
      in.Want('[');
      bool first = true;
      std::apply(
          [&](auto&... item) {
            ((first || (in.Want(','), true), first = false,
              Form<std::decay_t<decltype(item)>>::Read(in, item)),
             ...);
          },
          x);
      in.Want(']');
    }
    static void Write(std::string& out, const T& x) {
      out += '[';
      bool first = true;
      std::apply(
          [&](const auto&... item) {
            ((first || (out += ',', true), first = false,
              Form<std::decay_t<decltype(item)>>::Write(out, item)),
             ...);
          },
          x);
      out += ']';
    }
  };
  template <class T, size_t N>
  struct Form<std::array<T, N>> : Fixed<std::array<T, N>> {};
  template <class A, class B>
  struct Form<std::pair<A, B>> : Fixed<std::pair<A, B>> {};
  template <class... T>
  struct Form<std::tuple<T...>> : Fixed<std::tuple<T...>> {};
  template <class T>
  struct Form<std::optional<T>> {
    static void Read(Reader& in, std::optional<T>& x) {
      if (!in.Word("null")) x.emplace(), Form<T>::Read(in, *x);
    }
    static void Write(std::string& out, const std::optional<T>& x) {
      if (x)
        Form<T>::Write(out, *x);
      else
        out += "null";
    }
  };
  template <class M>
  struct Keyed {
    static void Read(Reader& in, M& x) {
      in.Want('{');
      if (in.Eat('}')) return;
      do {
        const std::string key = in.String();
        in.Want(':');
        Form<typename M::mapped_type>::Read(in, x[key]);
      } while (in.Eat(','));
      in.Want('}');
    }
    static void Write(std::string& out, const M& x) {
      out += "{\"d\":{";
      bool first = true;
      for (const auto& [key, value] : x) {
        if (!first) out += ',';
        first = false;
        Form<std::string>::Write(out, key);
        out += ':';
        Form<typename M::mapped_type>::Write(out, value);
      }
      out += "}}";
    }
  };
  template <class T>
  struct Form<std::map<std::string, T>> : Keyed<std::map<std::string, T>> {};
  template <class T>
  struct Form<std::unordered_map<std::string, T>> : Keyed<std::unordered_map<std::string, T>> {};

  template <class R, class... A, class Call>
  int Answer(Call call) {
    Reader in;
    char piece[65536];
    for (ssize_t n; (n = read(0, piece, sizeof(piece))) > 0;) in.text.append(piece, size_t(n));
    in.Want('{');
    in.String(), in.Want(':');
    std::string answer = in.String() + "\n";
    in.Want(','), in.String(), in.Want(':'), in.String(), in.Want(','), in.String(), in.Want(':');
    std::tuple<std::decay_t<A>...> args{};
    Fixed<std::tuple<std::decay_t<A>...>>::Read(in, args);
    std::apply(
        [&](auto&... arg) {
          if constexpr (std::is_void_v<R>)
            call(static_cast<A>(arg)...), answer += "null";
          else
            Form<std::decay_t<R>>::Write(answer, call(static_cast<A>(arg)...));
        },
        args);
    for (size_t done = 0; done < answer.size();) {
      const ssize_t n = write(3, answer.data() + done, answer.size() - done);
      if (n <= 0) Die("the result is too long");
      done += size_t(n);
    }
    _exit(0);
  }
  template <class R, class... A>
  int Run(R (*f)(A...)) {
    return Answer<R, A...>([f](A... a) -> R { return f(static_cast<A>(a)...); });
  }
  template <class R, class C, class... A>
  int Run(R (C::*f)(A...)) {
    return Answer<R, A...>([f](A... a) -> R {
      C object;
      return (object.*f)(static_cast<A>(a)...);
    });
  }
  template <class R, class C, class... A>
  int Run(R (C::*f)(A...) const) {
    return Answer<R, A...>([f](A... a) -> R {
      C object;
      return (object.*f)(static_cast<A>(a)...);
    });
  }
  }  // namespace temper_driver
#define main temper_candidate_main
#line 1 "solution.cc"
@SOLUTION@
#line 1 "driver.cc"
#undef main
#undef int
#undef return
  int main() { return ::temper_driver::Run(&::@FUNCTION@); }

// SPDX-License-Identifier: Apache-2.0
// The words that the LaTeX reader knows.
#pragma once

#include <string_view>

#include "rewards/math/latex/lexer.h"

namespace temper::math {

struct LatexCommand {
  enum class Lex {
    kToken,         // the token below
    kSpace,         // white space
    kSkip,          // nothing: \displaystyle
    kSkipArgument,  // nothing, with its braces: \hspace{1em}
    kLeft,          // \left, \big..: a delimiter follows
    kRight,
    kFont,     // the argument's letters mean what they mean without it: \mathbf
    kUpright,  // \mathrm: one letter is a letter, more are a text or a function
    kText,     // \text
  };
  // NOLINTNEXTLINE(google-explicit-constructor): the tables are made of the first argument
  constexpr LatexCommand(Lex the_lex, TokenKind the_kind = TokenKind::kError, std::string_view the_text = {})
      : lex(the_lex), kind(the_kind), text(the_text) {}

  Lex lex;
  TokenKind kind;
  std::string_view text;
};

// The command of that name, without its backslash; null: none.
const LatexCommand* FindCommand(std::string_view name);

// A word without a backslash: sin, pi, and, infinity; null: none, its letters are symbols.
const LatexCommand* FindWord(std::string_view word);

// Whether a run of letters is more likely a word than a product: no name of mathematics, and not in the order
// of the alphabet, in which people write products.
bool IsEnglishWord(std::string_view letters);

}  // namespace temper::math

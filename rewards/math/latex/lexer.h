// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace temper::math {

enum class TokenKind {
  kEnd,
  kError,   // text: what is wrong
  kNumber,  // digits, repeating, exponent
  kWord,    // text: letters; LatexLexer::Split cuts the first one off
  kSymbol,  // text: a Greek letter or the like
  kConstant,
  kNumberSet,  // text: N Z Q R C ..
  kEmptySet,
  kFunction,     // text: its name in the tree
  kText,         // text: what stands in \text{..}, or letters of another script
  kConjunction,  // text: and, or
  kPlus,
  kMinus,
  kPlusMinus,
  kMinusPlus,
  kTimes,
  kDivide,
  kColon,
  kMod,   // \mod, \bmod
  kPmod,  // \pmod: its braces follow
  kPercent,
  kBang,
  kPrime,
  kDegree,
  kCaret,
  kUnder,
  kUnion,
  kIntersection,
  kDifference,
  kRelation,  // text: = < in subset ..; its name in the tree
  kReversed,  // the same with its sides exchanged
  kNot,
  kLogic,  // text: and, or, not
  kComma,
  kSemicolon,
  kBreak,  // \quad or a new line: ends what stands before it
  kAmpersand,
  kRow,    // \\ in a matrix
  kOpen,   // text: ( [ { < floor ceil abs norm, or group for a bare brace
  kClose,  // the same
  kBar,    // text: abs, norm; whether it opens or closes is not told
  kMid,    // \mid: never opens
  kFraction,
  kBinomial,
  kInfix,    // text: over, choose
  kRoot,     // \sqrt: an option and an argument
  kRadical,  // √, sqrt: what follows; text: 2 or 3
  kBig,      // text: sum, product, integral, limit
  kArrow,    // \to
  kPartial,
  kAccent,  // text: bar, hat, ..
  kName,    // \variable, \operatorname
  kBoxed,
  kBegin,  // text: the environment's name
  kFinish,
  kDots,
};

struct LatexToken {
  TokenKind kind = TokenKind::kEnd;
  std::string_view text;
  size_t begin = 0;
  size_t end = 0;
  bool spaced = false;    // white space or a spacing command before it
  std::string digits;     // kNumber: at most one point
  std::string repeating;  // kNumber: the digits under a bar, after `digits`
  std::string exponent;   // kNumber: of 10, may have a minus sign; empty: there is none

  bool Is(TokenKind wanted, std::string_view wanted_text) const {
    return kind == wanted && text == wanted_text;
  }
};

// Cuts a text (ASCII and UTF-8 that ToAsciiMath left) into tokens, one at a time, as the parser asks. A copy
// is a place to come back to.
class LatexLexer {
 public:
  explicit LatexLexer(std::string_view text) : text_(text) {}

  const LatexToken& Peek();
  // Moves on behind the token that Peek shows.
  void Skip();
  // The kWord that Peek shows becomes its first letter.
  void Split();
  // Shows one character (of a number: a digit, of a word: a letter) or command, as a LaTeX argument without
  // braces is. For the token that Peek shows.
  void Narrow();
  // Text from behind the token that Peek shows, an opening brace, to its partner; Peek shows what follows.
  // An unclosed brace makes a kError token.
  std::string_view Raw();
  void Jump(size_t position);
  std::string_view text() const { return text_; }
  size_t position() const { return last_end_; }  // behind the last token that was skipped

  // What the parser knows:
  bool exponents = false;    // 1e-3 is 0.001: e cannot be the constant
  bool group_digits = true;  // a comma before three digits belongs to the number
  int matrices = 0;          // open environments, in which \\ ends a row

 private:
  void Lex();
  void LexNumber();
  void LexWord();
  void LexCommand();
  void LexNamed(std::string_view name);
  void LexText(bool upright);
  void LexOther();
  bool SkipSpace();
  void Set(TokenKind kind, std::string_view text, size_t end);
  char At(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }
  size_t SkipBlanks(size_t at) const;
  size_t CloseOf(size_t open) const;

  std::string_view text_;
  size_t position_ = 0;
  size_t last_end_ = 0;
  bool fresh_ = false;  // token_ is what stands at position_
  LatexToken token_;
  bool opens_ = false;   // \left before
  bool closes_ = false;  // \right before
};

}  // namespace temper::math

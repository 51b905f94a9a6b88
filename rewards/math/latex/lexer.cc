// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/lexer.h"

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/quantity_words.h"

namespace temper::math {
namespace {

struct Plain {
  std::string_view spelling;
  TokenKind kind;
  std::string_view text;
};

// Longer ones first.
constexpr Plain kPlain[] = {{"{:}", TokenKind::kColon, ""},     {"<=>", TokenKind::kRelation, "iff"},
                            {"<=", TokenKind::kRelation, "<="}, {">=", TokenKind::kRelation, ">="},
                            {"!=", TokenKind::kRelation, "!="}, {"==", TokenKind::kRelation, "="},
                            {":=", TokenKind::kRelation, "="},  {"=>", TokenKind::kRelation, "implies"},
                            {"->", TokenKind::kArrow, "to"},    {"+/-", TokenKind::kPlusMinus, ""},
                            {"**", TokenKind::kCaret, ""},      {"...", TokenKind::kDots, ""},
                            {"||", TokenKind::kBar, "abs"},     {"=", TokenKind::kRelation, "="},
                            {"<", TokenKind::kRelation, "<"},   {">", TokenKind::kRelation, ">"},
                            {"+", TokenKind::kPlus, ""},        {"-", TokenKind::kMinus, ""},
                            {"*", TokenKind::kTimes, ""},       {"/", TokenKind::kDivide, ""},
                            {":", TokenKind::kColon, ""},       {"!", TokenKind::kBang, ""},
                            {"'", TokenKind::kPrime, ""},       {"^", TokenKind::kCaret, ""},
                            {"_", TokenKind::kUnder, ""},       {"%", TokenKind::kPercent, ""},
                            {",", TokenKind::kComma, ""},       {";", TokenKind::kSemicolon, ""},
                            {"&", TokenKind::kAmpersand, ""},   {"(", TokenKind::kOpen, "("},
                            {")", TokenKind::kClose, "("},      {"[", TokenKind::kOpen, "["},
                            {"]", TokenKind::kClose, "["},      {"{", TokenKind::kOpen, "group"},
                            {"}", TokenKind::kClose, "group"},  {"|", TokenKind::kBar, "abs"}};

}  // namespace

const LatexToken& LatexLexer::Peek() {
  if (!fresh_) Lex();
  fresh_ = true;
  return token_;
}

void LatexLexer::Skip() {
  position_ = last_end_ = Peek().end;
  fresh_ = token_.kind == TokenKind::kEnd || token_.kind == TokenKind::kError;  // both stay
}

void LatexLexer::Split() {
  token_.end = token_.begin + 1;
  token_.text = text_.substr(token_.begin, 1);
  token_.kind = TokenKind::kWord;
}

void LatexLexer::Narrow() {
  const char first = At(Peek().begin);
  if (absl::ascii_isalpha(first)) Split();
  if (absl::ascii_isdigit(first)) {
    Set(TokenKind::kNumber, text_.substr(token_.begin, 1), token_.begin + 1);
    token_.digits = std::string(1, first);
  }
}

std::string_view LatexLexer::Raw() {
  const size_t open = Peek().begin;
  const size_t close = CloseOf(open);
  if (close == text_.npos) {
    Set(TokenKind::kError, "an unclosed {", open);
    return {};
  }
  position_ = last_end_ = close + 1;
  fresh_ = false;
  return text_.substr(open + 1, close - open - 1);
}

void LatexLexer::Jump(size_t position) {
  position_ = position;
  fresh_ = false;
}

// Where the brace at `open` closes.
size_t LatexLexer::CloseOf(size_t open) const {
  int depth = 0;
  for (size_t at = open; at < text_.size(); ++at) {
    if (text_[at] == '\\') {
      ++at;
    } else if (text_[at] == '{') {
      ++depth;
    } else if (text_[at] == '}' && --depth == 0) {
      return at;
    }
  }
  return text_.npos;
}

void LatexLexer::Set(TokenKind kind, std::string_view text, size_t end) {
  token_.kind = kind;
  token_.text = text;
  token_.end = end;
}

size_t LatexLexer::SkipBlanks(size_t at) const {
  while (absl::ascii_isspace(At(at))) ++at;
  return at;
}

// White space and what only looks like something; false: there is none.
bool LatexLexer::SkipSpace() {
  const char c = At(position_);
  const char before = position_ == 0 ? ' ' : text_[position_ - 1];
  const bool nothing = c == '{' && At(position_ + 1) == '}' && (absl::ascii_isdigit(before) || before == ' ');
  // sq. ft
  size_t word = position_;
  while (c == '.' && word > 0 && absl::ascii_isalpha(text_[word - 1])) --word;
  const bool shortened = word < position_ && At(position_ + 1) == ' ' &&
                         absl::ascii_isalpha(At(position_ + 2)) &&
                         IsUnit(text_.substr(word, position_ - word));
  const bool space = shortened || absl::ascii_isspace(c) || IsOneOf(c, "~$`") || (c == '&' && matrices == 0);
  position_ += nothing ? 2 : space ? 1 : 0;
  return nothing || space;
}

void LatexLexer::Lex() {
  token_ = {};
  opens_ = closes_ = false;
  while (true) {
    while (SkipSpace()) token_.spaced = true;
    token_.begin = position_;
    token_.end = position_;
    if (position_ >= text_.size()) return;
    const char c = text_[position_];
    if (absl::ascii_isdigit(c) || (c == '.' && (absl::ascii_isdigit(At(position_ + 1)) ||
                                                text_.substr(position_ + 1).starts_with("\\overline{"))))
      return LexNumber();
    if (absl::ascii_isalpha(c)) return LexWord();
    if (c != '\\') return LexOther();
    token_.kind = TokenKind::kEnd;
    LexCommand();
    if (token_.end > token_.begin || token_.kind == TokenKind::kError) return;
  }
}

void LatexLexer::LexWord() {
  size_t end = position_;
  while (absl::ascii_isalpha(At(end))) ++end;
  const std::string_view word = text_.substr(position_, end - position_);
  if (const LatexCommand* known = FindWord(word)) return Set(known->kind, known->text, end);
  // sinx, lnx
  if (word.size() > 2) {
    const LatexCommand* known = FindWord(word.substr(0, word.size() - 1));
    if (known != nullptr && known->kind == TokenKind::kFunction)
      return Set(known->kind, known->text, end - 1);
  }
  Set(TokenKind::kWord, word, end);
}

void LatexLexer::LexOther() {
  const std::string_view rest = text_.substr(position_);
  const char c = rest[0];
  if (static_cast<unsigned char>(c) >= 0x80) {  // letters of another script
    size_t end = position_;
    while (end < text_.size() && static_cast<unsigned char>(text_[end]) >= 0x80)
      end += Utf8Length(text_.substr(end));
    return Set(TokenKind::kText, text_.substr(position_, end - position_), end);
  }
  if (opens_ || closes_) {
    const size_t end = position_ + 1;
    const TokenKind kind = opens_ ? TokenKind::kOpen : TokenKind::kClose;
    if (c == '.') {
      if (closes_) return Set(TokenKind::kClose, "none", end);
      position_ = end;
      return Lex();
    }
    if (c == '|') return Set(kind, "abs", end);
    if (c == '{' || c == '}') return Set(c == '{' ? TokenKind::kOpen : TokenKind::kClose, "{", end);
    if (c == '<' || c == '>') return Set(kind, "<", end);
    if (c == '/') {
      position_ = end;
      return Lex();
    }
  }
  for (const Plain& plain : kPlain) {
    if (rest.starts_with(plain.spelling)) {
      const size_t length = plain.spelling == "||" ? 1 : plain.spelling.size();
      return Set(plain.kind, plain.text, position_ + length);
    }
  }
  if (c == '.' && rest.find_first_not_of(". $\n\t") == rest.npos)
    return Set(TokenKind::kEnd, "", text_.size());
  Set(TokenKind::kError, c == '.' ? "a full stop" : "a character that is no mathematics", position_);
}

void LatexLexer::LexCommand() {
  const size_t name = position_ + 1;
  size_t end = name;
  while (absl::ascii_isalpha(At(end))) ++end;
  if (end == name) {
    if (At(name) == '\\') {  // \\ is a new line, or a backslash that was escaped twice
      if (matrices > 0) return Set(TokenKind::kRow, "", name + 1);
      if (absl::ascii_isalpha(At(name + 1)) || At(name + 1) == '{' || At(name + 1) == '}') {
        ++position_;
        token_.end = token_.begin = position_;
        return LexCommand();
      }
      return Set(TokenKind::kBreak, "", name + 1);
    }
    if (name >= text_.size()) {  // a backslash at the very end
      position_ = name;
      token_.begin = token_.end = position_;
      return;
    }
    end = name + 1;
  } else if (At(end) == '*' && text_.substr(name, end - name) == "operatorname") {
    ++end;
  }
  LexNamed(text_.substr(name, end - name));
}

void LatexLexer::LexNamed(std::string_view name) {
  const LatexCommand* command = FindCommand(name);
  // \cdotx, \vertx: as far as the name is known, the rest are letters.
  while (command == nullptr && name.size() > 2) {
    name.remove_suffix(1);
    command = FindCommand(name);
  }
  const size_t begin = position_;
  const size_t end = begin + 1 + name.size();
  if (command == nullptr) return Set(TokenKind::kError, "an unknown command", begin);
  const auto move = [&](size_t to) {
    position_ = to;
    token_.begin = token_.end = to;
  };
  switch (command->lex) {
    case LatexCommand::Lex::kSpace:
      token_.spaced = true;
      return move(end);
    case LatexCommand::Lex::kSkip:
      if (name == "middle" && At(SkipBlanks(end)) == '|')
        return Set(TokenKind::kMid, "", SkipBlanks(end) + 1);
      return move(end);
    case LatexCommand::Lex::kSkipArgument: {
      const size_t open = SkipBlanks(end);
      const size_t close = At(open) == '{' ? CloseOf(open) : text_.npos;
      return move(close == text_.npos ? end : close + 1);
    }
    case LatexCommand::Lex::kLeft:
    case LatexCommand::Lex::kRight: {
      const size_t next = SkipBlanks(end);
      opens_ = command->lex == LatexCommand::Lex::kLeft;
      closes_ = !opens_;
      position_ = next;
      token_.begin = token_.end = next;
      if (At(next) == '\\' || next >= text_.size()) return;  // the loop reads \{ and its like
      return LexOther();
    }
    case LatexCommand::Lex::kFont:
      return move(end);
    case LatexCommand::Lex::kUpright:
    case LatexCommand::Lex::kText:
      position_ = end;
      return LexText(command->lex == LatexCommand::Lex::kUpright);
    case LatexCommand::Lex::kToken:
      break;
  }
  TokenKind kind = command->kind;
  if (kind == TokenKind::kBar && (opens_ || closes_)) kind = opens_ ? TokenKind::kOpen : TokenKind::kClose;
  if (kind == TokenKind::kBegin || kind == TokenKind::kFinish) {
    const size_t open = SkipBlanks(end);
    const size_t close = At(open) == '{' ? CloseOf(open) : text_.npos;
    if (close == text_.npos) return Set(TokenKind::kError, "an environment without a name", begin);
    return Set(kind, Trim(text_.substr(open + 1, close - open - 1)), close + 1);
  }
  Set(kind, command->text, end);
}

// From behind \text or \mathrm. A letter, a function's name and what starts like a number are what they are
// without it.
void LatexLexer::LexText(bool upright) {
  const size_t open = SkipBlanks(position_);
  if (At(open) != '{') {
    token_.begin = token_.end = position_;
    return;
  }
  const size_t close = CloseOf(open);
  if (close == text_.npos) return Set(TokenKind::kError, "an unclosed {", open);
  std::string_view content = Trim(text_.substr(open + 1, close - open - 1));
  while (content.starts_with("\\ ") || content.starts_with("~")) {
    content = Trim(content.substr(content[0] == '~' ? 1 : 2));
  }
  if (content.size() == 3 && content[0] == '(' && content[2] == ')') content = content.substr(1, 1);
  const char first = content.empty() ? '\0' : content[0];
  if (content.size() == 1 && absl::ascii_isalpha(first)) return Set(TokenKind::kWord, content, close + 1);
  const LatexCommand* word = FindWord(content);
  if (word == nullptr && upright) word = FindCommand(content);
  if (word != nullptr && word->lex == LatexCommand::Lex::kToken)
    return Set(word->kind, word->text, close + 1);
  // \text{ (apples)}
  const bool words = content.ends_with(')') && first == '(' && content.size() > 3 &&
                     absl::ascii_isalpha(content[1]) && absl::ascii_isalpha(content[2]);
  if (absl::ascii_isdigit(first) || IsOneOf(first, "$-\\") || (first == '(' && !words)) {
    position_ = open;
    token_.begin = token_.end = position_;
    return;
  }
  if (words) content = content.substr(1, content.size() - 2);
  Set(TokenKind::kText, content, close + 1);
}

}  // namespace temper::math

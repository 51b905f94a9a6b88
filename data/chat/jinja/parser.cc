// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/text.h"
#include "data/chat/jinja/expression_parser.h"
#include "data/chat/jinja/jinja.h"

namespace temper::jinja {
namespace {

using StatementKind = Statement::Kind;
using Names = std::initializer_list<const char*>;

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name) : expressions_(std::move(tokens), name) {}

  absl::StatusOr<Block> Run() {
    Block block = Statements({});
    expressions_.FailIfUnknown();
    if (!expressions_.status().ok()) return expressions_.status();
    return block;
  }

 private:
  // Until a tag that has one of the names, of which the name is read.
  Block Statements(Names ends) {
    Block block;
    if (!expressions_.Enter()) return block;
    while (!expressions_.failed() && Peek().type != Token::Type::kEnd) {
      const Token& token = expressions_.Next();
      if (token.type == Token::Type::kText) {
        block.push_back(TextStatement(token));
      } else if (token.type == Token::Type::kOutputBegin) {
        auto output = Make(StatementKind::kOutput);
        output->values.push_back(expressions_.Tuple());
        expressions_.Expect(Token::Type::kOutputEnd, "}}");
        block.push_back(std::move(output));
      } else {
        const Token& tag = Peek();
        if (std::ranges::any_of(ends, [&](const char* end) { return tag.IsName(end); })) break;
        if (auto statement = Tag(ends)) block.push_back(std::move(statement));
        expressions_.Expect(Token::Type::kBlockEnd, "%}");
      }
    }
    if (ends.size() > 0 && Peek().type == Token::Type::kEnd) {
      Fail(absl::StrCat("the template ends where ", absl::StrJoin(ends, " or "), " is to come"));
    }
    expressions_.Leave();
    return block;
  }

  // The rest of a tag, and what is in it.
  Block Body(Names ends, bool is_guarded = false) {
    const bool was_guarded = expressions_.SetGuarded(is_guarded);
    expressions_.Skip(":");
    expressions_.Expect(Token::Type::kBlockEnd, "%}");
    Block block = Statements(ends);
    expressions_.SetGuarded(was_guarded);
    return block;
  }
  Block BodyAndEnd(const char* end) {
    Block block = Body({end});
    expressions_.Next();
    return block;
  }

  std::unique_ptr<Statement> Make(StatementKind kind) {
    auto statement = std::make_unique<Statement>();
    statement->kind = kind;
    statement->line = Peek().line;
    return statement;
  }

  std::unique_ptr<Statement> TextStatement(const Token& token) {
    auto statement = Make(StatementKind::kText);
    statement->text = token.text;
    return statement;
  }

  std::unique_ptr<Statement> Tag(Names ends) {
    const int line = Peek().line;
    const std::string tag = expressions_.ExpectName("a tag's name");
    if (tag == "if") return If();
    if (tag == "for") return For();
    if (tag == "set") return Set();
    if (tag == "macro") return Macro();
    if (tag == "call") return CallBlock();
    if (tag == "filter") return Filter();
    if (tag == "with") return With();
    if (tag == "print") return Print();
    if (tag == "generation") {
      auto statement = Make(StatementKind::kGeneration);
      const int loops = std::exchange(loops_, 0);  // a function of its own to Jinja
      statement->blocks.push_back(BodyAndEnd("endgeneration"));
      loops_ = loops;
      return statement;
    }
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) Fail(tag + " stands in no loop", line);
      return Make(tag == "break" ? StatementKind::kBreak : StatementKind::kContinue);
    }
    const bool is_end = tag.starts_with("end") || tag == "else" || tag == "elif";
    Fail(absl::StrCat(
             is_end ? "unexpected tag " : "temper knows no tag ", Printable(tag, 60),
             is_end && ends.size() > 0 ? absl::StrCat("; expected ", absl::StrJoin(ends, " or ")) : ""),
         line);
    return nullptr;
  }

  std::unique_ptr<Statement> If() {
    auto statement = Make(StatementKind::kIf);
    const bool was_guarded = expressions_.SetGuarded(true);
    for (bool is_more = true; is_more && !expressions_.failed();) {
      statement->values.push_back(expressions_.Tuple(false));
      statement->blocks.push_back(Body({"elif", "else", "endif"}, true));
      const std::string next = expressions_.Next().word;
      is_more = next == "elif";
      if (next != "else") continue;
      statement->blocks.push_back(Body({"endif"}, true));
      expressions_.Next();
    }
    expressions_.SetGuarded(was_guarded);
    return statement;
  }

  std::unique_ptr<Statement> For() {
    auto statement = Make(StatementKind::kFor);
    ++loops_;
    statement->targets.push_back(Assigned(expressions_.Target()));
    if (!expressions_.SkipName("in")) Fail("a for lacks its in");
    statement->values.push_back(expressions_.Tuple(false));
    const bool was_guarded = expressions_.SetGuarded(false);
    statement->values.push_back(expressions_.SkipName("if") ? expressions_.Conditional() : nullptr);
    expressions_.SetGuarded(was_guarded);
    statement->is_recursive = expressions_.SkipName("recursive");
    statement->blocks.push_back(Body({"endfor", "else"}));
    --loops_;
    const bool has_else = expressions_.Next().word == "else";
    statement->blocks.push_back(has_else ? BodyAndEnd("endfor") : Block());
    return statement;
  }

  // Within a for, `loop` is no name of the template's.
  ExpressionPtr Assigned(ExpressionPtr target) {
    if (target->kind == Expression::Kind::kName && target->name == "loop" && loops_ > 0) {
      Fail("loop is assigned to in a for", target->line);
    }
    return target;
  }

  std::unique_ptr<Statement> Set() {
    auto statement = Make(StatementKind::kSet);
    statement->targets.push_back(Assigned(expressions_.Target(true)));
    if (expressions_.Skip("=")) {
      statement->values.push_back(expressions_.Tuple());
      return statement;
    }
    statement->kind = StatementKind::kSetBlock;
    statement->values.push_back(Peek().Is("|") ? expressions_.Filters(nullptr) : nullptr);
    statement->blocks.push_back(BodyAndEnd("endset"));
    return statement;
  }

  std::unique_ptr<Statement> Filter() {
    auto statement = Make(StatementKind::kFilter);
    const bool was_guarded = expressions_.SetGuarded(false);
    statement->values.push_back(expressions_.Filters(nullptr, false));
    expressions_.SetGuarded(was_guarded);
    statement->blocks.push_back(BodyAndEnd("endfilter"));
    return statement;
  }

  std::unique_ptr<Statement> With() {
    auto statement = Make(StatementKind::kWith);
    while (!expressions_.failed() && Peek().type != Token::Type::kBlockEnd) {
      if (!statement->targets.empty()) expressions_.ExpectSign(",");
      statement->targets.push_back(Assigned(expressions_.Target()));
      expressions_.ExpectSign("=");
      statement->values.push_back(expressions_.Conditional());
    }
    statement->blocks.push_back(BodyAndEnd("endwith"));
    return statement;
  }

  std::unique_ptr<Statement> Print() {
    auto statement = Make(StatementKind::kOutput);
    while (!expressions_.failed() && Peek().type != Token::Type::kBlockEnd) {
      if (!statement->values.empty()) expressions_.ExpectSign(",");
      statement->values.push_back(expressions_.Conditional());
    }
    return statement;
  }

  // Parameters and body of a macro, or of what a call block hands on.
  std::unique_ptr<const MacroBody> Function(std::string name, const char* end, Statement* call) {
    auto macro = std::make_unique<MacroBody>();
    macro->name = std::move(name);
    const bool was_guarded = expressions_.SetGuarded(false);
    const size_t names_before = expressions_.names_read().size();
    if (call == nullptr || Peek().Is("(")) Parameters(*macro);
    expressions_.SetGuarded(was_guarded);
    if (call != nullptr) {
      call->values.push_back(expressions_.Conditional());
      if (call->values[0]->kind != Expression::Kind::kCall) Fail("a call block wants a call", call->line);
    }
    const int loops = std::exchange(loops_, 0);
    macro->body = BodyAndEnd(end);
    loops_ = loops;
    const auto& names = expressions_.names_read();
    const auto reads = [&](const char* read) {
      return std::find(names.begin() + names_before, names.end(), read) != names.end();
    };
    macro->takes_more_values = reads("varargs");
    macro->takes_more_named = reads("kwargs");
    macro->takes_caller = reads("caller");
    return macro;
  }

  void Parameters(MacroBody& macro) {
    expressions_.ExpectSign("(");
    bool has_default = false;
    while (!expressions_.failed() && !Peek().Is(")")) {
      if (!macro.parameters.empty()) expressions_.ExpectSign(",");
      Parameter parameter;
      parameter.name = expressions_.ExpectName("a parameter");
      if (expressions_.Skip("=")) parameter.otherwise = expressions_.Conditional();
      if (has_default && parameter.otherwise == nullptr)
        Fail("a parameter without a default follows one with");
      has_default = parameter.otherwise != nullptr;
      macro.parameters.push_back(std::move(parameter));
    }
    expressions_.ExpectSign(")");
  }

  std::unique_ptr<Statement> Macro() {
    auto statement = Make(StatementKind::kMacro);
    std::string name = expressions_.ExpectName("a macro's name");
    statement->macro = Function(std::move(name), "endmacro", nullptr);
    return statement;
  }

  std::unique_ptr<Statement> CallBlock() {
    auto statement = Make(StatementKind::kCall);
    statement->macro = Function("caller", "endcall", statement.get());
    return statement;
  }

  const Token& Peek() const { return expressions_.Peek(); }
  void Fail(const std::string& what, int line = 0) { expressions_.Fail(what, line); }

  ExpressionParser expressions_;
  int loops_ = 0;  // that break may end
};

}  // namespace

absl::StatusOr<Block> Parse(std::string_view source, const std::string& name) {
  TEMPER_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source, name));
  return Parser(std::move(tokens), name).Run();
}

}  // namespace temper::jinja

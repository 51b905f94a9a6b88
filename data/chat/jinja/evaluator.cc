// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "data/chat/jinja/jinja.h"
#include "data/chat/jinja/loop.h"

namespace temper::jinja {
namespace {

using Kind = Expression::Kind;

enum class Flow { kNext, kBreak, kContinue };

class Evaluator;

// A macro, or the body of a call block: reads the scope in which it was defined.
class Macro : public Object {
 public:
  Macro(Evaluator& evaluator, const MacroBody& body, Scope* scope)
      : evaluator_(evaluator), body_(body), scope_(scope) {}
  std::string type() const override { return absl::StrCat("Macro '", body_.name, "'"); }
  bool GetAttribute(Runtime& runtime, TextView name, Value* value) override;
  bool is_callable() const override { return true; }
  Value Call(Runtime& runtime, const Arguments& arguments) override;

 private:
  Evaluator& evaluator_;
  const MacroBody& body_;
  Scope* const scope_;
};

class Evaluator {
 public:
  explicit Evaluator(Runtime& runtime) : runtime_(runtime) {}

  Text Run(const Block& block, std::vector<std::pair<std::string, Value>> variables) {
    Scope* root = scopes_.Open(nullptr);
    for (auto& [name, value] : variables) root->Set(runtime_, name, std::move(value));
    Text text = Capture(block, root);
    return runtime_.failed() ? Text() : text;
  }

  Text Capture(const Block& block, Scope* scope) {
    Text text;
    Text* const outer = std::exchange(out_, &text);
    Execute(block, scope);
    out_ = outer;
    return text;
  }

  Value CallMacro(const MacroBody& macro, Scope* defined_in, const Arguments& arguments) {
    if (!Deeper()) return Value();
    Scope* scope = scopes_.Open(defined_in);
    Bind(macro, scope, arguments);
    Text text = Capture(macro.body, scope);
    scopes_.Close(scope);
    --runtime_.depth();
    return Value(std::move(text));
  }

 private:
  bool Deeper() {
    if (++runtime_.depth() > Runtime::kMaxCalls) runtime_.Fail("the template's calls are nested too deep");
    return !runtime_.failed();
  }

  // ---- statements

  Flow Execute(const Block& block, Scope* scope) {
    if (!Deeper()) return Flow::kBreak;
    Flow flow = Flow::kNext;
    for (const auto& statement : block) {
      flow = ExecuteOne(*statement, scope);
      if (flow != Flow::kNext || runtime_.failed()) break;
    }
    --runtime_.depth();
    return flow;
  }

  Flow ExecuteOne(const Statement& statement, Scope* scope) {
    runtime_.set_line(statement.line);
    if (!runtime_.Step()) return Flow::kBreak;
    switch (statement.kind) {
      case Statement::Kind::kText:
        Write(statement.text);
        return Flow::kNext;
      case Statement::Kind::kOutput:
        for (const ExpressionPtr& value : statement.values) Write(ToText(runtime_, Evaluate(*value, scope)));
        return Flow::kNext;
      case Statement::Kind::kIf:
        return ExecuteIf(statement, scope);
      case Statement::Kind::kFor:
        ExecuteFor(statement, scope);
        return Flow::kNext;
      case Statement::Kind::kSet:
        Assign(*statement.targets[0], Evaluate(*statement.values[0], scope), scope);
        return Flow::kNext;
      case Statement::Kind::kSetBlock: {
        Value value{CaptureInner(statement.blocks[0], scope)};
        if (statement.values[0] != nullptr) value = Filter(*statement.values[0], value, scope);
        Assign(*statement.targets[0], value, scope);
        return Flow::kNext;
      }
      case Statement::Kind::kFilter: {
        const Value value{CaptureInner(statement.blocks[0], scope)};
        Write(ToText(runtime_, Filter(*statement.values[0], value, scope)));
        return Flow::kNext;
      }
      case Statement::Kind::kMacro:
        scope->Set(runtime_, statement.macro->name, Define(*statement.macro, scope));
        return Flow::kNext;
      case Statement::Kind::kCall:
        ExecuteCall(statement, scope);
        return Flow::kNext;
      case Statement::Kind::kWith: {
        Scope* inner = scopes_.Open(scope);
        for (size_t i = 0; i < statement.targets.size(); ++i) {
          Assign(*statement.targets[i], Evaluate(*statement.values[i], scope), inner);
        }
        const Flow flow = Execute(statement.blocks[0], inner);
        scopes_.Close(inner);
        return flow;
      }
      case Statement::Kind::kGeneration:
        Write(CaptureInner(statement.blocks[0], scope));
        return Flow::kNext;
      case Statement::Kind::kBreak:
        return Flow::kBreak;
      case Statement::Kind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void Write(const Text& text) {
    if (out_->size() + text.size() > static_cast<size_t>(Runtime::kMaxText)) {
      runtime_.Room(Runtime::kMaxText + 1);
    } else if (runtime_.Room(text.size())) {
      *out_ += text;
    }
  }

  Text CaptureInner(const Block& block, Scope* scope) {
    Scope* inner = scopes_.Open(scope);
    Text text = Capture(block, inner);
    scopes_.Close(inner);
    return text;
  }

  Flow ExecuteIf(const Statement& statement, Scope* scope) {
    for (size_t i = 0; i < statement.values.size(); ++i) {
      if (Truth(*statement.values[i], scope)) return Execute(statement.blocks[i], scope);
      if (runtime_.failed()) return Flow::kBreak;
    }
    const bool has_else = statement.blocks.size() > statement.values.size();
    return has_else ? Execute(statement.blocks.back(), scope) : Flow::kNext;
  }

  void ExecuteFor(const Statement& statement, Scope* scope) {
    const Value elements = Evaluate(*statement.values[0], scope);
    if (!statement.is_recursive) return Iterate(statement, elements, scope, 0);
    Write(Recurse(statement, elements, scope, 0));
  }

  Text Recurse(const Statement& statement, const Value& elements, Scope* scope, int level) {
    if (!Deeper()) return Text();
    Text text;
    Text* const outer = std::exchange(out_, &text);
    Iterate(statement, elements, scope, level);
    out_ = outer;
    --runtime_.depth();
    return text;
  }

  void Iterate(const Statement& statement, const Value& elements, Scope* scope, int level) {
    const Expression* condition = statement.values[1].get();
    const auto passes = [&, scope](const Value& element) {
      if (condition == nullptr) return true;
      Scope* inner = scopes_.Open(scope);
      Assign(*statement.targets[0], element, inner);
      const bool is_true = Truth(*condition, inner);
      scopes_.Close(inner);
      return is_true;
    };
    std::function<Value(const Value&)> recurse;
    if (statement.is_recursive) {
      recurse = [&, scope, level](const Value& inner) -> Value {
        return Recurse(statement, inner, scope, level + 1);
      };
    }
    LoopState state(Elements(runtime_, elements), condition == nullptr && Size(elements).has_value(), level,
                    passes, std::move(recurse));
    Loop* loop = runtime_.Own<Loop>(&state);
    while (!runtime_.failed() && state.Next()) {
      if (!runtime_.Step()) break;
      Scope* inner = scopes_.Open(scope);
      inner->Set(runtime_, "loop", loop);
      Assign(*statement.targets[0], state.current(), inner);
      const Flow flow = Execute(statement.blocks[0], inner);
      scopes_.Close(inner);
      if (flow == Flow::kBreak) break;
    }
    loop->Finish();
    if (state.index() >= 0 || runtime_.failed()) return;
    Scope* inner = scopes_.Open(scope);
    Execute(statement.blocks[1], inner);
    scopes_.Close(inner);
  }

  void ExecuteCall(const Statement& statement, Scope* scope) {
    const Expression& call = *statement.values[0];
    const Value callee = Evaluate(*call.parts[0], scope);
    Arguments arguments = EvaluateArguments(call.arguments, scope);
    arguments.named.emplace_back("caller", Define(*statement.macro, scope));
    Write(ToText(runtime_, jinja::Call(runtime_, callee, arguments)));
  }

  Value Define(const MacroBody& macro, Scope* scope) {
    for (Scope* each = scope; each != nullptr && !each->is_kept; each = each->outer) each->is_kept = true;
    return runtime_.Own<Macro>(*this, macro, scope);
  }

  void Bind(const MacroBody& macro, Scope* scope, const Arguments& arguments) {
    const size_t count = macro.parameters.size(), given = std::min(arguments.values.size(), count);
    std::vector<std::pair<std::string, Value>> named = arguments.named;
    const auto take = [&](const std::string& name) -> std::optional<Value> {
      if (!runtime_.Step(named.size())) return std::nullopt;
      const auto found = std::ranges::find_if(named, [&](const auto& each) { return each.first == name; });
      if (found == named.end()) return std::nullopt;
      Value value = std::move(found->second);
      named.erase(found);
      return value;
    };
    bool has_caller = false;
    for (size_t i = 0; i < count && !runtime_.failed(); ++i) {
      const Parameter& parameter = macro.parameters[i];
      has_caller |= parameter.name == "caller";
      std::optional<Value> value = i < given ? arguments.values[i] : take(parameter.name);
      if (!value && parameter.otherwise != nullptr) value = Evaluate(*parameter.otherwise, scope);
      if (!value)
        value = Value::MakeUndefined(absl::StrCat("parameter '", parameter.name, "' was not provided"));
      scope->Set(runtime_, parameter.name, *std::move(value));
    }
    if (macro.takes_caller && !has_caller) {
      scope->Set(runtime_, "caller", take("caller").value_or(Value::MakeUndefined("no caller defined")));
    }
    if (macro.takes_more_named) {
      std::vector<std::pair<Value, Value>> items;
      for (auto& [name, value] : named) items.emplace_back(FromUtf8(name), std::move(value));
      scope->Set(runtime_, "kwargs", MakeDict(runtime_, std::move(items)));
    } else if (!named.empty()) {
      runtime_.Fail(absl::StrCat("macro ", macro.name, " has no argument ", named[0].first));
    }
    if (macro.takes_more_values) {
      std::vector<Value> more(arguments.values.begin() + given, arguments.values.end());
      scope->Set(runtime_, "varargs", MakeList(runtime_, std::move(more), Sequence::Kind::kTuple));
    } else if (arguments.values.size() > count) {
      runtime_.Fail(absl::StrCat("macro ", macro.name, " takes at most ", count, " arguments, here are ",
                                 arguments.values.size()));
    }
  }

  void Assign(const Expression& target, const Value& value, Scope* scope) {
    if (runtime_.failed()) return;
    if (target.kind == Kind::kName) return scope->Set(runtime_, target.name, value);
    if (target.kind == Kind::kTuple) {
      const std::vector<Value> elements = Unpack(runtime_, value, target.parts.size());
      for (size_t i = 0; i < elements.size(); ++i) Assign(*target.parts[i], elements[i], scope);
      return;
    }
    const Value owner = Load(target.parts[0]->name, scope);
    Value* member = owner.AsObject() == nullptr ? nullptr : owner.AsObject()->Member(target.name);
    if (member == nullptr) {
      runtime_.Fail(
          absl::StrCat("an attribute is set of ", target.parts[0]->name, ", which is no namespace"));
    } else if (target.name.starts_with("_")) {
      runtime_.Fail(absl::StrCat("a namespace has no attribute ", target.name, ", which starts with _"));
    } else {
      *member = value;
    }
  }

  // ---- expressions

  bool Truth(const Expression& expression, Scope* scope) {
    return IsTrue(runtime_, Evaluate(expression, scope));
  }

  Value Load(const std::string& name, Scope* scope) {
    if (const Value* value = scope->Find(runtime_, name)) return *value;
    Value global = FindGlobal(runtime_, name);
    return global.is_undefined() ? Value::MakeUndefined(absl::StrCat("'", name, "' is undefined")) : global;
  }

  Value Evaluate(const Expression& expression, Scope* scope) {
    if (!runtime_.Step() || !Deeper()) return Value();
    const int line = runtime_.line();
    runtime_.set_line(expression.line);
    Value value = EvaluateOne(expression, scope);
    runtime_.set_line(line);
    --runtime_.depth();
    return runtime_.failed() ? Value() : value;
  }

  Value EvaluateOne(const Expression& expression, Scope* scope) {
    const auto part = [&](size_t i) { return Evaluate(*expression.parts[i], scope); };
    switch (expression.kind) {
      case Kind::kConstant:
        return expression.constant;
      case Kind::kName:
        return Load(expression.name, scope);
      case Kind::kList:
        return MakeList(runtime_, Parts(expression, scope));
      case Kind::kTuple:
        return MakeList(runtime_, Parts(expression, scope), Sequence::Kind::kTuple);
      case Kind::kDict:
        return EvaluateDict(expression, scope);
      case Kind::kAttribute:
        return GetAttribute(runtime_, part(0), expression.text);
      case Kind::kItem: {
        const Value object = part(0);
        return GetItem(runtime_, object, part(1));
      }
      case Kind::kSlice:
        return EvaluateSlice(expression, scope);
      case Kind::kCall: {
        const Value callee = part(0);
        return jinja::Call(runtime_, callee, EvaluateArguments(expression.arguments, scope));
      }
      case Kind::kFilter:
        return Filter(expression, part(0), scope);
      case Kind::kTest:
        return Test(expression, scope);
      case Kind::kNot:
        return !IsTrue(runtime_, part(0));
      case Kind::kNegate:
        return Negate(runtime_, part(0));
      case Kind::kPlus:
        return Plus(runtime_, part(0));
      case Kind::kCalculate: {
        const Value left = part(0);
        return Calculate(runtime_, expression.op, left, part(1));
      }
      case Kind::kConcatenate:
        return Concatenate(expression, scope);
      case Kind::kAnd: {
        Value left = part(0);
        return IsTrue(runtime_, left) ? part(1) : left;
      }
      case Kind::kOr: {
        Value left = part(0);
        return IsTrue(runtime_, left) ? left : part(1);
      }
      case Kind::kCompare:
        return Compare(expression, scope);
      case Kind::kConditional:
        if (IsTrue(runtime_, part(1))) return part(0);
        return expression.parts[2] != nullptr ? part(2)
                                              : Value::MakeUndefined("an if without else was false");
    }
    return Value();
  }

  std::vector<Value> Parts(const Expression& expression, Scope* scope) {
    std::vector<Value> parts;
    for (const ExpressionPtr& part : expression.parts) parts.push_back(Evaluate(*part, scope));
    return parts;
  }

  Value EvaluateDict(const Expression& expression, Scope* scope) {
    std::vector<std::pair<Value, Value>> items;
    for (size_t i = 0; i < expression.parts.size(); i += 2) {
      Value key = Evaluate(*expression.parts[i], scope), value = Evaluate(*expression.parts[i + 1], scope);
      if (runtime_.failed()) break;
      if (!key.is_hashable()) return runtime_.Fail(absl::StrCat(TypeName(key), " is no key of a dict"));
      const auto same =
          std::ranges::find_if(items, [&](const auto& item) { return IsEqual(runtime_, item.first, key); });
      if (same != items.end()) {
        same->second = std::move(value);
      } else {
        items.emplace_back(std::move(key), std::move(value));
      }
    }
    return MakeDict(runtime_, std::move(items));
  }

  Value EvaluateSlice(const Expression& expression, Scope* scope) {
    const auto bound = [&](size_t i) -> Value {
      return expression.parts[i] == nullptr ? Value(None()) : Evaluate(*expression.parts[i], scope);
    };
    const Value object = bound(0), start = bound(1), stop = bound(2);
    return Slice(runtime_, object, start, stop, bound(3));
  }

  Arguments EvaluateArguments(const CallArguments& call, Scope* scope) {
    Arguments arguments;
    for (const ExpressionPtr& value : call.values) arguments.values.push_back(Evaluate(*value, scope));
    for (const auto& [name, value] : call.named) arguments.named.emplace_back(name, Evaluate(*value, scope));
    if (call.star != nullptr) {
      for (Value& value : Elements(runtime_, Evaluate(*call.star, scope))) {
        arguments.values.push_back(std::move(value));
      }
    }
    if (call.star_star != nullptr) {
      const Value more = Evaluate(*call.star_star, scope);
      if (!more.is_dict()) {
        runtime_.Fail(absl::StrCat("** wants a dict, not ", TypeName(more)));
        return arguments;
      }
      for (const auto& [key, value] : more.AsDict().items) {
        if (!key.is_string()) runtime_.Fail("** wants keys that are texts");
        if (key.is_string()) arguments.named.emplace_back(ToUtf8(key.AsText()), value);
      }
    }
    return arguments;
  }

  // A filter, of filters before it, of `value` where the chain begins.
  Value Filter(const Expression& filter, const Value& value, Scope* scope) {
    if (filter.kind != Kind::kFilter) return Evaluate(filter, scope);
    const Value input =
        filter.parts[0] == nullptr || IsOpenChain(filter) ? OpenChain(filter, value, scope) : value;
    const Arguments arguments = EvaluateArguments(filter.arguments, scope);
    runtime_.set_line(filter.line);
    if (filter.filter == nullptr) return runtime_.Fail(absl::StrCat("temper knows no filter ", filter.name));
    return TouchTexts(runtime_, input, arguments) ? filter.filter(runtime_, input, arguments) : Value();
  }

  // Whether a chain of filters begins with what a block made.
  static bool IsOpenChain(const Expression& filter) {
    const Expression* first = &filter;
    while (first != nullptr && first->kind == Kind::kFilter) first = first->parts[0].get();
    return first == nullptr;
  }
  Value OpenChain(const Expression& filter, const Value& value, Scope* scope) {
    return filter.parts[0] == nullptr ? value : Filter(*filter.parts[0], value, scope);
  }

  Value Test(const Expression& test, Scope* scope) {
    const Value value = Evaluate(*test.parts[0], scope);
    const Arguments arguments = EvaluateArguments(test.arguments, scope);
    if (test.test == nullptr) return runtime_.Fail(absl::StrCat("temper knows no test ", test.name));
    return TouchTexts(runtime_, value, arguments) ? Value(test.test(runtime_, value, arguments)) : Value();
  }

  Value Concatenate(const Expression& expression, Scope* scope) {
    Text text;
    for (const ExpressionPtr& part : expression.parts) {
      text += ToText(runtime_, Evaluate(*part, scope));
      if (!runtime_.Room(text.size())) return Value();
    }
    return Value(std::move(text));
  }

  Value Compare(const Expression& expression, Scope* scope) {
    Value left = Evaluate(*expression.parts[0], scope);
    for (size_t i = 0; i < expression.comparisons.size(); ++i) {
      Value right = Evaluate(*expression.parts[i + 1], scope);
      if (runtime_.failed() || !Holds(runtime_, expression.comparisons[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  Runtime& runtime_;
  Scopes scopes_;
  Text* out_ = nullptr;
};

bool Macro::GetAttribute(Runtime& runtime, TextView name, Value* value) {
  if (!Equal(name, "name")) return false;
  *value = FromUtf8(body_.name);
  return true;
}

Value Macro::Call(Runtime& runtime, const Arguments& arguments) {
  return evaluator_.CallMacro(body_, scope_, arguments);
}

}  // namespace

Text Render(const Block& block, Runtime& runtime, std::vector<std::pair<std::string, Value>> variables) {
  return Evaluator(runtime).Run(block, std::move(variables));
}

}  // namespace temper::jinja

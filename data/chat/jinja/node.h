// SPDX-License-Identifier: Apache-2.0
// A parsed template. Its trees are at most kMaxHeight high, so that walking them needs little stack.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {

inline constexpr int kMaxHeight = 300;

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

// f(a, b, name=c, *d, **e)
struct CallArguments {
  std::vector<ExpressionPtr> values;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, star_star;  // or null
};

using FilterBody = Value (*)(Runtime&, const Value&, const Arguments&);
using TestBody = bool (*)(Runtime&, const Value&, const Arguments&);
FilterBody FindFilter(std::string_view name);  // null: there is none
TestBody FindTest(std::string_view name);

struct Expression {
  enum class Kind {
    kConstant,     // constant
    kName,         // name
    kList,         // parts
    kTuple,        // parts
    kDict,         // parts: key, value, key, value, ...
    kAttribute,    // parts[0].text
    kItem,         // parts[0][parts[1]]
    kSlice,        // parts[0][parts[1]:parts[2]:parts[3]], null where left out
    kCall,         // parts[0](arguments)
    kFilter,       // parts[0]|name(arguments); parts[0] is null for what a block made
    kTest,         // parts[0] is name(arguments)
    kNot,          // parts[0]
    kNegate,       // parts[0]
    kPlus,         // parts[0]
    kCalculate,    // parts[0] op parts[1]
    kConcatenate,  // parts, with ~
    kAnd,          // parts[0], parts[1]
    kOr,           // parts[0], parts[1]
    kCompare,      // parts[0] comparisons[0] parts[1] comparisons[1] parts[2] ...
    kConditional,  // parts[0] if parts[1] else parts[2], which may be null
  };

  Kind kind = Kind::kConstant;
  int line = 1, height = 1;
  Value constant;
  std::string name;
  Text text;
  std::vector<ExpressionPtr> parts;
  CallArguments arguments;
  Operator op = Operator::kAdd;
  std::vector<Comparison> comparisons;
  FilterBody filter = nullptr;
  TestBody test = nullptr;
};

struct Statement;
using Block = std::vector<std::unique_ptr<const Statement>>;

struct Parameter {
  std::string name;
  ExpressionPtr otherwise;  // or null
};

struct MacroBody {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
  bool takes_more_values = false, takes_more_named = false,
       takes_caller = false;  // reads varargs, kwargs, caller
};

struct Statement {
  enum class Kind {
    kText,        // text
    kOutput,      // values
    kIf,          // values[i]: blocks[i], and last the else block, if there is one more of them
    kFor,         // target in values[0] if values[1] (or null): blocks[0], else blocks[1]
    kSet,         // target = values[0]
    kSetBlock,    // target = blocks[0], through values[0], or null
    kFilter,      // blocks[0], through values[0]
    kMacro,       // macro
    kCall,        // values[0], a call; macro is the caller
    kWith,        // targets = values: blocks[0]
    kGeneration,  // blocks[0]
    kBreak,
    kContinue,
  };
  Kind kind = Kind::kText;
  int line = 1;
  Text text;
  std::vector<ExpressionPtr> values;
  std::vector<ExpressionPtr> targets;  // names, attributes of names, tuples of those
  std::vector<Block> blocks;
  bool is_recursive = false;
  std::unique_ptr<const MacroBody> macro;
};

struct Filter {
  std::string_view name;
  FilterBody body;
};
absl::Span<const Filter> TextFilters();  // those of texts and numbers

}  // namespace temper::jinja

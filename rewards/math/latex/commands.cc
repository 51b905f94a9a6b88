// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/commands.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "core/one_of.h"

namespace temper::math {
namespace {

using Lex = LatexCommand::Lex;
using Table = absl::flat_hash_map<std::string_view, LatexCommand>;

struct Names {
  LatexCommand command;
  std::initializer_list<std::string_view> names;  // empty text above: the name itself is the text
};

// Functions under one name each.
const Names kFunctions[] = {
    {{Lex::kToken, TokenKind::kFunction, ""},
     {"sin", "cos", "tan", "cot", "sec", "csc",   "sinh", "cosh", "tanh", "coth",  "sech", "csch",
      "exp", "ln",  "log", "lg",  "lb",  "gcd",   "lcm",  "max",  "min",  "floor", "ceil", "det",
      "arg", "dim", "ker", "deg", "erf", "trace", "rank", "cis",  "sup",  "inf"}},
    {{Lex::kToken, TokenKind::kFunction, "arcsin"}, {"arcsin", "asin"}},
    {{Lex::kToken, TokenKind::kFunction, "arccos"}, {"arccos", "acos"}},
    {{Lex::kToken, TokenKind::kFunction, "arctan"}, {"arctan", "atan", "arctg"}},
    {{Lex::kToken, TokenKind::kFunction, "arccot"}, {"arccot", "acot", "arcctg"}},
    {{Lex::kToken, TokenKind::kFunction, "arcsec"}, {"arcsec", "asec"}},
    {{Lex::kToken, TokenKind::kFunction, "arccsc"}, {"arccsc", "acsc"}},
    {{Lex::kToken, TokenKind::kFunction, "arcsinh"}, {"arcsinh", "arsinh", "asinh"}},
    {{Lex::kToken, TokenKind::kFunction, "arccosh"}, {"arccosh", "arcosh", "acosh"}},
    {{Lex::kToken, TokenKind::kFunction, "arctanh"}, {"arctanh", "artanh", "atanh"}},
    {{Lex::kToken, TokenKind::kFunction, "arccoth"}, {"arccoth", "arcoth", "acoth"}},
    {{Lex::kToken, TokenKind::kFunction, "arcsech"}, {"arcsech", "arsech", "asech"}},
    {{Lex::kToken, TokenKind::kFunction, "arccsch"}, {"arccsch", "arcsch", "acsch"}},
    {{Lex::kToken, TokenKind::kFunction, "tan"}, {"tg"}},
    {{Lex::kToken, TokenKind::kFunction, "cot"}, {"ctg"}},
    {{Lex::kToken, TokenKind::kFunction, "csc"}, {"cosec"}},
    {{Lex::kToken, TokenKind::kFunction, "sinh"}, {"sh"}},
    {{Lex::kToken, TokenKind::kFunction, "cosh"}, {"ch"}},
    {{Lex::kToken, TokenKind::kFunction, "tanh"}, {"th"}},
    {{Lex::kToken, TokenKind::kFunction, "ceil"}, {"ceiling"}},
    {{Lex::kToken, TokenKind::kFunction, "abs"}, {"abs"}},
    {{Lex::kToken, TokenKind::kFunction, "sign"}, {"sgn", "sign", "signum"}},
    {{Lex::kToken, TokenKind::kFunction, "re"}, {"Re"}},
    {{Lex::kToken, TokenKind::kFunction, "im"}, {"Im"}},
    {{Lex::kToken, TokenKind::kFunction, "P"}, {"Pr"}},
    {{Lex::kToken, TokenKind::kFunction, "trace"}, {"tr", "Tr"}},
    {{Lex::kToken, TokenKind::kFunction, "arg"}, {"Arg"}},
};

const Names kCommands[] = {
    {{Lex::kSpace},
     {",",     ";",       ":",         "!",   " ", ">", "/", "space", "thinspace", "enspace", "enskip",
      "hfill", "newline", "linebreak", "par", "(", ")", "[", "]",     "\n",        "\t",      "\r"}},
    {{Lex::kToken, TokenKind::kBreak, ""}, {"quad", "qquad"}},
    {{Lex::kSkip}, {"displaystyle", "textstyle", "scriptstyle", "scriptscriptstyle", "limits", "nolimits"}},
    {{Lex::kSkip}, {"rm", "bf", "it", "em", "boldmath", "large", "Large", "small", "normalsize"}},
    {{Lex::kSkip},
     {"middle", "nonumber", "notag", "allowbreak", "relax", "strut", "mathstrut", "hline", "centering",
      "null", "-"}},
    {{Lex::kSkip},
     {"mathopen", "mathclose", "mathbin", "mathrel", "mathord", "mathop", "mathpunct", "mathinner"}},
    {{Lex::kSkip}, {"$", "pounds", "euro", "yen", "rupee", "cent", "textdollar", "dollar"}},
    {{Lex::kSkipArgument},
     {"hspace", "vspace", "hspace*", "phantom", "hphantom", "vphantom", "color", "tag", "label", "textcolor",
      "kern", "cline"}},
    {{Lex::kLeft}, {"left", "mleft", "bigl", "Bigl", "biggl", "Biggl"}},
    {{Lex::kRight}, {"right", "mright", "bigr", "Bigr", "biggr", "Biggr"}},
    {{Lex::kSkip}, {"big", "Big", "bigg", "Bigg", "bigm", "Bigm", "biggm", "Biggm"}},
    {{Lex::kFont},
     {"mathbf", "mathit", "mathcal", "mathsf", "mathtt", "mathfrak", "mathscr", "boldsymbol", "bm",
      "mathnormal", "pmb", "smash", "ensuremath", "underline", "underbrace", "overbrace", "cancel", "uline"}},
    {{Lex::kUpright}, {"mathrm"}},
    {{Lex::kText},
     {"text", "textbf", "textit", "textrm", "textsf", "texttt", "textnormal", "textsc", "textup", "mbox",
      "hbox", "emph", "textmd", "textsl"}},
    {{Lex::kToken, TokenKind::kSymbol, ""},
     {"alpha",       "beta",     "gamma",         "delta",         "epsilon",
      "varepsilon",  "zeta",     "eta",           "theta",         "vartheta",
      "iota",        "kappa",    "varkappa",      "lambda",        "mu",
      "nu",          "xi",       "omicron",       "varpi",         "rho",
      "varrho",      "sigma",    "varsigma",      "tau",           "upsilon",
      "phi",         "varphi",   "chi",           "psi",           "omega",
      "Gamma",       "Delta",    "Theta",         "Lambda",        "Xi",
      "Pi",          "Sigma",    "Upsilon",       "Phi",           "Psi",
      "Omega",       "ell",      "hbar",          "aleph",         "beth",
      "nabla",       "triangle", "angle",         "measuredangle", "square",
      "star",        "bigstar",  "heartsuit",     "spadesuit",     "clubsuit",
      "diamondsuit", "odot",     "Box",           "diamond",       "Diamond",
      "wp",          "imath",    "jmath",         "eth",           "top",
      "bot",         "forall",   "exists",        "nexists",       "checkmark",
      "dagger",      "oplus",    "otimes",        "ominus",        "circledast",
      "therefore",   "because",  "sharp",         "flat",          "natural",
      "blacksquare", "bigcirc",  "bigtriangleup", "cube",          "parallelogram",
      "uparrow",     "downarrow"}},
    {{Lex::kToken, TokenKind::kConstant, "pi"}, {"pi"}},
    {{Lex::kToken, TokenKind::kConstant, "oo"}, {"infty", "infin"}},
    {{Lex::kToken, TokenKind::kConstant, "e"}, {"exponentialE"}},  // MathLive's names
    {{Lex::kToken, TokenKind::kConstant, "i"}, {"imaginaryI", "imaginaryJ"}},
    {{Lex::kToken, TokenKind::kEmptySet, ""}, {"emptyset", "varnothing", "O"}},
    {{Lex::kToken, TokenKind::kNumberSet, "R"}, {"R", "reals", "Reals"}},
    {{Lex::kToken, TokenKind::kNumberSet, "N"}, {"N", "natnums"}},
    {{Lex::kToken, TokenKind::kNumberSet, "Z"}, {"Z"}},
    {{Lex::kToken, TokenKind::kNumberSet, "Q"}, {"Q"}},
    {{Lex::kToken, TokenKind::kNumberSet, "C"}, {"C", "Complex"}},
    {{Lex::kToken, TokenKind::kNumberSet, ""}, {"mathbb", "mathds", "Bbb"}},  // the letter follows
    {{Lex::kToken, TokenKind::kPlusMinus, ""}, {"pm"}},
    {{Lex::kToken, TokenKind::kMinusPlus, ""}, {"mp"}},
    {{Lex::kToken, TokenKind::kTimes, ""}, {"times", "cdot", "cdotp", "ast", "bullet"}},
    {{Lex::kToken, TokenKind::kDivide, ""}, {"div"}},
    {{Lex::kToken, TokenKind::kColon, ""}, {"colon", "ratio"}},
    {{Lex::kToken, TokenKind::kMod, ""}, {"mod", "bmod"}},
    {{Lex::kToken, TokenKind::kPmod, ""}, {"pmod"}},
    {{Lex::kToken, TokenKind::kPercent, ""}, {"%"}},
    {{Lex::kToken, TokenKind::kPrime, ""}, {"prime"}},
    {{Lex::kToken, TokenKind::kDegree, ""}, {"degree", "circ", "degrees", "textdegree"}},
    {{Lex::kToken, TokenKind::kUnder, ""}, {"_"}},
    {{Lex::kToken, TokenKind::kUnion, ""}, {"cup", "bigcup"}},
    {{Lex::kToken, TokenKind::kIntersection, ""}, {"cap", "bigcap"}},
    {{Lex::kToken, TokenKind::kDifference, ""}, {"setminus", "smallsetminus", "backslash"}},
    {{Lex::kToken, TokenKind::kRelation, "="}, {"equiv", "coloneqq", "eq"}},
    {{Lex::kToken, TokenKind::kRelation, "!="}, {"ne", "neq"}},
    {{Lex::kToken, TokenKind::kRelation, "<"}, {"lt"}},
    {{Lex::kToken, TokenKind::kRelation, "<="}, {"le", "leq", "leqslant", "leqq"}},
    {{Lex::kToken, TokenKind::kRelation, ">"}, {"gt"}},
    {{Lex::kToken, TokenKind::kRelation, ">="}, {"ge", "geq", "geqslant", "geqq"}},
    {{Lex::kToken, TokenKind::kRelation, "in"}, {"in"}},
    {{Lex::kToken, TokenKind::kRelation, "notin"}, {"notin"}},
    {{Lex::kToken, TokenKind::kReversed, "in"}, {"ni"}},
    {{Lex::kToken, TokenKind::kRelation, "subset"}, {"subset", "subsetneq", "subsetneqq"}},
    {{Lex::kToken, TokenKind::kRelation, "subseteq"}, {"subseteq", "subseteqq"}},
    {{Lex::kToken, TokenKind::kReversed, "subset"}, {"supset", "supsetneq", "supsetneqq"}},
    {{Lex::kToken, TokenKind::kReversed, "subseteq"}, {"supseteq", "supseteqq"}},
    {{Lex::kToken, TokenKind::kRelation, "approx"}, {"approx", "thickapprox", "doteq", "approxeq"}},
    {{Lex::kToken, TokenKind::kRelation, "sim"}, {"sim", "thicksim"}},
    {{Lex::kToken, TokenKind::kRelation, "cong"}, {"cong", "simeq"}},
    {{Lex::kToken, TokenKind::kRelation, ""},
     {"propto", "parallel", "perp", "ll", "gg", "prec", "succ", "mapsto"}},
    {{Lex::kToken, TokenKind::kRelation, "implies"}, {"implies", "Rightarrow", "Longrightarrow"}},
    {{Lex::kToken, TokenKind::kReversed, "implies"}, {"impliedby", "Leftarrow", "Longleftarrow"}},
    {{Lex::kToken, TokenKind::kRelation, "iff"},
     {"iff", "Leftrightarrow", "Longleftrightarrow", "leftrightarrow"}},
    {{Lex::kToken, TokenKind::kArrow, "to"}, {"to", "rightarrow", "longrightarrow"}},
    {{Lex::kToken, TokenKind::kNot, ""}, {"not"}},
    {{Lex::kToken, TokenKind::kLogic, "and"}, {"land", "wedge"}},
    {{Lex::kToken, TokenKind::kLogic, "or"}, {"lor", "vee"}},
    {{Lex::kToken, TokenKind::kLogic, "not"}, {"neg", "lnot"}},
    {{Lex::kToken, TokenKind::kOpen, "("}, {"lgroup", "lparen"}},
    {{Lex::kToken, TokenKind::kClose, "("}, {"rgroup", "rparen"}},
    {{Lex::kToken, TokenKind::kOpen, "["}, {"lbrack", "llbracket"}},
    {{Lex::kToken, TokenKind::kClose, "["}, {"rbrack", "rrbracket"}},
    {{Lex::kToken, TokenKind::kOpen, "{"}, {"{", "lbrace"}},
    {{Lex::kToken, TokenKind::kClose, "{"}, {"}", "rbrace"}},
    {{Lex::kToken, TokenKind::kOpen, "<"}, {"langle"}},
    {{Lex::kToken, TokenKind::kClose, "<"}, {"rangle"}},
    {{Lex::kToken, TokenKind::kOpen, "floor"}, {"lfloor", "llcorner"}},
    {{Lex::kToken, TokenKind::kClose, "floor"}, {"rfloor", "lrcorner"}},
    {{Lex::kToken, TokenKind::kOpen, "ceil"}, {"lceil", "ulcorner"}},
    {{Lex::kToken, TokenKind::kClose, "ceil"}, {"rceil", "urcorner"}},
    {{Lex::kToken, TokenKind::kOpen, "abs"}, {"lvert"}},
    {{Lex::kToken, TokenKind::kClose, "abs"}, {"rvert"}},
    {{Lex::kToken, TokenKind::kOpen, "norm"}, {"lVert"}},
    {{Lex::kToken, TokenKind::kClose, "norm"}, {"rVert"}},
    {{Lex::kToken, TokenKind::kBar, "abs"}, {"vert"}},
    {{Lex::kToken, TokenKind::kBar, "norm"}, {"|", "Vert"}},
    {{Lex::kToken, TokenKind::kMid, ""}, {"mid"}},
    {{Lex::kToken, TokenKind::kFraction, ""},
     {"frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac", "flatfrac"}},
    {{Lex::kToken, TokenKind::kBinomial, ""}, {"binom", "dbinom", "tbinom"}},
    {{Lex::kToken, TokenKind::kInfix, "choose"}, {"choose"}},
    {{Lex::kToken, TokenKind::kInfix, "over"}, {"over"}},
    {{Lex::kToken, TokenKind::kRoot, ""}, {"sqrt"}},
    {{Lex::kToken, TokenKind::kRadical, "2"}, {"surd"}},
    {{Lex::kToken, TokenKind::kRadical, "3"}, {"cbrt"}},
    {{Lex::kToken, TokenKind::kBig, "sum"}, {"sum"}},
    {{Lex::kToken, TokenKind::kBig, "product"}, {"prod"}},
    {{Lex::kToken, TokenKind::kBig, "integral"}, {"int", "oint", "intop"}},
    {{Lex::kToken, TokenKind::kBig, "iint"}, {"iint"}},
    {{Lex::kToken, TokenKind::kBig, "iiint"}, {"iiint"}},
    {{Lex::kToken, TokenKind::kBig, "limit"}, {"lim"}},
    {{Lex::kToken, TokenKind::kPartial, ""}, {"partial", "differentialD"}},
    {{Lex::kToken, TokenKind::kAccent, "bar"}, {"overline", "bar"}},
    {{Lex::kToken, TokenKind::kAccent, "vec"}, {"vec", "overrightarrow"}},
    {{Lex::kToken, TokenKind::kAccent, "hat"}, {"hat", "widehat"}},
    {{Lex::kToken, TokenKind::kAccent, "tilde"}, {"tilde", "widetilde"}},
    {{Lex::kToken, TokenKind::kAccent, "arc"}, {"overarc", "wideparen", "overparen"}},
    {{Lex::kToken, TokenKind::kAccent, ""},
     {"dot", "ddot", "mathring", "overleftrightarrow", "acute", "grave", "check", "breve"}},
    {{Lex::kToken, TokenKind::kName, ""}, {"operatorname", "variable", "operatorname*"}},
    {{Lex::kToken, TokenKind::kBoxed, ""}, {"boxed", "fbox", "framebox"}},
    {{Lex::kToken, TokenKind::kBegin, ""}, {"begin"}},
    {{Lex::kToken, TokenKind::kFinish, ""}, {"end"}},
    {{Lex::kToken, TokenKind::kDots, ""},
     {"ldots", "cdots", "dots", "dotsc", "dotsb", "dotsm", "dotso", "vdots", "ddots"}},
    {{Lex::kToken, TokenKind::kAmpersand, ""}, {"&"}},
    {{Lex::kToken, TokenKind::kFunction, "re"}, {"Re"}},
    {{Lex::kToken, TokenKind::kFunction, "im"}, {"Im"}},
};

const Names kWords[] = {
    {{Lex::kToken, TokenKind::kConjunction, "and"}, {"and", "And", "AND"}},
    {{Lex::kToken, TokenKind::kConjunction, "or"}, {"or", "Or", "OR"}},
    {{Lex::kToken, TokenKind::kConstant, "pi"}, {"pi", "Pi", "PI"}},
    {{Lex::kToken, TokenKind::kConstant, "oo"}, {"infinity", "Infinity", "infty", "inf", "oo"}},
    {{Lex::kToken, TokenKind::kConstant, "true"}, {"true", "True", "TRUE"}},
    {{Lex::kToken, TokenKind::kConstant, "false"}, {"false", "False", "FALSE"}},
    {{Lex::kToken, TokenKind::kRadical, "2"}, {"sqrt"}},
    {{Lex::kToken, TokenKind::kRadical, "3"}, {"cbrt"}},
    {{Lex::kToken, TokenKind::kMod, ""}, {"mod"}},
    {{Lex::kToken, TokenKind::kPercent, ""}, {"percent", "pct", "Percent"}},
    {{Lex::kToken, TokenKind::kDegree, ""}, {"degree", "degrees", "deg"}},
    {{Lex::kToken, TokenKind::kBinomial, ""}, {"binom"}},
    {{Lex::kToken, TokenKind::kSymbol, ""},
     {"alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "sigma", "omega"}},
};

void Add(const Names& names, Table* table) {
  for (const std::string_view name : names.names) {
    LatexCommand command = names.command;
    if (command.text.empty()) command.text = name;
    table->emplace(name, command);
  }
}

const Table& Commands() {
  static const Table& table = *[] {
    auto* made = new Table;
    for (const Names& names : kCommands) Add(names, made);
    for (const Names& names : kFunctions) Add(names, made);
    return made;
  }();
  return table;
}

const Table& Words() {
  static const Table& table = *[] {
    auto* made = new Table;
    for (const Names& names : kWords) Add(names, made);
    for (const Names& names : kFunctions) {
      // Two letters are more often two symbols, but for ln.
      for (const std::string_view name : names.names) {
        if (name.size() < 3 && name != "ln" && name != "lg") continue;
        if (IsOneOf(name, {"sup", "inf", "dim", "ker"})) continue;
        Add({names.command, {name}}, made);
      }
    }
    return made;
  }();
  return table;
}

}  // namespace

const LatexCommand* FindCommand(std::string_view name) {
  const auto found = Commands().find(name);
  return found == Commands().end() ? nullptr : &found->second;
}

const LatexCommand* FindWord(std::string_view word) {
  if (word.size() > 32) return nullptr;  // none is as long; a text of letters is asked for at each of them
  const auto found = Words().find(word);
  return found == Words().end() ? nullptr : &found->second;
}

bool IsEnglishWord(std::string_view letters) {
  const auto is_vowel = [](char c) { return IsOneOf(c, "aeiouyAEIOUY"); };
  return letters.size() >= 3 && std::ranges::any_of(letters, is_vowel) && !std::ranges::is_sorted(letters) &&
         FindWord(letters) == nullptr;
}

}  // namespace temper::math

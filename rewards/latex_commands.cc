// SPDX-License-Identifier: Apache-2.0
#include "rewards/latex_commands.h"

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Lex = LatexCommand::Lex;
using Table = absl::flat_hash_map<std::string_view, LatexCommand>;

struct Names {
  LatexCommand command;
  std::initializer_list<std::string_view> names;  // empty text above: the name itself is the text
};

// Functions under one name each.
const Names kFunctions[] = {
    {{Lex::kToken, Kind::kFunction, ""},
     {"sin", "cos", "tan", "cot", "sec", "csc",   "sinh", "cosh", "tanh", "coth",  "sech", "csch",
      "exp", "ln",  "log", "lg",  "lb",  "gcd",   "lcm",  "max",  "min",  "floor", "ceil", "det",
      "arg", "dim", "ker", "deg", "erf", "trace", "rank", "cis",  "sup",  "inf"}},
    {{Lex::kToken, Kind::kFunction, "arcsin"}, {"arcsin", "asin"}},
    {{Lex::kToken, Kind::kFunction, "arccos"}, {"arccos", "acos"}},
    {{Lex::kToken, Kind::kFunction, "arctan"}, {"arctan", "atan", "arctg"}},
    {{Lex::kToken, Kind::kFunction, "arccot"}, {"arccot", "acot", "arcctg"}},
    {{Lex::kToken, Kind::kFunction, "arcsec"}, {"arcsec", "asec"}},
    {{Lex::kToken, Kind::kFunction, "arccsc"}, {"arccsc", "acsc"}},
    {{Lex::kToken, Kind::kFunction, "arcsinh"}, {"arcsinh", "arsinh", "asinh"}},
    {{Lex::kToken, Kind::kFunction, "arccosh"}, {"arccosh", "arcosh", "acosh"}},
    {{Lex::kToken, Kind::kFunction, "arctanh"}, {"arctanh", "artanh", "atanh"}},
    {{Lex::kToken, Kind::kFunction, "arccoth"}, {"arccoth", "arcoth", "acoth"}},
    {{Lex::kToken, Kind::kFunction, "arcsech"}, {"arcsech", "arsech", "asech"}},
    {{Lex::kToken, Kind::kFunction, "arccsch"}, {"arccsch", "arcsch", "acsch"}},
    {{Lex::kToken, Kind::kFunction, "tan"}, {"tg"}},
    {{Lex::kToken, Kind::kFunction, "cot"}, {"ctg"}},
    {{Lex::kToken, Kind::kFunction, "csc"}, {"cosec"}},
    {{Lex::kToken, Kind::kFunction, "sinh"}, {"sh"}},
    {{Lex::kToken, Kind::kFunction, "cosh"}, {"ch"}},
    {{Lex::kToken, Kind::kFunction, "tanh"}, {"th"}},
    {{Lex::kToken, Kind::kFunction, "ceil"}, {"ceiling"}},
    {{Lex::kToken, Kind::kFunction, "abs"}, {"abs"}},
    {{Lex::kToken, Kind::kFunction, "sign"}, {"sgn", "sign", "signum"}},
    {{Lex::kToken, Kind::kFunction, "re"}, {"Re"}},
    {{Lex::kToken, Kind::kFunction, "im"}, {"Im"}},
    {{Lex::kToken, Kind::kFunction, "P"}, {"Pr"}},
    {{Lex::kToken, Kind::kFunction, "trace"}, {"tr", "Tr"}},
    {{Lex::kToken, Kind::kFunction, "arg"}, {"Arg"}},
};

const Names kCommands[] = {
    {{Lex::kSpace},
     {",",     ";",       ":",         "!",   " ", ">", "/", "space", "thinspace", "enspace", "enskip",
      "hfill", "newline", "linebreak", "par", "(", ")", "[", "]",     "\n",        "\t",      "\r"}},
    {{Lex::kToken, Kind::kBreak, ""}, {"quad", "qquad"}},
    {{Lex::kSkip},
     {"displaystyle",
      "textstyle",
      "scriptstyle",
      "scriptscriptstyle",
      "limits",
      "nolimits",
      "middle",
      "nonumber",
      "notag",
      "allowbreak",
      "relax",
      "strut",
      "mathstrut",
      "hline",
      "centering",
      "rm",
      "bf",
      "it",
      "boldmath",
      "large",
      "Large",
      "small",
      "normalsize",
      "null",
      "$",
      "pounds",
      "euro",
      "yen",
      "rupee",
      "cent",
      "textdollar",
      "dollar",
      "em",
      "-",
      "mathopen",
      "mathclose",
      "mathbin",
      "mathrel",
      "mathord",
      "mathop",
      "mathpunct",
      "mathinner"}},
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
    {{Lex::kToken, Kind::kSymbol, ""},
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
    {{Lex::kToken, Kind::kConstant, "pi"}, {"pi"}},
    {{Lex::kToken, Kind::kConstant, "oo"}, {"infty", "infin"}},
    {{Lex::kToken, Kind::kConstant, "e"}, {"exponentialE"}},  // MathLive's names
    {{Lex::kToken, Kind::kConstant, "i"}, {"imaginaryI", "imaginaryJ"}},
    {{Lex::kToken, Kind::kEmptySet, ""}, {"emptyset", "varnothing", "O"}},
    {{Lex::kToken, Kind::kNumberSet, "R"}, {"R", "reals", "Reals"}},
    {{Lex::kToken, Kind::kNumberSet, "N"}, {"N", "natnums"}},
    {{Lex::kToken, Kind::kNumberSet, "Z"}, {"Z"}},
    {{Lex::kToken, Kind::kNumberSet, "Q"}, {"Q"}},
    {{Lex::kToken, Kind::kNumberSet, "C"}, {"C", "Complex"}},
    {{Lex::kToken, Kind::kNumberSet, ""}, {"mathbb", "mathds", "Bbb"}},  // the letter follows
    {{Lex::kToken, Kind::kPlusMinus, ""}, {"pm"}},
    {{Lex::kToken, Kind::kMinusPlus, ""}, {"mp"}},
    {{Lex::kToken, Kind::kTimes, ""}, {"times", "cdot", "cdotp", "ast", "bullet"}},
    {{Lex::kToken, Kind::kDivide, ""}, {"div"}},
    {{Lex::kToken, Kind::kColon, ""}, {"colon", "ratio"}},
    {{Lex::kToken, Kind::kMod, ""}, {"mod", "bmod"}},
    {{Lex::kToken, Kind::kPmod, ""}, {"pmod"}},
    {{Lex::kToken, Kind::kPercent, ""}, {"%"}},
    {{Lex::kToken, Kind::kPrime, ""}, {"prime"}},
    {{Lex::kToken, Kind::kDegree, ""}, {"degree", "circ", "degrees", "textdegree"}},
    {{Lex::kToken, Kind::kUnder, ""}, {"_"}},
    {{Lex::kToken, Kind::kUnion, ""}, {"cup", "bigcup"}},
    {{Lex::kToken, Kind::kIntersection, ""}, {"cap", "bigcap"}},
    {{Lex::kToken, Kind::kDifference, ""}, {"setminus", "smallsetminus", "backslash"}},
    {{Lex::kToken, Kind::kRelation, "="}, {"equiv", "coloneqq", "eq"}},
    {{Lex::kToken, Kind::kRelation, "!="}, {"ne", "neq"}},
    {{Lex::kToken, Kind::kRelation, "<"}, {"lt"}},
    {{Lex::kToken, Kind::kRelation, "<="}, {"le", "leq", "leqslant", "leqq"}},
    {{Lex::kToken, Kind::kRelation, ">"}, {"gt"}},
    {{Lex::kToken, Kind::kRelation, ">="}, {"ge", "geq", "geqslant", "geqq"}},
    {{Lex::kToken, Kind::kRelation, "in"}, {"in"}},
    {{Lex::kToken, Kind::kRelation, "notin"}, {"notin"}},
    {{Lex::kToken, Kind::kReversed, "in"}, {"ni"}},
    {{Lex::kToken, Kind::kRelation, "subset"}, {"subset", "subsetneq", "subsetneqq"}},
    {{Lex::kToken, Kind::kRelation, "subseteq"}, {"subseteq", "subseteqq"}},
    {{Lex::kToken, Kind::kReversed, "subset"}, {"supset", "supsetneq", "supsetneqq"}},
    {{Lex::kToken, Kind::kReversed, "subseteq"}, {"supseteq", "supseteqq"}},
    {{Lex::kToken, Kind::kRelation, "approx"}, {"approx", "thickapprox", "doteq", "approxeq"}},
    {{Lex::kToken, Kind::kRelation, "sim"}, {"sim", "thicksim"}},
    {{Lex::kToken, Kind::kRelation, "cong"}, {"cong", "simeq"}},
    {{Lex::kToken, Kind::kRelation, ""},
     {"propto", "parallel", "perp", "ll", "gg", "prec", "succ", "mapsto"}},
    {{Lex::kToken, Kind::kRelation, "implies"}, {"implies", "Rightarrow", "Longrightarrow"}},
    {{Lex::kToken, Kind::kReversed, "implies"}, {"impliedby", "Leftarrow", "Longleftarrow"}},
    {{Lex::kToken, Kind::kRelation, "iff"},
     {"iff", "Leftrightarrow", "Longleftrightarrow", "leftrightarrow"}},
    {{Lex::kToken, Kind::kArrow, "to"}, {"to", "rightarrow", "longrightarrow"}},
    {{Lex::kToken, Kind::kNot, ""}, {"not"}},
    {{Lex::kToken, Kind::kLogic, "and"}, {"land", "wedge"}},
    {{Lex::kToken, Kind::kLogic, "or"}, {"lor", "vee"}},
    {{Lex::kToken, Kind::kLogic, "not"}, {"neg", "lnot"}},
    {{Lex::kToken, Kind::kOpen, "("}, {"lgroup", "lparen"}},
    {{Lex::kToken, Kind::kClose, "("}, {"rgroup", "rparen"}},
    {{Lex::kToken, Kind::kOpen, "["}, {"lbrack", "llbracket"}},
    {{Lex::kToken, Kind::kClose, "["}, {"rbrack", "rrbracket"}},
    {{Lex::kToken, Kind::kOpen, "{"}, {"{", "lbrace"}},
    {{Lex::kToken, Kind::kClose, "{"}, {"}", "rbrace"}},
    {{Lex::kToken, Kind::kOpen, "<"}, {"langle"}},
    {{Lex::kToken, Kind::kClose, "<"}, {"rangle"}},
    {{Lex::kToken, Kind::kOpen, "floor"}, {"lfloor", "llcorner"}},
    {{Lex::kToken, Kind::kClose, "floor"}, {"rfloor", "lrcorner"}},
    {{Lex::kToken, Kind::kOpen, "ceil"}, {"lceil", "ulcorner"}},
    {{Lex::kToken, Kind::kClose, "ceil"}, {"rceil", "urcorner"}},
    {{Lex::kToken, Kind::kOpen, "abs"}, {"lvert"}},
    {{Lex::kToken, Kind::kClose, "abs"}, {"rvert"}},
    {{Lex::kToken, Kind::kOpen, "norm"}, {"lVert"}},
    {{Lex::kToken, Kind::kClose, "norm"}, {"rVert"}},
    {{Lex::kToken, Kind::kBar, "abs"}, {"vert"}},
    {{Lex::kToken, Kind::kBar, "norm"}, {"|", "Vert"}},
    {{Lex::kToken, Kind::kMid, ""}, {"mid"}},
    {{Lex::kToken, Kind::kFraction, ""},
     {"frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac", "flatfrac"}},
    {{Lex::kToken, Kind::kBinomial, ""}, {"binom", "dbinom", "tbinom"}},
    {{Lex::kToken, Kind::kInfix, "choose"}, {"choose"}},
    {{Lex::kToken, Kind::kInfix, "over"}, {"over"}},
    {{Lex::kToken, Kind::kRoot, ""}, {"sqrt"}},
    {{Lex::kToken, Kind::kRadical, "2"}, {"surd"}},
    {{Lex::kToken, Kind::kRadical, "3"}, {"cbrt"}},
    {{Lex::kToken, Kind::kBig, "sum"}, {"sum"}},
    {{Lex::kToken, Kind::kBig, "product"}, {"prod"}},
    {{Lex::kToken, Kind::kBig, "integral"}, {"int", "oint", "intop"}},
    {{Lex::kToken, Kind::kBig, "iint"}, {"iint"}},
    {{Lex::kToken, Kind::kBig, "iiint"}, {"iiint"}},
    {{Lex::kToken, Kind::kBig, "limit"}, {"lim"}},
    {{Lex::kToken, Kind::kPartial, ""}, {"partial", "differentialD"}},
    {{Lex::kToken, Kind::kAccent, "bar"}, {"overline", "bar"}},
    {{Lex::kToken, Kind::kAccent, "vec"}, {"vec", "overrightarrow"}},
    {{Lex::kToken, Kind::kAccent, "hat"}, {"hat", "widehat"}},
    {{Lex::kToken, Kind::kAccent, "tilde"}, {"tilde", "widetilde"}},
    {{Lex::kToken, Kind::kAccent, "arc"}, {"overarc", "wideparen", "overparen"}},
    {{Lex::kToken, Kind::kAccent, ""},
     {"dot", "ddot", "mathring", "overleftrightarrow", "acute", "grave", "check", "breve"}},
    {{Lex::kToken, Kind::kName, ""}, {"operatorname", "variable", "operatorname*"}},
    {{Lex::kToken, Kind::kBoxed, ""}, {"boxed", "fbox", "framebox"}},
    {{Lex::kToken, Kind::kBegin, ""}, {"begin"}},
    {{Lex::kToken, Kind::kFinish, ""}, {"end"}},
    {{Lex::kToken, Kind::kDots, ""},
     {"ldots", "cdots", "dots", "dotsc", "dotsb", "dotsm", "dotso", "vdots", "ddots"}},
    {{Lex::kToken, Kind::kAmpersand, ""}, {"&"}},
    {{Lex::kToken, Kind::kFunction, "re"}, {"Re"}},
    {{Lex::kToken, Kind::kFunction, "im"}, {"Im"}},
};

const Names kWords[] = {
    {{Lex::kToken, Kind::kConjunction, "and"}, {"and", "And", "AND"}},
    {{Lex::kToken, Kind::kConjunction, "or"}, {"or", "Or", "OR"}},
    {{Lex::kToken, Kind::kConstant, "pi"}, {"pi", "Pi", "PI"}},
    {{Lex::kToken, Kind::kConstant, "oo"}, {"infinity", "Infinity", "infty", "oo"}},
    {{Lex::kToken, Kind::kConstant, "true"}, {"true", "True", "TRUE"}},
    {{Lex::kToken, Kind::kConstant, "false"}, {"false", "False", "FALSE"}},
    {{Lex::kToken, Kind::kRadical, "2"}, {"sqrt"}},
    {{Lex::kToken, Kind::kRadical, "3"}, {"cbrt"}},
    {{Lex::kToken, Kind::kMod, ""}, {"mod"}},
    {{Lex::kToken, Kind::kPercent, ""}, {"percent", "pct", "Percent"}},
    {{Lex::kToken, Kind::kDegree, ""}, {"degree", "degrees", "deg"}},
    {{Lex::kToken, Kind::kBinomial, ""}, {"binom"}},
    {{Lex::kToken, Kind::kSymbol, ""},
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
        if (name == "sup" || name == "inf" || name == "dim" || name == "ker") continue;
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

bool IsUnit(std::string_view word) {
  static const auto& units = *new absl::flat_hash_set<std::string_view>{
      "mm",          "cm",         "dm",          "km",         "nm",          "ft",        "yd",
      "mi",          "inch",       "inches",      "feet",       "foot",        "yard",      "yards",
      "mile",        "miles",      "meter",       "meters",     "metre",       "metres",    "centimeter",
      "centimeters", "centimetre", "centimetres", "millimeter", "millimeters", "kilometer", "kilometers",
      "kilometre",   "kilometres", "mg",          "kg",         "oz",          "lb",        "lbs",
      "gram",        "grams",      "kilogram",    "kilograms",  "pound",       "pounds",    "ounce",
      "ounces",      "ton",        "tons",        "tonnes",     "ml",          "mL",        "cl",
      "dl",          "liter",      "liters",      "litre",      "litres",      "gallon",    "gallons",
      "quart",       "quarts",     "pint",        "pints",      "cup",         "cups",      "ms",
      "sec",         "secs",       "second",      "seconds",    "min",         "mins",      "minute",
      "minutes",     "hr",         "hrs",         "hour",       "hours",       "day",       "days",
      "week",        "weeks",      "month",       "months",     "year",        "years",     "mph",
      "kmh",         "kph",        "Hz",          "kHz",        "MHz",         "rad",       "rads",
      "radian",      "radians",    "dollar",      "dollars",    "cent",        "cents",     "euro",
      "euros",       "USD",        "EUR",         "GBP",        "rupees",      "yuan",      "yen",
      "unit",        "units",      "square",      "cubic",      "sq",          "cu",        "per",
      "meters",      "point",      "points",      "mol",        "moles",       "kJ",        "eV",
      "kW",          "MW",         "joule",       "joules",     "watt",        "watts",     "volt",
      "volts",       "ohm",        "ohms",        "newton",     "newtons",     "Pa",        "kPa",
      "atm",         "acre",       "acres",       "hectares",   "people",      "persons",   "students",
      "apples",      "ways",       "times",       "books",      "marbles",     "coins",     "balls",
      "items",       "pieces",     "pages",       "words",      "cards",       "cubes",     "tiles",
      "boys",        "girls",      "men",         "women",      "children",    "players",   "games",
      "tickets",     "eggs",       "bags",        "boxes",      "bottles",     "trees",     "cars",
      "birds",       "dogs",       "cats",        "fish",       "degree",      "degrees",   "solutions",
      "triangles",   "integers",   "numbers",     "digits"};
  return units.contains(word);
}

}  // namespace temper

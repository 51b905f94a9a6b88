// SPDX-License-Identifier: Apache-2.0
// Tasks whose answer is a truth value for each name: knights_and_knaves, propositional_logic.

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/text.h"
#include "data/tasks/formula.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

constexpr const char* kPeople[] = {"Ada",  "Ben",  "Clara", "David", "Emma",  "Felix", "Grace",
                                   "Hugo", "Ivy",  "Jonas", "Kira",  "Leo",   "Mia",   "Noah",
                                   "Olga", "Paul", "Rosa",  "Simon", "Tessa", "Victor"};

struct Puzzle {
  std::vector<std::string> names;
  std::vector<Formula> statements;
};

// What a row says of it; nothing where it cannot be read.
std::optional<Puzzle> ReadPuzzle(const Json& row, const char* names_key) {
  const Json* const names = Find(row, names_key);
  const Json* const statements = Find(row, "statements");
  if (names == nullptr || statements == nullptr || !names->is_array() || !statements->is_array())
    return std::nullopt;
  Puzzle puzzle;
  for (const Json& name : *names) {
    if (!name.is_string()) return std::nullopt;
    puzzle.names.push_back(name.get<std::string>());
  }
  for (const Json& statement : *statements) {
    if (!statement.is_string()) return std::nullopt;
    std::optional<Formula> formula = Formula::Read(statement.get_ref<const std::string&>(), puzzle.names);
    if (!formula) return std::nullopt;
    puzzle.statements.push_back(*std::move(formula));
  }
  return puzzle;
}

Json PrefixesOf(const Puzzle& puzzle) {
  Json list = Json::array();
  for (const Formula& statement : puzzle.statements) list.push_back(statement.Prefix(puzzle.names));
  return list;
}

// "Ada is a knight, Ben is a knave".
std::string TruthsText(const Puzzle& puzzle, uint32_t truths, std::string_view joined, std::string_view yes,
                       std::string_view no) {
  std::string text;
  for (size_t i = 0; i < puzzle.names.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", puzzle.names[i], std::string(joined),
                    std::string((truths >> i & 1) != 0 ? yes : no));
  }
  return text;
}

// Statement i is made by person i: true from a knight, false from a knave.
bool Consistent(const Puzzle& puzzle, uint32_t truths) {
  for (size_t i = 0; i < puzzle.statements.size(); ++i) {
    if (puzzle.statements[i].Holds(truths) != ((truths >> i & 1) != 0)) return false;
  }
  return true;
}

bool AllHold(const Puzzle& puzzle, uint32_t truths) {
  for (const Formula& statement : puzzle.statements) {
    if (!statement.Holds(truths)) return false;
  }
  return true;
}

// The assignments with which `fits` is true.
std::vector<uint32_t> Solutions(const Puzzle& puzzle, bool (*fits)(const Puzzle&, uint32_t)) {
  std::vector<uint32_t> solutions;
  for (uint32_t truths = 0; truths < uint32_t{1} << puzzle.names.size(); ++truths) {
    if (fits(puzzle, truths)) solutions.push_back(truths);
  }
  return solutions;
}

}  // namespace

Question DrawKnights(RandomStream& random, int level) {
  const int people = level + 1;
  Puzzle puzzle;
  std::vector<std::string> names(std::begin(kPeople), std::end(kPeople));
  Shuffle(random, names);
  puzzle.names.assign(names.begin(), names.begin() + people);
  std::vector<uint32_t> solutions;
  do {
    puzzle.statements.clear();
    for (int i = 0; i < people; ++i) {
      const int64_t literals = Between(random, 1, level <= 2 ? 2 : 3);
      puzzle.statements.push_back(Formula::Draw(random, people, static_cast<int>(literals)));
    }
    solutions = Solutions(puzzle, Consistent);
  } while (solutions.size() != 1);

  std::string said;
  for (int i = 0; i < people; ++i) {
    absl::StrAppend(&said, puzzle.names[i], " says: \"",
                    puzzle.statements[i].Words([&](int name, bool is_true) {
                      return absl::StrCat(puzzle.names[name], " is a ", is_true ? "knight" : "knave");
                    }),
                    ".\" ");
  }
  const Puzzle example{{puzzle.names[0], puzzle.names[1]}, {}};
  Question question{
      absl::StrCat("On an island everybody is either a knight, who always tells the truth, or a knave, who "
                   "always lies. You meet ",
                   absl::StrJoin(puzzle.names, ", "), ". ", said,
                   "Who is a knight and who is a knave? Answer for each in this form: ",
                   TruthsText(example, 1, " is a ", "knight", "knave"), ", .."),
      TruthsText(puzzle, solutions[0], " is a ", "knight", "knave")};
  question.fields["names"] = puzzle.names;
  question.fields["statements"] = PrefixesOf(puzzle);
  return question;
}

std::string WhyWrongKnights(const Json& row, std::string_view answer) {
  const std::optional<Puzzle> puzzle = ReadPuzzle(row, "names");
  if (!puzzle || puzzle->statements.size() != puzzle->names.size())
    return "the row's names and statements cannot be read";
  const std::optional<uint32_t> truths = ReadTruths(answer, puzzle->names, "knight", "knave");
  if (!truths) return absl::StrCat(Printable(answer, 60), " does not say of each whether knight or knave");
  for (size_t i = 0; i < puzzle->names.size(); ++i) {
    const bool knight = (*truths >> i & 1) != 0;
    if (puzzle->statements[i].Holds(*truths) == knight) continue;
    return absl::StrCat(Printable(puzzle->names[i], 60),
                        knight ? ", a knight, would say what is false" : ", a knave, would say what is true");
  }
  return "";
}

Question DrawPropositional(RandomStream& random, int level) {
  const int variables = level + 2;
  Puzzle puzzle;
  for (int i = 0; i < variables; ++i) puzzle.names.emplace_back(1, static_cast<char>('A' + i));
  std::vector<uint32_t> solutions;
  // Few enough solutions that a guess is right at most one time in eight.
  do {
    puzzle.statements.clear();
    for (int i = 0; i <= variables; ++i) {
      const int64_t literals = Between(random, 2, level == 1 ? 2 : 3);
      puzzle.statements.push_back(Formula::Draw(random, variables, static_cast<int>(literals)));
    }
    solutions = Solutions(puzzle, AllHold);
  } while (solutions.empty() || solutions.size() > (size_t{1} << variables) / 8);

  std::string list;
  for (size_t i = 0; i < puzzle.statements.size(); ++i) {
    absl::StrAppend(&list, "\n", i + 1, ". ", puzzle.statements[i].Words([&](int name, bool is_true) {
      return absl::StrCat(is_true ? "" : "not ", puzzle.names[name]);
    }));
  }
  const Puzzle example{{"A", "B"}, {}};
  Question question{
      absl::StrCat("Each of ", absl::StrJoin(puzzle.names, ", "),
                   " is true or false. Find values with which all of these hold (\"or\" allows "
                   "both):",
                   list, "\nAnswer for each in this form: ", TruthsText(example, 1, " = ", "true", "false"),
                   ", .."),
      TruthsText(puzzle, solutions[random.NextBelow(solutions.size())], " = ", "true", "false")};
  question.fields["variables"] = puzzle.names;
  question.fields["statements"] = PrefixesOf(puzzle);
  return question;
}

std::string WhyWrongPropositional(const Json& row, std::string_view answer) {
  const std::optional<Puzzle> puzzle = ReadPuzzle(row, "variables");
  if (!puzzle) return "the row's variables and statements cannot be read";
  const std::optional<uint32_t> truths = ReadTruths(answer, puzzle->names, "true", "false");
  if (!truths) return absl::StrCat(Printable(answer, 60), " does not say of each whether true or false");
  for (size_t i = 0; i < puzzle->statements.size(); ++i) {
    if (!puzzle->statements[i].Holds(*truths)) return absl::StrCat("statement ", i + 1, " does not hold");
  }
  return "";
}

}  // namespace temper::procedural

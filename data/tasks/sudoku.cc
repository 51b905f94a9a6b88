// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "core/text.h"
#include "data/tasks/task.h"

namespace temper::procedural {
namespace {

constexpr int kCells = 16;
using Grid = std::array<int, kCells>;  // by rows; 0: empty

bool SameUnit(int a, int b) {
  const int row_a = a / 4, row_b = b / 4, column_a = a % 4, column_b = b % 4;
  return row_a == row_b || column_a == column_b || (row_a / 2 == row_b / 2 && column_a / 2 == column_b / 2);
}

bool Fits(const Grid& grid, int cell, int digit) {
  for (int other = 0; other < kCells; ++other) {
    if (other != cell && grid[other] == digit && SameUnit(cell, other)) return false;
  }
  return true;
}

// Fills the empty cells, digits in the order given; counts solutions up to `most` and leaves the last.
int Solve(Grid& grid, const std::array<int, 4>& order, int most) {
  const auto empty = std::ranges::find(grid, 0);
  if (empty == grid.end()) return 1;
  const int cell = static_cast<int>(empty - grid.begin());
  int found = 0;
  for (const int digit : order) {
    if (!Fits(grid, cell, digit)) continue;
    grid[cell] = digit;
    Grid filled = grid;
    const int more = Solve(filled, order, most - found);
    found += more;
    if (found >= most) {
      grid = filled;
      return found;
    }
  }
  grid[cell] = 0;
  return found;
}

std::string RowsText(const Grid& grid) {
  std::string text;
  for (int i = 0; i < kCells; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : i % 4 == 0 ? "\n" : " ", grid[i] == 0 ? "_" : absl::StrCat(grid[i]));
  }
  return text;
}

// Each of the 288 grids: the first solution of an empty grid whose first row and column are drawn.
Grid DrawGrid(RandomStream& random) {
  for (;;) {
    Grid grid{};
    std::vector<int> digits = {1, 2, 3, 4};
    Shuffle(random, digits);
    for (int i = 0; i < 4; ++i) grid[i] = digits[i];
    Shuffle(random, digits);
    for (const int cell : {4, 8, 12, 10}) {
      const int digit = digits[random.NextBelow(4)];
      if (Fits(grid, cell, digit)) grid[cell] = digit;
    }
    if (Solve(grid, {digits[0], digits[1], digits[2], digits[3]}, 1) == 1) return grid;
  }
}

// Empties `count` cells so that one solution is left; false where this order of cells does not lead there.
bool Empty(RandomStream& random, int count, Grid* puzzle) {
  std::vector<int> cells;
  for (int i = 0; i < kCells; ++i) cells.push_back(i);
  Shuffle(random, cells);
  for (const int cell : cells) {
    if (count == 0) break;
    const int digit = (*puzzle)[cell];
    (*puzzle)[cell] = 0;
    Grid copy = *puzzle;
    if (Solve(copy, {1, 2, 3, 4}, 2) == 1) {
      --count;
    } else {
      (*puzzle)[cell] = digit;
    }
  }
  return count == 0;
}

// Sixteen digits; frames and white space between them do not count.
std::optional<Grid> ReadGrid(std::string_view text, bool with_empty) {
  Grid grid{};
  int cells = 0;
  for (const char c : text.substr(0, kMaxAnswerBytes)) {
    const bool empty = with_empty && c == '_';
    if (empty || (c >= '1' && c <= '4')) {
      if (cells == kCells) return std::nullopt;
      grid[cells++] = empty ? 0 : c - '0';
    } else if (!absl::ascii_isspace(c) && !IsOneOf(c, "|+-,[]")) {
      return std::nullopt;
    }
  }
  return cells == kCells ? std::optional(grid) : std::nullopt;
}

}  // namespace

Question DrawSudoku(RandomStream& random, int level) {
  Grid solution, puzzle;
  do {
    solution = puzzle = DrawGrid(random);
  } while (!Empty(random, 3 + 2 * level, &puzzle));
  Question question{
      absl::StrCat("Fill the empty cells (_) of this 4x4 sudoku, so that each row, each column and each of "
                   "the four 2x2 boxes has the digits 1 to 4:\n",
                   RowsText(puzzle), "\nAnswer with all four rows."),
      RowsText(solution)};
  question.fields["puzzle"] = RowsText(puzzle);
  return question;
}

std::string WhyWrongSudoku(const Json& row, std::string_view answer) {
  const absl::StatusOr<std::string> text = GetString(row, "puzzle", "row");
  const std::optional<Grid> puzzle = text.ok() ? ReadGrid(*text, true) : std::nullopt;
  if (!puzzle) return "the row's puzzle is not sixteen cells";
  const std::optional<Grid> grid = ReadGrid(answer, false);
  if (!grid) return absl::StrCat(Printable(answer, 60), " is not sixteen digits 1 to 4");
  for (int cell = 0; cell < kCells; ++cell) {
    const std::string where = absl::StrCat("row ", cell / 4 + 1, ", column ", cell % 4 + 1, ": ");
    if ((*puzzle)[cell] != 0 && (*puzzle)[cell] != (*grid)[cell])
      return absl::StrCat(where, "the puzzle has ", (*puzzle)[cell], ", not ", (*grid)[cell]);
    if (!Fits(*grid, cell, (*grid)[cell])) return absl::StrCat(where, "a second ", (*grid)[cell]);
  }
  return "";
}

}  // namespace temper::procedural

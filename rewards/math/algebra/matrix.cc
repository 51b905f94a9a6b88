// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <utility>
#include <vector>

#include "rewards/math/algebra/exact.h"
#include "rewards/math/algebra/expand.h"

namespace temper::math {
namespace {

using Rows = std::vector<std::vector<Expression>>;

constexpr size_t kMostMatrixNodes = 4000;
constexpr size_t kMostExactRows = 12;
constexpr size_t kMostRows = 4;  // of a determinant with symbols: 4! products

// The number that an entry is, if it is one.
Expression Folded(Expression entry) {
  const Exact exact = EvaluateExact(entry);
  if (exact.existence != Existence::kValue) return entry;
  Rational over, under(1);
  fmpz_abs(over.numerator(), exact.value.numerator());
  fmpz_set(under.numerator(), exact.value.denominator());
  Expression number{Kind::kNumber, ToString(over), {}};
  if (!exact.value.IsInteger()) number = QuotientOf(std::move(number), {Kind::kNumber, ToString(under), {}});
  return exact.value.Sign() < 0 ? NegativeOf(std::move(number)) : number;
}

std::optional<Rows> Read(const Expression& matrix) {
  if (matrix.kind != Kind::kMatrix || matrix.args.empty()) return std::nullopt;
  Rows rows;
  for (const Expression& row : matrix.args) {
    if (row.args.empty() || row.args.size() != matrix.args[0].args.size()) return std::nullopt;
    rows.push_back(row.args);
  }
  return rows;
}

Expression Write(const Rows& rows) {
  Expression matrix{Kind::kMatrix, "", {}};
  for (const auto& row : rows) {
    Expression tuple{Kind::kTuple, "", {}};
    for (const Expression& entry : row) tuple.args.push_back(Folded(entry));
    matrix.args.push_back(std::move(tuple));
  }
  return matrix;
}

std::optional<Expression> Times(const Expression& left, const Expression& right) {
  const auto a = Read(left), b = Read(right);
  if (!a || !b || a->front().size() != b->size()) return std::nullopt;
  if (CountNodes(left) * b->front().size() + CountNodes(right) * a->size() > kMostMatrixNodes)
    return std::nullopt;
  Rows rows(a->size());
  for (size_t i = 0; i < a->size(); ++i) {
    for (size_t j = 0; j < b->front().size(); ++j) {
      std::vector<Expression> terms;
      for (size_t k = 0; k < b->size(); ++k) terms.push_back(ProductOf({(*a)[i][k], (*b)[k][j]}));
      rows[i].push_back(SumOf(std::move(terms)));
    }
  }
  return Write(rows);
}

std::optional<Expression> Plus(const Expression& left, const Expression& right) {
  const auto a = Read(left), b = Read(right);
  if (!a || !b || a->size() != b->size() || a->front().size() != b->front().size()) return std::nullopt;
  Rows rows = *a;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < rows[i].size(); ++j) rows[i][j] = SumOf({rows[i][j], (*b)[i][j]});
  }
  return Write(rows);
}

std::optional<Expression> Scaled(const Expression& matrix, const Expression& factor) {
  auto rows = Read(matrix);
  if (!rows || CountNodes(factor) * CountNodes(matrix) > kMostMatrixNodes) return std::nullopt;
  for (auto& row : *rows) {
    for (Expression& entry : row) entry = ProductOf({factor, entry});
  }
  return Write(*rows);
}

Rows Minor(const Rows& rows, size_t row, size_t column) {
  Rows minor;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == row) continue;
    minor.push_back(rows[i]);
    minor.back().erase(minor.back().begin() + static_cast<std::ptrdiff_t>(column));
  }
  return minor;
}

// Gauss; none: an entry is no rational number.
std::optional<Expression> ExactDeterminant(const Rows& rows) {
  const size_t n = rows.size();
  if (n > kMostExactRows) return std::nullopt;
  std::vector<std::vector<Rational>> m(n);
  for (size_t i = 0; i < n; ++i) {
    for (const Expression& entry : rows[i]) {
      Exact exact = EvaluateExact(entry);
      if (exact.existence != Existence::kValue || exact.value.Bits() > 128) return std::nullopt;
      m[i].push_back(std::move(exact.value));
    }
  }
  Rational determinant(1);
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    while (pivot < n && m[pivot][k].IsZero()) ++pivot;
    if (pivot == n) return NumberOf(0);
    if (pivot != k) determinant = determinant * Rational(-1);
    std::swap(m[pivot], m[k]);
    determinant = determinant * m[k][k];
    for (size_t i = k + 1; i < n; ++i) {
      const Rational factor = m[i][k] / m[k][k];
      for (size_t j = k; j < n; ++j) m[i][j] = m[i][j] - factor * m[k][j];
    }
  }
  Rational over, under;
  fmpz_set(over.numerator(), determinant.numerator());
  fmpz_set(under.numerator(), determinant.denominator());
  Expression number{Kind::kNumber, ToString(determinant.Sign() < 0 ? Rational(-1) * over : over), {}};
  number = QuotientOf(std::move(number), {Kind::kNumber, ToString(under), {}});
  return determinant.Sign() < 0 ? NegativeOf(std::move(number)) : number;
}

std::optional<Expression> Determinant(const Rows& rows) {
  if (rows.size() != rows.front().size()) return std::nullopt;
  if (auto exact = ExactDeterminant(rows)) return exact;
  if (rows.size() > kMostRows) return std::nullopt;
  if (rows.size() == 1) return rows[0][0];
  std::vector<Expression> terms;
  for (size_t j = 0; j < rows.size(); ++j) {
    auto minor = Determinant(Minor(rows, 0, j));
    if (!minor) return std::nullopt;
    terms.push_back(ProductOf({NumberOf(j % 2 == 0 ? 1 : -1), rows[0][j], *std::move(minor)}));
  }
  return SumOf(std::move(terms));
}

std::optional<Expression> InverseMatrix(const Expression& matrix) {
  const auto rows = Read(matrix);
  if (!rows || rows->size() != rows->front().size() || rows->size() > kMostRows) return std::nullopt;
  const size_t n = rows->size();
  const auto determinant = Determinant(*rows);
  if (!determinant || CountNodes(*determinant) * n * n > kMostMatrixNodes) return std::nullopt;
  if (n == 1) return Write({{PowerOf((*rows)[0][0], NumberOf(-1))}});
  Rows inverse(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      auto cofactor = Determinant(Minor(*rows, j, i));
      if (!cofactor) return std::nullopt;
      const Expression sign = NumberOf((i + j) % 2 == 0 ? 1 : -1);
      inverse[i].push_back(QuotientOf(ProductOf({sign, *std::move(cofactor)}), *determinant));
    }
  }
  return Write(inverse);
}

std::optional<Expression> MatrixPower(const Expression& matrix, const Expression& exponent) {
  constexpr slong kMostExponent = 100;
  const Exact exact = EvaluateExact(exponent);
  if (exact.existence != Existence::kValue) return std::nullopt;
  const auto n = exact.value.Small(kMostExponent);
  if (!n || *n == 0) return std::nullopt;
  std::optional<Expression> base = *n < 0 ? InverseMatrix(matrix) : matrix;
  std::optional<Expression> power = base;
  for (slong i = 1; i < std::abs(*n) && power; ++i) power = Times(*power, *base);
  return power;
}

}  // namespace

std::optional<Expression> MatrixArithmetic(const Expression& expression) {
  const auto is_matrix = [](const Expression& x) { return x.kind == Kind::kMatrix; };
  const auto is_tuple = [](const Expression& x) { return x.kind == Kind::kTuple; };
  if (std::ranges::none_of(expression.args, is_matrix)) {
    // (3, 4) + t (1, 2): vectors are rows.
    const auto tuples = std::ranges::count_if(expression.args, is_tuple);
    if (tuples == 0 || expression.kind == Kind::kPower || (expression.kind == Kind::kMultiply && tuples > 1))
      return std::nullopt;
    Expression rows{expression.kind, "", {}};
    for (const Expression& arg : expression.args)
      rows.args.push_back(is_tuple(arg) ? Expression{Kind::kMatrix, "", {arg}} : arg);
    const std::optional<Expression> row = MatrixArithmetic(rows);
    return row && is_matrix(*row) ? std::optional<Expression>(row->args[0]) : std::nullopt;
  }
  if (expression.kind == Kind::kPower) {
    if (expression.args.size() != 2 || !is_matrix(expression.args[0])) return std::nullopt;
    return MatrixPower(expression.args[0], expression.args[1]);
  }
  std::optional<Expression> result;
  std::vector<Expression> scalars;
  for (const Expression& arg : expression.args) {
    if (!is_matrix(arg)) {
      if (expression.kind == Kind::kAdd) return std::nullopt;
      scalars.push_back(arg);
    } else if (!result) {
      result = arg;
    } else {
      result = expression.kind == Kind::kAdd ? Plus(*result, arg) : Times(*result, arg);
      if (!result) return std::nullopt;
    }
  }
  if (scalars.empty()) return result;
  return Scaled(*result, scalars.size() == 1 ? scalars[0] : ProductOf(std::move(scalars)));
}

std::optional<Expression> MatrixFunction(const std::string& name, const Expression& matrix) {
  auto rows = Read(matrix);
  if (!rows) return std::nullopt;
  if (name == "det" || name == "abs") return Determinant(*rows);
  if (name == "trace" && rows->size() == rows->front().size()) {
    std::vector<Expression> terms;
    for (size_t i = 0; i < rows->size(); ++i) terms.push_back((*rows)[i][i]);
    return terms.size() == 1 ? terms[0] : SumOf(std::move(terms));
  }
  if (name == "transpose") {
    Rows columns(rows->front().size());
    for (const auto& row : *rows) {
      for (size_t j = 0; j < row.size(); ++j) columns[j].push_back(row[j]);
    }
    return Write(columns);
  }
  return std::nullopt;
}

}  // namespace temper::math

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "core/files/file.h"
#include "core/status.h"
#include "tests/kernels/gpu_check/cases.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {

void Results::Say(const std::string& line) {
  std::cout << line << std::endl;
  if (path_.empty()) return;
  std::FILE* const file = std::fopen(path_.c_str(), "a");
  if (file == nullptr || std::fprintf(file, "%s\n", line.c_str()) < 0 || std::fclose(file) != 0)
    throw std::runtime_error("cannot write " + path_);
}

void Results::Judge(bool right, const std::string& what) {
  wrong_ += right ? 0 : 1;
  Say(absl::StrCat(right ? "right: " : "wrong: ", what));
}

absl::StatusOr<Digests> ReadDigests(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Digests digests;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#') continue;
    const size_t last = line.rfind(" | ");
    if (last == line.npos) return absl::InvalidArgumentError(absl::StrCat(path, ": no digest in: ", line));
    digests[std::string(line.substr(0, last))] = std::string(line.substr(last + 3));
  }
  return digests;
}

std::string DigestsText(const Digests& digests) {
  std::string text =
      "# What kernels make of given numbers, on every device with the fixed orders: name | shape | hash of "
      "what was written.\n"
      "# Written by `gpu_check --device sim --write` and held against the simulation and the CPU by "
      "kernels_test\n"
      "# (tests/kernels/gpu_check/digests_test.cc); scripts/gpu_check holds a GPU against them.\n";
  for (const auto& [key, digest] : digests) absl::StrAppend(&text, key, " | ", digest, "\n");
  return text;
}

std::string FunctionKey(WordFunction function) {
  return absl::StrCat(kWordFunctions[static_cast<int>(function)], " | every 65,521st f32");
}

std::string FunctionDigest(const Checked& device, WordFunction function) {
  FunctionTask task = kSomeInputs;
  task.function = function;
  return absl::StrFormat("%016x", device.sum_function(task));
}

namespace {

void Compare(const Digests& digests, const std::string& key, const std::string& digest, Results* results) {
  const auto found = digests.find(key);
  const bool right = found != digests.end() && found->second == digest;
  results->Judge(right, right ? key
                              : absl::StrCat(key, ": ", digest, ", not ",
                                             found == digests.end() ? "in the file" : found->second));
}

}  // namespace

int PiecesInTime(int count, absl::Duration limit, absl::FunctionRef<void(int piece)> piece,
                 absl::FunctionRef<absl::Time()> now) {
  const absl::Time end = now() + limit;
  absl::Duration longest;
  int done = 0;
  for (absl::Time begin = now(); done < count && (done == 0 || begin + longest <= end);) {
    piece(done++);
    longest = std::max(longest, now() - begin);
    begin = now();
  }
  return done;
}

void CheckCases(const Checked& device, const Digests& digests, Results* results) {
  for (const Case& one : Cases())
    Compare(digests, absl::StrCat(one.name, " | ", one.shape), DigestOf(one, *device.backend), results);
}

namespace {

// Every f32, beside the host's simulation, for as long as there is time: on 16 cores all of them.
void CompareAllInputs(const Checked& device, WordFunction function, Results* results) {
  constexpr int kPieces = 64;
  constexpr int64_t kPiece = (int64_t{1} << 32) / kPieces;
  std::string unequal;
  const int compared = PiecesInTime(kPieces, absl::Seconds(12), [&](int i) {
    // 29 has no factor in common with the pieces: they are taken from all over.
    const auto first = static_cast<uint32_t>(29 * i % kPieces * kPiece);
    const FunctionTask piece{.function = function, .first = first, .count = kPiece};
    if (device.sum_function(piece) != SimulatedSum(piece, &device.backend->pool()))
      absl::StrAppendFormat(&unequal, "%s%08x", unequal.empty() ? ", not from these bits on: " : " ", first);
  });
  results->Judge(unequal.empty(),
                 absl::StrCat(kWordFunctions[static_cast<int>(function)], " | every f32, ", compared, " of ",
                              kPieces, " parts compared in time", unequal));
}

}  // namespace

void CheckFunctions(const Checked& device, const Digests& digests, Results* results) {
  for (size_t f = 0; f < std::size(kWordFunctions); ++f) {
    const auto function = static_cast<WordFunction>(f);
    Compare(digests, FunctionKey(function), FunctionDigest(device, function), results);
    // A sigmoid is an exponential, an addition and a division.
    if (!device.small && function != WordFunction::kSigmoid) CompareAllInputs(device, function, results);
  }
}

}  // namespace temper::kernels

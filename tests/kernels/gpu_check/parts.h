// SPDX-License-Identifier: Apache-2.0
// What `gpu_check` looks at on a device, part by part: each writes lines of results.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/backend.h"
#include "tests/kernels/gpu_check/device/words.h"

namespace temper::kernels {

// A device under check.
struct Checked {
  std::unique_ptr<Backend> backend;
  std::function<void(const MmaChainsTask&)> chains;           // of the device's memory
  std::function<uint64_t(const FunctionTask&)> sum_function;  // one sum of all; `sums` are not the caller's
  bool small = false;                                         // shapes that the simulation does in seconds
};
// "sim"; "cuda", the first GPU, which this program must be built for. Throws where there is none of sm_90.
Checked OpenDevice(const std::string& name, ThreadPool* pool);

// Lines on standard output and in a file.
class Results {
 public:
  explicit Results(std::string path) : path_(std::move(path)) {}
  void Say(const std::string& line);
  // "wrong: .." or "right: ..".
  void Judge(bool right, const std::string& what);
  bool all_right() const { return wrong_ == 0; }

 private:
  const std::string path_;  // "": none
  int64_t wrong_ = 0;
};

// "name | shape" -> digest, of a file of lines "name | shape | digest"; # begins a comment.
using Digests = std::map<std::string, std::string>;
absl::StatusOr<Digests> ReadDigests(const std::string& path);
std::string DigestsText(const Digests& digests);

// The inputs of which digests.txt has the functions' sums; a device is held to the host's simulation for all
// f32.
inline constexpr FunctionTask kSomeInputs = {.first = 7, .stride = 65521, .count = 65551};
// "exp | every 65,521st f32".
std::string FunctionKey(WordFunction function);
std::string FunctionDigest(const Checked& device, WordFunction function);
// The simulation's sum, on the pool's threads.
uint64_t SimulatedSum(const FunctionTask& task, ThreadPool* pool);

// Does the first of `count` pieces, and on as long as one that takes as long as the longest so far ends
// within the limit: how many. `now` is the time.
int PiecesInTime(int count, absl::Duration limit, absl::FunctionRef<void(int piece)> piece,
                 absl::FunctionRef<absl::Time()> now = absl::Now);

void CheckCases(const Checked& device, const Digests& digests, Results* results);
void CheckFunctions(const Checked& device, const Digests& digests, Results* results);
// Blocks and chains of a tensor core's steps beside FusedDot (kernels/cuda/simulator.h).
void CheckTensorCore(const Checked& device, Results* results);
// Copies there and back, and kernels, beyond 2^31 bytes and elements.
void CheckLargeSizes(const Checked& device, Results* results);
// What a header of kernels/cuda says of a launch: "85% of the memory".
struct HeaderWords {
  const char *header, *function, *words;
};
// How long kernels take, beside what an H100 could do and what their headers say, which `said` gets.
void MeasureKernels(const Checked& device, Results* results, std::vector<HeaderWords>* said = nullptr);

}  // namespace temper::kernels

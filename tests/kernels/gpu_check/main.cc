// SPDX-License-Identifier: Apache-2.0
// gpu_check: holds a GPU of sm_90 to what the simulation of it gave, and says how fast it is.
// Usage: gpu_check PART... [--device cuda | sim] [--digests FILE] [--out FILE] [--small]
//        gpu_check --device sim --write [--digests FILE]
// Parts: cases functions tensor_core large_sizes timings. A line for each thing that is looked at goes to
// standard output and to the end of FILE. Exit status 0: all is right, 1: something is not, 2: the call is
// wrong, 77: there is no such device. --small: shapes for the simulation. --write: the digests of the
// simulation, into FILE.
#include <cstdio>
#include <cstring>
#include <iostream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "tests/kernels/gpu_check/cases.h"
#include "tests/kernels/gpu_check/parts.h"

namespace temper::kernels {

namespace {

constexpr const char* kParts[] = {"cases", "functions", "tensor_core", "large_sizes", "timings"};

struct Options {
  std::vector<std::string> parts;
  std::string device = "cuda", digests = "tests/kernels/gpu_check/digests.txt", out;
  bool small = false, write = false;
};

// False: the call is wrong.
bool Read(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    std::string* const text = word == "--device"    ? &options->device
                              : word == "--digests" ? &options->digests
                              : word == "--out"     ? &options->out
                                                    : nullptr;
    if (text != nullptr) {
      if (++i == argc) return false;
      *text = argv[i];
    } else if (word == "--small" || word == "--write") {
      (word == "--small" ? options->small : options->write) = true;
    } else if (std::find(std::begin(kParts), std::end(kParts), word) != std::end(kParts)) {
      options->parts.push_back(word);
    } else {
      return false;
    }
  }
  return options->write == options->parts.empty() && (!options->write || options->device == "sim");
}

Digests Made(const Checked& device) {
  Digests digests;
  for (const Case& one : Cases())
    digests[absl::StrCat(one.name, " | ", one.shape)] = DigestOf(one, *device.backend);
  for (size_t f = 0; f < std::size(kWordFunctions); ++f) {
    const auto function = static_cast<WordFunction>(f);
    digests[FunctionKey(function)] = FunctionDigest(device, function);
  }
  return digests;
}

void Run(const std::string& part, const Checked& device, const Digests& digests, Results* results) {
  if (part == "cases") CheckCases(device, digests, results);
  if (part == "functions") CheckFunctions(device, digests, results);
  if (part == "tensor_core") CheckTensorCore(device, results);
  if (part == "large_sizes") CheckLargeSizes(device, results);
  if (part == "timings") MeasureKernels(device, results);
}

int Main(const Options& options) {
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  Results results(options.out);
  Checked device;
  try {
    device = OpenDevice(options.device, &pool);
  } catch (const std::exception& error) {
    for (const std::string& part : options.parts)
      results.Say(absl::StrCat(part, ": never run on a device: ", error.what()));
    return 77;
  }
  device.small = options.small;
  if (options.write) {
    const absl::Status status = WriteFileAtomic(options.digests, DigestsText(Made(device)));
    if (!status.ok()) std::cerr << status << "\n";
    return status.ok() ? 0 : 1;
  }
  const absl::StatusOr<Digests> digests = ReadDigests(options.digests);
  if (!digests.ok()) {
    std::cerr << digests.status() << "\n";
    return 2;
  }
  for (const std::string& part : options.parts) Run(part, device, *digests, &results);
  return results.all_right() ? 0 : 1;
}

}  // namespace
}  // namespace temper::kernels

int main(int argc, char** argv) {
  temper::kernels::Options options;
  if (!temper::kernels::Read(argc, argv, &options)) {
    std::cerr << "gpu_check PART... [--device cuda | sim] [--digests FILE] [--out FILE] [--small], or "
                 "gpu_check --device sim "
                 "--write [--digests FILE]; parts: cases functions tensor_core large_sizes timings\n";
    return 2;
  }
  try {
    return temper::kernels::Main(options);
  } catch (const std::exception& error) {
    std::cerr << "gpu_check: " << error.what() << "\n";
    return 1;
  }
}

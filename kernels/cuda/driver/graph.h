// SPDX-License-Identifier: Apache-2.0
// What a stream is given, noted once and done again at once: CUDA's graphs, and the simulation's. A launch of
// a graph costs the host some 10 us whatever is in it, each launch of a kernel 2 to 4.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels {

#define TEMPER_DEVICE_GRAPH(DEVICE)                                                                          \
  namespace DEVICE {                                                                                         \
  class Graph;                                                                                               \
  /* What `body` gives the stream that it gets: kernels, with the arguments that they have now, copies       \
     within the device, clearing. None of it is done. Memory may be asked for, but nothing waited for. */    \
  std::shared_ptr<Graph> Record(const Stream& stream, absl::FunctionRef<void(const Stream& records)> body);  \
  /* Does all of it, behind what the stream was given before. */                                             \
  void Replay(const Graph& graph, Stream& stream);                                                           \
  /* The first thing of `now` that is another than in `recorded`, by value; empty: nothing is, or the device \
     cannot say (kTellsDifferences). */                                                                      \
  std::string Difference(const Graph& recorded, const Graph& now);                                           \
  }
TEMPER_DEVICE_GRAPH(sim)
TEMPER_DEVICE_GRAPH(sm90)
#undef TEMPER_DEVICE_GRAPH

namespace sm90 {
inline constexpr bool kTellsDifferences = false;
}

#if !defined(__CUDACC__)
namespace sim {

#if __has_builtin(__builtin_clear_padding)
inline constexpr bool kTellsDifferences = true;
#else  // clang 14 cannot leave out what lies between a value's members
inline constexpr bool kTellsDifferences = false;
#endif

class Graph {
 public:
  struct Operation {
    const char* name;       // a kernel's type's name, mangled, or what else it is
    int64_t blocks;         // of a kernel; else rows
    std::string arguments;  // their bytes (PlainBytes)
    std::function<void(Stream&)> run;
  };
  void Add(Operation operation) { operations_.push_back(std::move(operation)); }
  const std::vector<Operation>& operations() const { return operations_; }

 private:
  std::vector<Operation> operations_;
};

// A value's bytes, with 0 where none of its members lies; none where differences are not told.
template <typename T>
std::string PlainBytes(T value) {
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&value);
  return {reinterpret_cast<const char*>(&value), sizeof value};
#else
  return "";
#endif
}

}  // namespace sim
#endif

}  // namespace temper::kernels

// SPDX-License-Identifier: Apache-2.0
// Where the launch functions of kernels/cuda run their kernels, one after another.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace temper::kernels {

// Blocks of a launch, at most.
inline constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;

namespace sm90 {

// A stream of the current CUDA device. Launches return at once; one that the device refuses throws.
struct Stream {
  void* handle = nullptr;  // cudaStream_t
};

}  // namespace sm90
namespace sim {

// Which of the threads that could go on does, and which block comes next.
enum class Order {
  kAscending,
  kDescending,
  kRandom,
  kGreedyWarp,  // a warp goes on until all of its threads wait, then another, at random
};

class Graph;

// Bytes of global memory that a launch read and wrote: of each place once, what it wrote itself not read; and
// of all accesses. And its operations of f32 and of f64, of which an fma is two and a comparison none.
struct Traffic {
  int64_t read = 0, written = 0, accessed = 0;
  int64_t f32 = 0, f64 = 0;
};

// How a simulated device goes about its work. All of it is within what a device may do.
struct Stream {
  Order order = Order::kAscending;
  bool late_copies = false;  // asynchronous copies come when they are waited for, else at once
  uint32_t seed = 1;
  // Accesses to one place by several threads are compared. Without it a whole policy runs in its tests' time;
  // the bounds and the order of everything else are watched all the same.
  bool watched = true;
  // Kernels may be given the host's memory, as tests of one launch do. Else an access to it ends the launch,
  // and a copy that takes it for the device's throws.
  bool host_memory = true;
  // Gets the mangled names of the kernels that are launched.
  std::set<std::string>* launched = nullptr;
  // Gets what each launch moves.
  std::vector<Traffic>* traffic = nullptr;
  // Gets what the stream is given, which is not done then (kernels/cuda/driver/graph.h).
  Graph* graph = nullptr;
};

// Streams that together have shown every kind of fault of tests/kernels/cuda/simulator_test.cc.
std::vector<Stream> HostileStreams();

}  // namespace sim
}  // namespace temper::kernels

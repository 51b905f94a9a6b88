// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/driver/graph.h"

#include <stdexcept>

#if defined(__CUDACC__)
#include <cuda_runtime.h>

namespace temper::kernels::sm90 {
namespace {

void Check(cudaError_t error) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("recording launches: ") + cudaGetErrorString(error));
}

}  // namespace

class Graph {
 public:
  explicit Graph(cudaGraph_t graph) { Check(cudaGraphInstantiate(&launched_, graph, 0)); }
  ~Graph() { cudaGraphExecDestroy(launched_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  cudaGraphExec_t launched() const { return launched_; }

 private:
  cudaGraphExec_t launched_ = nullptr;
};

std::shared_ptr<Graph> Record(const Stream&, absl::FunctionRef<void(const Stream&)> body) {
  // A stream of its own, for which the default stream does not wait: memory is asked for there meanwhile.
  cudaStream_t on = nullptr;
  Check(cudaStreamCreateWithFlags(&on, cudaStreamNonBlocking));
  const std::shared_ptr<void> stream(on,
                                     [](void* gone) { cudaStreamDestroy(static_cast<cudaStream_t>(gone)); });
  Check(cudaStreamBeginCapture(on, cudaStreamCaptureModeRelaxed));
  cudaGraph_t graph = nullptr;
  const auto end = [&] { return cudaStreamEndCapture(on, &graph); };
  try {
    body({.handle = on});
  } catch (...) {
    end();
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  Check(end());
  const std::shared_ptr<void> recorded(graph,
                                       [](void* gone) { cudaGraphDestroy(static_cast<cudaGraph_t>(gone)); });
  return std::make_shared<Graph>(graph);
}

void Replay(const Graph& graph, Stream& stream) {
  Check(cudaGraphLaunch(graph.launched(), static_cast<cudaStream_t>(stream.handle)));
}

std::string Difference(const Graph&, const Graph&) { return ""; }

}  // namespace temper::kernels::sm90

#else

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/simulator.h"

namespace temper::kernels::sim {

std::shared_ptr<Graph> Record(const Stream& stream, absl::FunctionRef<void(const Stream&)> body) {
  auto graph = std::make_shared<Graph>();
  Stream records = stream;
  records.graph = graph.get();
  body(records);
  return graph;
}

void Replay(const Graph& graph, Stream& stream) {
  for (const Graph::Operation& operation : graph.operations()) operation.run(stream);
}

std::string Difference(const Graph& recorded, const Graph& now) {
  const auto text = [](const Graph::Operation& o) {
    return absl::StrCat(Demangled(o.name), " of ", o.blocks, " blocks");
  };
  const std::vector<Graph::Operation>&was = recorded.operations(), &is = now.operations();
  for (size_t i = 0; i < std::min(was.size(), is.size()); ++i) {
    const std::string launch = absl::StrCat("launch ", i + 1, " of ", was.size(), ", ");
    if (text(was[i]) != text(is[i])) return absl::StrCat(launch, text(was[i]), ", is ", text(is[i]), " now");
    const std::string &before = was[i].arguments, &after = is[i].arguments;
    const auto at = std::mismatch(before.begin(), before.end(), after.begin()).first - before.begin();
    if (at < static_cast<int64_t>(before.size()))
      return absl::StrCat(launch, text(was[i]), ": its arguments are others now, from byte ", at, " on");
  }
  if (was.size() == is.size()) return "";
  return absl::StrCat(was.size(), " launches are ", is.size(), " now");
}

}  // namespace temper::kernels::sim
#endif

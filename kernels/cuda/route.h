// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/route.h; all pointers are of the device's memory, but for Routing::offsets, which
// the caller copies from `device_offsets`. An H100 has 132 multiprocessors, 3.0 TB/s of memory and 5 of
// cache. None has run on a device yet.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/route.h"

namespace temper::kernels {

// What one warp can route: choices of a token, groups, experts.
inline constexpr int kMostChoices = 32, kMostGroups = 32, kMostExperts = 1024;

// SortEntries of the ids of `rows` rows; device_offsets[experts + 1].
struct SortEntriesTask {
  RouteShape shape;
  int64_t rows = 0;
  const Routing* routing = nullptr;
  int64_t* device_offsets = nullptr;
};

#define TEMPER_DEVICE_ROUTE(DEVICE)                                                                        \
  namespace DEVICE {                                                                                       \
  /* Ids, weights and scores; no entries. A warp a row: 8 bytes an expert of a row, and some 1,500         \
     instructions of 256 experts, 8 choices by turns: 45% of the memory from some 4,000 rows on, 5 us of   \
     few. */                                                                                               \
  void Route(const RouteTask& task, Stream& stream);                                                       \
  /* A block an expert counts the slots of lower ones and places its own, all of them read twice from the  \
     cache: 8 bytes x slots x experts, 55 us of 131,072 slots and 256 experts. */                          \
  void SortEntries(const SortEntriesTask& task, Stream& stream);                                           \
  /* A warp a row: 8 bytes an expert of a row (4 of sigmoids): memory, 60%. */                             \
  void RouteBackward(const RouteBackwardTask& task, Stream& stream);                                       \
  /* 8 bytes an element: memory, 85%. */                                                                   \
  void GatherExperts(const GatherExpertsTask& task, Stream& stream);                                       \
  /* 4 bytes an element of each of a row's entries, and of shared, residual and out: memory, 85%. */       \
  void CombineExperts(const CombineExpertsTask& task, Stream& stream);                                     \
  /* A block a slot: 12 bytes an element; the dot's chains, cols / 16 steps of 4 clocks, hide behind other \
     blocks: memory, 80% from some 1,000 slots on. */                                                      \
  void CombineExpertsBackward(const CombineExpertsBackwardTask& task, Stream& stream);                     \
  /* As CombineExperts. */                                                                                 \
  void ScatterExperts(const ScatterExpertsTask& task, Stream& stream);                                     \
  }
TEMPER_DEVICE_ROUTE(sim)
TEMPER_DEVICE_ROUTE(sm90)
#undef TEMPER_DEVICE_ROUTE

}  // namespace temper::kernels

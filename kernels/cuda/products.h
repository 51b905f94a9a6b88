// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/gemm.h: the same tasks, all of the device's memory; weights are read as they are,
// f32 or bf16, never packed. An H100 does 59 TFLOP/s of f32 that are each one fma of the order (66.9 at most,
// at the clock that it keeps), so a product of m rows is bound by its weights' bytes (3.0 TB/s) up to some 40
// rows of f32 and 20 of bf16, and by arithmetic beyond.
#pragma once

#include "absl/types/span.h"
#include "kernels/cuda/stream.h"
#include "kernels/gemm.h"
#include "kernels/route.h"

namespace temper::kernels {

#define TEMPER_DEVICE_PRODUCTS(DEVICE)                                                                    \
  namespace DEVICE {                                                                                      \
  /* Products of one form go in one launch, 16 at a time: experts, heads. 2 FLOPs a row, output and       \
     step. Up to 16 rows of transposed weights (decode): a block has 16 outputs of 8 rows, a thread a     \
     chain; 4 bytes a weight (2 of bf16), in 3 stages of copies, which blocks of other rows read at the   \
     same time; the rows come again for every 16 outputs, from the cache. 85% of the memory where n is    \
     2,000 or more; a chain of k steps takes no less than 4 k clocks, 17 us of 7,168. Else tiles of 128   \
     x 128 (64 x 128 up to 64 rows), 8 x 8 a thread, by 16 steps in 2 stages, with a byte from the cache  \
     for 32 FLOPs (for 21 of the smaller, for 42 with weights of bf16): 75% of the fma units' peak in     \
     f32, 55% with weights of bf16, which are widened on their way into shared memory, between the        \
     tiles. Sums of chunks wait in the thread's local memory: 7 times 64 KB a tile and way, 1% of the     \
     time at 18,432 steps. */                                                                             \
  void Products(absl::Span<const Product> products, Stream& stream);                                      \
  /* ExpertProductsTask: `task.weights` is of the device's memory. A block looks for the expert whose 8   \
     entries it has, 32 experts at a time, and multiplies them as those of up to 16 rows are; of the      \
     blocks, as many as entries in experts of their own could need, those without any end. 4 bytes a      \
     weight (2 of bf16) of experts that have entries: memory, 80%; the search takes 1 us of 256 experts.  \
     */                                                                                                   \
  void ExpertProducts(const ExpertProductsTask& task, Stream& stream);                                    \
  /* The same tiles along rows, 2 FLOPs a row and element of dw: 75% of the fma units' peak from some 512 \
     x 2,048 on; of few rows dw's way to memory and back bounds it, 8 bytes an element. */                \
  void WeightGradients(absl::Span<const WeightGradient> gradients, Stream& stream);                       \
  /* Backend::BiasGradient: 4 bytes and a FLOP an element, a chain a column: 20% of the memory at 7,168   \
     columns. */                                                                                          \
  void BiasGradient(const Matrix& dy, float* dbias, Stream& stream);                                      \
  }
TEMPER_DEVICE_PRODUCTS(sim)
TEMPER_DEVICE_PRODUCTS(sm90)
#undef TEMPER_DEVICE_PRODUCTS

}  // namespace temper::kernels

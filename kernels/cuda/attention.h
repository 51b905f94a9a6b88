// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/attention.h: the same tasks, all of the device's memory, the tables of blocks too.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels {

// Where a launch finds the task's sequences on the device, with tables of the task's own layer (the task's
// own are the host's, and say how large the launch is), and whether each split has a block of its own: then
// `found` has FoundFloats of memory.
struct AttentionPlace {
  const AttentionSequence* sequences = nullptr;
  float* found = nullptr;  // null: a block goes through all splits of its tile
};

// Of the splits of a task: for each row, head and split a maximum, a sum and v_dim outputs.
inline int64_t FoundFloats(const AttentionTask& task) {
  int64_t splits = 0;
  for (const AttentionSequence& s : task.sequences) {
    const int64_t own = s.rows == 0 ? 0 : (s.first_position + s.rows - 1) / kAttentionSplit + 1;
    splits = own > splits ? own : splits;
  }
  return task.out.rows * task.shape.q_heads * splits * (2 + task.shape.v_dim);
}

// Where a launch finds the task's sequences on the device (the task's own are the host's), and DeltaFloats of
// memory for what a row's and head's gradient and output are to each other.
struct AttentionBackwardPlace {
  const AttentionSequence* sequences = nullptr;
  float* deltas = nullptr;
};
inline int64_t DeltaFloats(const AttentionBackwardTask& task) { return task.q.rows * task.shape.q_heads; }

// Parts of one JoinKeySums at most: ranks of `cp` have two stretches each, and of a stretch a few nodes.
inline constexpr int kMostParts = 256;

// Sequences `to` become those of `from`, with tables of the layer that lies `layer_offset` bytes behind,
// which lie at to_blocks as the others do at from_blocks. There are as many blocks at most.
struct ShiftTablesTask {
  const AttentionSequence* from = nullptr;
  AttentionSequence* to = nullptr;
  int64_t sequences = 0;
  void* const* from_blocks = nullptr;
  void** to_blocks = nullptr;
  int64_t blocks = 0, layer_offset = 0;
};

#define TEMPER_DEVICE_ATTENTION(DEVICE)                                                                    \
  namespace DEVICE {                                                                                       \
  /* 8 bytes a number (6 of bf16); a key's numbers lie 64 apart, in sectors that a page's rows share: 40%  \
     of the memory for whole pages. */                                                                     \
  void WriteBlocks(const WriteBlocksTask& task, const AttentionPlace& place, Stream& stream);              \
  /* A block a sequence: 16 bytes a page. Latency: 2 us, of 1,024 pages a sequence 3. */                   \
  void ShiftTables(const ShiftTablesTask& task, Stream& stream);                                           \
  /* A tile has 16, 32 or 64 pairs of a row and a head of one kv head; blocks of keys and values come 16   \
     dimensions or 8 to 16 keys at a time, in 2 stages of copies. 2 (qk_dim + v_dim) FLOPs a pair and key, \
     and some 30 of its exponential. Decode: with up to 16 pairs a kv head each page is read once, 4 bytes \
     a number (2 of bf16), and the pairs' queries again with each page, from the cache: 70% of 3.0 TB/s,   \
     given splits for 264 blocks. Prefill and training: 64 pairs, 60% of the fma units' peak; the latent   \
     of DeepSeek-V3 (512 values): 32 pairs, 50%, with 128 pairs a token in decode too. Splits that are     \
     apart write 4 v_dim bytes a pair and split, which a second launch reads and merges. */                \
  void Attention(const AttentionTask& task, const AttentionPlace& place, Stream& stream);                  \
  /* Three launches. Deltas: 8 v_dim bytes and 2 v_dim FLOPs a row and head: memory, 60%. dq: a block      \
     has 64 rows of a head and walks over its keys, 32 at a time: 4 qk_dim + 2 v_dim FLOPs a pair and      \
     key. dk and dv: a block has 32 keys of a kv head and walks over heads and rows, 64 at a time: 4       \
     (qk_dim + v_dim). Both have some 30 of the exponential too, and a byte from the cache for some 11     \
     FLOPs. Probabilities are so computed twice, 7 products and not 5; no sum depends on which block is    \
     first. Copies come in 2 stages of 16 numbers of a dot product, 8 or 16 vectors of a chain.            \
     Arithmetic: 55% of the fma units' peak for heads of 64 or 128 numbers (2 blocks on a                  \
     multiprocessor), 50% for the latent of DeepSeek-V3, 576 and 512 (1 block). A tile ends where its      \
     sequence of a bundle does. Sums of spans and ranges wait in a thread's local memory: 10 times         \
     what a block has of dk and dv, written and read once a span and range; the driver sets 0.4 GB         \
     aside for it, 1.5 of the latent. Up to 131,072 rows. */                                               \
  void AttentionBackward(const AttentionBackwardTask& task, const AttentionBackwardPlace& place,           \
                         Stream& stream);                                                                  \
  /* For each node the third of those launches, with its FLOPs and its share; deltas are made anew.        \
     `queries` may have no dq. */                                                                          \
  void KeySums(const KeySumsTask& task, const AttentionBackwardPlace& place, Stream& stream);              \
  /* 4 bytes a part, range and number of a key, 4 a result: memory, 70%. At most kMostParts with sums. */  \
  void JoinKeySums(const JoinKeySumsTask& task, Stream& stream);                                           \
  }
TEMPER_DEVICE_ATTENTION(sim)
TEMPER_DEVICE_ATTENTION(sm90)
#undef TEMPER_DEVICE_ATTENTION

}  // namespace temper::kernels

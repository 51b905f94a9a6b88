// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/attention.h: the same tasks, all of the device's memory, the tables of blocks too.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels {

// Where a launch finds the task's sequences on the device (the task's own are the host's, and say how large
// the launch is), and whether each split has a block of its own: then `found` has FoundFloats of memory.
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

#define TEMPER_DEVICE_ATTENTION(DEVICE)                                                                    \
  namespace DEVICE {                                                                                       \
  /* 8 bytes a number (6 of bf16); a key's numbers lie 64 apart, in sectors that a page's rows share: 40%  \
     of the memory for whole pages. */                                                                     \
  void WriteBlocks(const WriteBlocksTask& task, const AttentionPlace& place, Stream& stream);              \
  /* A tile has 16, 32 or 64 pairs of a row and a head of one kv head; blocks of keys and values come 16   \
     dimensions or 8 to 16 keys at a time, in 2 stages of copies. 2 (qk_dim + v_dim) FLOPs a pair and key. \
     Decode: with up to 16 pairs a kv head it reads each page once, 70% of 3.0 TB/s, given splits for 264  \
     blocks. Prefill and training: 64 pairs, 60% of the fma units' peak; the latent of DeepSeek-V3 (512    \
     values): 32 pairs, 50%, with 128 pairs a token in decode too. Where splits are apart, a second launch \
     merges them: 8 v_dim bytes a pair and split. */                                                       \
  void Attention(const AttentionTask& task, const AttentionPlace& place, Stream& stream);                  \
  }
TEMPER_DEVICE_ATTENTION(sim)
TEMPER_DEVICE_ATTENTION(sm90)
#undef TEMPER_DEVICE_ATTENTION

}  // namespace temper::kernels

// SPDX-License-Identifier: Apache-2.0
// Tensors of which each rank has a part, in safetensors files of whole tensors: the same bytes for every
// layout of the ranks. Each file is written by one rank, to whom the others send what they have of it, piece
// by piece: no rank holds more of another's than a piece.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/communicator.h"
#include "model/files/safetensors.h"
#include "model/layout.h"
#include "model/parameters.h"

namespace temper {

// A weight, or what belongs to it (a moment), in a tensor of a file.
struct SharedPiece {
  const LayoutEntry* whole = nullptr;  // of Layout::whole()
  LayoutEntry mine_is;                 // what this rank keeps of it,
  at::Tensor mine;                     // contiguous, on any device; neither is read where it has none
  int64_t offset = 0;                  // elements of the tensor before it
};

// The same on every rank but for what is its own. Its pieces lie one behind the other in their order.
struct SharedTensor {
  TensorInfo info;  // name, dtype (F32 or BF16) and shape
  std::vector<SharedPiece> pieces;
};

struct SharedFile {
  std::string path;
  std::vector<SharedTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Writes file i by rank i mod ranks, each whole or not at all; with `staged` they go there, and nothing of
// the tensors is read any more once this returns. Collective; ok, or an error, on every rank.
absl::Status WriteShared(const ModelConfig& config, const MeshPlace& place,
                         absl::Span<const SharedFile> files, Communicator& world,
                         StagedFiles* staged = nullptr);

// How files of at most so many bytes (or one tensor) are made of weights in name order: the first weight of
// each. `bytes` of a weight.
std::vector<size_t> DealToFiles(const std::vector<int64_t>& bytes, int64_t file_bytes);
// Of all bytes those that WriteShared has a rank write.
int64_t BytesOfWriter(const std::vector<int64_t>& bytes, int64_t file_bytes, int rank, int ranks);
// stem.safetensors, or stem-00001-of-00003.safetensors.
std::string FileOf(const std::string& stem, size_t file, size_t files);
// Of a model's: {"metadata": {"total_size": ..}, "weight_map": {tensor: file}}.
std::string WeightIndexText(const std::map<std::string, std::string>& file_of, int64_t bytes);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "model/files/shared_tensors.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/check.h"
#include "core/check.h"
#include "core/json/json.h"
#include "core/status.h"
#include "model/files/dtype.h"
#include "model/parameters.h"

namespace temper {
namespace {

constexpr int64_t kPieceBytes = int64_t{16} << 20;

// A matrix as rows; a vector is a column.
int64_t Width(const std::vector<int64_t>& shape) {
  int64_t width = 1;
  for (size_t i = 1; i < shape.size(); ++i) width *= shape[i];
  return width;
}

// Moves pieces of one file to its writer.
class Mover {
 public:
  Mover(const ModelConfig& config, const MeshPlace& place, Communicator& world, StagedFiles* staged)
      : config_(config), place_(place), world_(world), staged_(staged) {}

  // What goes wrong is kept: the others are sent to and received from whatever happens.
  void Write(const SharedFile& file, int writer, absl::Status* status) {
    std::unique_ptr<SafetensorsWriter> out;
    if (world_.rank() == writer) {
      std::vector<TensorInfo> infos;
      for (const SharedTensor& tensor : file.tensors) infos.push_back(tensor.info);
      absl::StatusOr<std::unique_ptr<SafetensorsWriter>> made =
          SafetensorsWriter::Create(file.path, std::move(infos), file.metadata, staged_);
      if (made.ok()) out = *std::move(made);
      status->Update(made.status());
    }
    for (const SharedTensor& tensor : file.tensors)
      for (const SharedPiece& piece : tensor.pieces) Move(tensor, piece, writer, out.get(), status);
    if (out != nullptr && status->ok()) status->Update(out->Commit());
  }

 private:
  // Those who have a part that none before them has send it; all but the writer only ask about themselves.
  void Move(const SharedTensor& tensor, const SharedPiece& piece, int writer, SafetensorsWriter* out,
            absl::Status* status) {
    const int64_t size = DtypeBytes(tensor.info.dtype);
    if (world_.rank() != writer) {
      if (Has(piece, place_)) Send(tensor, piece, writer);
      return;
    }
    for (int rank = 0; rank < world_.size(); ++rank) {
      if (!Has(piece, PlaceOf(place_.sizes, rank))) continue;
      at::Tensor mine;
      LayoutEntry part = piece.mine_is;
      if (rank == writer) {
        mine = NumbersOf(piece, tensor);
      } else {
        // How ranks (Mesh::sharers) share out a weight hangs on all weights of their unit: each says what it
        // has.
        Extent extent;
        world_.Receive(&extent, sizeof extent, rank);
        part = *piece.whole;
        CutTo(config_, PlaceOf(place_.sizes, rank), &part);
        part.first_element = extent.first;
        part.elements = extent.count;
      }
      ForEachBlock(part, size, [&](const LayoutBlock& block) {
        const int64_t bytes = block.rows * block.columns * size;
        const char* data = nullptr;
        if (rank == writer) {
          data = static_cast<const char*>(mine.const_data_ptr()) + block.begin * size;
        } else {
          buffer_.resize(std::max<size_t>(buffer_.size(), bytes));
          world_.Receive(buffer_.data(), static_cast<size_t>(bytes), rank);
          data = buffer_.data();
        }
        if (out != nullptr && status->ok()) status->Update(Put(tensor, piece, block, data, out));
      });
    }
  }

  bool Has(const SharedPiece& piece, const MeshPlace& place) const {
    LayoutEntry part = *piece.whole;
    return Writes(place, part) && CutTo(config_, place, &part);
  }

  struct Extent {
    int64_t first = 0, count = 0;  // elements of the part
  };
  void Send(const SharedTensor& tensor, const SharedPiece& piece, int writer) {
    const int64_t size = DtypeBytes(tensor.info.dtype);
    const at::Tensor mine = NumbersOf(piece, tensor);
    const Extent extent{piece.mine_is.first_element, piece.mine_is.elements};
    world_.Send(&extent, sizeof extent, writer);
    ForEachBlock(piece.mine_is, size, [&](const LayoutBlock& block) {
      world_.Send(static_cast<const char*>(mine.const_data_ptr()) + block.begin * size,
                  static_cast<size_t>(block.rows * block.columns * size), writer);
    });
  }

  // A block into the file, together where it lies so.
  static absl::Status Put(const SharedTensor& tensor, const SharedPiece& piece, const LayoutBlock& block,
                          const char* data, SafetensorsWriter* out) {
    const int64_t size = DtypeBytes(tensor.info.dtype);
    for (const LayoutRun& run : RunsOf(block, Width(piece.whole->whole))) {
      TEMPER_RETURN_IF_ERROR(out->Write(tensor.info.name, (piece.offset + run.first) * size,
                                        data + run.begin * size, run.count * size));
    }
    return absl::OkStatus();
  }

  // In blocks that are no larger than a piece, or one row.
  template <typename Body>
  static void ForEachBlock(const LayoutEntry& part, int64_t size, const Body& body) {
    for (LayoutBlock block : BlocksOf(part)) {
      const int64_t at_once = std::max<int64_t>(kPieceBytes / (block.columns * size), 1);
      for (int64_t left = block.rows; left > 0; left -= block.rows) {
        block.rows = std::min(at_once, left);
        body(block);
        block.first_row += block.rows;
        block.begin += block.rows * block.columns;
      }
    }
  }

  static at::Tensor NumbersOf(const SharedPiece& piece, const SharedTensor& tensor) {
    const at::Tensor& mine = piece.mine;
    TEMPER_CHECK(mine.is_contiguous() && mine.numel() == piece.mine_is.elements &&
                     mine.element_size() == DtypeBytes(tensor.info.dtype),
                 tensor.info.name);
    return OnHost(mine);
  }

  const ModelConfig& config_;
  const MeshPlace& place_;
  Communicator& world_;
  StagedFiles* const staged_;
  std::vector<char> buffer_;
};

}  // namespace

absl::Status WriteShared(const ModelConfig& config, const MeshPlace& place,
                         absl::Span<const SharedFile> files, Communicator& world, StagedFiles* staged) {
  absl::Status status;
  Mover mover(config, place, world, staged);
  for (size_t i = 0; i < files.size(); ++i)
    mover.Write(files[i], static_cast<int>(i % world.size()), &status);
  return AllRanksOk(status, world);
}

std::vector<size_t> DealToFiles(const std::vector<int64_t>& bytes, int64_t file_bytes) {
  std::vector<size_t> first = {0};
  int64_t in_file = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (in_file > 0 && in_file + bytes[i] > file_bytes) {
      first.push_back(i);
      in_file = 0;
    }
    in_file += bytes[i];
  }
  return first;
}

int64_t BytesOfWriter(const std::vector<int64_t>& bytes, int64_t file_bytes, int rank, int ranks) {
  const std::vector<size_t> first = DealToFiles(bytes, file_bytes);
  int64_t mine = 0;
  for (size_t file = static_cast<size_t>(rank); file < first.size(); file += static_cast<size_t>(ranks))
    for (size_t i = first[file]; i < (file + 1 < first.size() ? first[file + 1] : bytes.size()); ++i)
      mine += bytes[i];
  return mine;
}

std::string FileOf(const std::string& stem, size_t file, size_t files) {
  return files == 1 ? stem + ".safetensors"
                    : absl::StrFormat("%s-%05d-of-%05d.safetensors", stem, file + 1, files);
}

std::string WeightIndexText(const std::map<std::string, std::string>& file_of, int64_t bytes) {
  std::string entries;
  for (const auto& [name, file] : file_of) {
    absl::StrAppend(&entries, entries.empty() ? "" : ",", "\n    ", DumpJson(Json(name)), ": ",
                    DumpJson(Json(file)));
  }
  return absl::StrCat("{\n  \"metadata\": {\n    \"total_size\": ", bytes, "\n  },\n  \"weight_map\": {",
                      entries, "\n  }\n}\n");
}

}  // namespace temper

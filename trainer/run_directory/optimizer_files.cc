// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/optimizer_files.h"

#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/status.h"
#include "model/files/safetensors.h"
#include "model/files/shared_tensors.h"
#include "model/parameters.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr char kStem[] = "optimizer";
constexpr char kFirst[] = "first_element";  // of all moments: a file's first, where there are several files
// Before the name of a weight whose policy computes with what it was rounded to.
constexpr char kMaster[] = "weights.";

// The policy's trained weights.
std::vector<const LayoutEntry*> Trained(const Layout& layout) {
  std::vector<const LayoutEntry*> trained;
  for (const LayoutEntry& entry : layout.whole())
    if (entry.trained) trained.push_back(&entry);
  return trained;
}

// One of the files, and which elements of all moments it has.
struct Part {
  std::unique_ptr<SafetensorsFile> file;
  int64_t first = 0, count = 0;
};

absl::Status Damaged(const SafetensorsFile& file, const std::string& tensor, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", tensor, what,
                                                 ": the checkpoint is damaged or of another model"));
}

absl::StatusOr<std::vector<Part>> OpenParts(const std::string& checkpoint, int64_t elements) {
  const std::string folder = StateDirectory(checkpoint);
  std::vector<Part> parts;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
  int64_t next = 0;
  for (const std::string& name : names) {
    if (!absl::StartsWith(name, kStem) || !absl::EndsWith(name, ".safetensors")) continue;
    Part part{.first = next};
    TEMPER_ASSIGN_OR_RETURN(part.file, SafetensorsFile::Open(absl::StrCat(folder, "/", name)));
    for (const char* moment : {"m", "v"}) {
      const TensorInfo* const info = part.file->Find(moment);
      if (info == nullptr) return Damaged(*part.file, moment, " is missing");
      if (moment[0] == 'm') part.count = info->elements;
      if (info->elements != part.count || part.count > elements - next)
        return Damaged(*part.file, moment, " has another size than the policy");
    }
    const auto first = part.file->metadata().find(kFirst);
    if (first != part.file->metadata().end() && first->second != absl::StrCat(next))
      return Damaged(*part.file, "m", " does not go on where the file before it ends");
    next += part.count;
    parts.push_back(std::move(part));
  }
  if (parts.empty())
    return absl::NotFoundError(absl::StrCat(folder, "/", FileOf(kStem, 0, 1), ": is missing"));
  if (next != elements) return Damaged(*parts.back().file, "m", " has another size than the policy");
  return parts;
}

// This rank's part of a weight's elements, which begin at `begin` in the tensor.
absl::Status ReadPart(const SafetensorsFile& file, const TensorInfo& info, int64_t begin,
                      const LayoutEntry& entry, float* out) {
  const int64_t width = entry.shape.size() == 2 ? entry.whole[1] : 1;
  for (const LayoutBlock& block : BlocksOf(entry)) {
    for (const LayoutRun& run : RunsOf(block, width)) {
      TEMPER_RETURN_IF_ERROR(
          file.ReadFloats(info, begin + run.first, run.count, out + block.begin + run.begin));
    }
  }
  return absl::OkStatus();
}

// The same into a tensor on any device.
absl::Status ReadInto(const SafetensorsFile& file, const std::string& tensor, int64_t begin,
                      const LayoutEntry& entry, const at::Tensor& to) {
  const TensorInfo* const info = file.Find(tensor);
  if (info == nullptr) return Damaged(file, tensor, " is missing");
  const at::Tensor host = to.is_cpu() ? to : NewHostTensor(to.sizes());
  TEMPER_RETURN_IF_ERROR(ReadPart(file, *info, begin, entry, host.mutable_data_ptr<float>()));
  if (!to.is_cpu()) CopyTensor(host, to);
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteOptimizer(const std::string& checkpoint, const OptimizerPart& part,
                            const PolicyWriting& how) {
  const Layout& layout = part.parameters.layout();
  const std::vector<const LayoutEntry*> trained = Trained(layout);
  std::vector<int64_t> bytes;
  for (const LayoutEntry* entry : trained) bytes.push_back(entry->elements * (part.rounded ? 12 : 8));
  const std::vector<size_t> first = DealToFiles(bytes, how.file_bytes);
  std::vector<SharedFile> files;
  for (size_t f = 0; f < first.size(); ++f) {
    SharedFile file{absl::StrCat(StateDirectory(checkpoint), "/", FileOf(kStem, f, first.size())), {}, {}};
    SharedTensor m{{"m", "F32", {0}}, {}}, v{{"v", "F32", {0}}, {}};
    for (size_t i = first[f]; i < (f + 1 < first.size() ? first[f + 1] : trained.size()); ++i) {
      const LayoutEntry* const whole = trained[i];
      const int64_t at = layout.Find(whole->name), offset = m.info.shape[0];
      const auto piece = [&](const at::Tensor* moments, int64_t before) {
        SharedPiece of{.whole = whole, .offset = before};
        if (at < 0) return of;
        const LayoutEntry& entry = of.mine_is = layout.entries()[at];
        of.mine = moments == nullptr ? part.parameters.list()[at].value
                                     : Elements(*moments, entry.offset, entry.elements);
        return of;
      };
      m.pieces.push_back(piece(&part.m, offset));
      v.pieces.push_back(piece(&part.v, offset));
      m.info.shape[0] = v.info.shape[0] = offset + whole->elements;
      if (part.rounded)
        file.tensors.push_back({{kMaster + whole->name, "F32", whole->whole}, {piece(nullptr, 0)}});
    }
    if (first.size() > 1) file.metadata[kFirst] = absl::StrCat(trained[first[f]]->offset);
    file.tensors.push_back(std::move(m));
    file.tensors.push_back(std::move(v));
    files.push_back(std::move(file));
  }
  return WriteShared(part.config, layout.place(), files, *how.world, how.staged);
}

absl::Status ReadOptimizer(const std::string& checkpoint, const OptimizerPart& mine) {
  const Layout& layout = mine.parameters.layout();
  int64_t elements = 0;
  for (const LayoutEntry* entry : Trained(layout)) elements += entry->elements;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Part> parts, OpenParts(checkpoint, elements));
  auto part = parts.begin();
  for (const LayoutEntry* whole : Trained(layout)) {
    while (whole->offset >= part->first + part->count) ++part;
    const int64_t at = layout.Find(whole->name), begin = whole->offset - part->first;
    if (begin + whole->elements > part->count)
      return Damaged(*part->file, "m", " ends inside a weight's moments");
    if (at < 0) continue;
    const LayoutEntry& entry = layout.entries()[at];
    const auto of = [&](const at::Tensor& all) { return Elements(all, entry.offset, entry.elements); };
    TEMPER_RETURN_IF_ERROR(ReadInto(*part->file, "m", begin, entry, of(mine.m)));
    TEMPER_RETURN_IF_ERROR(ReadInto(*part->file, "v", begin, entry, of(mine.v)));
    if (!mine.rounded) continue;
    const std::string name = kMaster + whole->name;
    const TensorInfo* const info = part->file->Find(name);
    if (info != nullptr && info->elements != whole->elements)
      return Damaged(*part->file, name, " has another size than the policy");
    TEMPER_RETURN_IF_ERROR(ReadInto(*part->file, name, 0, entry, mine.parameters.list()[at].value));
  }
  return absl::OkStatus();
}

}  // namespace temper

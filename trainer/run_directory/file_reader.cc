// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/file_reader.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/json/json.h"

namespace temper {
namespace {

constexpr absl::string_view kBetweenPaths("\0", 1);

absl::StatusOr<Extent> ReadWhole(const std::string& path, const OnBytes& on_bytes) {
  Extent extent;
  TEMPER_RETURN_IF_ERROR(ForEachPiece(path, [&](std::string_view piece) {
    extent.Add(piece);
    return on_bytes ? on_bytes(static_cast<int64_t>(piece.size())) : absl::OkStatus();
  }));
  return extent;
}

}  // namespace

std::string FileReader::ReadShare(const std::vector<std::string>& paths) const {
  absl::Status status;
  Json extents = Json::array();
  const auto step = static_cast<size_t>(ranks_->size());
  for (size_t i = ranks_->rank(); i < paths.size() && status.ok(); i += step) {
    const absl::StatusOr<Extent> extent = ReadWhole(paths[i], on_bytes_);
    status = extent.status();
    if (extent.ok()) extents.push_back({extent->bytes, extent->crc32c});
  }
  return DumpJson(Json{{"status", LastWords(status)}, {"extents", std::move(extents)}});
}

absl::StatusOr<std::vector<Extent>> FileReader::Read(const std::vector<std::string>& paths) const {
  std::vector<Extent> all;
  if (ranks_ == nullptr) {
    for (const std::string& path : paths) {
      TEMPER_ASSIGN_OR_RETURN(all.emplace_back(), ReadWhole(path, on_bytes_));
    }
    return all;
  }
  if (paths.empty()) return all;
  ranks_->AllGather(absl::StrJoin(paths, kBetweenPaths));
  std::vector<Json> of_ranks;
  for (const std::string& share : ranks_->Gather(ReadShare(paths), 0)) of_ranks.push_back(Json::parse(share));
  for (const Json& share : of_ranks)
    TEMPER_RETURN_IF_ERROR(FromLastWords(share["status"].get<std::string>()));
  for (size_t i = 0; i < paths.size(); ++i) {
    const Json& extent = of_ranks[i % of_ranks.size()]["extents"][i / of_ranks.size()];
    all.push_back({extent[0].get<int64_t>(), extent[1].get<uint32_t>()});
  }
  return all;
}

void FileReader::Help() const {
  for (;;) {
    const std::string paths = ranks_->AllGather("")[0];
    if (paths.empty()) return;
    ranks_->Gather(ReadShare(absl::StrSplit(paths, kBetweenPaths)), 0);
  }
}

absl::Status ReadTogether(Communicator& ranks, const OnBytes& on_bytes,
                          absl::FunctionRef<absl::Status(const FileReader&)> check) {
  const FileReader reader(&ranks, on_bytes);
  if (ranks.rank() > 0) {
    reader.Help();
    return AllRanksOk(absl::OkStatus(), ranks);
  }
  const absl::Status status = check(reader);
  ranks.AllGather("");
  return AllRanksOk(status, ranks);
}

}  // namespace temper

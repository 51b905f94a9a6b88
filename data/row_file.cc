// SPDX-License-Identifier: Apache-2.0
#include "data/row_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "core/lines.h"
#include "core/text.h"
#include "data/parquet.h"

namespace temper {
namespace {

constexpr int64_t kLineLimit = int64_t{64} << 20;
constexpr size_t kPiece = size_t{1} << 20;

// A file without a name: the kernel takes it back when it is closed, however the process ends.
absl::StatusOr<int> NamelessFile() {
  const char* folder = std::getenv("TMPDIR");
  std::string path = absl::StrCat(folder != nullptr && *folder != 0 ? folder : "/tmp", "/temper-rows-XXXXXX");
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) return SystemError(path, "write");
  unlink(path.c_str());
  return file;
}

absl::Status WriteAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("the temporary copy of the rows", "write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Bytes of `file`, from `offset`; fewer than asked for only at the end.
absl::StatusOr<size_t> ReadAt(int file, const std::string& name, int64_t offset, size_t count, char* out) {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = pread(file, out + done, count - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(name, "read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

absl::Status TooLong(const std::string& name, int64_t number) {
  return absl::InvalidArgumentError(absl::StrCat(name, ":", number, ": is longer than 64 MiB"));
}

// Of a pipe or device, which can be read only once; an endless line is not read to its end.
absl::StatusOr<int> CopyOf(int pipe, const std::string& name) {
  TEMPER_ASSIGN_OR_RETURN(const int copy, NamelessFile());
  std::string buffer(kPiece, '\0');
  int64_t number = 1, line = 0;  // of the line that is open: its number and bytes
  for (;;) {
    const ssize_t got = read(pipe, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) return copy;
    absl::Status status = got < 0 ? SystemError(name, "read") : absl::OkStatus();
    const std::string_view piece = std::string_view(buffer).substr(0, got < 0 ? 0 : got);
    for (const char c : piece) {
      line = c == '\n' ? 0 : line + 1;
      number += c == '\n' ? 1 : 0;
    }
    if (line > kLineLimit) status = TooLong(name, number);
    if (status.ok()) status = WriteAll(copy, piece);
    if (!status.ok()) {
      close(copy);
      return status;
    }
  }
}

absl::StatusOr<int> UnpackedParquet(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const int copy, NamelessFile());
  std::string buffer;
  absl::Status status = ForEachParquetRow(path, [&](std::string_view row) {
    buffer.append(row).push_back('\n');
    if (buffer.size() < kPiece) return absl::OkStatus();
    const absl::Status written = WriteAll(copy, buffer);
    buffer.clear();
    return written;
  });
  if (status.ok()) status = WriteAll(copy, buffer);
  if (status.ok()) return copy;
  close(copy);
  return status;
}

absl::StatusOr<int> OpenRows(const std::string& path) {
  if (path == "-") return CopyOf(STDIN_FILENO, "standard input");
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return SystemError(path, "read");
  struct stat info;
  char magic[4];
  if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
      (pread(file, magic, 4, 0) != 4 || std::memcmp(magic, "PAR1", 4) != 0)) {
    return file;
  }
  absl::StatusOr<int> copy = S_ISREG(info.st_mode) ? UnpackedParquet(path)
                             : S_ISDIR(info.st_mode)
                                 ? absl::InvalidArgumentError(absl::StrCat(
                                       Printable(path, 1000), ": is a folder, not a file of rows"))
                                 : CopyOf(file, Printable(path, 1000));
  close(file);
  return copy;
}

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

absl::StatusOr<std::unique_ptr<RowFile>> RowFile::Open(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const int file, OpenRows(path));
  auto rows =
      std::unique_ptr<RowFile>(new RowFile(path == "-" ? "standard input" : Printable(path, 1000), file));
  TEMPER_RETURN_IF_ERROR(rows->Index());
  return rows;
}

RowFile::~RowFile() { close(file_); }

absl::Status RowFile::Index() {
  std::string piece(kPiece, '\0');
  char mark[3];  // a byte order mark in front
  TEMPER_ASSIGN_OR_RETURN(const size_t marked, ReadAt(file_, name_, 0, 3, mark));
  int64_t begin =
      marked == 3 && std::memcmp(mark, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;  // of the line that is open
  int64_t offset = begin, number = 0;
  bool blank = true;
  const auto end_line = [&](int64_t end) -> absl::Status {
    ++number;
    if (number > UINT32_MAX)
      return absl::InvalidArgumentError(absl::StrCat(name_, ": has more than 2^32 lines"));
    if (end - begin > kLineLimit) return TooLong(name_, number);
    if (!blank) lines_.push_back({begin, static_cast<uint32_t>(end - begin), static_cast<uint32_t>(number)});
    begin = end + 1;
    blank = true;
    return absl::OkStatus();
  };
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const size_t got, ReadAt(file_, name_, offset, piece.size(), piece.data()));
    if (got == 0) break;
    for (size_t at = 0; at < got;) {
      const void* found = std::memchr(piece.data() + at, '\n', got - at);
      const size_t stop = found ? static_cast<const char*>(found) - piece.data() : got;
      blank = blank && IsBlank(std::string_view(piece).substr(at, stop - at));
      if (found) TEMPER_RETURN_IF_ERROR(end_line(offset + static_cast<int64_t>(stop)));
      at = stop + 1;
    }
    offset += static_cast<int64_t>(got);
  }
  return begin < offset ? end_line(offset) : absl::OkStatus();
}

std::string RowFile::RowName(int64_t index) const { return absl::StrCat(name_, ":", Number(index)); }

absl::StatusOr<DataRow> RowFile::Read(int64_t index) const {
  const LinePlace& place = lines_[index];
  DataRow row{.json = {}, .number = place.number, .name = RowName(index)};
  Line line{.text = std::string(place.bytes, '\0'), .number = row.number, .name = row.name};
  TEMPER_ASSIGN_OR_RETURN(const size_t got,
                          ReadAt(file_, name_, place.offset, place.bytes, line.text.data()));
  if (got != place.bytes)
    return absl::FailedPreconditionError(absl::StrCat(row.name, ": the file was cut while it was in use"));
  TEMPER_ASSIGN_OR_RETURN(row.json, ParseLine(line, Numbers::kAsWritten));
  if (!row.json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": is not a JSON object"));
  return row;
}

}  // namespace temper

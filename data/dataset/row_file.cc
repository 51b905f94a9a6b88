// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/row_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/lines.h"
#include "core/files/rows_source.h"
#include "core/one_of.h"
#include "core/stop.h"
#include "core/text.h"
#include "data/dataset/parquet.h"

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
    // Asked now and then: a pipe that says nothing can be left.
    pollfd waiting{.fd = pipe, .events = POLLIN, .revents = 0};
    absl::Status status = CheckStop();
    if (status.ok() && poll(&waiting, 1, 200) <= 0) continue;
    const ssize_t got = status.ok() ? read(pipe, buffer.data(), buffer.size()) : 0;
    if (got < 0 && errno == EINTR) continue;
    if (status.ok() && got == 0) return copy;
    if (status.ok()) status = got < 0 ? SystemError(name, "read") : absl::OkStatus();
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
  if (path == "-") {
    TEMPER_RETURN_IF_ERROR(CheckStandardInput());
    return CopyOf(STDIN_FILENO, "standard input");
  }
  TEMPER_ASSIGN_OR_RETURN(const int file, OpenRowsSource(path));
  struct stat info;
  char magic[4];
  if (fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
      (pread(file, magic, 4, 0) != 4 || std::memcmp(magic, "PAR1", 4) != 0)) {
    return file;
  }
  absl::StatusOr<int> copy =
      S_ISREG(info.st_mode) ? UnpackedParquet(path) : CopyOf(file, Printable(path, 1000));
  close(file);
  return copy;
}

// Finds the items of a JSON list, byte by byte, without reading them: what they are is for the parser to say.
class ListScanner {
 public:
  struct Item {
    int64_t begin, end, line;
  };
  // Takes the next byte, at `offset`; an item where it ends one. After the list's end only white space may
  // come.
  std::optional<Item> Take(char c, int64_t offset) {
    if (c == '\n') ++line_;
    const bool is_space = IsOneOf(c, " \t\r\n");
    if (in_string_) {
      if (!escaped_ && c == '"') in_string_ = false;
      escaped_ = !escaped_ && c == '\\';
      end_ = offset + 1;
      return std::nullopt;
    }
    if (done_ || (depth_ == 0 && c != '[')) rubbish_ |= !is_space;
    if (is_space || rubbish_) return std::nullopt;
    const bool closes = c == ']' || c == '}';
    if (depth_ == 1 && (c == ',' || c == ']')) {
      const bool has_item = begin_ >= 0 || c == ',' || after_comma_;
      const Item item{begin_ < 0 ? offset : begin_, begin_ < 0 ? offset : end_,
                      begin_ < 0 ? line_ : item_line_};
      begin_ = -1;
      after_comma_ = c == ',';
      if (c == ']') done_ = true;
      return has_item ? std::optional<Item>(item) : std::nullopt;
    }
    if (depth_ >= 1 && begin_ < 0) {
      begin_ = offset;
      item_line_ = line_;
    }
    depth_ += c == '[' || c == '{' ? 1 : closes ? -1 : 0;
    in_string_ = c == '"';
    end_ = offset + 1;
    return std::nullopt;
  }
  bool done() const { return done_ && !rubbish_; }
  int64_t line() const { return line_; }

 private:
  bool in_string_ = false, escaped_ = false, done_ = false, rubbish_ = false, after_comma_ = false;
  int64_t depth_ = 0, line_ = 1;
  int64_t begin_ = -1, end_ = 0, item_line_ = 0;  // of the item that is open; -1: none is
};

// What a file is whose first row is no JSON object.
std::string NoRowsHint(std::string_view text) {
  if (text.starts_with("\x1F\x8B")) return "; the file is packed with gzip: unpack it first";
  if (text.starts_with("\x28\xB5\x2F\xFD")) return "; the file is packed with zstd: unpack it first";
  return "; rows are JSON objects, one a line or in one list, or Parquet; CSV becomes such with pandas: "
         "read_csv(FILE).to_json(OUT, orient='records', lines=True)";
}

bool IsBlank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

absl::StatusOr<std::unique_ptr<RowFile>> RowFile::Open(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const int file, OpenRows(path));
  auto rows =
      std::unique_ptr<RowFile>(new RowFile(path == "-" ? "standard input" : Printable(path, 1000), file));
  TEMPER_ASSIGN_OR_RETURN(const bool is_list, rows->BeginsWithList());
  TEMPER_RETURN_IF_ERROR(is_list ? rows->IndexList() : rows->Index());
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
    TEMPER_RETURN_IF_ERROR(CheckStop());
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

// A list that spans lines, or a line of a list that goes on: JSONL's rows are objects.
absl::StatusOr<bool> RowFile::BeginsWithList() const {
  std::string head(4096, '\0');
  TEMPER_ASSIGN_OR_RETURN(const size_t got, ReadAt(file_, name_, 0, head.size(), head.data()));
  const std::string_view text = std::string_view(head).substr(0, got);
  const size_t mark = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  const size_t first = text.find_first_not_of(" \t\r\n", mark);
  return first != text.npos && text[first] == '[';
}

absl::Status RowFile::IndexList() {
  ListScanner scanner;
  std::string piece(kPiece, '\0');
  char mark[3];
  TEMPER_ASSIGN_OR_RETURN(const size_t marked, ReadAt(file_, name_, 0, 3, mark));
  int64_t offset = marked == 3 && std::memcmp(mark, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
  for (;;) {
    TEMPER_RETURN_IF_ERROR(CheckStop());
    TEMPER_ASSIGN_OR_RETURN(const size_t got, ReadAt(file_, name_, offset, piece.size(), piece.data()));
    if (got == 0) break;
    for (size_t at = 0; at < got; ++at) {
      const std::optional<ListScanner::Item> item =
          scanner.Take(piece[at], offset + static_cast<int64_t>(at));
      if (!item) continue;
      if (item->line > UINT32_MAX)
        return absl::InvalidArgumentError(absl::StrCat(name_, ": has more than 2^32 lines"));
      if (item->end - item->begin > kLineLimit) return TooLong(name_, item->line);
      lines_.push_back(
          {item->begin, static_cast<uint32_t>(item->end - item->begin), static_cast<uint32_t>(item->line)});
    }
    offset += static_cast<int64_t>(got);
  }
  // Rows that share a line (pandas writes all of them in one) are told apart by their places in the list.
  const bool shared = std::ranges::adjacent_find(lines_, [](const LinePlace& a, const LinePlace& b) {
                        return a.number == b.number;
                      }) != lines_.end();
  for (size_t i = 0; shared && i < lines_.size(); ++i) lines_[i].number = static_cast<uint32_t>(i + 1);
  if (scanner.done()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name_, ":", scanner.line(), ": the file is a JSON list that does not end, or something follows it"));
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
  absl::StatusOr<Json> json = ParseLine(line, Numbers::kAsWritten);
  if (!json.ok() && index == 0 && !line.text.starts_with("{") && !line.text.starts_with("["))
    return absl::InvalidArgumentError(absl::StrCat(json.status().message(), NoRowsHint(line.text)));
  if (!json.ok()) return json.status();
  row.json = *std::move(json);
  if (!row.json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": is not a JSON object"));
  return row;
}

}  // namespace temper

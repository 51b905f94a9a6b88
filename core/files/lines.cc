// SPDX-License-Identifier: Apache-2.0
#include "core/files/lines.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/files/rows_source.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kLineLimit = size_t{64} << 20;
constexpr size_t kPiece = size_t{1} << 16;

}  // namespace

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path,
                                                             std::function<bool()> stop) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : Printable(path, 1000);
  if (!standard) {
    TEMPER_ASSIGN_OR_RETURN(const int opened, OpenRowsSource(path));
    return std::unique_ptr<LineReader>(new LineReader(name, opened, std::move(stop)));
  }
  TEMPER_RETURN_IF_ERROR(CheckStandardInput());
  const int file = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  if (file < 0) return SystemError(name, "read");
  return std::unique_ptr<LineReader>(new LineReader(name, file, std::move(stop)));
}

LineReader::~LineReader() { close(file_); }

absl::StatusOr<bool> LineReader::ReadLine(std::string* line) {
  for (size_t searched = begin_;;) {
    const size_t at = buffer_.find('\n', searched);
    if (at != std::string::npos || (end_ && begin_ < buffer_.size())) {
      const size_t stop = at == std::string::npos ? buffer_.size() : at;
      line->assign(buffer_, begin_, stop - begin_);
      begin_ = std::min(stop + 1, buffer_.size());
      ++number_;
      return true;
    }
    if (end_) return false;
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (buffer_.size() > kLineLimit)
      return absl::InvalidArgumentError(absl::StrCat(name_, ":", number_ + 1, ": is longer than 64 MiB"));
    // Asked now and then: a terminal that says nothing can be left.
    pollfd waiting{.fd = file_, .events = POLLIN, .revents = 0};
    if (stop_()) return absl::CancelledError("stopped on request");
    if (poll(&waiting, 1, 200) <= 0) continue;
    buffer_.resize(searched + kPiece);
    const ssize_t bytes = read(file_, buffer_.data() + searched, kPiece);
    const int error = errno;
    buffer_.resize(searched + std::max<ssize_t>(bytes, 0));
    if (bytes < 0 && error != EINTR) {
      errno = error;
      return SystemError(name_, "read");
    }
    end_ = bytes == 0;
  }
}

absl::StatusOr<std::optional<Line>> LineReader::Next() {
  Line line;
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const bool more, ReadLine(&line.text));
    if (!more) return std::nullopt;
    if (line.text.find_first_not_of(" \t\r") != std::string::npos) break;
  }
  line.number = number_;
  line.name = absl::StrCat(name_, ":", number_);
  return line;
}

absl::StatusOr<Json> ParseLine(const Line& line, Numbers numbers) {
  absl::StatusOr<Json> json = ParseJson(line.text, line.name, numbers);
  if (json.ok()) return json;
  absl::string_view message = json.status().message();
  absl::ConsumePrefix(&message, absl::StrCat(line.name, ":1: "));  // ParseJson counts lines of its own
  absl::ConsumePrefix(&message, absl::StrCat(line.name, ": "));
  return absl::InvalidArgumentError(absl::StrCat(line.name, ": ", message));
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/rows.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "cli/command.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kLineLimit = size_t{64} << 20;
constexpr size_t kPiece = size_t{1} << 16;

absl::Status Stopped() { return absl::CancelledError("stopped on request"); }

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> RowReader::Open(const std::string& path) {
  const bool standard = path == "-";
  const std::string name = standard ? "standard input" : Printable(path);
  const int file =
      standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return absl::NotFoundError(absl::StrCat(name, ": ", strerror(errno)));
  auto reader = std::unique_ptr<RowReader>(new RowReader(name, file));
  struct stat info;
  if (fstat(file, &info) == 0 && S_ISDIR(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(name, ": is a folder, not a file of rows"));
  return reader;
}

RowReader::~RowReader() {
  if (file_ >= 0) close(file_);
}

absl::StatusOr<bool> RowReader::ReadLine(std::string* line) {
  for (size_t searched = begin_;;) {
    const size_t at = buffer_.find('\n', searched);
    if (at != std::string::npos || (end_ && begin_ < buffer_.size())) {
      const size_t stop = at == std::string::npos ? buffer_.size() : at;
      line->assign(buffer_, begin_, stop - begin_);
      begin_ = std::min(stop + 1, buffer_.size());
      ++line_;
      return true;
    }
    if (end_) return false;
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched = buffer_.size();
    if (buffer_.size() > kLineLimit)
      return absl::InvalidArgumentError(absl::StrCat(name_, ":", line_ + 1, ": is longer than 64 MiB"));
    // Asked now and then: a terminal that says nothing can be left.
    pollfd waiting{.fd = file_, .events = POLLIN, .revents = 0};
    if (StopRequested()) return Stopped();
    if (poll(&waiting, 1, 200) <= 0) continue;
    buffer_.resize(searched + kPiece);
    const ssize_t bytes = read(file_, buffer_.data() + searched, kPiece);
    const int error = errno;
    buffer_.resize(searched + std::max<ssize_t>(bytes, 0));
    if (bytes < 0 && error != EINTR)
      return absl::InvalidArgumentError(absl::StrCat(name_, ": ", strerror(error)));
    end_ = bytes == 0;
  }
}

absl::StatusOr<std::optional<Row>> RowReader::Next() {
  std::string text;
  for (;;) {
    TEMPER_ASSIGN_OR_RETURN(const bool more, ReadLine(&text));
    if (!more) return std::nullopt;
    if (text.find_first_not_of(" \t\r") != std::string::npos) break;
  }
  Row row{.json = {}, .line = line_, .name = absl::StrCat(name_, ":", line_)};
  absl::StatusOr<Json> json = ParseJson(text, row.name);
  if (!json.ok()) {
    absl::string_view message = json.status().message();
    absl::ConsumePrefix(&message, absl::StrCat(row.name, ":1: "));  // the line of a line
    absl::ConsumePrefix(&message, absl::StrCat(row.name, ": "));
    return absl::InvalidArgumentError(absl::StrCat(row.name, ": ", message));
  }
  row.json = *std::move(json);
  return row;
}

absl::Status WriteOut(std::string text) {
  if (text.empty() || text.back() != '\n') text += '\n';
  for (size_t done = 0; done < text.size();) {
    const ssize_t bytes = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (bytes >= 0) {
      done += bytes;
    } else if (errno == EAGAIN) {
      pollfd waiting{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      poll(&waiting, 1, -1);
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("standard output: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> TokensOf(const Json& object, const std::string& key, int64_t limit,
                                              const std::string& name) {
  const Json* list = Find(object, key);
  if (list == nullptr || !list->is_array())
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", key, ": expected a list of token ids"));
  std::vector<int32_t> ids;
  ids.reserve(list->size());
  for (const Json& item : *list) {
    // An unsigned number beyond 63 bits reads as a negative one.
    const int64_t id = item.is_number_integer() ? item.get<int64_t>() : -1;
    if (id < 0 || id >= limit) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", key, "[", ids.size(),
                                                     "]: ", Printable(DumpJson(item), 40),
                                                     " is no token id of 0 to ", limit - 1));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

std::string IdsText(absl::Span<const int32_t> ids) { return absl::StrCat("[", absl::StrJoin(ids, ","), "]"); }

std::string FloatsText(absl::Span<const float> floats) {
  const auto text = [](std::string* out, float value) {
    *out += !std::isfinite(value) ? "null" : value == 0 && std::signbit(value) ? "-0.0" : FormatFloat(value);
  };
  return absl::StrCat("[", absl::StrJoin(floats, ",", text), "]");
}

}  // namespace temper

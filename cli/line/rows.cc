// SPDX-License-Identifier: Apache-2.0
#include "cli/line/rows.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/line/command.h"
#include "core/status.h"
#include "core/stop.h"
#include "core/terminal.h"
#include "core/text.h"

namespace temper {
absl::StatusOr<std::unique_ptr<RowReader>> RowReader::Open(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<LineReader> lines, LineReader::Open(path, StopRequested));
  return std::unique_ptr<RowReader>(new RowReader(std::move(lines)));
}

absl::StatusOr<std::optional<Row>> RowReader::Next() {
  TEMPER_ASSIGN_OR_RETURN(std::optional<Line> line, lines_->Next());
  if (!line) return std::nullopt;
  TEMPER_ASSIGN_OR_RETURN(Json json, ParseLine(*line, Numbers::kAsWritten));
  return Row{.json = std::move(json), .line = line->number, .name = std::move(line->name)};
}

absl::Status WriteOut(std::string text) {
  if (text.empty() || text.back() != '\n') text += '\n';
  if (isatty(STDOUT_FILENO) == 1) text = TerminalText(text);  // elsewhere rows keep their bytes
  for (size_t done = 0; done < text.size();) {
    const ssize_t bytes = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (bytes >= 0) {
      done += bytes;
    } else if (errno == EAGAIN) {
      pollfd waiting{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
      poll(&waiting, 1, -1);
    } else if (errno == EPIPE) {
      return absl::AbortedError("standard output: its reader is gone");
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("standard output: ", strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteRow(std::string_view json) { return WriteOut(EscapeCommands(json)); }

absl::Status CheckOutput(const std::string& output, const std::vector<std::string>& inputs) {
  namespace fs = std::filesystem;
  std::error_code unknown;
  if (!fs::exists(output, unknown)) return absl::OkStatus();
  for (fs::path at = fs::canonical(output, unknown); at.has_relative_path(); at = at.parent_path()) {
    for (const std::string& input : inputs) {
      if (!fs::equivalent(at, input, unknown)) continue;
      return absl::InvalidArgumentError(absl::StrCat(Printable(output, 1000), ": is read from, as ",
                                                     Printable(input, 1000), ": write to another file"));
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

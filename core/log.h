// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/str_cat.h"

namespace temper {

enum class Severity { kInfo, kWarning, kError };

// One line on standard error, in one write: "rank 3: warning: text". A bar that is shown moves below it. Each
// line of a text of several is one. Thread safe; never fails.
void Log(Severity severity, const std::string& text);

template <class... Pieces>
void LogInfo(const Pieces&... pieces) {
  Log(Severity::kInfo, absl::StrCat(pieces...));
}
template <class... Pieces>
void LogWarning(const Pieces&... pieces) {
  Log(Severity::kWarning, absl::StrCat(pieces...));
}
template <class... Pieces>
void LogError(const Pieces&... pieces) {
  Log(Severity::kError, absl::StrCat(pieces...));
}

// Goes before every line of this process, such as "rank 3: ". Set once, early.
void SetLogPrefix(const std::string& prefix);

// The line that stays at the bottom of a terminal, as it is; empty: none. For Progress, whose colour it has.
void DrawStatusLine(const std::string& line);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "cli/report/run.h"
#include "core/json/json.h"

namespace temper {

// The one door through which strings come into the page's HTML: markup, quotes and control characters are
// escaped, bytes that are not UTF-8 become U+FFFD.
std::string EscapeHtml(std::string_view text);

// JSON for the inside of a <script> element: no `<`, `>` or `&` is left, so nothing in it can end the
// element.
std::string EscapeJsonForScript(std::string_view json);

// A number for the page's JSON, to so many digits; null where it is not finite.
Json JsonNumber(double value, int digits);

// "86.3", of a share.
std::string Percent(double share);

// The paragraph on top: what happened, in words and figures. HTML.
std::string LeadParagraph(const ReportRun& run);

// "Reinforcement learning from base: 40 updates of 32 prompts x 8 completions ..." HTML.
std::string StageSentence(const ReportStage& stage);

}  // namespace temper

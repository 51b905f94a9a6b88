// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/report_run.h"

namespace temper {

// The stage table as HTML: a row a stage, also of those that are not finished. Cells carry their exact value
// in `data-value`.
std::string StageTable(const ReportRun& run);

}  // namespace temper

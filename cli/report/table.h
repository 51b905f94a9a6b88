// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/report/run.h"

namespace temper {

// The stage table as HTML: a row a stage, also of those that are not finished. Cells carry their exact value
// in `data-value`. Of several runs: for each stage a row a run, which has the run's name.
std::string StageTable(const std::vector<const ReportRun*>& runs);

}  // namespace temper

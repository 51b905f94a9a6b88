// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace temper {

// The page's own style sheet and script, as they stand in it. The script reads the JSON of <script
// id="data">:
// {"stages":[{"name","curves":cli/report_curves.h}],"prompts":..,"rollouts":..} (cli/report_groups.h), and
// draws into [data-stage], #prompts and #rollouts. It makes text nodes only: no string of the data is read as
// markup.
extern const char kReportStyle[];
extern const char kReportScript[];

}  // namespace temper

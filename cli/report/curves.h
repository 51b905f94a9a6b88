// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/report/run.h"
#include "core/json/json.h"

namespace temper {

// A stage's metrics as charts for the page: {"main":[CHART..],"more":[CHART..],"bucket":n}; null without
// metrics. CHART: {"title","unit","zero","last","note","x":[..],"series":[{"name","y":[..],"dots"}],
// "band":{"name","low":[..],"high":[..]},"lines":[{"name","y"}]}. Long series are means of `bucket` updates,
// x the last of them; null where there is no value.
Json StageCurves(const ReportRun& run, const ReportStage& stage);

// The same figures of one stage in several runs, a series a run, each with its own "x": {"main":[CHART..],
// "more":[],"bucket":1}.
Json ComparedCurves(const std::vector<const ReportRun*>& runs, const std::string& stage);

}  // namespace temper

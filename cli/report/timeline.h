// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/report/run.h"
#include "core/json/json.h"

namespace temper {

// Where the time of one step went, rank by rank, of a run with --trace: the last update that a rollout came
// before, or else the last one; null without traces. {"microseconds": its length, "ranks_left_out",
// "ranks":[{"rank","waits","messages" (shares of its time), "spans":[[KIND, begin, length, NAME, how
// many]]}]}, in microseconds since the step's begin. KIND: see timeline.cc. Neighbours of one name that are
// too short to be seen apart are one span. What cannot be read is a note in `run`.
Json StepTimeline(ReportRun& run);

}  // namespace temper

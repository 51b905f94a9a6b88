// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/line/command.h"
#include "core/metrics.h"

namespace temper {

// Metrics as RFC 4180 text: a line a metrics line; stage, step, then every name in the order in which it
// first comes. Empty where a line has no such value, or none that is finite.
std::string MetricsCsv(const std::vector<MetricsLine>& lines);

// One stage's metrics as a TensorBoard event file (TFRecord frames of Event protobufs): a scalar a value.
// Values that are not finite are left out.
std::string MetricsEvents(const std::vector<MetricsLine>& lines, const std::string& stage);

// `temper metrics RUN_DIR`.
absl::Status RunMetrics(const CommandLine& line);
std::string MetricsHelp();

}  // namespace temper

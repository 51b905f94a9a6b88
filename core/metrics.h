// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/files/crc32c.h"
#include "core/files/file.h"
#include "core/status.h"

namespace temper {

// One line of metrics.jsonl: {"stage":"zero","step":3,"reward/accuracy":0.5,...}, names in the order written.
struct MetricsLine {
  std::string stage;
  int64_t step = 0;
  std::vector<std::pair<std::string, double>> values;

  const double* Find(const std::string& name) const;
};

// Appends to metrics.jsonl. Doubles are printed as the shortest decimal that reads back to the same bits; NaN
// and infinities, which JSON has not, as null. Thread safe.
class MetricsWriter {
 public:
  // offset: what extent().bytes was when the checkpoint that is resumed from was saved; all after it is cut
  // off, so that no line is lost or doubled. -1: goes on at the end, after cutting off a line that a crash
  // left unfinished.
  static absl::StatusOr<std::unique_ptr<MetricsWriter>> Open(const std::string& path, int64_t offset = -1);

  // One line, in the file before it returns (durable after Sync). Names are paths ("reward/accuracy"), each
  // once, neither "stage" nor "step".
  absl::Status Write(const MetricsLine& line);
  absl::Status Sync();    // no Write waits for it
  Extent extent() const;  // all lines so far

 private:
  MetricsWriter(std::unique_ptr<AppendFile> file, const Extent& extent)
      : file_(std::move(file)), extent_(extent) {}
  mutable absl::Mutex mutex_;
  const std::unique_ptr<AppendFile> file_;  // written under the mutex
  Extent extent_ ABSL_GUARDED_BY(mutex_);
};

// All lines of a metrics.jsonl; null reads as NaN. A last line without its end (a run in progress) is left
// out.
absl::StatusOr<std::vector<MetricsLine>> ReadMetrics(const std::string& path);

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"

namespace temper {

// How a run is, as its folder tells it on any machine that sees it. Where Slurm launched it and its commands
// are at hand, they are asked for the job.
struct RunState {
  enum How {
    kNever,     // nothing has begun
    kQueued,    // its job waits in Slurm's queue
    kRunning,   // gives signs of life
    kSilent,    // has no end, and has been silent for long: it hangs, was killed, or its machine is gone
    kLost,      // has no end, and nobody has its folder: it was killed
    kStopped,   // on request; can go on
    kFailed,    // with an error; can go on
    kFinished,  // all stages
  };
  std::string directory;
  How how = kNever;
  bool kept = false;  // somebody has it: its ranks, or `temper supervise` before it starts them again
  std::string why;    // of an end: its message
  std::string job, job_state;  // Slurm's, where it was launched so; as squeue says it, or empty
  double now = 0, last_sign = 0, since = 0, ended = 0;  // Unix seconds; 0: none
  int64_t starts = 0, after_stop = 0, after_fault = 0;  // this and how the ones before it ended
  int64_t ranks = 0, pid = 0;
  Json hosts = Json::object();  // ranks on each
  std::string device, temper;

  std::string stage;                                              // that goes on, or went on last
  int64_t stage_number = 0, stages = 0, update = 0, updates = 0;  // from 1; updates: of the stage, 0: unknown
  std::optional<double> update_seconds;                           // lately
  std::string doing;                                              // "zero 3/100 acc 0.4 rollout 12/64"
  std::vector<std::string> rank_lines;                            // how its ranks are, while they watch
  std::vector<std::string> alarms;                                // "alarm/loss 88 at update 3 of zero"
  double device_hours = 0, lost_device_hours = 0, cost_per_gpu_hour = 0;

  const char* HowText() const;        // "running"
  double silent() const;              // seconds since the last sign of life
  std::optional<double> eta() const;  // seconds to the end of the stage's updates
  bool lives() const { return how == kRunning || how == kSilent || kept; }
};

// Errors: files of the run that cannot be read, or are damaged. A folder without a run, or none, is kNever.
absl::StatusOr<RunState> ReadRunState(const std::string& run_directory);

// All that a start can leave that lasts (samples, checkpoints, stages), as one word: another one where
// anything of it is new.
std::string WhatLasts(const std::string& run_directory);

}  // namespace temper

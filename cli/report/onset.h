// SPDX-License-Identifier: Apache-2.0
// When something began, and not only whether: the updates at which figures of an rl stage pass a level.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/report/run.h"
#include "core/json/json.h"

namespace temper {

// A share by update.
struct ShareCurve {
  std::string name;
  std::vector<std::pair<int64_t, double>> points;  // update, share
};

// Share of a stage's sampled completions that have the word (or phrase) in them, by rollout, at the first
// update that the rollout trains. Reads all record files of the stage; what cannot be read is a note in
// `run`.
std::vector<ShareCurve> SharesOfWords(ReportRun& run, const ReportStage& stage,
                                      const std::vector<std::string>& words);

// "accuracy passes 50% at update 5 and 75% at 14; retries and checks pass 25% at 6.": the levels (10, 25, 50,
// 75, 90%) that a curve is under at first and that the mean of three points from there on reaches. HTML; ""
// where nothing passes any.
std::string OnsetSentence(const ReportStage& stage, const std::vector<ShareCurve>& words);

// The words as a chart (cli/report/curves.h); null without words.
Json WordsChart(const ReportStage& stage, const std::vector<ShareCurve>& words);

// "wait, check, again, ..": what counts as retrying or checking.
std::string CheckWordsText();

}  // namespace temper

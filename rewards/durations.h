// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace temper {

// How long things took, counted in bins: the first ends at a microsecond, each of the others at 1.2 times the
// end of the one before, the last (1.4e4 s) takes all that is longer.
class Durations {
 public:
  void Add(double seconds) {
    const double bin = seconds <= kFirst ? 0 : std::ceil(std::log(seconds / kFirst) / std::log(kGrowth));
    ++counts_[static_cast<size_t>(std::min(bin, static_cast<double>(kBins - 1)))];
    ++total_;
  }

  // The end of the bin of the least duration that is not shorter than this share of all; 0 where there are
  // none. At most 1.2 times that duration.
  double Quantile(double share) const {
    int64_t seen = 0;
    for (size_t bin = 0; bin < kBins && total_ > 0; ++bin) {
      seen += counts_[bin];
      if (static_cast<double>(seen) >= share * static_cast<double>(total_))
        return kFirst * std::pow(kGrowth, static_cast<double>(bin));
    }
    return 0;
  }

 private:
  static constexpr double kFirst = 1e-6, kGrowth = 1.2;
  static constexpr size_t kBins = 129;
  std::array<int64_t, kBins> counts_{};
  int64_t total_ = 0;
};

}  // namespace temper

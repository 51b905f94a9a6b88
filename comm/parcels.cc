// SPDX-License-Identifier: Apache-2.0
#include "comm/parcels.h"

#include <algorithm>

namespace temper {

void SwapParcels(absl::FunctionRef<Parcel(int to, int from)> parcel, int tag, Communicator& ranks) {
  for (int distance = 0; distance < ranks.size(); ++distance) {
    const int to = (ranks.rank() + distance) % ranks.size();
    const int from = (ranks.rank() + ranks.size() - distance) % ranks.size();
    const Parcel p = parcel(to, from);
    const auto out_bytes = static_cast<size_t>(p.out_bytes), in_bytes = static_cast<size_t>(p.in_bytes);
    if (distance > 0) {
      ranks.SendReceive({p.out, out_bytes, to, p.in, in_bytes, from, tag});
    } else if (!ranks.counts_only()) {
      std::copy_n(static_cast<const char*>(p.out), out_bytes, static_cast<char*>(p.in));
    }
  }
}

}  // namespace temper

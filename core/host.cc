// SPDX-License-Identifier: Apache-2.0
#include "core/host.h"

#include <unistd.h>

#include <cstdlib>

namespace temper {

std::string ThisHost() {
  const char* const of_slurm = std::getenv("SLURMD_NODENAME");
  if (of_slurm != nullptr && *of_slurm != '\0') return of_slurm;
  char host[256] = "unknown";
  gethostname(host, sizeof(host) - 1);
  return host;
}

}  // namespace temper

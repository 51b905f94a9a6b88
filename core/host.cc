// SPDX-License-Identifier: Apache-2.0
#include "core/host.h"

#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace temper {
namespace {

std::optional<int> NumberIn(const std::string& text) {
  int number = 0;
  return absl::SimpleAtoi(text, &number) && number >= 0 ? std::optional(number) : std::nullopt;
}

std::string Environment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

// Of "2(x3),1", which says 2 for each of three machines and 1 for the next.
std::optional<int> TasksOn(int node, const std::string& per_node) {
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(per_node, ','))) {
    const size_t times = part.find("(x");
    const std::optional<int> tasks = NumberIn(part.substr(0, times));
    const std::optional<int> nodes =
        times == part.npos ? 1 : NumberIn(part.substr(times + 2, part.size() - times - 3));
    if (!tasks || !nodes) return std::nullopt;
    if (node < *nodes) return tasks;
    node -= *nodes;
  }
  return std::nullopt;
}

}  // namespace

std::string ThisHost() {
  const char* const of_slurm = std::getenv("SLURMD_NODENAME");
  if (of_slurm != nullptr && *of_slurm != '\0') return of_slurm;
  char host[256] = "unknown";
  gethostname(host, sizeof(host) - 1);
  return host;
}

std::optional<LocalPlace> ThisLocalPlace() {
  std::optional<int> number = NumberIn(Environment("OMPI_COMM_WORLD_LOCAL_RANK"));
  std::optional<int> count = NumberIn(Environment("OMPI_COMM_WORLD_LOCAL_SIZE"));
  if (!count) {  // srun, which starts Open MPI's ranks without those
    number = NumberIn(Environment("SLURM_LOCALID"));
    const std::optional<int> node = NumberIn(Environment("SLURM_NODEID"));
    if (node) count = TasksOn(*node, Environment("SLURM_STEP_TASKS_PER_NODE"));
  }
  if (!count || *count <= number.value_or(0)) return std::nullopt;
  return LocalPlace{number.value_or(0), *count};
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/config.h"

namespace temper {

enum class Starter { kAuto, kSlurm, kMpirun };

// A cluster as a file (configs/clusters/): what `temper launch` starts a run on and `temper plan` plans for.
// Texts that reach a script are quoted there (cli/job/script.h).
struct ClusterConfig {
  Starter starter = Starter::kAuto;
  int64_t nodes = 1;
  int64_t spare_nodes = 0;
  int64_t ranks_per_node = 1;
  int64_t cpus_per_rank = 0;
  std::string device = "cpu";
  std::string gpus;
  std::string partition, account;
  std::string time;
  int64_t stop_seconds = 180;
  int64_t failures = 3;
  bool exclusive = false;
  std::string mpi = "pmix";
  std::vector<std::string> modules, environment, sbatch, srun, hosts, mpirun;
  std::string program;
  double cost_per_gpu_hour = 0;

  template <class V>
  void Fields(V& v) {
    v.Choice(
        "starter", starter,
        {{"auto", Starter::kAuto}, {"slurm", Starter::kSlurm}, {"mpirun", Starter::kMpirun}},
        "What starts the ranks. auto: mpirun where `hosts` are named or there is no sbatch, else Slurm.");
    v.Field("nodes", nodes, "Machines of a run, unless `launch --nodes` says.", Between(1, 100'000));
    v.Field(
        "spare_nodes", spare_nodes,
        "Slurm: machines that are asked for beside those, and count in device hours and money. Ranks are "
        "started again without one that turns out bad or goes down, in the same job. Under mpirun `hosts` "
        "has them.",
        Between(0, 1000));
    v.Field("ranks_per_node", ranks_per_node, "Ranks on each; with GPUs one for each.", Between(1, 1024));
    v.Field(
        "cpus_per_rank", cpus_per_rank,
        "Cores that each rank is bound to. 0: what Slurm gives, one core in most clusters, or under mpirun "
        "all of the machine.",
        Between(0, 4096));
    v.Field(
        "device", device,
        "What a rank computes on, by the name in the device table: h800, h100, h200, a100. Recipes run with "
        "`device: cuda` there. cpu: no GPUs are asked for.");
    v.Field("gpus", gpus,
            "How GPUs are asked for: `gpu:h100:8` becomes --gres=gpu:h100:8; empty: --gpus-per-node, as many "
            "as ranks; none: nothing is asked, for clusters that give whole machines.");
    v.Field("partition", partition, "Slurm's partition; empty: its default.");
    v.Field("account", account, "Who pays; empty: Slurm's default.");
    v.Field("time", time, "The time limit, as Slurm writes it (4:00:00, 2-12); empty: the partition's.");
    v.Field("stop_seconds", stop_seconds,
            "So long before the time limit ranks are asked to save and stop, and the job is queued again; "
            "Slurm may ask 60 s sooner. Longer than an update and a checkpoint take.",
            Between(10, 65535));
    v.Field(
        "failures", failures,
        "A run that fails (a rank lost, out of memory) is queued again, until it fails so many times in a "
        "row without a new checkpoint. 0: it never is.",
        Between(0, 1000));
    v.Field("exclusive", exclusive, "Whole machines, which no other job shares.");
    v.Field("mpi", mpi, "srun's --mpi: Open MPI wants pmix, or a version of it (srun --mpi=list).");
    v.Field("modules", modules, "What `module load` loads first.");
    v.Field("environment", environment, "NAME=value, set for every rank: NCCL_IB_HCA=mlx5.");
    v.Field("sbatch", sbatch, "Further options of sbatch: --constraint=h100, --qos=long.");
    v.Field("srun", srun, "Further options of srun.");
    v.Field("hosts", hosts,
            "Under mpirun: the machines, of which the first `nodes` are taken, and the next ones for such as "
            "turn "
            "out bad; empty: this one.");
    v.Field("mpirun", mpirun, "Further options of mpirun, a word each.");
    v.Field("program", program, "Where temper is on the machines; empty: where the one that launches is.");
    v.Field(
        "cost_per_gpu_hour", cost_per_gpu_hour,
        "What an hour of a device (of cpu: of a rank) costs; the recipe's field of that name, unless that "
        "is set.",
        AtLeast(0));
  }
};

}  // namespace temper

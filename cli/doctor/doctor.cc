// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor/doctor.h"

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/doctor/checks.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "comm/check.h"
#include "core/host.h"
#include "core/json/json.h"
#include "core/text.h"

namespace temper {
namespace {

struct DoctorOptions {
  std::string run_dir, cluster;
  bool ranks = false;

  template <class V>
  void Fields(V& v) {
    v.Field("run_dir", run_dir, "Where a run would be kept; empty: the working directory.");
    v.Field("cluster", cluster,
            "A cluster file or its name, or 64x8xh800: GPUs are then wanted, and bandwidths held against the "
            "device table.");
    v.Field("ranks", ranks,
            "Several ranks are meant to be here: to be alone is a fail (srun with another --mpi than "
            "temper's MPI speaks "
            "starts many that are each alone).");
  }
};

// What the ranks found of one thing.
struct Told {
  int rank = 0;
  Finding finding;
};

std::string Encode(const Findings& findings) {
  Json json = Json::array();
  for (const Finding& f : findings) json.push_back({{"what", f.what}, {"level", f.level}, {"text", f.text}});
  return DumpJson(json);
}

absl::StatusOr<Findings> Decode(const std::string& text) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(text, "findings"));
  Findings findings;
  for (const Json& row : json) {
    Finding& f = findings.emplace_back();
    TEMPER_ASSIGN_OR_RETURN(f.what, GetString(row, "what", "findings"));
    TEMPER_ASSIGN_OR_RETURN(const int64_t level, GetInt(row, "level", "findings"));
    TEMPER_ASSIGN_OR_RETURN(f.text, GetString(row, "text", "findings"));
    f.level = static_cast<Finding::Level>(level);
  }
  return findings;
}

std::string Line(const Finding& finding, const std::string& where) {
  constexpr const char* kNames[] = {"ok", "warn", "fail"};
  return absl::StrFormat("%-5s %-8s %s%s\n", kNames[finding.level], finding.what, where, finding.text);
}

// A line where all ranks are well, of the first; else one for each machine that is not, with its ranks.
std::string LinesOf(const std::vector<Told>& told, const std::vector<std::string>& hosts) {
  const bool well =
      std::all_of(told.begin(), told.end(), [](const Told& t) { return t.finding.level == Finding::kOk; });
  const bool alone = hosts.size() == 1;
  if (well) {
    const std::string where = alone ? "" : absl::StrCat(Printable(hosts[told[0].rank]), ": ");
    return Line({told[0].finding.what, Finding::kOk,
                 absl::StrCat(told[0].finding.text,
                              told.size() > 1 ? absl::StrCat("; well on all ", told.size()) : "")},
                where);
  }
  std::map<std::string, std::vector<Told>> by_host;
  for (const Told& t : told)
    if (t.finding.level != Finding::kOk) by_host[hosts[t.rank]].push_back(t);
  std::string lines;
  for (const auto& [host, odd] : by_host) {
    std::vector<int> ranks;
    for (const Told& t : odd) ranks.push_back(t.rank);
    const Told& worst = *std::max_element(odd.begin(), odd.end(), [](const Told& a, const Told& b) {
      return a.finding.level < b.finding.level;
    });
    const std::string where = absl::StrCat(Printable(host), " (rank", ranks.size() > 1 ? "s " : " ",
                                           absl::StrJoin(ranks, ", "), "): ");
    lines += Line(worst.finding, alone ? "" : where);
  }
  return lines;
}

}  // namespace

absl::Status RunDoctor(const CommandLine& line) {
  Communicator& world = *line.world;
  const absl::StatusOr<DoctorOptions> options = OptionsOf<DoctorOptions>(line);
  absl::Status ready = options.status();
  std::optional<Cluster> cluster;
  GpusWanted wanted;
  if (ready.ok() && !options->cluster.empty()) {
    const absl::StatusOr<ClusterConfig> config = ReadCluster(options->cluster, "");
    ready = config.status();
    if (config.ok()) wanted = {config->device, config->ranks_per_node};
    if (config.ok() && wanted.device != "cpu") cluster = ClusterOf(*config);
  }
  TEMPER_RETURN_IF_ERROR(AllRanksOk(ready, world));
  const std::vector<std::string> hosts = world.AllGather(ThisHost());

  Findings mine = CheckRanks(hosts, cluster ? &cluster->device : nullptr, world);
  if (options->ranks && world.size() == 1)
    mine.push_back(
        {"ranks", Finding::kFail,
         "one rank alone: start with mpirun -n N, or srun --mpi=pmix (srun --mpi=list says what there is)"});
  for (Finding& finding : CheckHost(wanted, world)) mine.push_back(std::move(finding));
  world.Barrier();
  for (Finding& finding : CheckFolder(options->run_dir, world)) mine.push_back(std::move(finding));

  std::vector<std::pair<std::string, std::vector<Told>>> by_what;
  int64_t fails = 0;
  int rank = 0;
  for (const std::string& text : world.AllGather(Encode(mine))) {
    TEMPER_ASSIGN_OR_RETURN(const Findings findings, Decode(text));
    for (const Finding& finding : findings) {
      auto at = std::find_if(by_what.begin(), by_what.end(),
                             [&](const auto& one) { return one.first == finding.what; });
      if (at == by_what.end()) at = by_what.insert(by_what.end(), {finding.what, {}});
      at->second.push_back({rank, finding});
      fails += finding.level == Finding::kFail ? 1 : 0;
    }
    ++rank;
  }
  std::string page;
  for (const auto& [what, told] : by_what) page += LinesOf(told, hosts);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(world.rank() == 0 ? WriteOut(page) : absl::OkStatus(), world));
  if (fails == 0) return absl::OkStatus();
  return absl::UnavailableError("a run cannot be relied on here: see what fails above");
}

std::string DoctorHelp() { return HelpOf<DoctorOptions>(); }

}  // namespace temper

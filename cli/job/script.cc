// SPDX-License-Identifier: Apache-2.0
#include "cli/job/script.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/status.h"
#include "core/text.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

bool IsPlain(char c) {
  return absl::ascii_isalnum(c) || std::string_view("-_./=:,+@%").find(c) != std::string_view::npos;
}

bool AllPlain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsPlain);
}

// A word of a #SBATCH line, which sbatch takes apart itself: within double quotes it heeds \\ and \" alone.
std::string SbatchWord(std::string_view text) {
  if (AllPlain(text)) return std::string(text);
  return absl::StrCat("\"", absl::StrReplaceAll(std::string(text), {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string LastPart(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string Words(const std::vector<std::string>& words) {
  return absl::StrJoin(words, " ",
                       [](std::string* out, const std::string& word) { out->append(ShellWord(word)); });
}

absl::Status CheckTexts(const Job& job) {
  const ClusterConfig& c = job.cluster;
  std::vector<std::string> all = {c.gpus, c.partition, c.account,         c.time,
                                  c.mpi,  c.program,   job.run_directory, job.working_directory};
  for (const auto* list : {&c.modules, &c.environment, &c.sbatch, &c.srun, &c.hosts, &c.mpirun, &job.command})
    all.insert(all.end(), list->begin(), list->end());
  for (const std::string& text : all) {
    if (std::any_of(text.begin(), text.end(), [](char ch) { return absl::ascii_iscntrl(ch); }))
      return absl::InvalidArgumentError(absl::StrCat(
          Printable(text, 200), ": has a line end or another control character, which no script can hold"));
  }
  for (const std::string& option : c.sbatch) {
    if (option.empty() || option[0] != '-')
      return absl::InvalidArgumentError(
          absl::StrCat("sbatch: ", Printable(option, 100), ": is no option: --name=value"));
  }
  return absl::OkStatus();
}

std::string Surroundings(const Job& job) {
  std::string text = absl::StrCat("cd ", ShellWord(job.working_directory), " || exit 1\n");
  if (!job.cluster.modules.empty()) absl::StrAppend(&text, "module load ", Words(job.cluster.modules), "\n");
  for (const std::string& one : job.cluster.environment) {
    const size_t sign = one.find('=');
    absl::StrAppend(&text, "export ", one.substr(0, sign + 1), ShellWord(one.substr(sign + 1)), "\n");
  }
  return text;
}

// What sbatch is told, an option a line.
std::string Options(const Job& job) {
  const ClusterConfig& c = job.cluster;
  std::vector<std::string> options = {absl::StrCat("--job-name=", LastPart(job.run_directory)),
                                      absl::StrCat("--nodes=", c.nodes + c.spare_nodes),
                                      absl::StrCat("--ntasks-per-node=", c.ranks_per_node)};
  const auto say = [&](const char* option, const std::string& value) {
    if (!value.empty()) options.push_back(absl::StrCat(option, value));
  };
  if (c.cpus_per_rank > 0) say("--cpus-per-task=", absl::StrCat(c.cpus_per_rank));
  if (c.device != "cpu" && c.gpus != "none") {
    if (c.gpus.empty()) say("--gpus-per-node=", absl::StrCat(c.ranks_per_node));
    say("--gres=", c.gpus);
  }
  say("--partition=", c.partition);
  say("--account=", c.account);
  say("--time=", c.time);
  if (c.exclusive) options.push_back("--exclusive");
  say("--chdir=", job.run_directory);
  say("--output=", "launch-%j.out");  // in that folder: in a path sbatch takes % and \\ for its own
  for (const char* option : {"--open-mode=append", "--requeue"}) options.push_back(option);
  if (c.spare_nodes > 0) options.push_back("--no-kill");  // one that goes down does not end the job
  say("--signal=TERM@", absl::StrCat(c.stop_seconds));    // to the ranks, which end with 75
  options.insert(options.end(), c.sbatch.begin(), c.sbatch.end());
  std::string text;
  for (const std::string& option : options) absl::StrAppend(&text, "#SBATCH ", SbatchWord(option), "\n");
  return text;
}

// What starts the ranks, which starts them again (cli/job/supervise.h).
std::vector<std::string> Supervised(const Job& job, std::vector<std::string> starter,
                                    const std::vector<std::string>& hosts) {
  std::vector<std::string> words = {job.command[0], "supervise", "--run-dir", job.run_directory,
                                    absl::StrCat("--failures=", std::max<int64_t>(1, job.cluster.failures))};
  if (!hosts.empty()) {
    words.push_back(absl::StrCat("--hosts=", absl::StrJoin(hosts, ",")));
    words.push_back(absl::StrCat("--nodes=", job.cluster.nodes));
  }
  words.push_back("--");
  words.insert(words.end(), starter.begin(), starter.end());
  return words;
}

// Whether the job goes on once srun has ended. No traps: bash loses signals that come together, and ranks get
// theirs from Slurm itself.
constexpr char kBefore[] = R"(
# Starts in a row that left nothing new.
count=$run/launch-failures
failures=0
[ -e "$count" ] && read -r failures < "$count"
case $failures in ''|*[!0-9]*) failures=0 ;; esac
# A job that Slurm starts again does not undo `temper stop`.
if [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ]; then failures=0; elif [ -e "$run/stop" ]; then exit 75; fi
echo "$failures" 1<> "$count"  # in place: on a full disk too
before=$("$temper" status --lasts "$run")

)";
// Of a job that --no-kill keeps.
constexpr char kGuard[] =
    R"(# Where this machine goes down nobody is left who goes on, and Slurm keeps the job all the same: up to three others look,
# until it is no longer this start of the job that runs.
guard='ask() { squeue --noheader --states=running --jobs="$SLURM_JOB_ID" "$@"; }
missed=0
while sleep 20; do
  start=$(ask --Format=RestartCnt) && names=$(ask --format=%N) && names=$(scontrol show hostnames "$names") || continue
  [ -n "$start" ] && [ -n "$names" ] || continue
  [ $start -eq ${SLURM_RESTART_COUNT:-0} ] || exit 0
  mapfile -t hosts <<< "$names"
  if [[ " ${hosts[*]} " = *" $0 "* ]]; then missed=0; elif ((++missed >= 2)); then scontrol requeue "$SLURM_JOB_ID"; fi
done'
mapfile -t others < <(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep -vxF "$SLURMD_NODENAME" | tail -n 3)
srun --overlap --no-kill --mpi=none --nodes=${#others[@]} --ntasks=${#others[@]} --ntasks-per-node=1 \
  --nodelist=$(IFS=,; echo "${others[*]}") bash -c "$guard" "$SLURMD_NODENAME" 2> /dev/null &

)";
constexpr char kAfter[] = R"(code=$?

# 0: finished; 2: the user's input, which another start does not mend.
case $code in 0|2) exit $code ;; esac
if [ -e "$run/stop" ]; then exit $code; fi
after=$("$temper" status --lasts "$run")
if [ "$after" = "$before" ]; then failures=$((failures + 1)); else failures=0; fi
if ! echo "$failures" 1<> "$count"; then
  echo "launch: ended with $code; not queued again, since nobody would count how often" >&2
  exit $code
fi
if [ "$failures" -ge "$limit" ]; then
  echo "launch: ended with $code, and $failures starts in a row left nothing new: not queued again" >&2
  exit $code
fi
echo "launch: ended with $code; queued again" >&2
scontrol requeue "$SLURM_JOB_ID" && sleep 3600
exit $code
)";

}  // namespace

std::string ShellWord(std::string_view text) {
  if (AllPlain(text)) return std::string(text);
  return absl::StrCat("'", absl::StrReplaceAll(std::string(text), {{"'", "'\\''"}}), "'");
}

absl::StatusOr<int64_t> SecondsOfTimeLimit(const std::string& text) {
  const auto wrong = absl::InvalidArgumentError(
      absl::StrCat(Printable(text, 40), ": is no time limit: MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS"));
  const size_t dash = text.find('-');
  const std::vector<std::string> parts =
      absl::StrSplit(dash == text.npos ? text : text.substr(dash + 1), ':');
  std::vector<int64_t> numbers(parts.size());
  int64_t days = 0;
  if (dash != text.npos && (!absl::SimpleAtoi(text.substr(0, dash), &days) || days < 0)) return wrong;
  for (size_t i = 0; i < parts.size(); ++i)
    if (!absl::SimpleAtoi(parts[i], &numbers[i]) || numbers[i] < 0) return wrong;
  if (parts.size() > 3 || days > 100'000 || *std::max_element(numbers.begin(), numbers.end()) > 100'000'000)
    return wrong;
  // With days hours come first; without, a lone number is minutes and two are minutes and seconds.
  int64_t unit = dash != text.npos ? 3600 : parts.size() == 3 ? 3600 : 60;
  int64_t seconds = days * 86400;
  for (const int64_t number : numbers) {
    seconds += number * unit;
    unit /= 60;
  }
  return seconds;
}

absl::StatusOr<std::string> SlurmScript(const Job& job) {
  TEMPER_RETURN_IF_ERROR(CheckTexts(job));
  const ClusterConfig& c = job.cluster;
  std::vector<std::string> srun = {"srun", "--kill-on-bad-exit=1"};
  if (!c.mpi.empty()) srun.push_back(absl::StrCat("--mpi=", c.mpi));
  if (c.cpus_per_rank > 0) {  // sbatch's is not srun's
    srun.push_back(absl::StrCat("--cpus-per-task=", c.cpus_per_rank));
    srun.push_back("--cpu-bind=cores");
  }
  std::vector<std::string> machines;
  if (c.spare_nodes > 0) {
    machines = {"slurm"};
    srun.push_back(absl::StrCat("--nodes=", c.nodes));
    srun.push_back(absl::StrCat("--ntasks=", c.nodes * c.ranks_per_node));
    srun.push_back("--nodelist={hosts}");
    srun.push_back("--overlap");  // a step that a dead machine belongs to ends late
  }
  srun.insert(srun.end(), c.srun.begin(), c.srun.end());
  return absl::StrCat("#!/bin/bash\n# Written by `temper launch`; submitted anew by each launch.\n",
                      Options(job), "\nrun=", ShellWord(job.run_directory), "\nlimit=", c.failures,
                      "\ntemper=", ShellWord(job.command[0]), "\n", Surroundings(job), kBefore,
                      c.spare_nodes > 0 ? kGuard : "", Words(Supervised(job, srun, machines)), " \\\n  ",
                      Words(job.command), "\n", kAfter);
}

absl::StatusOr<std::string> MpirunScript(const Job& job) {
  TEMPER_RETURN_IF_ERROR(CheckTexts(job));
  const ClusterConfig& c = job.cluster;
  std::vector<std::string> hosts = c.hosts;
  if (hosts.empty()) hosts = {"localhost"};
  if (static_cast<int64_t>(hosts.size()) < c.nodes)
    return absl::InvalidArgumentError(absl::StrCat("nodes: ", c.nodes, " are asked for, and `hosts` names ",
                                                   c.hosts.size(), ": name more, or start with Slurm"));
  if (c.spare_nodes > 0)
    return absl::InvalidArgumentError(absl::StrCat("spare_nodes: ", c.spare_nodes,
                                                   ": under mpirun `hosts` names more than `nodes` instead"));
  for (std::string& host : hosts) {
    if (host.empty() || host.find_first_of(":,") != host.npos)
      return absl::InvalidArgumentError(
          absl::StrCat("hosts: ", Printable(host, 100),
                       ": a machine's name alone; ranks_per_node says how many ranks it has"));
    absl::StrAppend(&host, ":", c.ranks_per_node);
  }
  std::string place = absl::StrCat("ppr:", c.ranks_per_node, ":node");
  if (c.cpus_per_rank > 0) absl::StrAppend(&place, ":PE=", c.cpus_per_rank);
  std::vector<std::string> mpirun = {"mpirun",
                                     "--host",
                                     hosts.size() > 1 ? std::string("{hosts}") : hosts[0],
                                     "--map-by",
                                     place,
                                     "--bind-to",
                                     c.cpus_per_rank > 0 ? "core" : "none"};
  // Twice so long it waits before it ends the others of a rank that has ended; supervise asks ranks to save.
  for (const char* word : {"--mca", "odls_base_sigkill_timeout", "0"}) mpirun.push_back(word);
  for (const std::string& one : c.environment) {
    mpirun.push_back("-x");
    mpirun.push_back(one.substr(0, one.find('=')));
  }
  mpirun.insert(mpirun.end(), c.mpirun.begin(), c.mpirun.end());
  return absl::StrCat("#!/bin/bash\n# Written by `temper launch`.\n", Surroundings(job), "exec ",
                      Words(Supervised(job, mpirun, hosts.size() > 1 ? hosts : std::vector<std::string>())),
                      " \\\n  ", Words(job.command), "\n");
}

}  // namespace temper

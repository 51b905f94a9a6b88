// SPDX-License-Identifier: Apache-2.0
#include "cli/job/script.h"

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "tests/cli/program.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

Job SmallJob() {
  Job job;
  job.cluster.nodes = 2;
  job.cluster.ranks_per_node = 8;
  job.run_directory = "/runs/zero";
  job.working_directory = "/home/me";
  job.command = {"temper", "run", "/home/me/r.yaml", "--run-dir", "/runs/zero"};
  return job;
}

std::vector<std::string> LinesOf(const absl::StatusOr<std::string>& script) {
  EXPECT_TRUE(script.ok()) << script.status();
  return absl::StrSplit(script.value_or(""), '\n');
}

// The script as bash runs it, with programs that print their words, a line each, in place of the real ones.
std::string Played(const std::string& script, const std::string& stub, const std::string& before = "true") {
  const Folder folder;
  for (const char* name : {"srun", "mpirun", "scontrol", "module", "sleep"})
    folder.Write(name, absl::StrCat("#!/bin/bash\nprintf '", name, ":%s\\n' \"$@\"\n", stub));
  folder.Write("temper",
               "#!/bin/bash\n[ \"$1\" = status ] && exec ${STATUS:-true} \"$@\"\nwhile [ \"$1\" != -- ]; do "
               "shift; done\nshift\nexec \"$@\"\n");
  const std::string path = folder.Write("script", script);
  return Shell(absl::StrCat("cd ", folder.path(), "; chmod +x *; export PATH=$PWD:$PATH SLURM_JOB_ID=7; ",
                            before, "; bash ", path, " 2>&1 | cat; echo code:${PIPESTATUS[0]}"))
      .out;
}

TEST(SlurmScript, AsksForRanksGpusCoresAndTime) {
  Job job = SmallJob();
  job.cluster.device = "h100";
  job.cluster.cpus_per_rank = 12;
  job.cluster.partition = "gpu";
  job.cluster.account = "lab";
  job.cluster.time = "4:00:00";
  job.cluster.sbatch = {"--qos=long"};
  job.cluster.srun = {"--label"};
  const std::vector<std::string> lines = LinesOf(SlurmScript(job));
  for (const std::string option :
       {"--job-name=zero", "--nodes=2", "--ntasks-per-node=8", "--cpus-per-task=12", "--gpus-per-node=8",
        "--partition=gpu", "--account=lab", "--time=4:00:00", "--chdir=/runs/zero", "--output=launch-%j.out",
        "--open-mode=append", "--requeue", "--signal=TERM@180", "--qos=long"})
    EXPECT_THAT(lines, Contains("#SBATCH " + option));
  EXPECT_THAT(lines,
              Contains("temper supervise --run-dir /runs/zero --failures=3 -- srun --kill-on-bad-exit=1 "
                       "--mpi=pmix --cpus-per-task=12 --cpu-bind=cores --label \\"));
}

TEST(SlurmScript, WithSpareMachinesStartsOnSomeOfThoseItAsksFor) {
  Job job = SmallJob();
  job.cluster.spare_nodes = 1;
  const std::vector<std::string> lines = LinesOf(SlurmScript(job));
  EXPECT_THAT(lines, AllOf(Contains("#SBATCH --nodes=3"), Contains("#SBATCH --no-kill")));
  EXPECT_THAT(
      lines,
      Contains("temper supervise --run-dir /runs/zero --failures=3 --hosts=slurm --nodes=2 -- srun "
               "--kill-on-bad-exit=1 --mpi=pmix --nodes=2 --ntasks=16 '--nodelist={hosts}' --overlap \\"));
  job.cluster.hosts = {"a", "b"};
  EXPECT_THAT(MpirunScript(job).status().message(), HasSubstr("`hosts` names more than `nodes` instead"));
}

// --no-kill keeps a job that has lost the machine of its script.
TEST(SlurmScript, WithSpareMachinesHasOthersQueueItAgainWhereItsFirstIsGone) {
  const Folder folder;
  Job job = SmallJob();
  job.cluster.spare_nodes = 1;
  job.run_directory = job.working_directory = folder.path();
  const auto played = [&](const std::string& start, const std::string& has) {
    return Played(
        SlurmScript(job).value(),
        "[ \"$(basename $0)\" = srun ] || exit 0\nwhile [ $# -gt 0 ] && [ $1 != bash ]; do shift; "
        "done\n[ $# -eq 0 ] || exec \"$@\"\n",
        absl::StrCat(
            "unset SLURM_RESTART_COUNT; export SLURM_JOB_NODELIST=n1,n10,n2,n3,n4 SLURMD_NODENAME=n1; "
            "squeue() { case \"$*\" in "
            "*RestartCnt) echo ",
            start, ";; *) echo ", has,
            ";; esac; }; scontrol() { case $1 in show) tr , '\\n' <<< $3;; *) echo again:$2;; esac; }; "
            "sleep() { echo look; ((++looks < 5)); }; export -f squeue scontrol sleep"));
  };
  const auto guards = [](const std::string& out) {  // lines; the script's own come between them
    std::string lines;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(out, '\n')))
      if (line == "look" || line == "again:7") absl::StrAppend(&lines, line, "\n");
    return lines;
  };
  const std::string gone = played("0", "n10,n2,n3,n4");
  EXPECT_THAT(gone, AllOf(HasSubstr("srun:--nodes=3\n"), HasSubstr("srun:--nodelist=n2,n3,n4\n")));
  EXPECT_EQ(guards(gone), "look\nlook\nagain:7\nlook\nagain:7\nlook\nagain:7\nlook\n");
  for (const char* has : {"n1,n2", "''"})
    EXPECT_EQ(guards(played("0", has)), "look\nlook\nlook\nlook\nlook\n") << has;
  EXPECT_EQ(guards(played("1", "n10,n2")), "look\n");  // of a start that is over
}

TEST(SlurmScript, AsksForGpusTheWayTheClusterWants) {
  Job job = SmallJob();
  EXPECT_THAT(*SlurmScript(job), Not(AnyOf(HasSubstr("--gres"), HasSubstr("--gpus"))));
  job.cluster.device = "a100";
  job.cluster.gpus = "gpu:a100:8";
  EXPECT_THAT(*SlurmScript(job),
              AllOf(HasSubstr("#SBATCH --gres=gpu:a100:8\n"), Not(HasSubstr("--gpus-per"))));
  job.cluster.gpus = "none";
  EXPECT_THAT(*SlurmScript(job), Not(AnyOf(HasSubstr("--gres"), HasSubstr("--gpus"))));
}

// Each of them would, unquoted, end a word, a string, an option or the script.
const char* const kHostile[] = {"a b",
                                "a'b",
                                "a\"b",
                                "$(touch broken)",
                                "`touch broken`",
                                "a;touch broken",
                                "#a",
                                "a\\",
                                "a\\'b\"c",
                                "%j",
                                "*",
                                "a&touch broken",
                                "a|b",
                                "~",
                                "é",
                                "$HOME",
                                "!a",
                                ""};

TEST(Scripts, KeepEveryTextAWordOfItsOwn) {
  for (const std::string text : kHostile) {
    for (const bool slurm : {true, false}) {
      const Folder folder;
      Job job = SmallJob();
      job.run_directory = folder.path() + "/run" + text;
      job.working_directory = folder.path();
      ASSERT_TRUE(MakeDirectories(job.run_directory).ok());
      job.cluster.nodes = 1;
      job.cluster.hosts = {"h" + text};
      job.cluster.modules = {"m" + text};
      job.cluster.environment = {"NAME=" + text};
      job.cluster.srun = job.cluster.mpirun = {"--o=" + text};
      job.command = {"temper", "--set", "a=" + text};
      const auto script = slurm ? SlurmScript(job) : MpirunScript(job);
      ASSERT_TRUE(script.ok()) << script.status();
      const std::string said = Played(*script, "echo \"NAME:$NAME\"\n");
      const std::string who = slurm ? "srun:" : "mpirun:";
      EXPECT_THAT(said, HasSubstr(absl::StrCat("module:m", text, "\n"))) << text;
      EXPECT_THAT(said, HasSubstr(absl::StrCat(who, "--o=", text, "\n"))) << text;
      EXPECT_THAT(said, HasSubstr(absl::StrCat(who, "--set\n", who, "a=", text, "\nNAME:", text, "\n")))
          << text;
      EXPECT_FALSE(FileExists(folder.path() + "/broken")) << text;
    }
  }
}

// sbatch takes its lines apart itself (tried against Slurm 22.05): plain words, or double quotes with \ and
// ".
TEST(SlurmScript, QuotesItsOptionsForSbatch) {
  Job job = SmallJob();
  job.run_directory = "/runs/a b\"c\\d#e'f";
  job.cluster.partition = "$(touch broken)";
  const std::vector<std::string> lines = LinesOf(SlurmScript(job));
  EXPECT_THAT(lines, Contains(R"(#SBATCH "--job-name=a b\"c\\d#e'f")"));
  EXPECT_THAT(lines, Contains(R"(#SBATCH "--chdir=/runs/a b\"c\\d#e'f")"));
  EXPECT_THAT(lines, Contains(R"~(#SBATCH "--partition=$(touch broken)")~"));
}

TEST(Scripts, HoldNoLineEnds) {
  for (const std::string text : {"a\nb", "a\rb", "a\tb", "a\x1b[31m"}) {
    Job job = SmallJob();
    job.command.push_back(text);
    EXPECT_THAT(SlurmScript(job).status().message(), HasSubstr("control character"));
    EXPECT_THAT(MpirunScript(job).status().message(), HasSubstr("control character"));
    job = SmallJob();
    job.cluster.account = text;
    EXPECT_THAT(SlurmScript(job).status().message(), HasSubstr("control character"));
  }
  Job job = SmallJob();
  job.cluster.sbatch = {"echo broken"};
  EXPECT_THAT(SlurmScript(job).status().message(), HasSubstr("echo broken: is no option"));
}

class Ending : public ::testing::Test {
 protected:
  Ending() {
    job_.run_directory = folder_.path();
    job_.working_directory = folder_.path();
    job_.cluster.failures = 2;
  }
  // A start that ends with `code`, after having done what `does` says.
  std::string Start(int code, const std::string& does = "", int restarts = 1) {
    return Played(SlurmScript(job_).value(),
                  absl::StrCat("[ \"$(basename $0)\" = srun ] || exit 0\ncd ", folder_.path(),
                               "; /bin/sleep 0.05; ", does, "\nexit ", code, "\n"),
                  absl::StrCat("export STATUS=", status_, " SLURM_RESTART_COUNT=", restarts));
  }
  const Folder folder_;
  Job job_ = SmallJob();
  std::string status_ = "true";
};

TEST_F(Ending, OfAFinishedRunOrOfAUsersMistakeIsTheJobs) {
  for (const int code : {0, 2}) {
    const std::string said = Start(code);
    EXPECT_THAT(said, AllOf(HasSubstr(absl::StrCat("code:", code)), Not(HasSubstr("scontrol"))));
  }
}

TEST_F(Ending, OfAStoppedOrFailedRunQueuesTheJobAgain) {
  job_.cluster.failures = 4;
  for (const int code : {75, 1, 137})
    EXPECT_THAT(Start(code), HasSubstr("scontrol:requeue\nscontrol:7\n")) << code;
}

TEST_F(Ending, ThatWasAskedForQueuesNothing) {
  EXPECT_THAT(Start(75, "echo > stop"), AllOf(HasSubstr("code:75"), Not(HasSubstr("scontrol"))));
  // Slurm may start the job again after a machine went down.
  EXPECT_THAT(Start(75), AllOf(HasSubstr("code:75"), Not(HasSubstr("srun:"))));
  EXPECT_THAT(Start(75, "", /*restarts=*/0), HasSubstr("srun:"));
}

TEST_F(Ending, WithNothingNewIsQueuedAgainOnlySoOften) {
  status_ = "$TEMPER";
  EXPECT_THAT(Start(1), HasSubstr("scontrol:requeue"));
  const std::string writes =
      absl::StrCat("cat ", WriteRecord(folder_.path() + "/whole"), " - >a.records <<<");
  EXPECT_THAT(Start(1, writes + "a"), HasSubstr("scontrol:requeue"));
  EXPECT_THAT(Start(1, "rm a.records; " + writes + "torn"), HasSubstr("scontrol:requeue"));
  EXPECT_THAT(Start(1),
              AllOf(HasSubstr("left nothing new"), HasSubstr("code:1"), Not(HasSubstr("scontrol"))));
  EXPECT_THAT(Start(1, "", /*restarts=*/0), HasSubstr("scontrol:requeue"));  // a launch counts anew
  EXPECT_THAT(Start(1, "rm launch-failures; mkdir launch-failures"),
              AllOf(HasSubstr("nobody would count"), HasSubstr("code:1"), Not(HasSubstr("scontrol"))));
}

TEST(MpirunScript, PlacesRanksOnTheFirstHosts) {
  Job job = SmallJob();
  job.cluster.hosts = {"n1", "n2", "n3"};
  job.cluster.environment = {"A=1"};
  job.cluster.cpus_per_rank = 4;
  EXPECT_THAT(*MpirunScript(job),
              AllOf(HasSubstr("exec temper supervise --run-dir /runs/zero --failures=3 "
                              "--hosts=n1:8,n2:8,n3:8 --nodes=2 -- mpirun --host '{hosts}' "
                              "--map-by ppr:8:node:PE=4 --bind-to core"),
                    HasSubstr(" --mca odls_base_sigkill_timeout 0 -x A ")));
  job.cluster.nodes = 4;
  EXPECT_THAT(MpirunScript(job).status().message(), HasSubstr("nodes: 4 are asked for, and `hosts` names 3"));
  for (const char* host : {"n1:8", "n1,n2", ""}) {  // mpirun would take them apart in its own way
    job.cluster.hosts = {"n1", "n2", "n3", host};
    EXPECT_THAT(MpirunScript(job).status().message(), HasSubstr("a machine's name alone")) << host;
  }
}

// Who submits sits on a machine without GPUs; the ranks look for theirs.
TEST(Launch, OnGpusIsCheckedWhereThereAreNone) {
  const std::vector<std::string> at = {"configs/tiny/short.yaml", "--run-dir", "no/run"};
  std::vector<std::string> launch = at, run = at;
  launch.insert(launch.end(), {"--cluster=slurm_8xh100", "--ranks-per-node=4", "--dry-run"});
  EXPECT_THAT(Lines("launch", launch),
              AllOf(Contains("#SBATCH --gpus-per-node=4"), Contains(HasSubstr("short.yaml --run-dir ")),
                    Contains(HasSubstr(" --set device=cuda"))));
  run.push_back("--set=device=cuda:999");
  const Ran ran = RunCommand("run", run);
  EXPECT_TRUE(IsUsers(ran.status)) << ran.status;
  EXPECT_THAT(ran.status.message(), HasSubstr("configs/tiny/short.yaml: device: cuda:999: "));
  launch.push_back("--set=device=cuda:x");
  EXPECT_THAT(ErrorOf("launch", launch), HasSubstr("cuda:x is no device: cpu, cuda, cuda:N or sim"));
}

TEST(TimeLimits, AreReadAsSlurmReadsThem) {
  EXPECT_EQ(*SecondsOfTimeLimit("90"), 5400);
  EXPECT_EQ(*SecondsOfTimeLimit("1:30"), 90);
  EXPECT_EQ(*SecondsOfTimeLimit("4:00:01"), 14401);
  EXPECT_EQ(*SecondsOfTimeLimit("2-12"), 216000);
  EXPECT_EQ(*SecondsOfTimeLimit("1-0:10"), 87000);
  EXPECT_EQ(*SecondsOfTimeLimit("1-0:0:5"), 86405);
  for (const char* text : {"", "x", "4h", "-1", "1:2:3:4", "1--2", "99999999999999999999", "1:"})
    EXPECT_FALSE(SecondsOfTimeLimit(text).ok()) << text;
}

}  // namespace
}  // namespace temper

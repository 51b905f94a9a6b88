// SPDX-License-Identifier: Apache-2.0
#include "cli/report/report.h"

#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/line/command.h"
#include "cli/report/text.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/text.h"
#include "core/version.h"
#include "data/tokenizer/tokenizer.h"
#include "gmock/gmock.h"
#include "tests/cli/synthetic_run.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const char kHostile[] = "</script><script>alert(1)</script> <img onerror=alert(2)> & \"'\xff\x01 <!--";

std::string PageOf(const SyntheticRun& run) {
  const auto path = WriteReport(run.directory);
  if (!path.ok()) return std::string(path.status().message());
  EXPECT_EQ(*path, run.directory + "/report.html");
  return ReadFile(*path).value_or("");
}

SyntheticRun Written() {
  SyntheticRun run;
  run.Write();
  return run;
}

std::string BlobOf(const std::string& page) {
  const std::string open = "<script id=data type=\"application/json\">";
  const size_t begin = page.find(open) + open.size();
  return page.substr(begin, page.find("</script>", begin) - begin);
}

Json DataOf(const std::string& page) {
  const auto json = ParseJson(BlobOf(page), "blob");
  EXPECT_TRUE(json.ok()) << json.status().message();
  return json.value_or(Json::object());
}

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

TEST(WriteReport, MakesAPageThatFetchesNothing) {
  const std::string page = PageOf(Written());
  for (const char* reference :
       {"http:", "https:", "//www", "src=", "@import", "url(", "<link", "fetch(", "XMLHttp"}) {
    EXPECT_EQ(Count(page, reference), 0u) << reference;
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_LT(page.size(), 400000u);
}

TEST(WriteReport, SaysWhereARunWasNotExactAndOnWhichDevice) {
  const SyntheticRun run = Written();
  EXPECT_EQ(Count(PageOf(run), "not exact"), 0u);
  Json rows = run.Summary();
  for (Json& row : rows) row["exact"] = row["stage"] != "final";
  RecipeConfig recipe = run.Recipe();
  recipe.device = "cuda";
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/summary.json", DumpJson(rows)).ok());
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/config.yaml", WriteConfig(recipe)).ok());
  EXPECT_THAT(PageOf(run), HasSubstr("3 stages · device cuda · not exact · "));
}

TEST(WriteReport, PutsEveryFigureOfTheStageTableInItsRow) {
  const SyntheticRun run = Written();
  const std::string page = PageOf(run);
  size_t shown = 0;
  for (const Json& row : run.Summary()) {
    const std::string name = ">" + row["stage"].get<std::string>() + "</a>";
    const size_t begin = page.find(name);
    ASSERT_NE(begin, std::string::npos);
    const std::string html = page.substr(begin, page.find("</tr>", begin) - begin);
    for (const auto& [key, value] : row.items()) {
      const size_t at = html.find("data-key=\"" + key + "\"");
      if (at == std::string::npos) continue;
      std::smatch match;
      const std::string cell = html.substr(at, html.find("</td>", at) - at);
      ASSERT_TRUE(std::regex_search(cell, match, std::regex("data-value=\"([^\"]*)\">([0-9.:]+)"))) << cell;
      EXPECT_EQ(std::stod(match[1]), value.get<double>()) << key;
      if (key == "pass@1") {
        EXPECT_EQ(match[2], Percent(value.get<double>()));
        EXPECT_THAT(cell, HasSubstr("±1.2"));
      }
      ++shown;
    }
  }
  EXPECT_EQ(shown, 3 * 10u);
  EXPECT_THAT(page, HasSubstr(">pass@16<"));
}

TEST(WriteReport, SaysOnTopWhatHappened) {
  EXPECT_THAT(
      PageOf(Written()),
      HasSubstr(
          "<b>base</b> solves 21.4 ± 1.2% of the held-out problems at the first try (pass@1, over 256 "
          "problems with 16 samples each). Reinforcement learning with rule rewards, straight from the base "
          "(<b>zero</b>), brings it to 86.1 ± 1.2%, 4.0 times the base; the mean completion grows from 18.2 "
          "to 36.9 tokens, and the share of completions that retry or check themselves goes from 16.0% to "
          "30.0%. The whole recipe ends with <b>final</b>, at 90.2 ± 1.2%, 4.2 times the base. On the harder "
          "level it solves 55.2 ± 1.6%, where <b>zero</b> solves 33.1 ± 1.6%."));
}

// Of a run with --trace, as core/trace.h writes it: the step of the last rollout that is none of an
// evaluation or of a collect stage, as long as its slowest rank took. A message that a neighbour in the
// pipeline waits for is that wait, what goes on beside blocks is not drawn.
TEST(WriteReport, HasATimelineOfOneStepOfAllRanks) {
  const SyntheticRun run = Written();
  EXPECT_TRUE(DataOf(PageOf(run))["timeline"].is_null());
  const auto write = [&](int rank, const std::vector<std::string>& spans) {
    std::string text =
        "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{\"name\":\"process_name\",\"ph\":\"M\"}";
    for (const std::string& span : spans) absl::StrAppend(&text, ",\n{\"name\":", span, ",\"args\":{}}");
    ASSERT_TRUE(WriteFileAtomic(TracePath(run.directory, rank), text + "\n]}\n").ok());
  };
  const auto span = [](const char* name, const char* category, int64_t begin, int64_t length, int line = 0) {
    return absl::StrCat("\"", name, "\",\"cat\":\"", category, "\",\"ph\":\"X\",\"ts\":", begin,
                        ",\"dur\":", length, ",\"pid\":0,\"tid\":", line);
  };
  const auto measured = [&](const char* what, int64_t begin) {  // on its way
    return absl::StrCat(span("rollout", "phase", begin, 80),
                        ",\"args\":{}},\n{\"name\":", span(what, "phase", begin - 10, 100));
  };
  write(0, {span("update", "phase", 0, 100), measured("evaluation", 500),
            span("rollout", "phase", 1000, 3000), span("Receive", "comm", 4150, 300),
            span("ReceiveGradients", "pipeline", 4100, 400), span("Sum", "comm", 4600, 200),
            span("Gather", "comm", 4000, 900, 1), span("update", "phase", 4000, 1000),
            measured("collect", 6500), measured("evaluation", 7000), span("update", "phase", 8000, 100)});
  write(1, {span("update", "phase", 0, 100), span("rollout", "phase", 1000, 2500),
            span("Backward", "pipeline", 4000, 1500), span("update", "phase", 4000, 2000),
            measured("collect", 6500), measured("evaluation", 7000), span("update", "phase", 8000, 100)});
  const Json timeline = DataOf(PageOf(run))["timeline"];
  EXPECT_EQ(timeline["microseconds"], 5000);
  EXPECT_EQ(timeline["ranks_left_out"], 0);
  ASSERT_EQ(timeline["ranks"].size(), 2u);
  EXPECT_EQ(
      DumpJson(timeline["ranks"][0]["spans"]),
      R"([[0,0,3000,"rollout",1],[0,3000,1000,"update",1],[4,3600,200,"Sum",1],[5,3100,400,"ReceiveGradients",1]])");
  EXPECT_EQ(timeline["ranks"][0]["waits"], 0.1);
  EXPECT_EQ(timeline["ranks"][0]["messages"], 0.05);
  EXPECT_EQ(DumpJson(timeline["ranks"][1]["spans"]),
            R"([[0,0,2500,"rollout",1],[0,3000,2000,"update",1],[2,3000,1500,"Backward",1]])");
  ASSERT_TRUE(WriteFileAtomic(TracePath(run.directory, 1), "{\"name\" \"ph\":\"X\"").ok());
  EXPECT_THAT(PageOf(run), HasSubstr("trace-0001.json:1"));
}

TEST(WriteReport, HasTheCurvesOfEachStage) {
  const Json data = DataOf(PageOf(Written()));
  const Json& zero = data["stages"][1];
  EXPECT_EQ(zero["name"], "zero");
  std::vector<std::string> titles;
  for (const Json& chart : zero["curves"]["main"]) titles.push_back(chart["title"]);
  EXPECT_THAT(titles, testing::ElementsAre("Reward by rule", "Held-out accuracy", "Completion length",
                                           "Entropy", "KL to the reference", "Retries and checks",
                                           "Cut by length", "Clipped ratios"));
  const Json& accuracy = zero["curves"]["main"][1];
  EXPECT_EQ(DumpJson(accuracy["x"]), "[10,20,30,40]");
  EXPECT_EQ(DumpJson(accuracy["lines"]), R"([{"name":"base","y":0.2137},{"name":"zero","y":0.8613}])");
  EXPECT_EQ(zero["curves"]["main"][2]["band"]["high"].size(), 40u);
}

TEST(WriteReport, AveragesLongCurves) {
  const Json data = DataOf(PageOf(Written()));
  const Json& curves = data["stages"][0]["curves"];
  EXPECT_EQ(curves["bucket"], 4);
  const Json& loss = curves["main"][0];
  EXPECT_EQ(loss["x"].size(), 200u);
  EXPECT_EQ(loss["x"][0], 4);
  const double mean = 0.6 + (2 + 2 / std::sqrt(2.0) + 2 / std::sqrt(3.0) + 1) / 4;
  EXPECT_NEAR(loss["series"][0]["y"][0].get<double>(), mean, 1e-3);
}

TEST(WriteReport, ShowsThePromptsThatStagesShareAndWholeGroups) {
  const Json data = DataOf(PageOf(Written()));
  ASSERT_EQ(data["prompts"].size(), 4u);
  EXPECT_EQ(data["prompts"][0]["stages"].size(), 3u);
  EXPECT_EQ(data["prompts"][0]["stages"][2]["stage"], "final");
  EXPECT_EQ(data["prompts"][0]["stages"][2]["correct"], 5);
  ASSERT_EQ(data["rollouts"].size(), 2u);
  const Json& rollouts = data["rollouts"][0]["rollouts"];
  ASSERT_EQ(rollouts.size(), 3u);
  const Json& group = rollouts[1]["groups"][0];
  ASSERT_EQ(group["completions"].size(), 8u);
  const Json& wrong = group["completions"][2];  // rollout 1, sample 2
  EXPECT_EQ(wrong["reward"], 0.1);
  EXPECT_EQ(group["completions"][0]["reward"], 1.1);
  EXPECT_LT(wrong["advantage"].get<double>(), 0);
  EXPECT_EQ(wrong["verdicts"][0]["reason"], "3 is not 8");
  EXPECT_EQ(wrong["text"], SyntheticRun().text);
}

TEST(WriteReport, KnowsRulesByTheirNames) {
  const SyntheticRun run = Written();
  RecipeConfig recipe = run.Recipe();
  const auto reward = [&](const std::string& rule, const std::string& name) {
    recipe.stages[1].rl.reward.rules = {{.rule = rule, .name = name, .weight = 2}};
    EXPECT_TRUE(WriteFileAtomic(run.directory + "/config.yaml", WriteConfig(recipe)).ok());
    return DataOf(PageOf(run))["rollouts"][0]["rollouts"][1]["groups"][0]["completions"][0].value("reward",
                                                                                                  -1.0);
  };
  EXPECT_EQ(reward("exact", "accuracy"), 2);  // the records have accuracy and format
  EXPECT_EQ(reward("accuracy", "judge"), -1);
}

TEST(WriteReport, GathersTheVerdictsOfARuleInOneChart) {
  const SyntheticRun run = Written();
  auto writer = MetricsWriter::Open(run.directory + "/metrics.jsonl", 0);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)
                  ->Write({"zero",
                           1,
                           {{"verdict/accuracy/correct", 3},
                            {"verdict/accuracy/wrong", 5},
                            {"verdict/accuracy/timeout", 0},
                            {"reward/std", 0.5},
                            {"eval/pass@1_error", 0.1}}})
                  .ok());
  const Json data = DataOf(PageOf(run));
  const Json& more = data["stages"][1]["curves"]["more"];
  ASSERT_EQ(more.size(), 2u);
  EXPECT_EQ(more[0]["title"], "Verdicts of accuracy");
  EXPECT_EQ(DumpJson(more[0]["series"]),
            R"([{"name":"correct","y":[3.0],"dots":false},{"name":"wrong","y":[5.0],"dots":false}])");
  EXPECT_EQ(more[1]["title"], "reward/std");
}

TEST(WriteReport, ShowsTokensWhereACheckpointHasATokenizer) {
  SyntheticRun run;
  run.tokenizer = "configs/tiny/base";
  run.Write();
  const Json data = DataOf(PageOf(run));
  const Json& completion = data["rollouts"][0]["rollouts"][0]["groups"][0]["completions"][1];
  const Trajectory sample = run.Sample("problem-0", 1, 0);
  const auto tokenizer = Tokenizer::Load(run.tokenizer);
  ASSERT_TRUE(tokenizer.ok());
  std::string text;
  for (const Json& piece : completion["pieces"]) text += piece.get<std::string>();
  EXPECT_EQ(text, (*tokenizer)->Decode(sample.tokens, false));
  ASSERT_EQ(completion["logprobs"].size(), sample.tokens.size());
  EXPECT_EQ(completion["logprobs"][5], -0.25);
  EXPECT_EQ(completion.count("text"), 0u);
}

TEST(WriteReport, EscapesHostileText) {
  SyntheticRun run;
  run.text = kHostile;
  run.Write();
  const std::string page = PageOf(run);
  EXPECT_EQ(Count(page, "<script"), 2u);  // the data and the page's own
  EXPECT_EQ(Count(page, "</script"), 2u);
  EXPECT_EQ(Count(page, "<img"), 0u);
  EXPECT_EQ(BlobOf(page).find_first_of("<>&"), std::string::npos);
  EXPECT_EQ(FirstInvalidUtf8(page), std::string::npos);
  const std::string text = DataOf(page)["prompts"][0]["stages"][0]["completion"]["text"];
  EXPECT_THAT(
      text, testing::StartsWith("</script><script>alert(1)</script> <img onerror=alert(2)> & \"'\uFFFD\x01"));
}

TEST(WriteReport, EscapesHostileNames) {
  SyntheticRun run = Written();
  Json summary = Json::array({{{"stage", "<script>x</script>"}, {"kind", "<b onclick=x>"}, {"pass@1", 0.5}}});
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/summary.json", DumpJson(summary)).ok());
  const std::string page = PageOf(run);
  EXPECT_EQ(Count(page, "<script"), 2u);
  EXPECT_EQ(Count(page, "<b onclick"), 0u);
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;x&lt;/script&gt;"));
}

TEST(WriteReport, LeavesOutWhatIsMissing) {
  for (const char* missing : {"/config.yaml", "/metrics.jsonl", "/summary.json", "/zero",
                              "/zero/trajectories", "/final/evaluation", "/base"}) {
    const SyntheticRun run = Written();
    ASSERT_TRUE(RemoveTree(run.directory + missing).ok());
    const std::string page = PageOf(run);
    EXPECT_THAT(page, HasSubstr("</html>")) << missing;
    EXPECT_EQ(DataOf(page)["stages"].size(), 3u) << missing;
    EXPECT_THAT(page, Not(HasSubstr("Left out"))) << missing;
  }
}

TEST(WriteReport, TellsHowFarARunIs) {
  const SyntheticRun run = Written();
  Json summary = run.Summary();
  summary.erase(2);
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/summary.json", DumpJson(summary)).ok());
  const std::string page = PageOf(run);
  EXPECT_THAT(
      page,
      HasSubstr("The run is not finished: 2 of 3 stages are done, and <b>final</b> is at update 40 of 40."));
  EXPECT_THAT(page, HasSubstr("rl from zero, update 40 of 40"));
}

TEST(WriteReport, NamesDamagedRecordsOnThePage) {
  const SyntheticRun run = Written();
  const std::string path = RecordPath(run.directory + "/zero/trajectories/rollout-000000", 0);
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  const std::string page = PageOf(run);
  EXPECT_THAT(page, HasSubstr("Left out: " + path));
  EXPECT_EQ(DataOf(page)["rollouts"][0]["rollouts"].size(), 2u);
}

TEST(WriteReport, RefusesWhatIsNoRunDirectoryAndDamagedTables) {
  EXPECT_THAT(std::string(WriteReport("/nowhere/run").status().message()),
              HasSubstr("/nowhere/run: is no run directory"));
  const SyntheticRun run = Written();
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/summary.json", "[{\"stage\":").ok());
  EXPECT_THAT(PageOf(run), HasSubstr("/summary.json:1"));
  EXPECT_FALSE(FileExists(run.directory + "/report.html"));
}

TEST(WriteReport, KeepsLongCompletionsShort) {
  SyntheticRun run;
  for (int i = 0; i < 4000; ++i) run.text += "数字 ";
  run.Write();
  const std::string page = PageOf(run);
  EXPECT_LT(page.size(), 1500000u);
  const std::string text = DataOf(page)["prompts"][0]["stages"][0]["completion"]["text"];
  EXPECT_LT(text.size(), 3100u);
  EXPECT_THAT(text, HasSubstr("bytes left out"));
  EXPECT_THAT(text, Not(HasSubstr("\uFFFD")));
}

TEST(WriteReport, SaysWhenFiguresPassALevel) {
  SyntheticRun run;
  run.Write();
  auto writer = MetricsWriter::Open(run.directory + "/metrics.jsonl", 0);
  ASSERT_TRUE(writer.ok());
  for (int64_t step = 1; step <= 20; ++step) {
    const double lucky = step == 2 ? 0.9 : 0;  // one update is no beginning
    ASSERT_TRUE((*writer)
                    ->Write({"zero",
                             step,
                             {{"reward/accuracy", step < 8    ? 0.2
                                                  : step < 14 ? 0.6
                                                              : 0.8},
                              {"checks", step < 11 ? 0.05 + lucky / 9 : 0.3}}})
                    .ok());
  }
  EXPECT_THAT(PageOf(run),
              HasSubstr("When: accuracy passes 50% at update 8 and 75% at 14; retries and checks "
                        "pass 25% at update 11."));
}

TEST(WriteReport, CountsTheUsersOwnWords) {
  SyntheticRun run;
  run.rollouts = 6;
  run.Write();
  run.text = "wait, 7 a -3 4";
  for (const int64_t rollout : {6, 7, 8})
    run.WriteRecords(absl::StrCat(run.directory, "/zero/trajectories/rollout-00000", rollout), "zero",
                     rollout);
  const auto path = WriteReport(run.directory, {.words = {"wait", "<b>"}, .output = {}});
  ASSERT_TRUE(path.ok());
  const std::string page = *ReadFile(*path);
  const Json charts = DataOf(page)["stages"][1]["curves"]["main"];
  EXPECT_EQ(charts.back()["title"], "Words");
  EXPECT_EQ(DumpJson(charts.back()["x"]), "[1,2,3,4,5,6,7,8,9]");
  EXPECT_EQ(DumpJson(charts.back()["series"][0]["y"]), "[0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,1.0]");
  EXPECT_THAT(page, HasSubstr("“wait” passes 90% at update 7."));
  EXPECT_EQ(Count(page, "<b>”"), 0u);
}

TEST(WriteReport, SaysWhatCountsAsACheck) {
  EXPECT_THAT(PageOf(Written()),
              HasSubstr("to retry or check is to have one of the words wait, check, again,"));
}

TEST(WriteReport, BeginsWithTheModelBeforeTraining) {
  SyntheticRun run;
  run.Write();
  RecipeConfig recipe = run.Recipe();
  recipe.stages.erase(recipe.stages.begin());
  recipe.stages[0].from = "models/qwen";
  recipe.stages[0].evaluation.source.generator = ProblemGenerator::kTiny;
  recipe.stages.resize(1);
  Json rows = Json::array();
  for (const char* stage : {"zero.before", "zero"}) {
    rows.push_back({{"stage", stage},
                    {"kind", rows.empty() ? "eval" : "rl"},
                    {"rule", "math"},
                    {"pass@1", rows.empty() ? 0.25 : 0.5},
                    {"pass@1_error", 0.01},
                    {"length_mean", rows.empty() ? 24.01 : 24.04},
                    {"checks", 0.0}});
  }
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/config.yaml", WriteConfig(recipe)).ok());
  ASSERT_TRUE(WriteFileAtomic(run.directory + "/summary.json", DumpJson(rows)).ok());
  ASSERT_TRUE(RemoveTree(run.directory + "/metrics.jsonl").ok());
  const std::string page = PageOf(run);
  EXPECT_THAT(page,
              HasSubstr("Before training, <b>qwen</b> solves 25.0 ± 1.0% of the held-out problems at the "
                        "first try (pass@1 by rule math)."));
  EXPECT_THAT(page,
              HasSubstr("brings it to 50.0 ± 1.0%, 2.0 times the base; the mean completion stays at 24.0 "
                        "tokens, and the share of completions that retry or check themselves stays at "
                        "0.0%."));
  EXPECT_THAT(page, HasSubstr("the share of completions that rule math calls correct"));
  EXPECT_LT(page.find(">zero.before</a>"), page.find(">zero</a>"));
}

TEST(WriteReport, SaysWhatMadeItAndWhenTheRunRan) {
  const SyntheticRun run = Written();
  auto writer = MetricsWriter::Open(run.directory + "/metrics.jsonl", 0);
  ASSERT_TRUE(writer.ok());
  for (const double seconds : {1795910852.6, 1795914452.0})
    ASSERT_TRUE(
        (*writer)->Write({"zero", seconds < 1795911000 ? 1 : 2, {{"time/unix_seconds", seconds}}}).ok());
  const std::string page = PageOf(run);
  EXPECT_THAT(page, HasSubstr(" · 2026-11-29 00:07 to 01:07 UTC</p>"));
  EXPECT_THAT(page, HasSubstr(absl::StrCat("<p class=note>temper ", kVersion, ", 2")));
  EXPECT_THAT(page, HasSubstr(": temper report " + run.directory + "</p>"));
}

TEST(WriteComparison, LaysRunsSideBySide) {
  SyntheticRun first, second;
  second.directory += "_b";
  second.steps = 20;
  first.Write();
  second.Write();
  ASSERT_TRUE(WriteReport(first.directory).ok());
  const std::string out = first.directory + "/both.html";
  const auto path = WriteComparison({first.directory, second.directory + "/"}, {.words = {}, .output = out});
  ASSERT_TRUE(path.ok()) << path.status();
  const std::string page = *ReadFile(out);
  const std::string name = first.directory.substr(first.directory.rfind('/') + 1);
  EXPECT_THAT(page, HasSubstr("<h1>" + name + ", " + name + "_b</h1>"));
  EXPECT_THAT(page, HasSubstr("<a href=\"report.html\">its report</a>"));
  EXPECT_EQ(Count(page, ">its report<"), 1u);  // the other has none
  // A row a run under each stage.
  EXPECT_EQ(Count(page, ">zero</a><small>"), 2u);
  EXPECT_EQ(Count(page, "<small>" + name + "_b</small>"), 3u);
  const Json data = DataOf(page);
  ASSERT_EQ(data["stages"].size(), 3u);
  const Json& reward = data["stages"][1]["curves"]["main"][0];
  EXPECT_EQ(reward["title"], "Reward");
  ASSERT_EQ(reward["series"].size(), 2u);
  EXPECT_EQ(reward["series"][0]["name"], name);
  EXPECT_EQ(reward["series"][0]["x"].size(), 40u);
  EXPECT_EQ(reward["series"][1]["name"], name + "_b");
  EXPECT_EQ(reward["series"][1]["x"].size(), 20u);
  EXPECT_EQ(reward["x"].size(), 40u);
}

TEST(RunReport, WantsDirectories) {
  EXPECT_THAT(std::string(RunReport({.arguments = {}}).message()), HasSubstr("temper report RUN_DIR"));
  EXPECT_THAT(std::string(RunReport({.arguments = {"a", "b"}}).message()),
              HasSubstr("a: is no run directory"));
  EXPECT_THAT(std::string(RunReport({.arguments = {"a", "b", "--words", "wait"}}).message()),
              HasSubstr("of one run"));
  EXPECT_EQ(RunReport({.arguments = {"--colour", "a"}}).code(), absl::StatusCode::kInvalidArgument);
}

TEST(EscapeHtml, ShowsMarksOfDirectionAndHiddenEscapes) {
  EXPECT_EQ(EscapeHtml("a\u202Eb\u2066\u0085数"), "a\\u202eb\\u2066\\u0085数");
}

TEST(EscapeHtml, LeavesNoMarkup) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">&'\x01\xff数"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\uFFFD\uFFFD数");
  EXPECT_EQ(EscapeJsonForScript("[\"</script>&\"]"), "[\"\\u003c/script\\u003e\\u0026\"]");
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "cli/docs.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "trainer/config/cluster.h"
#include "trainer/config/recipe.h"

namespace temper {
namespace {

constexpr char kConventions[] =
    "Rows are JSON, one a line, in the order of the input. Where no file is named they are standard input "
    "and standard\n"
    "output; progress and messages go to standard error.\n"
    "Exit codes: 0 done; 2 the user's input (config, data, files); 75 stopped on request or by a full disk, "
    "can go on; 141 "
    "standard output's reader is gone; 1 anything else\n(of mpirun also where it was sent INT, TERM or HUP "
    "itself: docs/start.md).\n";

std::string Usage(const Command& command) {
  return absl::StrCat("temper ", command.name, *command.arguments == 0 ? "" : " ", command.arguments);
}

std::string Table() {
  std::string text;
  for (const Command& command : Commands())
    absl::StrAppendFormat(&text, "  %-10s %s\n", command.name, command.summary);
  return text;
}

}  // namespace

std::string ProgramHelp() {
  return absl::StrCat(
      "temper: post-training of language models the way DeepSeek-R1 was trained, exact to the bit.\n\n",
      "  temper COMMAND [ARGUMENT] [--name value ...]\n  temper COMMAND --help\n  temper --version\n\n",
      Table(), "\n", kConventions);
}

std::string CommandHelp(const Command& command) {
  return absl::StrCat(Usage(command), "\n\n", command.summary,
                      command.ranks ? " May run on several ranks (mpirun, srun)." : "", "\n",
                      command.help == nullptr ? "" : absl::StrCat("\n", command.help()));
}

std::string ConfigPage() {
  return absl::StrCat(
      "# The fields of a recipe\n\nMade by `temper docs config`; do not edit. `temper run RECIPE.yaml --set "
      "a.b=value` sets any of them.\n`stages.NAME` is a stage of that name; its `rl` and `evaluation` begin "
      "with what the top level says. Fields marked (free) reach no bit of what is trained: they may change "
      "when a\n"
      "run goes on, and so may all fields of stages that have not begun (docs/architecture.md).\n",
      MarkdownDocs(DescribeConfig<RecipeConfig>(), "##"),
      "\n# The fields of a cluster file\n\nWhat `temper launch` and `temper plan` read with `--cluster` "
      "(docs/cluster.md).\n\n",
      MarkdownDocs(DescribeConfig<ClusterConfig>(), "##"));
}

std::string CommandsPage() {
  std::string page =
      absl::StrCat("# The commands\n\nMade by `temper docs commands`; do not edit.\n\n", kConventions);
  for (const Command& command : Commands()) {
    absl::StrAppend(&page, "\n## temper ", command.name, "\n\n```\n", CommandHelp(command), "```\n");
  }
  return page;
}

absl::Status RunDocs(const CommandLine& line) {
  std::string page;
  if (line.arguments == std::vector<std::string>{"config"}) page = ConfigPage();
  if (line.arguments == std::vector<std::string>{"commands"}) page = CommandsPage();
  if (page.empty())
    return absl::InvalidArgumentError("expected which page: temper docs config, or temper docs commands");
  return WriteOut(page);
}

}  // namespace temper

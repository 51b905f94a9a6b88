// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace temper {

// From here on SIGQUIT (Ctrl-\) writes each thread's name and stack to standard error, innermost call first,
// and the program goes on.
void PrintThreadsOnQuit();

// "rank 3: " before each line of it.
void SetThreadDumpRank(int rank);

}  // namespace temper

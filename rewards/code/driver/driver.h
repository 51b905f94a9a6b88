// SPDX-License-Identifier: Apache-2.0
// Programs of ours that run beside a candidate's in the sandbox, to call its function. They share its
// process, so what they say is the candidate's claim, no verdict.
#pragma once

#include <string>
#include <string_view>

#include "rewards/code/task.h"

namespace temper {

// Reads a request from standard input, runs solution.py as a module (so no `if __name__ == "__main__"` of it
// runs), given the imports that LeetCode gives, and calls the function. Writes to descriptor 3: the nonce, a
// line end, and the result as JSON by its exact type: None, bool, int, float, str, list or tuple (a list),
// dict with str keys ({"d":{..}}); whole numbers beyond 64 bits are {"i":HEX}, what is not finite
// {"f":"nan"}. A result of another type, a subclass of one of these too, is an error. CLASS.NAME is called on
// a new object; NAME is looked for in class Solution too. Where a parameter or the result is annotated as
// ListNode or TreeNode, it is a list in the test.
std::string PythonCaller();

// Runs a check (CodeTest::check) in a process that the program is not in: that one, its child, runs prompt.py
// and solution.py, is asked for calls, and gives back plain values; it never holds the check. Writes the
// nonce, a line end and {"passed": ""}, {"failed": why}, {"died": how}, {"late": ""} or {"unfit": what the
// check cannot import}.
std::string PythonChecker();

// The same for C++: a translation unit that holds the candidate's code and calls its function, arguments and
// result being read and written by their types: bool, numbers, char (a text of one), std::string, vector,
// array, pair and tuple (lists), map and unordered_map with text keys, optional (null) and no result (null).
// A function that is overloaded or a template does not compile. Errors of the candidate's code are told by
// its own line numbers.
std::string CppWithDriver(std::string_view code, const std::string& function);

// What drivers read: {"nonce","function","args"}, its keys in this order; and for a check.
std::string CallRequest(const std::string& nonce, const CodeTest& test);
std::string CheckRequest(const std::string& nonce, const CodeTask& task, const CodeTest& test);

}  // namespace temper

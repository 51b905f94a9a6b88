// SPDX-License-Identifier: Apache-2.0
// Programs of ours that run beside a candidate's in the sandbox, to call its function. They share its
// process, so what they say is the candidate's claim, no verdict.
#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

namespace temper {

// Reads a request from standard input, imports solution.py (so no `if __name__ == "__main__"` of it runs) and
// calls the function. Writes to descriptor 3: the nonce, a line end, and the result as JSON by its exact
// type: None, bool, int, float, str, list or tuple (a list), dict with str keys ({"d":{..}}); whole numbers
// beyond 64 bits are {"i":HEX}, what is not finite {"f":"nan"}. A result of another type, a subclass of one
// of these too, is an error. CLASS.NAME is called on a new object; NAME is looked for in class Solution too.
extern const char kPythonDriver[];

// The same for C++: a translation unit that holds the candidate's code and calls its function, arguments and
// result being read and written by their types: bool, numbers, char (a text of one), std::string, vector,
// array, pair and tuple (lists), map and unordered_map with text keys, optional (null) and no result (null).
// A function that is overloaded or a template does not compile. Errors of the candidate's code are told by
// its own line numbers.
std::string CppWithDriver(std::string_view code, const std::string& function);

// What a driver reads: {"nonce","function","args"}, its keys in this order.
std::string DriverRequest(const std::string& nonce, const std::string& function, const Json& args);

}  // namespace temper

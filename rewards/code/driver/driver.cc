// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/driver/driver.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "rewards/code/driver/call.cpp.h"
#include "rewards/code/driver/call.py.h"
#include "rewards/code/driver/check.py.h"
#include "rewards/code/driver/load.py.h"

namespace temper {

std::string PythonCaller() { return absl::StrCat(std::string(kLoadPy), std::string(kCallPy)); }
std::string PythonChecker() { return absl::StrCat(std::string(kLoadPy), std::string(kCheckPy)); }

std::string CppWithDriver(std::string_view code, const std::string& function) {
  return absl::StrReplaceAll(
      std::string(kCallCpp),
      {{"@SOLUTION@", std::string(code)}, {"@FUNCTION@", absl::StrReplaceAll(function, {{".", "::"}})}});
}

std::string CallRequest(const std::string& nonce, const CodeTest& test) {
  return DumpJson(Json{{"nonce", nonce}, {"function", test.function}, {"args", test.args}});
}

std::string CheckRequest(const std::string& nonce, const CodeTask& task, const CodeTest& test) {
  Json names = Json::array();
  if (!task.entry.empty()) names.push_back(task.entry);
  return DumpJson(Json{{"nonce", nonce},
                       {"prompt", task.entry.empty() ? "" : task.prompt},
                       {"setup", task.setup},
                       {"names", names},
                       {"defines", task.defines},
                       {"check", test.check}});
}

}  // namespace temper

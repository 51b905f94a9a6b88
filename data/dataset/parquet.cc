// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/parquet.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/dataset/parquet_module.h"

namespace temper {
namespace {

absl::Status Missing(const std::string& path, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat(Printable(path, 1000),
                                                    ": is Parquet, and this program cannot read it (", why,
                                                    "): run scripts/install and build again, or give JSONL"));
}

}  // namespace

absl::Status ForEachParquetRow(const std::string& path,
                               absl::FunctionRef<absl::Status(std::string_view)> row) {
#ifdef TEMPER_PARQUET_MODULE
  // Found by the program's own list of folders (cmake/Install.cmake). Never closed: Arrow has threads of its
  // own.
  static void* const module = dlopen(TEMPER_PARQUET_MODULE, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) return Missing(path, dlerror());
  const auto rows = reinterpret_cast<TemperParquetRows>(dlsym(module, kTemperParquetRows));
  if (rows == nullptr) return Missing(path, "its Parquet library is of another version");
  struct Call {
    absl::FunctionRef<absl::Status(std::string_view)> row;
    absl::Status status;
  } call{row, absl::OkStatus()};
  char error[1024] = "";
  const int result = rows(
      path.c_str(), &call,
      [](void* context, const char* text, size_t bytes) {
        auto* const self = static_cast<Call*>(context);
        self->status = self->row(std::string_view(text, bytes));
        return self->status.ok() ? 0 : 1;
      },
      error, sizeof(error));
  if (!call.status.ok()) return call.status;
  if (result == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(Printable(path, 1000), ": ", Printable(error, 500)));
#else
  return Missing(path, "it was built without Apache Arrow");
#endif
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
// A Parquet dataset, unpacked by the library that Apache Arrow is linked into.
#include "data/dataset/row_file.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const InputFile file(bytes);
  const auto rows = RowFile::Open(file.path());
  if (!rows.ok()) return;
  for (int64_t i = 0; i < (*rows)->size(); ++i) (void)(*rows)->Read(i);
}

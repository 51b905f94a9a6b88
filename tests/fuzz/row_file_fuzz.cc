// SPDX-License-Identifier: Apache-2.0
// A JSONL dataset: each row as a problem and as a conversation.
#include "data/chat/chat.h"
#include "data/dataset/problem_row.h"
#include "data/dataset/row_file.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const InputFile file(bytes);
  const auto rows = RowFile::Open(file.path());
  if (!rows.ok()) return;
  ProblemFields fields({});
  for (int64_t i = 0; i < (*rows)->size(); ++i) {
    const auto row = (*rows)->Read(i);
    if (!row.ok()) continue;
    (void)fields.Read(*row);
    if (const Json* messages = Find(row->json, "messages")) (void)ReadMessages(*messages, row->name);
  }
}

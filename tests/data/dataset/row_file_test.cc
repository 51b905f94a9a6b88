// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/row_file.h"

#include "core/files/file.h"
#include "core/stop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

std::string RowsFile(const std::string& bytes) {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = testing::TempDir() + "temper_row_file_" + info->name();
  EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
  return path;
}

std::string RowError(const std::string& bytes) {
  const auto file = RowFile::Open(RowsFile(bytes));
  if (!file.ok()) return std::string(file.status().message());
  for (int64_t i = 0; i < (*file)->size(); ++i) {
    if (const auto row = (*file)->Read(i); !row.ok()) return std::string(row.status().message());
  }
  return "";
}

TEST(RowFile, NumbersLinesPassesOverBlankOnesAndReadsInAnyOrder) {
  const std::string path = RowsFile("\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\r\n{\"a\":2}\n{\"a\":3}");
  const auto file = RowFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->size(), 3);
  std::string seen;
  for (int64_t i : {2, 0, 1, 0}) {
    const auto row = (*file)->Read(i);
    ASSERT_TRUE(row.ok()) << row.status();
    seen += row->name.substr(path.size()) + "=" + DumpJson(row->json["a"]) + " ";
  }
  EXPECT_EQ(seen, ":5=3 :1=1 :4=2 :1=1 ");
}

TEST(RowFile, FindsRowsAcrossThePiecesItReads) {
  std::string bytes;
  std::vector<std::string> rows;
  for (int i = 0; i < 300; ++i) {
    rows.push_back("{\"i\":" + std::to_string(i) + ",\"t\":\"" + std::string(97 * (i % 200), 'x') + "\"}");
    bytes += rows.back() + (i % 7 == 0 ? "\n\n" : "\n");
  }
  ASSERT_GT(bytes.size(), size_t{2} << 20);
  const auto file = RowFile::Open(RowsFile(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->size(), 300);
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(DumpJson((*file)->Read(i)->json), rows[i]);
}

TEST(RowFile, AStopRequestEndsItsOpening) {
  const std::string lines = RowsFile("{}\n{}\n");
  ASSERT_TRUE(RowFile::Open(lines).ok());
  const StopForTest stop;
  EXPECT_TRUE(absl::IsCancelled(RowFile::Open(lines).status()));
  EXPECT_TRUE(absl::IsCancelled(RowFile::Open(RowsFile("[{},\n{}]\n")).status()));
}

TEST(RowFile, NamesTheLineThatIsNoObject) {
  EXPECT_THAT(RowError("{}\n[1]\n"), EndsWith(":2: is not a JSON object"));
  EXPECT_THAT(RowError("{}\n\n{\"a\":\n"), HasSubstr(":3: byte 5: "));
  EXPECT_THAT(RowError("{\"a\":1,\"a\":2}\n"), HasSubstr(":1: byte "));
  EXPECT_THAT(RowError("{\"a\":\"\xFF\"}\n"), HasSubstr(":1: byte "));
  EXPECT_EQ(RowError(""), "");
  EXPECT_THAT(std::string(RowFile::Open("/no/such").status().message()),
              HasSubstr("/no/such: cannot read: No such file"));
  EXPECT_THAT(std::string(RowFile::Open("configs").status().message()), HasSubstr("configs: is a folder"));
}

// json.dump(rows, file, indent=2), as Alpaca is published.
TEST(RowFile, ReadsOneListOfObjects) {
  const std::string path = RowsFile(
      "\xEF\xBB\xBF[\n  {\n    \"a\": \"x, ] } \\\" {\",\n    \"b\": [1, {\"c\": []}]\n  },\n  {\"a\": "
      "2}\n]\n");
  const auto file = RowFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->size(), 2);
  EXPECT_EQ((*file)->Read(0)->name, path + ":2");
  EXPECT_EQ(DumpJson((*file)->Read(0)->json), R"({"a":"x, ] } \" {","b":[1,{"c":[]}]})");
  EXPECT_EQ((*file)->Read(1)->name, path + ":6");
  EXPECT_EQ(DumpJson((*file)->Read(1)->json), R"({"a":2})");
  EXPECT_EQ((*RowFile::Open(RowsFile("[]")))->size(), 0);
  EXPECT_EQ((*RowFile::Open(RowsFile("[ ]\n")))->size(), 0);
}

// pandas' to_json(orient="records") writes one line: names, and ids made of them, must differ.
TEST(RowFile, RowsOfAListThatShareALineAreNumbered) {
  const std::string path = RowsFile("[{\"a\":1},{\"a\":2},\n{\"a\":3}]");
  const auto file = RowFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->size(), 3);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ((*file)->Read(i)->name, absl::StrCat(path, ":", i + 1));
}

TEST(RowFile, NamesTheLineOfWhatIsWrongInAList) {
  EXPECT_THAT(RowError("[{\"a\":1},\n{\"a\":}\n]"), HasSubstr(":2: byte"));
  EXPECT_THAT(RowError("[{\"a\":1},\n]"), HasSubstr(":2: "));
  EXPECT_THAT(RowError("[{\"a\":1},\n7]"), EndsWith(":2: is not a JSON object"));
  EXPECT_THAT(RowError("[{\"a\":1} {\"a\":2}]"), HasSubstr(":1: "));
  EXPECT_THAT(RowError("[{\"a\":1},\n{\"a\":2}"),
              EndsWith(":2: the file is a JSON list that does not end, or something follows it"));
  EXPECT_THAT(RowError("[{\"a\":1}]\n{\"a\":2}"), HasSubstr("something follows it"));
}

TEST(RowFile, SaysWhatAFileIsThatHasNoRows) {
  EXPECT_THAT(RowError("question,answer\n1?,2\n"), HasSubstr(":1: "));
  EXPECT_THAT(RowError("question,answer\n1?,2\n"), HasSubstr("CSV becomes such with pandas"));
  EXPECT_THAT(RowError("\x1F\x8B\b rest\n"), HasSubstr("packed with gzip"));
}

TEST(RowFile, ReadsNoEndlessLineToItsEnd) {
  FILE* zeros = popen("head -c 70000000 /dev/zero", "r");
  ASSERT_NE(zeros, nullptr);
  const std::string path = "/dev/fd/" + std::to_string(fileno(zeros));
  EXPECT_EQ(std::string(RowFile::Open(path).status().message()), path + ":1: is longer than 64 MiB");
  pclose(zeros);
  EXPECT_EQ(std::string(RowFile::Open("/dev/zero").status().message()), "/dev/zero: is a device, not a file");
}

TEST(RowFile, SaysThatTheFileWasCutWhileItWasInUse) {
  const std::string path = RowsFile("{\"a\":1}\n{\"a\":2}\n");
  const auto file = RowFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(truncate(path.c_str(), 10), 0);
  EXPECT_TRUE((*file)->Read(0).ok());
  EXPECT_THAT(std::string((*file)->Read(1).status().message()), HasSubstr(":2: the file was cut"));
}

// A column of each type that datasets have, as Arrow writes it (parquet_case.py beside this).
TEST(RowFile, ReadsParquetAsTheSameRows) {
  const auto file = RowFile::Open("tests/data/dataset/parquet_case.parquet");
  if (!file.ok() && std::string(file.status().message()).find("without Apache Arrow") != std::string::npos)
    GTEST_SKIP() << file.status().message();
  ASSERT_TRUE(file.ok()) << file.status();
  const auto expected = RowFile::Open("tests/data/dataset/parquet_case.jsonl");
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_EQ((*file)->size(), (*expected)->size());
  for (int64_t i = 0; i < (*file)->size(); ++i) {
    const auto row = (*file)->Read(i);
    ASSERT_TRUE(row.ok()) << row.status();
    EXPECT_EQ(DumpJson(row->json), DumpJson((*expected)->Read(i)->json));
  }
}

TEST(RowFile, SaysWhatIsWrongWithDamagedParquet) {
  const std::string whole = ReadFile("tests/data/dataset/parquet_case.parquet").value();
  if (RowError(whole).find("without Apache Arrow") != std::string::npos) GTEST_SKIP() << "no Apache Arrow";
  EXPECT_EQ(RowError(whole), "");
  EXPECT_NE(RowError("PAR1"), "");
  for (size_t size : {size_t{8}, whole.size() / 2, whole.size() - 1})
    EXPECT_THAT(RowError(whole.substr(0, size)), HasSubstr("SaysWhatIsWrongWithDamagedParquet: "));
  for (size_t at = 4; at < whole.size();
       at += 61) {  // a bit here and there: an error or other values, no crash
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x20);
    RowError(flipped);
  }
}

}  // namespace
}  // namespace temper

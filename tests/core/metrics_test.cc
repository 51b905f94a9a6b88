// SPDX-License-Identifier: Apache-2.0
#include "core/metrics.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

class Metrics : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "temper_metrics_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    path_ = root_ + "/metrics.jsonl";
  }
  void TearDown() override { EXPECT_TRUE(RemoveTree(root_).ok()); }

  std::unique_ptr<MetricsWriter> Open(int64_t offset = -1) {
    auto writer = MetricsWriter::Open(path_, offset);
    EXPECT_TRUE(writer.ok()) << writer.status();
    return *std::move(writer);
  }

  std::string root_, path_;
};

TEST_F(Metrics, LinesKeepTheirOrderAndReadBackToTheSameBits) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  auto writer = Open();
  ASSERT_TRUE(
      writer
          ->Write(
              {"zero", 1, {{"reward/accuracy", 0.1}, {"a", 1.0 / 3}, {"n", nan}, {"i", -inf}, {"count", 12}}})
          .ok());
  ASSERT_TRUE(writer->Write({"st\"ä\n", 2, {}}).ok());
  ASSERT_TRUE(writer->Sync().ok());
  EXPECT_EQ(*ReadFile(path_),
            "{\"stage\":\"zero\",\"step\":1,\"reward/"
            "accuracy\":0.1,\"a\":0.3333333333333333,\"n\":null,\"i\":null,\"count\":12}\n"
            "{\"stage\":\"st\\\"ä\\n\",\"step\":2}\n");
  const auto lines = ReadMetrics(path_);
  ASSERT_TRUE(lines.ok()) << lines.status();
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_EQ((*lines)[0].values[0].first, "reward/accuracy");
  EXPECT_EQ(*(*lines)[0].Find("a"), 1.0 / 3);
  EXPECT_TRUE(std::isnan(*(*lines)[0].Find("n")));
  EXPECT_EQ((*lines)[0].Find("b"), nullptr);
  EXPECT_EQ((*lines)[1].stage, "st\"ä\n");
  EXPECT_EQ((*lines)[1].step, 2);
}

TEST_F(Metrics, AResumeNeitherLosesNorDoublesALine) {
  std::string whole;
  {
    auto writer = Open();
    for (int step = 0; step < 10; ++step)
      ASSERT_TRUE(writer->Write({"s", step, {{"x", std::sqrt(step)}}}).ok());
    whole = *ReadFile(path_);
  }
  for (int saved = 0; saved < 10; ++saved) {
    ASSERT_TRUE(RemoveTree(path_).ok());
    int64_t offset = 0;
    {
      auto writer = Open();
      for (int step = 0; step < 10; ++step) {
        if (step == saved) offset = writer->extent().bytes;
        ASSERT_TRUE(writer->Write({"s", step, {{"x", std::sqrt(step)}}}).ok());
      }
    }
    auto writer = Open(offset);
    for (int step = saved; step < 10; ++step)
      ASSERT_TRUE(writer->Write({"s", step, {{"x", std::sqrt(step)}}}).ok());
    EXPECT_EQ(*ReadFile(path_), whole);
  }
}

TEST_F(Metrics, AnUnfinishedLastLineIsNotReadAndIsCutOff) {
  ASSERT_TRUE(WriteFileAtomic(path_, "{\"stage\":\"s\",\"step\":1}\n{\"stage\":\"s\",\"st").ok());
  EXPECT_EQ(ReadMetrics(path_)->size(), 1u);
  ASSERT_TRUE(Open()->Write({"s", 2, {}}).ok());
  EXPECT_EQ(*ReadFile(path_), "{\"stage\":\"s\",\"step\":1}\n{\"stage\":\"s\",\"step\":2}\n");
  ASSERT_TRUE(WriteFileAtomic(path_, "{\"stage").ok());
  EXPECT_EQ(Open()->extent().bytes, 0);
}

TEST_F(Metrics, ABadLineIsNamedByItsNumber) {
  for (const char* line :
       {"nonsense", "[]", "{\"stage\":\"s\"}", "{\"stage\":1,\"step\":1}",
        "{\"stage\":\"s\",\"step\":1,\"a\":\"x\"}", "{\"stage\":\"s\",\"step\":1,\"a\":1,\"a\":1}", ""}) {
    ASSERT_TRUE(WriteFileAtomic(path_, std::string("{\"stage\":\"s\",\"step\":1}\n") + line + "\n").ok());
    EXPECT_THAT(std::string(ReadMetrics(path_).status().message()), HasSubstr("metrics.jsonl:2:")) << line;
  }
}

TEST_F(Metrics, ANameIsWrittenOnce) {
  EXPECT_THROW(Open()->Write({"s", 1, {{"a", 1}, {"a", 2}}}).IgnoreError(), InternalError);
  EXPECT_THROW(Open()->Write({"s", 1, {{"step", 1}}}).IgnoreError(), InternalError);
}

}  // namespace
}  // namespace temper

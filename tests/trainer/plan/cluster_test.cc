// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster.h"

#include "absl/strings/str_format.h"
#include "core/files/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ClusterFile : public ::testing::Test {
 protected:
  ClusterFile() {
    EXPECT_TRUE(MakeDirectories(folder_ / "clusters").ok());
    EXPECT_TRUE(MakeDirectories(folder_ / "math").ok());
  }
  void Write(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(folder_ / "clusters/ours.yaml", text).ok());
  }
  absl::StatusOr<ClusterConfig> Read(const std::string& name) {
    return ReadCluster(name, folder_ / "math/r.yaml");
  }
  std::string ErrorOf(const std::string& name) { return std::string(Read(name).status().message()); }
  const TestFolder folder_;
};

TEST(DeviceTable, IsThatOfTheDocs) {
  const std::string page = ReadFile("docs/cluster.md").value_or("");
  for (const DeviceSpec& d : DeviceSpecs()) {
    const std::string memory = d.gpu() ? absl::StrFormat("%g", d.memory_gib) : "-";
    EXPECT_THAT(page,
                HasSubstr(absl::StrFormat("| %s | %s | %g | %g | %g | %g |\n", d.name, memory, d.f32_tflops,
                                          d.memory_gbytes, d.link_gbytes, d.network_gbytes)));
  }
}

TEST_F(ClusterFile, IsFoundByItsNameAboveTheRecipe) {
  Write("nodes: 3\nranks_per_node: 8\ndevice: h100\n");
  const auto config = Read("ours");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto cluster = ClusterOf(*config);
  EXPECT_EQ(cluster.ranks(), 24);
  EXPECT_STREQ(cluster.device.name, "h100");
  EXPECT_EQ(cluster.devices(), 24);
  EXPECT_EQ(Read(folder_ / "clusters/ours.yaml")->nodes, 3);
  Write("nodes: 3\nspare_nodes: 2\nranks_per_node: 8\ndevice: h100\n");
  EXPECT_EQ(ClusterOf(*Read("ours")).ranks(), 24);
  EXPECT_EQ(ClusterOf(*Read("ours")).devices(), 40);
  // Without a recipe, as for `temper doctor`, above where one stands.
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder_ / "math");
  const auto here = ReadCluster("ours", "");
  std::filesystem::current_path(before);
  EXPECT_TRUE(here.ok()) << here.status();
}

TEST_F(ClusterFile, OfMachinesWithoutGpusHasRanksOfCores) {
  Write("nodes: 3\ncpus_per_rank: 4\n");
  const Cluster cluster = ClusterOf(Read("ours").value()), core = ClusterOf(Read("1x2xcpu").value());
  EXPECT_FALSE(cluster.device.gpu());
  EXPECT_EQ(cluster.ranks(), 3);
  EXPECT_EQ(core.ranks(), 2);
  EXPECT_EQ(cluster.device.f32_tflops, 4 * core.device.f32_tflops);
  EXPECT_EQ(cluster.device.memory_gbytes, 4 * core.device.memory_gbytes);
}

TEST_F(ClusterFile, MayBeSaidInOneWord) {
  const auto config = Read("64x8xH800");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->nodes, 64);
  EXPECT_EQ(config->device, "h800");
  EXPECT_THAT(ErrorOf("0x8xh800"), HasSubstr("is no MACHINESxDEVICESxNAME"));
}

TEST_F(ClusterFile, ThatIsNotThereIsToldWhichThereAre) {
  Write("");
  EXPECT_THAT(ErrorOf("other"), AllOf(HasSubstr("--cluster other"), HasSubstr("there are ours")));
}

TEST_F(ClusterFile, NamesFileLineAndKeyOfWhatIsWrong) {
  Write("nodes: 2\npartitoin: gpu\n");
  EXPECT_THAT(ErrorOf("ours"), AllOf(HasSubstr("ours.yaml:2: partitoin"), HasSubstr("partition")));
  Write("nodes: 2\n\ndevice: h1000\n");
  EXPECT_THAT(ErrorOf("ours"), AllOf(HasSubstr("ours.yaml:3: device"), HasSubstr("h1000 is none of h800")));
  Write("environment: [A=1, 'B C=2']\n");
  EXPECT_THAT(ErrorOf("ours"),
              AllOf(HasSubstr("ours.yaml:1: environment"), HasSubstr("B C=2 is no NAME=value")));
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/files/folder_link.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

class FolderLink : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "temper_link_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name);
    for (const char* folder : {"model/sub", "other", "hub/blobs", "hub/snapshots/0a1b"})
      fs::create_directories(root_ / folder);
    for (const char* file : {"model/config.json", "model/sub/a", "other/id_rsa", "hub/blobs/77", "modelling"})
      std::ofstream(root_ / file) << "x";
  }
  void TearDown() override { fs::remove_all(root_); }
  void Link(const std::string& at, const std::string& target) { fs::create_symlink(target, root_ / at); }
  std::string Outside(const std::string& folder, const std::string& name) const {
    return OutsideTarget(root_ / folder, name);
  }

  fs::path root_;
};

TEST_F(FolderLink, FilesAndLinksWithinTheFolderAreInside) {
  Link("model/relative", "sub/a");
  Link("model/absolute", root_ / "model/config.json");
  Link("model/there_and_back", "../model/sub/../config.json");
  for (const char* name : {"config.json", "relative", "absolute", "there_and_back"})
    EXPECT_EQ(Outside("model", name), "") << name;
}

TEST_F(FolderLink, LinksToOtherPlacesAreNamedHoweverTheyGetThere) {
  Link("model/LICENSE", "../other/id_rsa");
  Link("model/absolute", root_ / "other/id_rsa");
  Link("model/chain", "LICENSE");
  Link("model/folder", "../other");
  Link("model/prefix", "../modelling");  // the folder's name, and more
  for (const char* name : {"LICENSE", "absolute", "chain", "folder/id_rsa"})
    EXPECT_EQ(Outside("model", name), root_ / "other/id_rsa") << name;
  EXPECT_EQ(Outside("model", "prefix"), root_ / "modelling");
}

TEST_F(FolderLink, TheHubsCacheIsInsideByItsOwnBlobsAlone) {
  Link("hub/snapshots/0a1b/config.json", "../../blobs/77");
  Link("hub/snapshots/0a1b/LICENSE", "../../../other/id_rsa");
  Link("hub/snapshots/0a1b/sibling", "../../../modelling");
  EXPECT_EQ(Outside("hub/snapshots/0a1b", "config.json"), "");
  EXPECT_EQ(Outside("hub/snapshots/0a1b", "LICENSE"), root_ / "other/id_rsa");
  EXPECT_EQ(Outside("hub/snapshots/0a1b", "sibling"), root_ / "modelling");
  Link("model/blob", "../hub/blobs/77");  // no snapshot
  EXPECT_EQ(Outside("model", "blob"), root_ / "hub/blobs/77");
}

TEST_F(FolderLink, AFolderThatIsReachedByALinkIsTheFolder) {
  Link("there", "model");
  EXPECT_EQ(Outside("there", "config.json"), "");
  EXPECT_EQ(Outside("there/", "sub/a"), "");
}

TEST_F(FolderLink, WhatIsNotThereIsLeftToWhoOpensIt) {
  Link("model/broken", "nothing");
  Link("model/loop", "loop");
  for (const char* name : {"broken", "loop", "none"}) EXPECT_EQ(Outside("model", name), "") << name;
}

}  // namespace
}  // namespace temper

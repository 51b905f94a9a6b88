// SPDX-License-Identifier: Apache-2.0
// E3 of a whole recipe, every kind of stage, on ranks that share each layer's products, the vocabulary and
// the experts: the digest of one rank.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

// Sizes that ranks share: SmallRecipe's model has three heads.
void WriteSharedModel(const std::string& directory) {
  WriteSmallModel(directory);
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"vocab_size": 357, "hidden_size": 24, "num_nextn_predict_layers": 0,
                              "bos_token_id": 1, "eos_token_id": 2, "num_attention_heads": 4,
                              "num_key_value_heads": 4, "moe_intermediate_size": 10})"));
  ASSERT_TRUE(WriteFileAtomic(directory + "/config.json", json.dump()).ok());
}

TEST(MeshRecipe, HasTheDigestOfOneRank) {
  const TestFolder folder;
  WriteSharedModel(folder / "model");
  RecipeConfig recipe = SmallRecipe(folder / "model");
  const auto digest_on = [&](const MeshSizes& sizes) {
    recipe.mesh = sizes;
    const int ranks = static_cast<int>(sizes.dp_replicate * sizes.tp * sizes.ep);
    const std::string run = folder / absl::StrCat("run-", sizes.dp_replicate, "-", sizes.tp, "-", sizes.ep);
    ThreadWorld(ranks).Run([&](Communicator& comm) {
      const absl::Status status = RunRecipe(recipe, run, comm, Never);
      EXPECT_TRUE(status.ok()) << "rank " << comm.rank() << " of " << ranks << ": " << status;
    });
    return Digest(run);
  };
  const std::string expected = digest_on({.dp_replicate = 1});
  const std::vector<MeshSizes> meshes = {{.dp_replicate = 1, .tp = 2},
                                         {.dp_replicate = 4, .tp = 2},  // twice the gradient leaves
                                         {.dp_replicate = 1, .ep = 2},
                                         {.dp_replicate = 1, .tp = 2, .ep = 2}};
  for (const MeshSizes& sizes : meshes)
    EXPECT_EQ(digest_on(sizes), expected) << sizes.dp_replicate << ", tp " << sizes.tp << ", ep " << sizes.ep;
}

}  // namespace
}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "core/config/redact.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::ElementsAre;

TEST(Redact, TakesWhatIsGivenToANameThatSpeaksOfASecret) {
  for (const auto& [text, redacted] : std::vector<std::pair<std::string, std::string>>{
           {"HF_TOKEN=canary", "HF_TOKEN=[redacted]"},
           {"--api-key=canary --n 4", "--api-key=[redacted] --n 4"},
           {"--api-key canary --n 4", "--api-key [redacted] --n 4"},
           {"env OPENAI_API_KEY=canary WANDB_API_KEY='can ary' python judge.py",
            "env OPENAI_API_KEY=[redacted] WANDB_API_KEY='[redacted]' python judge.py"},
           {"AWS_ACCESS_KEY_ID=canary&x=1", "AWS_ACCESS_KEY_ID=[redacted]&x=1"},
           {"https://judge/score?access_token=canary&k=2", "https://judge/score?access_token=[redacted]&k=2"},
           {"https://me:canary@judge:8000/v1", "https://[redacted]@judge:8000/v1"},
           {"postgres://me:can@ary@host/db", "postgres://[redacted]@host/db"},
           {R"({"api_key": "canary", "password":"canary"})",
            R"({"api_key": "[redacted]", "password":"[redacted]"})"},
           {"X-Api-Key: canary", "X-Api-Key: [redacted]"},
           {"nvapi-0123456789abcdef-key:canary", "[redacted]:[redacted]"},
           {"Authorization: Bearer canary", "Authorization: Bearer [redacted]"},
           {"authorization: basic canary", "authorization: basic [redacted]"},
           {"Bearer  canary-0123-4567", "Bearer  [redacted]"},
           {R"({"a":1,"password" : "canary"})", R"({"a":1,"password" : "[redacted]"})"},
           {"MYKEY=canary --pass-phrase canary", "MYKEY=[redacted] --pass-phrase [redacted]"},
           {"x-auth: canary", "x-auth: [redacted]"},
           {"db_password=canary", "db_password=[redacted]"},
           {"clientSecret=canary", "clientSecret=[redacted]"},
           {"use hf_0123456789abcdefABCDEF now", "use [redacted] now"},
           {"sk-proj-0123456789abcdef", "[redacted]"},
           {"command=[judge,--api-key,canary,x]: unknown", "command=[judge,--api-key,[redacted],x]: unknown"},
           {"API_TOKEN2=canary gsk_0123456789abcdefABCDEF", "API_TOKEN2=[redacted] [redacted]"},
       }) {
    EXPECT_EQ(Redact(text), redacted);
    EXPECT_EQ(Redact(redacted), redacted);
  }
}

TEST(Redact, LeavesWhatIsNoSecret) {
  for (const std::string text : {"", "=", "max_tokens=512 tokenizer=/a/b", "--max-new-tokens 32",
                                 "recipe.yaml:3: key: expected a text", "api_key: unknown key",
                                 "https://host/path@2", "a@b", "keyword=x", "sk-short", "--keys-of --n 4",
                                 "base (pretrain): 20 updates; tokens_per_microbatch 4096", "key = value"}) {
    EXPECT_EQ(Redact(text), text);
  }
}

TEST(Redact, OfACommandTakesTheWordAfterAnOption) {
  EXPECT_THAT(RedactWords({"judge", "--api-key", "canary", "-token", "canary", "--secret", "--n", "4",
                           "--password=canary", "--max-tokens", "5", "--key"}),
              ElementsAre("judge", "--api-key", "[redacted]", "-token", "[redacted]", "--secret", "--n", "4",
                          "--password=[redacted]", "--max-tokens", "5", "--key"));
}

TEST(Redact, OfACommandTakesHeadersAndWhatCurlIsGiven) {
  EXPECT_THAT(
      RedactWords({"curl", "-u", "me:canary", "-H", "TOKEN: canary", "-H", "Cookie: session=canary",
                   "--pass=canary", "--auth", "canary", "https://h/x?sig=canary&n=1"}),
      ElementsAre("curl", "-u", "me:[redacted]", "-H", "TOKEN: [redacted]", "-H", "Cookie: [redacted]",
                  "--pass=[redacted]", "--auth", "[redacted]", "https://h/x?sig=[redacted]&n=1"));
  const std::vector<std::string> others = {
      "judge",    "-u", "run.py", "--pass-rule=math",     "Note: key is 5",
      "--author", "me", "-u",     "https://host:80/score"};
  EXPECT_EQ(RedactWords(others), others);
  EXPECT_THAT(SecretsOf({"-u", "me:one", "TOKEN: two"}), ElementsAre("one", "two"));
  EXPECT_THAT(
      RedactWords({"ask", "-k", "canary-0123", "--user=me:canary", "-U", "me:canary", "--jwt", "canary",
                   "--bearer=canary", "-H", "X-Key:canary", "-k", "12345678", "-k", "https://h/x"}),
      ElementsAre("ask", "-k", "[redacted]", "--user=me:[redacted]", "-U", "me:[redacted]", "--jwt",
                  "[redacted]", "--bearer=[redacted]", "-H", "X-Key:[redacted]", "-k", "12345678", "-k",
                  "https://h/x"));
  EXPECT_THAT(RedactWords({"sh", "-c", "python3 j.py -k canary-0123 -u me:canary --n 4", "-kcanary0123",
                           "-k=canary-x", "-ume:canary", "-k", "sK/canary99+abc==", "-keep-going", "-k",
                           "/a/file-of-9", "say: -k is short"}),
              ElementsAre("sh", "-c", "python3 j.py -k [redacted] -u me:[redacted] --n 4", "-k[redacted]",
                          "-k=[redacted]", "-ume:[redacted]", "-k", "[redacted]", "-keep-going", "-k",
                          "/a/file-of-9", "say: -k is short"));
  EXPECT_THAT(SecretsOf({"-k", "one-and-more", "--user=me:two"}), ElementsAre("one-and-more", "two"));
}

TEST(Redact, ReadsWhatIsEncodedAsWhoeverDecodesItDoes) {
  for (const auto& [text, redacted] : std::vector<std::pair<std::string, std::string>>{
           {"api_key%3Dcanary", "api_key%3D[redacted]"},
           {"q%3Fa%3D1%26access_token%3dcanary%26b%3D2", "q%3Fa%3D1%26access_token%3d[redacted]%26b%3D2"},
           {"Authorization%3A%20Bearer%20canary", "Authorization%3A%20Bearer%20[redacted]"},
           {"%22password%22%3A%20%22canary%22", "%22password%22%3A%20%22[redacted]%22"},
           {"https%3A%2F%2Fme%3Acanary%40judge%2Fv1", "https%3A%2F%2F[redacted]%40judge%2Fv1"},
           {"api_key%253Dcanary", "api_key%253D[redacted]"},
           {R"("{\"api_key\": \"canary\", \"n\": 4}")", R"("{\"api_key\": \"[redacted]\", \"n\": 4}")"},
           {R"(https:\/\/me:canary@judge)", R"(https:\/\/[redacted]@judge)"},
           {R"(?access_token\u003dcanary\u0026n=1)", R"(?access_token\u003d[redacted]\u0026n=1)"},
           {R"(a\nkey=canary)", R"(a\nkey=[redacted])"},
       }) {
    EXPECT_EQ(Redact(text), redacted);
    EXPECT_EQ(Redact(redacted), redacted);
  }
  std::vector<std::string> taken;
  Redact("api_key%3Dcan%2Fary", &taken);
  EXPECT_THAT(taken, ElementsAre("can%2Fary", "can/ary"));
  for (const std::string text : {"100% of key", "%", "\\", "%3", "\\u00", "key%3", "a%00b\\x"})
    EXPECT_EQ(Redact(text), text);
}

// As in a shell's line or a list that is written as one word.
TEST(Redact, OfACommandReadsTheWordsWithinAWord) {
  for (const auto& [word, redacted] : std::vector<std::pair<std::string, std::string>>{
           {R"(["--token", "canary"])", R"(["--token", "[redacted]"])"},
           {R"(['-k','canary-0123','--n','4'])", R"(['-k','[redacted]','--n','4'])"},
           {"[--api-key, canary]", "[--api-key, [redacted]]"},
           {"token\ncanary99XY", "token\n[redacted]"},
           {"machine h login me password canary99XY", "machine h login me password [redacted]"},
           {"curl -u 'me:canary' -k \"canary-0123\"; ls", "curl -u 'me:[redacted]' -k \"[redacted]\"; ls"},
           {"judge -k\tcanary-0123\n-u me:canary", "judge -k\t[redacted]\n-u me:[redacted]"},
           {"echo 'token: canary99XY' | judge", "echo 'token: [redacted]' | judge"},
           {"{token: canary99XY, n: 4}", "{token: [redacted], n: 4}"},
           {R"([["X-Api-Key", "canary99XY"]])", R"([["X-Api-Key", "[redacted]"]])"},
           {"--password=p(4)ss;w&rd,x", "--password=[redacted]"},
           {"DB_PASSWORD=p&w", "DB_PASSWORD=[redacted]"},
           {"token:canary99XY", "token:[redacted]"},
       }) {
    EXPECT_THAT(RedactWords({"judge", word, "end"}), ElementsAre("judge", redacted, "end"));
    EXPECT_THAT(RedactWords({"judge", redacted, "end"}), ElementsAre("judge", redacted, "end"));
  }
  EXPECT_THAT(RedactWords({"judge", "api_key", "canary99XY", "-u", "me:a/b+c=", "-u", "1000:1000"}),
              ElementsAre("judge", "api_key", "[redacted]", "-u", "me:[redacted]", "-u", "1000:1000"));
  const std::vector<std::string> others = {"sh",
                                           "-c",
                                           "python3 j.py --rows 'a b' | tee out; exit",
                                           R"(["--field", "answer", "--key-of"])",
                                           "key",
                                           "file2024.jsonl",
                                           "a token: the last one",
                                           "{\"question\": \"what token?\"}",
                                           "[]",
                                           "a,b"};
  EXPECT_EQ(RedactWords(others), others);
}

TEST(Redact, SaysWhatItTakes) {
  EXPECT_THAT(SecretsOf({"judge", "--api-key", "one", "A_TOKEN=two --n 4", "http://three:3@host"}),
              ElementsAre("one", "two", "three:3"));
}

TEST(Redact, TakesSecretsThatAreKnownFromAnyText) {
  EXPECT_EQ(Redact("error: unrecognized arguments: s3cret A_KEY=x", {"s3cret", "o"}),
            "error: unrecognized arguments: [redacted] A_KEY=[redacted]");
}

TEST(Redact, TakesTimeOfTheLength) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "key=a://@ ";
  EXPECT_LT(Redact(text).size(), 6u * text.size());
}

}  // namespace
}  // namespace temper

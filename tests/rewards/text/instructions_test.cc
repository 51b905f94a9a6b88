// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/instructions.h"

#include <time.h>

#include <algorithm>
#include <set>

#include "core/json/json.h"
#include "gmock/gmock.h"
#include "rewards/text/instruction_kinds.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

struct InstructionCase {
  const char* id;
  const char* kwargs;
  const char* followed;
  const char* not_followed;
};

const InstructionCase kCases[] = {
    {"keywords:existence", R"({"keywords":["tide","Moon"]})", "The moon makes the TIDES.",
     "The moon is high."},
    {"keywords:frequency", R"({"keyword":"sea","frequency":2,"relation":"at least"})", "Sea by sea",
     "one sea"},
    {"keywords:frequency", R"({"keyword":"sea","frequency":2,"relation":"less than"})", "one sea",
     "Sea, sea"},
    {"keywords:forbidden_words", R"({"forbidden_words":["cat","dog"]})", "concatenate dogma", "a Dog."},
    {"keywords:letter_frequency", R"({"letter":"E","let_frequency":3,"let_relation":"at least"})", "eEe",
     "be me"},
    {"keywords:letter_frequency", R"({"letter":"#","let_frequency":1,"let_relation":"less than"})", "no",
     "# yes"},
    {"language:response_language", R"({"language":"de"})",
     "Das ist ein deutscher Satz mit vielen Wörtern darin.",
     "This is an English sentence with many words in it."},
    {"length_constraints:number_sentences", R"({"num_sentences":2,"relation":"at least"})",
     "Mr. Ode left. I stay.", "Mr. Ode left early"},
    {"length_constraints:number_paragraphs", R"({"num_paragraphs":2})", "one\n***\ntwo", "one\n\ntwo"},
    {"length_constraints:number_paragraphs", R"({"num_paragraphs":2})", "***one\n*** two ***", "a *** *** b"},
    {"length_constraints:number_words", R"({"num_words":3,"relation":"less than"})", "two words",
     "one, two, three"},
    {"length_constraints:nth_paragraph_first_word",
     R"({"num_paragraphs":2,"nth_paragraph":2,"first_word":"Then"})", "First\n\n\"then, it",
     "First\n\nit then"},
    {"length_constraints:nth_paragraph_first_word",
     R"({"num_paragraphs":1,"nth_paragraph":1,"first_word":"so"})", "So.", "So\n\nit"},
    {"detectable_content:number_placeholders", R"({"num_placeholders":2})", "[name] of [place]",
     "[a\nb] [c]"},
    {"detectable_content:postscript", R"({"postscript_marker":"P.S."})", "Bye\np. s. more", "Bye PS more"},
    {"detectable_content:postscript", R"({"postscript_marker":"P.P.S"})", "Bye P.P.S more", "Bye P.S. more"},
    {"detectable_format:number_bullet_lists", R"({"num_bullets":2})", "* a\n - b\n**c**", "* a\n* b\n* c"},
    {"detectable_format:constrained_response", "{}", "Well: My answer is maybe.", "My answer is: no"},
    {"detectable_format:number_highlighted_sections", R"({"num_highlights":2})", "*a* and **b**",
     "*a* ** ** x"},
    {"detectable_format:multiple_sections", R"({"section_spliter":"PART","num_sections":2})",
     "PART 1 a PART2 b", "PART 1 a PART two"},
    {"detectable_format:json_format", "{}", "```json\n{\"a\": [1, null]}\n```", "{a: 1}"},
    {"detectable_format:title", "{}", "<<A title>>\ntext", "<< >> text"},
    {"combination:two_responses", "{}", "one ****** two", "one ****** one"},
    {"combination:repeat_prompt", R"({"prompt_to_repeat":"Say HI. "})", " say hi. Hi!", "Hi! Say hi."},
    {"startend:end_checker", R"({"end_phrase":"The end."})", "\"and so: the END.\"", "The end. Really"},
    {"startend:quotation", "{}", " \"all of it\" ", "\"not\" all"},
    {"change_case:capital_word_frequency", R"({"capital_frequency":2,"capital_relation":"at least"})",
     "I am IN-OUT.", "I am in"},
    {"change_case:english_capital", "{}", "ALL OF THIS IS LOUD, 3 TIMES!", "ALL OF This IS LOUD"},
    {"change_case:english_lowercase", "{}", "all of this is quiet, 3 times.", "all of this Is quiet"},
    {"punctuation:no_comma", "{}", "no such thing", "one, two"},
};

Prompt Row(const std::string& ids, const std::string& kwargs) {
  Prompt prompt = Problem("");
  prompt.fields = R"({"key":1,"instruction_id_list":)" + ids + R"(,"kwargs":)" + kwargs + "}";
  return prompt;
}

TEST(Instructions, AreFollowedOrNotByKind) {
  std::set<std::string> seen;
  for (const InstructionCase& c : kCases) {
    seen.insert(c.id);
    const Prompt prompt = Row("[\"" + std::string(c.id) + "\"]", "[" + std::string(c.kwargs) + "]");
    EXPECT_TRUE(Rule(Config("instructions"))->CheckAnswer(prompt).ok()) << c.id;
    const auto judge = [&](const char* text) {
      return Judge(Config("instructions"), prompt, text, StopReason::kEndOfText, true);
    };
    EXPECT_EQ(judge(c.followed).reason, "1 of 1 followed") << c.id << ": " << c.followed;
    EXPECT_EQ(judge(c.not_followed).reason, "0 of 1 followed; not " + std::string(c.id)) << c.not_followed;
  }
  EXPECT_EQ(seen.size(), 25u);
  EXPECT_EQ(InstructionIds().size(), 25u);
}

TEST(Instructions, CountAllOrTheShare) {
  const Prompt prompt =
      Row(R"(["punctuation:no_comma","startend:quotation","detectable_format:title"])", "[{},{},{}]");
  RuleConfig config = Config("instructions");
  const auto judge = [&](const char* text) { return Judge(config, prompt, text); };
  EXPECT_EQ(judge("x </think> \"<<T>> all\"").score, 1);
  EXPECT_EQ(judge("x </think> \"<<T>> all\"").kind, VerdictKind::kCorrect);
  EXPECT_EQ(judge("x </think> \"<<T>> all").score, 0);
  config.instructions.share = true;
  const Verdict share = judge("x </think> \"<<T>> all");
  EXPECT_EQ(share.score, 2.0 / 3);
  EXPECT_EQ(share.kind, VerdictKind::kWrong);
  EXPECT_EQ(share.reason, "2 of 3 followed; not startend:quotation");
}

TEST(Instructions, JudgeWhatTheReaderGets) {
  Prompt prompt = Row(R"(["punctuation:no_comma"])", "[{}]");
  const auto kind = [&](const char* text) { return Judge(Config("instructions"), prompt, text).kind; };
  EXPECT_EQ(kind("a, b </think> none"), VerdictKind::kCorrect);
  EXPECT_EQ(kind("a, b </think> , <answer>none</answer>"), VerdictKind::kCorrect);
  EXPECT_EQ(kind("a, b </think> one, two"), VerdictKind::kWrong);
  EXPECT_EQ(kind("no comma and no end of the thinking"), VerdictKind::kNoAnswer);
  EXPECT_EQ(kind("a </think> \n"), VerdictKind::kNoAnswer);
  prompt.text = "Q";  // of a model that does not think
  EXPECT_EQ(kind("no comma"), VerdictKind::kCorrect);
  EXPECT_EQ(kind("<think> no comma"), VerdictKind::kNoAnswer);
}

TEST(Instructions, LooselyAlsoWithoutTheFirstAndLastLineAndStars) {
  const Prompt prompt = Row(R"(["startend:quotation"])", "[{}]");
  RuleConfig config = Config("instructions");
  const auto follows = [&](const char* text) {
    return Judge(config, prompt, text, StopReason::kEndOfText, true).kind == VerdictKind::kCorrect;
  };
  for (const char* text :
       {"Sure:\n\"a\"", "\"a\"\nBye", "Sure:\n\"a\"\nBye", "**\"a\"**", "Sure:\n*\"a\"*\n\n"}) {
    EXPECT_FALSE(follows(text)) << text;
    config.instructions.loose = true;
    EXPECT_TRUE(follows(text)) << text;
    config.instructions.loose = false;
  }
  config.instructions.loose = true;
  EXPECT_FALSE(follows("Sure: \"a\""));
}

TEST(Instructions, TakeTheDatasetsNullsAndWholeNumbersWithAPoint) {
  const Prompt prompt = Row(R"(["length_constraints:number_words"])",
                            R"([{"num_words":2.0,"relation":"at least","keywords":null,"language":null}])");
  EXPECT_EQ(Judge(Config("instructions"), prompt, "two words", StopReason::kEndOfText, true).score, 1);
}

TEST(Instructions, ThatCannotBeCheckedAreErrorsOfTheDataset) {
  const auto error = [](const char* ids, const char* kwargs) {
    const Prompt prompt = Row(ids, kwargs);
    EXPECT_EQ(Judge(Config("instructions"), prompt, "x", StopReason::kEndOfText, true).kind,
              VerdictKind::kMalformed);
    return std::string(Rule(Config("instructions"))->CheckAnswer(prompt).message());
  };
  EXPECT_THAT(
      error(R"(["punctuation:no_coma"])", "[{}]"),
      HasSubstr(
          "problem p1: there is no instruction punctuation:no_coma (did you mean punctuation:no_comma?)"));
  EXPECT_THAT(error("[7]", "[{}]"), HasSubstr("there is no instruction 7"));
  EXPECT_THAT(error("[]", "[]"), HasSubstr("instruction_id_list"));
  EXPECT_THAT(error(R"(["punctuation:no_comma"])", "[]"), HasSubstr("a list of 1 objects"));
  EXPECT_THAT(error(R"(["keywords:existence"])", R"([{"keywords":[]}])"), HasSubstr("needs `keywords`"));
  EXPECT_THAT(error(R"(["keywords:existence"])", R"([{"keywords":["a",1]}])"), HasSubstr("needs `keywords`"));
  EXPECT_THAT(error(R"(["keywords:frequency"])", R"([{"keyword":"a","frequency":1,"relation":"about"}])"),
              HasSubstr("`at least` or `less than`"));
  EXPECT_THAT(error(R"(["keywords:frequency"])", R"([{"keyword":" ","frequency":1,"relation":"at least"}])"),
              HasSubstr("keyword is empty"));
  EXPECT_THAT(error(R"(["length_constraints:number_words"])", R"([{"num_words":1.5,"relation":"at least"}])"),
              HasSubstr("whole number"));
  EXPECT_THAT(error(R"(["length_constraints:number_words"])", R"([{"relation":"at least"}])"),
              HasSubstr("num_words"));
  Prompt none = Problem("");
  none.fields = "";
  EXPECT_THAT(std::string(Rule(Config("instructions"))->CheckAnswer(none).message()),
              HasSubstr("instruction_id_list"));
}

TEST(Instructions, JudgeHostileBytes) {
  std::string ids, kwargs;
  for (const InstructionCase& c : kCases) {
    ids += (ids.empty() ? "[\"" : ",\"") + std::string(c.id) + "\"";
    kwargs += (kwargs.empty() ? "[" : ",") + std::string(c.kwargs);
  }
  const Prompt prompt = Row(ids + "]", kwargs + "]");
  for (const std::string& text : HostileTexts()) {
    for (const bool raw : {false, true}) {
      const Verdict verdict = Judge(Config("instructions"), prompt, std::string_view(text).substr(0, 1 << 16),
                                    StopReason::kEndOfText, raw);
      EXPECT_NE(verdict.kind, VerdictKind::kInfrastructureError) << verdict.reason;
      EXPECT_EQ(verdict.score, 0);
    }
  }
}

// Of this thread.
double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST(Instructions, JudgeALongAnswerInLinearTime) {
  for (const InstructionCase& c : kCases) {
    const Prompt prompt = Row("[\"" + std::string(c.id) + "\"]", "[" + std::string(c.kwargs) + "]");
    for (const char* piece : {"*", "[", "P.", "a. ", "<<", "sea ", "***", "PART 1", "\n", "\""}) {
      const auto judge = [&](size_t bytes) {
        std::string text;
        while (text.size() + 8 < bytes) text += piece;
        const double begin = CpuSeconds();
        (void)Judge(Config("instructions"), prompt, text, StopReason::kEndOfText, true);
        return CpuSeconds() - begin;
      };
      // 32 times as long: 32 times the time, and 1,024 were it quadratic. Under 0.2 ms is noise.
      const double shorter = std::max(judge(1 << 14), 2e-4);
      EXPECT_LT(judge(1 << 19), 150 * shorter) << c.id << " " << piece;
    }
  }
  EXPECT_EQ(Judge(Config("instructions"), Row(R"(["punctuation:no_comma"])", "[{}]"),
                  std::string(2 << 20, 'a'), StopReason::kEndOfText, true)
                .kind,
            VerdictKind::kMalformed);
}

}  // namespace
}  // namespace temper

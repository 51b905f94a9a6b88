// SPDX-License-Identifier: Apache-2.0
// The tiny language against a second reading of it: the tests take texts apart word by word and do the
// arithmetic again.
#include "data/tasks/tiny/tiny.h"

#include <map>
#include <set>
#include <sstream>

#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"

namespace temper::tiny {
namespace {

constexpr int64_t kDocuments = 36'000;

std::vector<std::string> WordsIn(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool IsDigit(const std::string& word) { return word.size() == 1 && word[0] >= '0' && word[0] <= '9'; }
bool IsOperation(const std::string& word) {
  return word.size() == 2 && std::string("+-*").find(word[0]) != std::string::npos;
}

int Do(int value, const std::string& operation) {
  const int by = operation[1] - '0';
  const int result = operation[0] == '+' ? value + by : operation[0] == '-' ? value - by : value * by;
  return ((result % 10) + 10) % 10;
}

// A run of words "3 a -2 1 b *4 4", or with results left out: the chain's content, and the results that are
// written.
struct Worked {
  std::string content;
  std::vector<std::string> operations;
  int start = 0;
  int written = 0, wrong = 0;      // results after one operation
  int jumps = 0, wrong_jumps = 0;  // results after several
  int last = 0;
};

std::vector<Worked> WorkedChains(const std::vector<std::string>& words) {
  std::vector<Worked> chains;
  for (size_t i = 0; i + 2 < words.size(); ++i) {
    if (!IsDigit(words[i]) || words[i + 1] != "a" || !IsOperation(words[i + 2])) continue;
    Worked chain;
    chain.content = words[i];
    chain.start = chain.last = words[i][0] - '0';
    int value = chain.start, since = 0;
    for (++i; i < words.size(); ++i) {
      if (i + 1 < words.size() && words[i].size() == 1 && words[i] >= "a" && words[i] <= "z" &&
          IsOperation(words[i + 1])) {
        chain.content += " " + words[i] + " " + words[i + 1];
        chain.operations.push_back(words[i + 1]);
        value = Do(value, words[++i]);
        ++since;
      } else if (IsDigit(words[i]) && since > 0) {
        const bool bad = words[i][0] - '0' != value;
        (since == 1 ? chain.written : chain.jumps) += 1;
        (since == 1 ? chain.wrong : chain.wrong_jumps) += bad;
        chain.last = value = words[i][0] - '0';
        since = 0;
      } else {
        break;
      }
    }
    chains.push_back(chain);
    --i;
  }
  return chains;
}

// The words between "Q" and "?"; empty: none.
std::string Question(const std::vector<std::string>& words) {
  std::string content;
  if (words.empty() || words[0] != "Q") return content;
  for (size_t i = 1; i < words.size() && words[i] != "?"; ++i) content += (i > 1 ? " " : "") + words[i];
  return content;
}

std::set<int> Roots(const std::string& content) {
  std::set<int> roots;
  for (int x = 0; x < 10; ++x) {
    int value = x;
    for (const std::string& word : WordsIn(content)) {
      if (IsOperation(word)) value = Do(value, word);
    }
    if (value == 0) roots.insert(x);
  }
  return roots;
}

int EndOf(const std::string& content) {
  int value = content[0] - '0';
  for (const std::string& word : WordsIn(content)) {
    if (IsOperation(word)) value = Do(value, word);
  }
  return value;
}

std::vector<Document> Corpus(uint64_t key, const CorpusOptions& options = {}, int64_t count = kDocuments) {
  std::vector<Document> documents;
  for (int64_t i = 0; i < count; ++i) documents.push_back(CorpusDocument(key, i, options));
  return documents;
}

std::string All(const Document& document) { return document.prompt + document.completion; }

// What kind a document looks like.
std::string KindOf(const Document& document) {
  if (document.prompt.empty()) return "other";
  const bool find_x = document.prompt.starts_with("Q x");
  const std::vector<std::string> words = WordsIn(document.completion);
  const size_t n = words.size();
  const bool closed = n >= 4 && words[n - 4] == "</think>" && words[n - 3] == "<answer>" &&
                      IsDigit(words[n - 2]) && words[n - 1] == "</answer>";
  if (!closed) return find_x ? "fbroken" : "cbroken";
  if (n == 4) return find_x ? "guess" : "direct";
  if (!find_x) return WorkedChains(words)[0].jumps > 0 ? "skip" : "full";
  const size_t tries = WorkedChains(words).size();
  const bool found = words[n - 5] == "ok" || words[n - 5] == "好";
  return tries > 3 ? "search" : found ? "found" : tries == 1 ? "one" : "few";
}

TEST(MakeProblem, AsksWhatItsAnswerAnswers) {
  std::map<std::string, int> tasks;
  for (int64_t i = 0; i < 3000; ++i) {
    const Prompt prompt = MakeProblem(7, i, ProblemOptions(), i % 3 == 0 ? Split::kHeldOut : Split::kTrain);
    ++tasks[prompt.task];
    EXPECT_EQ(prompt.text, "Q " + prompt.id + " ? <think>");
    EXPECT_EQ(Question(WordsIn(prompt.text)), prompt.id);
    EXPECT_EQ(SplitOf(prompt.id), i % 3 == 0 ? Split::kHeldOut : Split::kTrain);
    const size_t operations = (WordsIn(prompt.id).size() - 1) / 2;
    if (prompt.task == "chain") {
      EXPECT_EQ(prompt.answer, std::to_string(EndOf(prompt.id)));
      EXPECT_TRUE(operations >= 2 && operations <= 6) << prompt.id;
    } else {
      const std::set<int> roots = Roots(prompt.id);
      ASSERT_FALSE(roots.empty()) << prompt.id;
      EXPECT_EQ(prompt.answer, std::to_string(*roots.begin()));
      EXPECT_TRUE(prompt.task == "find_x" && operations >= 2 && operations <= 3) << prompt.id;
    }
    EXPECT_EQ(ProblemFault(prompt), "");
    for (int digit = 0; digit < 10; ++digit) {
      const bool right =
          prompt.task == "chain" ? digit == EndOf(prompt.id) : Roots(prompt.id).contains(digit);
      EXPECT_EQ(IsCorrect(prompt, std::to_string(digit)), right) << prompt.id << " " << digit;
    }
  }
  EXPECT_NEAR(tasks["chain"] / 3000.0, 0.5, 0.03);
}

TEST(MakeProblem, IsAFunctionOfKeyIndexAndSide) {
  std::vector<std::string> forward, backward;
  for (int64_t i = 0; i < 200; ++i)
    forward.push_back(MakeProblem(1, i, {}, Split::kTrain).text + All(CorpusDocument(1, i, {})) +
                      All(ColdStartDocument(1, i, {})) + All(GeneralDocument(1, i)));
  for (int64_t i = 199; i >= 0; --i)
    backward.push_back(MakeProblem(1, i, {}, Split::kTrain).text + All(CorpusDocument(1, i, {})) +
                       All(ColdStartDocument(1, i, {})) + All(GeneralDocument(1, i)));
  EXPECT_EQ(forward, std::vector<std::string>(backward.rbegin(), backward.rend()));
  EXPECT_EQ(std::set<std::string>(forward.begin(), forward.end()).size(), 200u);
  EXPECT_NE(MakeProblem(1, 0, {}, Split::kTrain).id, MakeProblem(2, 0, {}, Split::kTrain).id);
}

TEST(SplitOf, HoldsOutAboutOneInEightAndSomeOfEveryLength) {
  ProblemOptions options;
  for (int64_t n = 1; n <= 8; ++n) {
    options.chain_min = options.chain_max = n;
    options.find_x_min = options.find_x_max = std::max<int64_t>(n, 2);
    options.find_x_share = n % 2 == 0 ? 1 : 0;
    EXPECT_EQ(SplitOf(MakeProblem(1, n, options, Split::kHeldOut).id), Split::kHeldOut);
    EXPECT_EQ(SplitOf(MakeProblem(1, n, options, Split::kTrain).id), Split::kTrain);
  }
  int held_out = 0;
  for (int i = 0; i < 20'000; ++i) held_out += SplitOf("3 a +" + std::to_string(i)) == Split::kHeldOut;
  EXPECT_NEAR(held_out / 20'000.0, 0.125, 0.01);
}

TEST(SplitOf, IsThatOfTheOperationsHoweverTheyAreAsked) {
  for (int i = 0; i < 100; ++i) {
    const std::string id = MakeProblem(3, i, {}, i % 2 ? Split::kTrain : Split::kHeldOut).id;
    EXPECT_EQ(SplitOf("  " + id + "\n"), SplitOf(id));
    EXPECT_EQ(SplitOf("x" + id.substr(1)), SplitOf("4" + id.substr(1)));
  }
}

TEST(MakeProblem, HasEnoughHeldOutFindXProblemsOfThreeOperations) {
  ProblemOptions options;
  options.find_x_share = 1;
  options.find_x_min = options.find_x_max = 3;
  std::set<std::string> held_out;
  int64_t draws = 0;
  while (held_out.size() < 256 && draws < 2000)
    held_out.insert(MakeProblem(5, draws++, options, Split::kHeldOut).id);
  EXPECT_EQ(held_out.size(), 256u);
  // All there are, counted out.
  int all = 0, held = 0;
  for (const int first : {2, 3, 4, 6, 7, 8, 9}) {
    std::vector<std::string> middles;
    for (int by = 1; by <= 9; ++by) {
      for (const char* sign : {"+", "-"}) middles.push_back(sign + std::to_string(by));
      if (by != 1 && by != 5) middles.push_back("*" + std::to_string(by));
    }
    for (const std::string& middle : middles) {
      for (int by = 1; by <= 9; ++by) {
        for (const char* sign : {"+", "-"}) {
          const std::string id =
              "x a *" + std::to_string(first) + " b " + middle + " c " + sign + std::to_string(by);
          if (Roots(id).empty()) continue;
          ++all;
          held += SplitOf(id) == Split::kHeldOut;
          held_out.erase(id);
        }
      }
    }
  }
  EXPECT_TRUE(held_out.empty()) << *held_out.begin();
  EXPECT_GE(held, 256);
  EXPECT_NEAR(held / static_cast<double>(all), 0.125, 0.02) << all;
}

// The table's shares are weights: they sum to 1.05.
TEST(CorpusDocument, KindsHaveTheSharesOfTheTable) {
  std::map<std::string, double> shares;
  for (const Document& document : Corpus(1)) shares[KindOf(document)] += 1.05 / kDocuments;
  EXPECT_NEAR(shares["other"], .15, .006);
  EXPECT_NEAR(shares["direct"], .20, .0065);
  EXPECT_NEAR(shares["skip"] + shares["full"], .20, .0065);
  EXPECT_NEAR(shares["skip"], .12 * (1 - 1 / 10.4), .005);  // of one operation it looks full
  EXPECT_NEAR(shares["cbroken"], .05, .004);
  EXPECT_NEAR(shares["guess"], .16, .006);
  EXPECT_NEAR(shares["one"], .10, .005);
  EXPECT_NEAR(shares["few"] + shares["found"] + shares["search"], .14, .006);
  EXPECT_GT(shares["search"], .02);
  EXPECT_NEAR(shares["fbroken"], .05, .004);
}

TEST(CorpusDocument, WithoutReasoningAnswersHaveNoSteps) {
  CorpusOptions options;
  options.reasoning = false;
  std::map<std::string, double> shares;
  for (const Document& document : Corpus(1, options)) {
    shares[KindOf(document)] += 1.0 / kDocuments;
    if (document.prompt.empty()) continue;
    for (const std::string& word : WordsIn(document.completion))
      ASSERT_FALSE(IsOperation(word) || word == "wait") << All(document);
  }
  EXPECT_NEAR(shares["other"], .15, .008);
  EXPECT_NEAR(shares["direct"], .37, .01);
  EXPECT_NEAR(shares["cbroken"], .05, .005);
  EXPECT_NEAR(shares["guess"], .38, .01);
  EXPECT_NEAR(shares["fbroken"], .05, .005);
}

TEST(CorpusDocument, IsAsOftenWrongAsTheTableSays) {
  std::map<std::string, double> right, count, lengths;
  double written = 0, wrong = 0, jumps = 0, wrong_jumps = 0, tried = 0, wrong_tried = 0, ascending = 0,
         searches = 0;
  for (const Document& document : Corpus(2)) {
    const std::string kind = KindOf(document);
    const std::vector<std::string> words = WordsIn(document.completion);
    const std::string content = Question(WordsIn(document.prompt));
    const size_t operations = content.empty() ? 0 : (WordsIn(content).size() - 1) / 2;
    if (kind == "other") {
      for (const Worked& chain : WorkedChains(words)) {
        EXPECT_EQ(chain.wrong + chain.jumps, 0) << document.completion;
        EXPECT_TRUE(chain.operations.size() >= 2 && chain.operations.size() <= 7);
      }
      continue;
    }
    if (kind == "cbroken" || kind == "fbroken") continue;
    const int answer = words[words.size() - 2][0] - '0';
    const bool find_x = content[0] == 'x';
    ++lengths[(find_x ? "find_x " : "chain ") + std::to_string(operations)];
    if (operations > 1) {
      ++count[kind];
      right[kind] += find_x ? Roots(content).contains(answer) : answer == EndOf(content);
    } else if (kind == "direct") {
      EXPECT_EQ(answer, EndOf(content));
    }
    const std::vector<Worked> chains = WorkedChains(words);
    if (!chains.empty()) {
      EXPECT_EQ(find_x ? chains.back().start : chains.back().last, answer) << All(document);
    }
    for (size_t t = 0; t < chains.size(); ++t) {
      const Worked& chain = chains[t];
      EXPECT_EQ(chain.content.substr(1), content.substr(1)) << All(document);
      (find_x ? tried : written) += kind == "skip" ? 0 : chain.written;
      (find_x ? wrong_tried : wrong) += kind == "skip" ? 0 : chain.wrong;
      jumps += chain.jumps;
      wrong_jumps += chain.wrong_jumps;
      if (find_x) {
        EXPECT_TRUE(chain.last != 0 || t + 1 == chains.size()) << All(document);
      }
    }
    if (kind == "search") {
      ++searches;
      ascending += chains[0].start == 0 && chains[1].start == 1 && chains[2].start == 2;
    }
  }
  EXPECT_NEAR(right["direct"] / count["direct"], .3 + .7 * .1, .02);
  EXPECT_NEAR(right["guess"] / count["guess"], .3 + .7 * .16, .03);
  EXPECT_NEAR(wrong_jumps / jumps, .35, .02);
  EXPECT_NEAR(wrong_tried / tried, .02, .004);
  EXPECT_NEAR(wrong / written, .06 * .9, .008);  // some are of a skip of one operation, which has no slips
  EXPECT_GT(right["search"] / count["search"], .8);
  EXPECT_NEAR(ascending / searches, .4 * .93, .05);
  double chains = 0, finds = 0;
  for (const auto& [name, n] : lengths) (name[0] == 'c' ? chains : finds) += n;
  EXPECT_NEAR(lengths["chain 1"] / chains, 1 / 10.4, .01);
  EXPECT_NEAR(lengths["chain 4"] / chains, 2 / 10.4, .015);
  EXPECT_NEAR(lengths["chain 8"] / chains, .5 / 10.4, .01);
  EXPECT_NEAR(lengths["find_x 3"] / finds, 5 / 9.2, .02);
  EXPECT_NEAR(lengths["find_x 4"] / finds, 1.2 / 9.2, .02);
}

TEST(CorpusDocument, BreaksTheFormInFourWays) {
  std::map<std::string, double> ends;
  double broken = 0;
  for (const Document& document : Corpus(3)) {
    if (!KindOf(document).ends_with("broken")) continue;
    ++broken;
    const std::string& text = document.completion;
    const bool closes = text.find("</think>") != text.npos, opens = text.find("<answer>") != text.npos;
    ++ends[std::string(closes ? "closes " : "") + (opens ? "opens " : "") +
           (text.ends_with(" .")          ? "."
            : text.ends_with("</answer>") ? "a"
                                          : "")];
  }
  EXPECT_NEAR(ends["."] / broken, .3, .03);
  EXPECT_NEAR(ends["closes ."] / broken, .3, .03);
  EXPECT_NEAR(ends["opens a"] / broken, .2, .03);
  EXPECT_NEAR(ends["closes opens "] / broken, .2, .03);
  EXPECT_EQ(ends.size(), 4u);
}

TEST(CorpusDocument, AShareOfTheDocumentsIsChineseAndNeverBoth) {
  const auto count = [](double share) {
    CorpusOptions options;
    options.chinese_share = share;
    double english = 0, chinese = 0, both = 0;
    for (const Document& document : Corpus(4, options)) {
      const std::string& text = document.completion;
      const bool en = text.find(" wait") != text.npos || text.find(" ok") != text.npos;
      const bool zh = text.find(" 等") != text.npos || text.find(" 好") != text.npos;
      english += en && !zh;
      chinese += zh && !en;
      both += en && zh;
    }
    EXPECT_EQ(both, 0);
    return chinese / (english + chinese);
  };
  EXPECT_EQ(count(0), 0);
  EXPECT_EQ(count(1), 1);
  EXPECT_NEAR(count(.3), .3, .02);
}

// Every question and every worked chain, tries too.
void ExpectNothingHeldOut(const Document& document) {
  const std::string question = Question(WordsIn(document.prompt));
  if (!question.empty()) {
    ASSERT_EQ(SplitOf(question), Split::kTrain) << All(document);
  }
  for (const Worked& chain : WorkedChains(WordsIn(document.completion))) {
    ASSERT_EQ(SplitOf(chain.content), Split::kTrain) << All(document);
  }
}

TEST(Documents, NeverShowWhatIsHeldOut) {
  std::set<std::string> held_out;
  ProblemOptions broad;
  broad.chain_max = 8;
  broad.find_x_max = 4;
  for (int64_t i = 0; i < 4000; ++i) held_out.insert(MakeProblem(9, i, broad, Split::kHeldOut).id);
  const auto check = [&](const Document& document) {
    ExpectNothingHeldOut(document);
    ASSERT_FALSE(held_out.contains(Question(WordsIn(document.prompt)))) << All(document);
    for (const Worked& chain : WorkedChains(WordsIn(document.completion)))
      ASSERT_FALSE(held_out.contains(chain.content));
  };
  for (int64_t i = 0; i < kDocuments; ++i) check(CorpusDocument(0, i, {}));
  for (int64_t i = 0; i < 4000; ++i) {
    check(ColdStartDocument(0, i, broad));
    check(GeneralDocument(0, i));
  }
}

TEST(ColdStartDocument, IsCleanAscendingAndRight) {
  std::set<std::string> tasks;
  for (int64_t i = 0; i < 2000; ++i) {
    const Document document = ColdStartDocument(1, i, {});
    const std::string content = Question(WordsIn(document.prompt));
    const std::vector<Worked> chains = WorkedChains(WordsIn(document.completion));
    const std::string end = content[0] == 'x' ? " ok" : "";
    const int answer = content[0] == 'x' ? *Roots(content).begin() : EndOf(content);
    for (size_t t = 0; t < chains.size(); ++t) {
      EXPECT_EQ(chains[t].wrong + chains[t].jumps, 0);
      if (content[0] == 'x') {
        EXPECT_EQ(chains[t].start, static_cast<int>(t));
      }
    }
    EXPECT_EQ(chains.size(), content[0] == 'x' ? answer + 1u : 1u);
    EXPECT_TRUE(document.completion.ends_with(std::to_string(content[0] == 'x' ? 0 : answer) + end +
                                              " </think> <answer> " + std::to_string(answer) + " </answer>"))
        << All(document);
    tasks.insert(content.substr(0, 1));
  }
  EXPECT_EQ(tasks.size(), 11u);
  const std::string first = "Q 7 a -3 b *2 ? <think>";
  EXPECT_EQ(KindOf({first, " 7 a -3 4 b *2 8 </think> <answer> 8 </answer>"}), "full");
}

TEST(Words, CoverTheDocumentsAndAreSeparatedBySingleSpaces) {
  const std::vector<std::string> list = Words();
  const std::set<std::string> known(list.begin(), list.end());
  EXPECT_EQ(known.size(), list.size());
  std::set<std::string> seen;
  const auto check = [&](const Document& document) {
    const std::string text = (document.prompt.empty() ? "" : " ") + All(document);
    std::string again;
    for (const std::string& word : WordsIn(text)) {
      ASSERT_TRUE(known.contains(word)) << word << " in " << text;
      seen.insert(word);
      again += " " + word;
    }
    ASSERT_EQ(again, text);
    ASSERT_TRUE(document.completion.starts_with(" "));
  };
  for (int64_t i = 0; i < kDocuments; ++i) check(CorpusDocument(6, i, {}));
  for (int64_t i = 0; i < 1000; ++i) check(ColdStartDocument(6, i, {})), check(GeneralDocument(6, i));
  for (const char* word : {"wait", "ok", "等", "好", "so", ".", "*9", "-1", "</answer>", "the", "my", "0"})
    EXPECT_TRUE(seen.contains(word)) << word;
}

TEST(Words, AreTheTokensOfTheTinyPolicy) {
  const std::string path = "configs/tiny/base/tokenizer.json";
  const Json json = ParseJson(ReadFile(path).value(), path).value();
  std::map<int64_t, std::string> tokens;
  for (const auto& [token, id] : json["model"]["vocab"].items()) tokens[id.get<int64_t>()] = token;
  const std::vector<std::string> words = Words();
  EXPECT_EQ(tokens.rbegin()->first + 1, static_cast<int64_t>(3 + 256 + words.size()));
  for (size_t i = 0; i < words.size(); ++i) {
    // In the byte-level alphabet a space is Ġ; 等 and 好 are compared by the tokenizer's own tests.
    if (words[i][0] >= 0) {
      EXPECT_EQ(tokens[259 + static_cast<int64_t>(i)], "Ġ" + words[i]);
    }
  }
}

TEST(IsCorrect, TakesOneDigitAndNothingElse) {
  Prompt prompt = MakeProblem(1, 0, {}, Split::kTrain);
  EXPECT_TRUE(IsCorrect(prompt, " " + prompt.answer + "\n"));
  for (const std::string& answer : {prompt.answer + ".", "1" + prompt.answer, "+" + prompt.answer,
                                    prompt.answer + " " + prompt.answer, std::string(), std::string("x")}) {
    EXPECT_FALSE(IsCorrect(prompt, answer)) << answer;
  }
}

TEST(ProblemFault, SaysWhatCannotBeJudged) {
  const auto fault = [](const char* text, const char* task, const char* answer) {
    Prompt prompt;
    prompt.text = text;
    prompt.task = task;
    prompt.answer = answer;
    return ProblemFault(prompt);
  };
  EXPECT_EQ(fault("Q 7 a -3 b *2 ? <think>", "chain", "8"), "");
  EXPECT_EQ(fault("Q 7 a -3 b *2 ?", "chain", " 8"), "");
  EXPECT_EQ(fault("Q x a *4 b +2 ? <think>", "find_x", "7"), "");
  EXPECT_EQ(fault("Q 7 a -3 b *2 ? <think>", "chain", "9"), "its reference answer is not right: 9");
  EXPECT_EQ(fault("Q x a *4 b +2 ? <think>", "chain", "7"),
            "its prompt is no chain problem: Q x a *4 b +2 ? <think>");
  for (const char* text :
       {"", "Q", "Q ?", "Q 7 ?", "7 a -3 ?", "Q 7 a -3", "Q 7 b -3 ?", "Q 7 a -0 ?", "Q 7 a /3 ?",
        "Q 77 a -3 ?", "Q 7 a -3 a -3 ?", "Q 7 a -33 ?", "Q 7 a -3 ? ?", "Q 7 a ?", "\xFF"}) {
    EXPECT_TRUE(fault(text, "chain", "4").starts_with("its prompt is no chain problem")) << text;
  }
  std::string longest = "Q 1";
  for (char c = 'a'; c <= 'z'; ++c) longest += std::string(" ") + c + " +1";
  EXPECT_EQ(fault((longest + " ?").c_str(), "chain", "7"), "");
  EXPECT_TRUE(fault((longest + " { +1 ?").c_str(), "chain", "8").starts_with("its prompt is no chain"));
}

}  // namespace
}  // namespace temper::tiny

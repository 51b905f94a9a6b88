// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/instruction_checks.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/json/json.h"
#include "core/one_of.h"
#include "rewards/completion/words.h"
#include "rewards/text/language.h"
#include "unicode/uchar.h"

namespace temper::instructions {
namespace {

bool Compare(int64_t found, const Arguments& a) { return a.at_least ? found >= a.count : found < a.count; }

// Occurrences of `piece` that do not overlap.
int64_t Count(string_view text, string_view piece) {
  int64_t count = 0;
  for (size_t at = text.find(piece); at != text.npos; at = text.find(piece, at + piece.size())) ++count;
  return count;
}

std::vector<string_view> Split(string_view text, string_view divider) {
  std::vector<string_view> pieces;
  for (size_t at = text.find(divider); at != text.npos; at = text.find(divider)) {
    pieces.push_back(text.substr(0, at));
    text.remove_prefix(at + divider.size());
  }
  pieces.push_back(text);
  return pieces;
}

template <class Each>
void ForEachLine(string_view text, const Each& each) {
  for (const string_view line : Split(text, "\n")) each(line);
}

bool WordCharacterAt(string_view text, size_t at) {
  bool word = false;
  ForEachCharacter(text.substr(at, 4),
                   [&](int32_t c, size_t begin, size_t) { word |= begin == 0 && IsWordCharacter(c); });
  return word;
}
bool WordCharacterBefore(string_view text, size_t at) {
  size_t begin = at;
  while (begin > 0 && at - begin < 4 && (text[--begin] & 0xc0) == 0x80) {
  }
  return begin < at && WordCharacterAt(text, begin);
}

// Whether every letter that has a case is of this case, and there is one.
template <class IsWrongCase>
bool HasCase(string_view text, const IsWrongCase& wrong) {
  bool any = false, all = true;
  ForEachCharacter(text, [&](int32_t c, size_t, size_t) {
    if (c < 0 || (!u_isUUppercase(c) && !u_isULowercase(c) && !u_istitle(c))) return;
    any = true;
    all = all && !wrong(c);
  });
  return any && all;
}
bool IsUpper(string_view text) {
  return HasCase(text, [](int32_t c) { return !u_isUUppercase(c); });
}
bool IsLower(string_view text) {
  return HasCase(text, [](int32_t c) { return !u_isULowercase(c); });
}

// Pieces between dividers, the empty ones at both ends left out; -1: another one is empty.
int64_t CountPieces(const std::vector<string_view>& pieces) {
  int64_t count = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool empty = TrimSpace(pieces[i]).empty();
    if (empty && i > 0 && i + 1 < pieces.size()) return -1;
    count += !empty;
  }
  return count;
}

// *..* and **..** on one line that hold something else than white space and *.
int64_t CountHighlights(string_view line, string_view mark) {
  int64_t count = 0;
  for (size_t at = line.find(mark); at != line.npos; at = line.find(mark, at)) {
    const size_t begin = at + mark.size();
    const size_t end = line.find('*', begin);
    if (end == line.npos) break;
    if (line.substr(end).starts_with(mark)) {
      count += !TrimSpace(line.substr(begin, end - begin)).empty();
      at = end + mark.size();
    } else {
      ++at;
    }
  }
  return count;
}

}  // namespace

bool Keywords(const Arguments& a, string_view text) {
  const std::string folded = FoldCase(text);
  return std::ranges::all_of(
      a.words, [&](const std::string& word) { return folded.find(FoldCase(word)) != folded.npos; });
}

bool Frequency(const Arguments& a, string_view text) {
  return Compare(Count(FoldCase(text), FoldCase(TrimSpace(a.word))), a);
}

bool ForbiddenWords(const Arguments& a, string_view text) {
  const std::string folded = FoldCase(text);
  for (const std::string& forbidden : a.words) {
    const std::string word = FoldCase(forbidden);
    for (size_t at = folded.find(word); at != folded.npos; at = folded.find(word, at + 1)) {
      const size_t end = at + word.size();
      const bool begins = WordCharacterBefore(folded, at) != WordCharacterAt(folded, at);
      const bool ends = WordCharacterBefore(folded, end) != WordCharacterAt(folded, end);
      if (begins && ends) return false;
    }
  }
  return true;
}

bool ResponseLanguage(const Arguments& a, string_view text) { return DetectLanguage(text) == a.word; }

bool Sentences(const Arguments& a, string_view text) {
  int64_t sentences = 0;
  // A line break alone ends none.
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  ForEachSentence(line, [&](size_t begin, size_t end) {
    sentences += !TrimSpace(string_view(line).substr(begin, end - begin)).empty();
  });
  return Compare(sentences, a);
}

bool Paragraphs(const Arguments& a, string_view text) { return CountPieces(Split(text, "***")) == a.count; }

bool Words(const Arguments& a, string_view text) { return Compare(CountWordRuns(text), a); }

bool NthParagraphFirstWord(const Arguments& a, string_view text) {
  const std::vector<string_view> paragraphs = Split(text, "\n\n");
  const int64_t count =
      std::ranges::count_if(paragraphs, [](string_view p) { return !TrimSpace(p).empty(); });
  if (count != a.count || a.nth > static_cast<int64_t>(paragraphs.size()) || a.nth > count) return false;
  string_view word = TrimSpace(paragraphs[a.nth - 1]);
  size_t end = word.size();
  ForEachCharacter(word, [&](int32_t c, size_t begin, size_t) {
    if (c >= 0 && u_isUWhiteSpace(c)) end = std::min(end, begin);
  });
  word = word.substr(0, end);
  while (word.starts_with('\'')) word.remove_prefix(1);
  while (word.starts_with('"')) word.remove_prefix(1);
  word = word.substr(0, word.find_first_of(".,?!'\""));
  return FoldCase(word) == FoldCase(a.word);
}

bool Placeholders(const Arguments& a, string_view text) {
  int64_t count = 0;
  ForEachLine(text, [&](string_view line) {
    for (size_t at = line.find('['); at != line.npos; at = line.find('[', at)) {
      at = line.find(']', at);
      count += at != line.npos;
    }
  });
  return count >= a.count;
}

bool Postscript(const Arguments& a, string_view text) {
  const std::string folded = FoldCase(text);
  // One white space may stand after each point of the two usual markers.
  const auto spaced = [&](string_view marker) {
    for (size_t begin = folded.find(marker[0]); begin != folded.npos;
         begin = folded.find(marker[0], begin + 1)) {
      size_t at = begin, matched = 0;
      for (; matched < marker.size() && at < folded.size(); ++matched, ++at) {
        if (matched > 0 && marker[matched] != '.' && IsOneOf(folded[at], " \n\t\r")) ++at;
        if (at >= folded.size() || folded[at] != marker[matched]) break;
      }
      if (matched == marker.size()) return true;
    }
    return false;
  };
  const std::string_view marker = TrimSpace(a.word);
  if (marker == "P.S.") return spaced("p.s.");
  if (marker == "P.P.S") return spaced("p.p.s");
  return folded.find(FoldCase(marker)) != folded.npos;
}

bool Bullets(const Arguments& a, string_view text) {
  int64_t count = 0;
  ForEachLine(text, [&](string_view line) {
    const string_view trimmed = TrimSpace(line);
    if (!trimmed.empty()) line = line.substr(static_cast<size_t>(trimmed.data() - line.data()));
    count += line.starts_with('-') || (line.size() > 1 && line[0] == '*' && line[1] != '*');
  });
  return count == a.count;
}

bool ConstrainedResponse(const Arguments&, string_view text) {
  return text.find("My answer is yes.") != text.npos || text.find("My answer is no.") != text.npos ||
         text.find("My answer is maybe.") != text.npos;
}

bool Highlights(const Arguments& a, string_view text) {
  int64_t count = 0;
  ForEachLine(text,
              [&](string_view line) { count += CountHighlights(line, "*") + CountHighlights(line, "**"); });
  return count >= a.count;
}

bool Sections(const Arguments& a, string_view text) {
  const string_view mark = TrimSpace(a.word);
  int64_t count = 0;
  for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + mark.size())) {
    // The mark, at most one white space, a digit.
    bool digit = false, ended = false;
    const size_t after = at + mark.size();
    ForEachCharacter(text.substr(after, 8), [&](int32_t c, size_t begin, size_t) {
      if (ended) return;
      ended = begin > 0 || !(c >= 0 && u_isUWhiteSpace(c));
      digit = c >= 0 && u_isdigit(c);
    });
    count += digit;
  }
  return count >= a.count;
}

bool JsonFormat(const Arguments&, string_view text) {
  text = TrimSpace(text);
  for (const string_view fence : {"```json", "```Json", "```JSON", "```"}) {
    if (text.starts_with(fence)) text.remove_prefix(fence.size());
  }
  if (text.ends_with("```")) text.remove_suffix(3);
  return Json::accept(TrimSpace(text));
}

bool Title(const Arguments&, string_view text) {
  bool found = false;
  ForEachLine(text, [&](string_view line) {
    const size_t begin = line.find("<<"), end = line.rfind(">>");
    if (begin == line.npos || end == line.npos || end < begin + 3) return;
    string_view title = line.substr(begin, end - begin);
    while (title.starts_with('<')) title.remove_prefix(1);
    while (title.ends_with('>')) title.remove_suffix(1);
    found |= !TrimSpace(title).empty();
  });
  return found;
}

bool TwoResponses(const Arguments&, string_view text) {
  const std::vector<string_view> pieces = Split(text, "******");
  if (CountPieces(pieces) != 2) return false;
  std::vector<string_view> responses;
  for (const string_view piece : pieces) {
    if (!TrimSpace(piece).empty()) responses.push_back(TrimSpace(piece));
  }
  return responses[0] != responses[1];
}

bool RepeatPrompt(const Arguments& a, string_view text) {
  return FoldCase(TrimSpace(text)).starts_with(FoldCase(TrimSpace(a.word)));
}

bool EndPhrase(const Arguments& a, string_view text) {
  text = TrimSpace(text);
  while (text.starts_with('"')) text.remove_prefix(1);
  while (text.ends_with('"')) text.remove_suffix(1);
  return FoldCase(text).ends_with(FoldCase(TrimSpace(a.word)));
}

bool Quotation(const Arguments&, string_view text) {
  text = TrimSpace(text);
  return text.size() > 1 && text.front() == '"' && text.back() == '"';
}

// Words as the Penn Treebank splits them, but for contractions: punctuation ends a word, hyphens, points and
// apostrophes inside do not.
bool CapitalWords(const Arguments& a, string_view text) {
  int64_t count = 0;
  size_t begin = 0;
  const auto end_word = [&](size_t end) { count += end > begin && IsUpper(text.substr(begin, end - begin)); };
  ForEachCharacter(text, [&](int32_t c, size_t at, size_t end) {
    const bool ends =
        c < 0 || u_isUWhiteSpace(c) ||
        (c < 0x80 && string_view(",;:?!()[]{}<>\"@#$%&*").find(static_cast<char>(c)) != string_view::npos);
    if (!ends) return;
    end_word(at);
    begin = end;
  });
  end_word(text.size());
  return Compare(count, a);
}

// English unless it is known to be another language: the case says the rest.
static bool EnglishOrUnknown(string_view text) {
  const std::string language = DetectLanguage(text);
  return language.empty() || language == "en";
}
bool EnglishCapital(const Arguments&, string_view text) { return IsUpper(text) && EnglishOrUnknown(text); }
bool EnglishLowercase(const Arguments&, string_view text) { return IsLower(text) && EnglishOrUnknown(text); }

bool NoComma(const Arguments&, string_view text) { return text.find(',') == text.npos; }

}  // namespace temper::instructions

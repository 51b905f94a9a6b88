// SPDX-License-Identifier: Apache-2.0
#include "rewards/completion/tags.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "rewards/rule.h"

namespace temper {

std::string_view TrimLeft(std::string_view text) {
  while (!text.empty() && absl::ascii_isspace(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view Trim(std::string_view text) {
  text = TrimLeft(text);
  while (!text.empty() && absl::ascii_isspace(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view TakePart(std::string_view* text, char mark) {
  const std::string_view part = text->substr(0, text->find(mark));
  text->remove_prefix(std::min(text->size(), part.size() + 1));
  return part;
}

std::string_view LastLine(std::string_view text) {
  text = Trim(text);
  const size_t at = text.rfind('\n');
  return at == text.npos ? text : Trim(text.substr(at + 1));
}

int CountTag(std::string_view text, std::string_view tag) {
  int count = 0;
  for (size_t at = text.find(tag); at != text.npos && count < 2; at = text.find(tag, at + tag.size()))
    ++count;
  return count;
}

Sections SplitThinking(std::string_view text) {
  constexpr std::string_view kEnd = "</think>";
  const size_t end = text.find(kEnd);
  if (end == text.npos) return {text, {}, false};
  return {
      .thinking = text.substr(0, end), .rest = text.substr(end + kEnd.size()), .has_end_of_thinking = true};
}

TaggedAnswer AnswerInTags(std::string_view text, StopReason stop) {
  const auto no_answer = [](const char* why) { return TaggedAnswer{VerdictKind::kNoAnswer, "", why}; };
  const auto malformed = [](const char* why) { return TaggedAnswer{VerdictKind::kMalformed, "", why}; };
  const bool cut = stop == StopReason::kLength;
  if (text.find("</think>") == text.npos) {
    if (text.find("<answer>") != text.npos) return malformed("<answer> without </think>");
    return no_answer(cut ? "cut by length in the thinking" : "no </think>");
  }
  if (CountTag(text, "</think>") > 1) return malformed("two </think>");
  const std::string_view rest = SplitThinking(text).rest;
  if (CountTag(rest, "<answer>") > 1) return malformed("two <answer>");
  if (CountTag(rest, "</answer>") > 1) return malformed("two </answer>");
  const size_t begin = rest.find("<answer>");
  const size_t end = rest.find("</answer>");
  if (begin == rest.npos) {
    if (end != rest.npos) return malformed("</answer> without <answer>");
    return no_answer(cut ? "cut by length before <answer>" : "no <answer> after </think>");
  }
  if (end == rest.npos) return cut ? no_answer("cut by length in <answer>") : malformed("no </answer>");
  if (end < begin) return malformed("</answer> before <answer>");
  const std::string_view answer = Trim(rest.substr(begin + 8, end - begin - 8));
  if (answer.empty()) return no_answer("nothing in <answer>");
  return {VerdictKind::kCorrect, answer, ""};
}

bool BeginsToThink(const Completion& completion) {
  const std::string_view text = completion.text;
  return Trim(completion.prompt->text).ends_with("<think>") || text.find("<think>") != text.npos ||
         text.find("</think>") != text.npos;
}

AnswerPlace FindAnswerPlace(const Completion& completion) {
  if (completion.raw) return {.text = completion.text, .reason = {}};
  const auto none = [](VerdictKind kind, const char* why) {
    return AnswerPlace{.kind = kind, .text = {}, .reason = why};
  };
  const Sections sections = SplitThinking(completion.text);
  if (!sections.has_end_of_thinking && BeginsToThink(completion))
    return none(VerdictKind::kNoAnswer, "the thinking does not end");
  const std::string_view rest = sections.has_end_of_thinking ? sections.rest : completion.text;
  const int opening = CountTag(rest, "<answer>"), closing = CountTag(rest, "</answer>");
  if (opening == 0 && closing == 0) return {.text = rest, .reason = {}};
  const size_t begin = rest.find("<answer>"), end = rest.find("</answer>");
  if (opening != 1 || closing != 1 || begin > end)
    return none(VerdictKind::kMalformed, "is not one <answer>..</answer>");
  return {.text = Trim(rest.substr(begin + 8, end - begin - 8)), .reason = {}, .closed = true};
}

std::string_view AnswerText(const Completion& completion) {
  if (completion.raw) return completion.text;
  const std::string_view text = completion.text;
  const std::string_view rest = BeginsToThink(completion) ? SplitThinking(text).rest : text;
  const TaggedAnswer tagged = AnswerInTags(text, completion.stop);
  return tagged.kind == VerdictKind::kCorrect ? tagged.answer : rest;
}

size_t BehindLast(std::string_view text, std::initializer_list<std::string_view> words) {
  size_t behind = text.npos;
  for (const std::string_view word : words) {
    const size_t at = text.rfind(word);
    if (at != text.npos && (behind == text.npos || at + word.size() > behind)) behind = at + word.size();
  }
  return behind;
}

}  // namespace temper

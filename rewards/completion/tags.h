// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "data/trajectory.h"

namespace temper {

struct Completion;  // rewards/rule.h

// A completion cut at its tags, leniently: parts that are not there are empty.
struct Sections {
  std::string_view thinking;  // before the first </think> (all of it where there is none)
  std::string_view rest;      // after the first </think>; empty where there is none
  bool has_end_of_thinking = false;
};
Sections SplitThinking(std::string_view text);

// What stands between <answer> and </answer> after the thinking.
struct TaggedAnswer {
  VerdictKind kind = VerdictKind::kNoAnswer;  // kCorrect: found; else no_answer or malformed, and why
  std::string_view answer;                    // without white space around it
  std::string reason;
};

// The answer of a completion that has exactly one </think>, then exactly one <answer>..</answer>; what else
// the text holds is for rule format to say.
TaggedAnswer AnswerInTags(std::string_view text, StopReason stop);

// Whether it thinks: the prompt ends in <think>, or it has one of the two tags.
bool BeginsToThink(const Completion& completion);

// Where rules that read any text (math, code) look for the answer: all of a raw completion, and of one that
// never began to think; else what follows the thinking, nothing where that has no end. Of that what is inside
// the one <answer>..</answer>, where it has such a tag.
struct AnswerPlace {
  VerdictKind kind = VerdictKind::kCorrect;  // else no_answer or malformed, and why
  std::string_view text;
  std::string reason;
  bool closed = false;  // between tags
};
AnswerPlace FindAnswerPlace(const Completion& completion);

// What a completion says to its reader: all of a raw one, and of one without any thinking (the prompt does
// not end in <think>, and it has neither tag); else what follows the thinking, nothing where that has no end.
// Of that what is inside <answer>..</answer> where both tags are there once.
std::string_view AnswerText(const Completion& completion);

// How often `tag` occurs, counted up to 2.
int CountTag(std::string_view text, std::string_view tag);

// Without ASCII white space at the start, at both ends.
std::string_view TrimLeft(std::string_view text);
std::string_view Trim(std::string_view text);
// Takes what stands before the first `mark` off the text, or all of it, and the mark.
std::string_view TakePart(std::string_view* text, char mark);
std::string_view LastLine(std::string_view text);  // the last with more than space in it, trimmed
// Where the text behind the last of these begins; npos: none of them is there.
size_t BehindLast(std::string_view text, std::initializer_list<std::string_view> words);

}  // namespace temper

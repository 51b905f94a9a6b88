// SPDX-License-Identifier: Apache-2.0
// One function for each kind of instruction (rewards/text/instruction_kinds.cc has their names and
// arguments): whether an answer follows it. The kinds are those of IFEval's reference checker (arXiv
// 2311.07911); where a text must be understood (words, sentences, languages) ICU and CLD2 do it, and keywords
// are text, not patterns. Time is linear in the answer times the words that are looked for. docs/rewards.md
// has the differences.
#pragma once

#include <string_view>

#include "rewards/text/instruction_kinds.h"

namespace temper::instructions {

using Arguments = InstructionArguments;
using std::string_view;

bool Keywords(const Arguments& a, string_view text);
bool KeywordFrequency(const Arguments& a, string_view text);
bool ForbiddenWords(const Arguments& a, string_view text);
bool LetterFrequency(const Arguments& a, string_view text);
bool ResponseLanguage(const Arguments& a, string_view text);
bool Sentences(const Arguments& a, string_view text);
bool Paragraphs(const Arguments& a, string_view text);
bool Words(const Arguments& a, string_view text);
bool NthParagraphFirstWord(const Arguments& a, string_view text);
bool Placeholders(const Arguments& a, string_view text);
bool Postscript(const Arguments& a, string_view text);
bool Bullets(const Arguments& a, string_view text);
bool ConstrainedResponse(const Arguments& a, string_view text);
bool Highlights(const Arguments& a, string_view text);
bool Sections(const Arguments& a, string_view text);
bool JsonFormat(const Arguments& a, string_view text);
bool Title(const Arguments& a, string_view text);
bool TwoResponses(const Arguments& a, string_view text);
bool RepeatPrompt(const Arguments& a, string_view text);
bool EndPhrase(const Arguments& a, string_view text);
bool Quotation(const Arguments& a, string_view text);
bool CapitalWords(const Arguments& a, string_view text);
bool EnglishCapital(const Arguments& a, string_view text);
bool EnglishLowercase(const Arguments& a, string_view text);
bool NoComma(const Arguments& a, string_view text);

}  // namespace temper::instructions

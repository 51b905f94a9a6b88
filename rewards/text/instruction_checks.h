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

using Check = bool(const Arguments& a, string_view text);
Check Keywords, Frequency, ForbiddenWords, ResponseLanguage, Sentences, Paragraphs, Words,
    NthParagraphFirstWord, Placeholders, Postscript, Bullets, ConstrainedResponse, Highlights, Sections,
    JsonFormat, Title, TwoResponses, RepeatPrompt, EndPhrase, Quotation, CapitalWords, EnglishCapital,
    EnglishLowercase, NoComma;

}  // namespace temper::instructions

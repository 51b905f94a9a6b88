// SPDX-License-Identifier: Apache-2.0
// The kinds are those of IFEval's reference checker; where a text is read (words, sentences, languages) we
// read it with ICU and CLD2, and keywords are text, not patterns. docs/rewards.md has the differences.
#include "rewards/text/instruction_kinds.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/completion/words.h"
#include "rewards/text/instruction_checks.h"

namespace temper {

// A kind, and the keys of kwargs that fill its arguments; null: it has no such argument.
struct InstructionKind {
  const char* id;
  bool (*follows)(const InstructionArguments&, std::string_view);
  struct Keys {
    const char* words = nullptr;
    const char* word = nullptr;
    const char* count = nullptr;
    const char* relation = nullptr;
    const char* nth = nullptr;
  } keys = {};
};

namespace {

constexpr InstructionKind kKinds[] = {
    {"keywords:existence", instructions::Keywords, {.words = "keywords"}},
    {"keywords:frequency",
     instructions::Frequency,
     {.word = "keyword", .count = "frequency", .relation = "relation"}},
    {"keywords:forbidden_words", instructions::ForbiddenWords, {.words = "forbidden_words"}},
    {"keywords:letter_frequency",
     instructions::Frequency,
     {.word = "letter", .count = "let_frequency", .relation = "let_relation"}},
    {"language:response_language", instructions::ResponseLanguage, {.word = "language"}},
    {"length_constraints:number_sentences",
     instructions::Sentences,
     {.count = "num_sentences", .relation = "relation"}},
    {"length_constraints:number_paragraphs", instructions::Paragraphs, {.count = "num_paragraphs"}},
    {"length_constraints:number_words", instructions::Words, {.count = "num_words", .relation = "relation"}},
    {"length_constraints:nth_paragraph_first_word",
     instructions::NthParagraphFirstWord,
     {.word = "first_word", .count = "num_paragraphs", .nth = "nth_paragraph"}},
    {"detectable_content:number_placeholders", instructions::Placeholders, {.count = "num_placeholders"}},
    {"detectable_content:postscript", instructions::Postscript, {.word = "postscript_marker"}},
    {"detectable_format:number_bullet_lists", instructions::Bullets, {.count = "num_bullets"}},
    {"detectable_format:constrained_response", instructions::ConstrainedResponse},
    {"detectable_format:number_highlighted_sections", instructions::Highlights, {.count = "num_highlights"}},
    {"detectable_format:multiple_sections",
     instructions::Sections,
     {.word = "section_spliter", .count = "num_sections"}},
    {"detectable_format:json_format", instructions::JsonFormat},
    {"detectable_format:title", instructions::Title},
    {"combination:two_responses", instructions::TwoResponses},
    {"combination:repeat_prompt", instructions::RepeatPrompt, {.word = "prompt_to_repeat"}},
    {"startend:end_checker", instructions::EndPhrase, {.word = "end_phrase"}},
    {"startend:quotation", instructions::Quotation},
    {"change_case:capital_word_frequency",
     instructions::CapitalWords,
     {.count = "capital_frequency", .relation = "capital_relation"}},
    {"change_case:english_capital", instructions::EnglishCapital},
    {"change_case:english_lowercase", instructions::EnglishLowercase},
    {"punctuation:no_comma", instructions::NoComma},
};

absl::Status ReadWords(const Json& kwargs, const char* key, const std::string& name,
                       std::vector<std::string>* words) {
  const Json* list = Find(kwargs, key);
  bool good = list != nullptr && list->is_array() && !list->empty();
  if (good) {
    for (const Json& word : *list) {
      good &= word.is_string() && !word.get_ref<const std::string&>().empty();
      if (good) words->push_back(word.get<std::string>());
    }
  }
  return good ? absl::OkStatus()
              : absl::InvalidArgumentError(absl::StrCat(name, " needs `", key, "`, a list of words"));
}

absl::StatusOr<InstructionArguments> ReadArguments(const InstructionKind& kind, const Json& kwargs,
                                                   const std::string& name) {
  const InstructionKind::Keys& keys = kind.keys;
  InstructionArguments a;
  if (keys.words != nullptr) TEMPER_RETURN_IF_ERROR(ReadWords(kwargs, keys.words, name, &a.words));
  if (keys.word != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(a.word, GetString(kwargs, keys.word, name));
    if (TrimSpace(a.word).empty())
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", keys.word, " is empty"));
  }
  if (keys.count != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const double count, GetDouble(kwargs, keys.count, name));  // pandas writes 3.0
    a.count = count >= 0 && count <= 1e9 ? static_cast<int64_t>(count) : -1;
    if (static_cast<double>(a.count) != count)
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", keys.count, " is no whole number from 0"));
  }
  if (keys.relation != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const std::string relation, GetString(kwargs, keys.relation, name));
    a.at_least = relation == "at least";
    if (!a.at_least && relation != "less than") {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": ", keys.relation, " is `at least` or `less than`, not ", Printable(relation, 40)));
    }
  }
  if (keys.nth != nullptr) {
    TEMPER_ASSIGN_OR_RETURN(const double nth, GetDouble(kwargs, keys.nth, name));
    if (!(nth >= 1 && nth <= 1e9))
      return absl::InvalidArgumentError(absl::StrCat(name, ": ", keys.nth, " is less than 1"));
    a.nth = static_cast<int64_t>(nth);
  }
  return a;
}

}  // namespace

const char* Instruction::id() const { return kind->id; }
bool Instruction::Followed(std::string_view answer) const { return kind->follows(arguments, answer); }

std::vector<std::string> InstructionIds() {
  std::vector<std::string> ids;
  for (const InstructionKind& kind : kKinds) ids.push_back(kind.id);
  return ids;
}

absl::StatusOr<std::vector<Instruction>> ReadInstructions(const Json& row) {
  const Json* ids = Find(row, "instruction_id_list");
  if (ids == nullptr || !ids->is_array() || ids->empty())
    return absl::InvalidArgumentError("has no `instruction_id_list`, a list of names");
  const Json* kwargs = Find(row, "kwargs");
  if (kwargs == nullptr || !kwargs->is_array() || kwargs->size() != ids->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("has no `kwargs`, a list of ", ids->size(), " objects, one for each instruction"));
  }
  std::vector<Instruction> instructions;
  for (size_t i = 0; i < ids->size(); ++i) {
    const std::string id = (*ids)[i].is_string() ? (*ids)[i].get<std::string>() : DumpJson((*ids)[i]);
    const auto* kind = std::ranges::find_if(kKinds, [&](const InstructionKind& k) { return k.id == id; });
    if (kind == std::end(kKinds)) {
      const std::string nearest = Nearest(id, InstructionIds());
      return absl::InvalidArgumentError(
          absl::StrCat("there is no instruction ", Printable(id, 80),
                       nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)")));
    }
    TEMPER_ASSIGN_OR_RETURN(InstructionArguments arguments, ReadArguments(*kind, (*kwargs)[i], id));
    instructions.push_back({kind, std::move(arguments)});
  }
  return instructions;
}

}  // namespace temper

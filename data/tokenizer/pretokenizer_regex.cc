// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/pretokenizer_regex.h"

#include <algorithm>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"

#define ONIG_ESCAPE_UCHAR_COLLISION  // no macro UChar: ICU has a type of that name
#include "oniguruma.h"

namespace temper {
namespace {

constexpr size_t kPatternLimit = 1 << 16;
constexpr unsigned long kRetriesInMatch = 10'000'000;  // what the `tokenizers` package has
constexpr unsigned long kRetriesPerByte = 100;
constexpr unsigned kStackLimit = 8'000'000;  // entries, some 40 bytes each

const OnigUChar* Bytes(const char* text) { return reinterpret_cast<const OnigUChar*>(text); }

std::string OnigMessage(int code, OnigErrorInfo* info) {
  OnigUChar buffer[ONIG_MAX_ERROR_MESSAGE_LEN];
  const int length =
      info == nullptr ? onig_error_code_to_str(buffer, code) : onig_error_code_to_str(buffer, code, info);
  return Printable(std::string_view(reinterpret_cast<char*>(buffer), std::max(length, 0)));
}

}  // namespace

Regex::Scratch::Scratch(size_t text_size) : region_(onig_region_new()), limits_(onig_new_match_param()) {
  TEMPER_CHECK(region_ != nullptr && limits_ != nullptr, "out of memory");
  onig_initialize_match_param(limits_);
  onig_set_match_stack_limit_size_of_match_param(limits_, kStackLimit);
  onig_set_retry_limit_in_match_of_match_param(limits_, kRetriesInMatch);
  onig_set_retry_limit_in_search_of_match_param(limits_, kRetriesInMatch + kRetriesPerByte * text_size);
}

Regex::Scratch::~Scratch() {
  onig_region_free(region_, 1);
  onig_free_match_param(limits_);
}

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern, std::string where) {
  static std::mutex mutex;  // Oniguruma keeps tables of its own while it compiles
  const std::lock_guard lock(mutex);
  static const int initialized = [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    return onig_initialize(encodings, 1);
  }();
  TEMPER_CHECK(initialized == ONIG_NORMAL, "Oniguruma does not start: ", OnigMessage(initialized, nullptr));
  if (pattern.size() > kPatternLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": a regular expression of ", pattern.size(), " bytes; at most ", kPatternLimit));
  }
  regex_t* regex = nullptr;
  OnigErrorInfo info;
  const int code = onig_new(&regex, Bytes(pattern.data()), Bytes(pattern.data() + pattern.size()),
                            ONIG_OPTION_NONE, ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &info);
  if (code != ONIG_NORMAL) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": no regular expression: ", OnigMessage(code, &info)));
  }
  return std::unique_ptr<Regex>(new Regex(regex, std::move(where)));
}

Regex::~Regex() { onig_free(regex_); }

absl::Status Regex::FindAll(std::string_view text, Scratch& scratch, std::vector<Range>& matches) const {
  const OnigUChar* const begin = Bytes(text.data());
  const OnigUChar* const end = begin + text.size();
  size_t last = std::string_view::npos;  // where the last match ended
  for (size_t at = 0; at <= text.size();) {
    const int found = onig_search_with_param(regex_, begin, end, begin + at, end, scratch.region_,
                                             ONIG_OPTION_NONE, scratch.limits_);
    if (found == ONIG_MISMATCH) break;
    if (found < 0) {
      return absl::InvalidArgumentError(absl::StrCat(where_, ": fails on a text of ", text.size(),
                                                     " bytes: ", OnigMessage(found, nullptr)));
    }
    const Range match = {static_cast<size_t>(scratch.region_->beg[0]),
                         static_cast<size_t>(scratch.region_->end[0])};
    if (match.begin == match.end && match.begin == last) {
      at += std::max(1, Utf8Length(text.substr(at, 4)));
      continue;
    }
    matches.push_back(match);
    at = last = match.end;
  }
  return absl::OkStatus();
}

}  // namespace temper

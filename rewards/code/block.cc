// SPDX-License-Identifier: Apache-2.0
#include "rewards/code/block.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

struct Fence {
  char mark = 0;
  size_t length = 0;
  size_t indent = 0;
  std::string_view info;  // what follows the marks
};

// The fence that a line is, opening or closing.
std::optional<Fence> ReadFence(std::string_view line) {
  Fence fence;
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == line.npos || (line[begin] != '`' && line[begin] != '~')) return std::nullopt;
  fence.mark = line[begin];
  fence.indent = begin;
  fence.length = std::min(line.find_first_not_of(fence.mark, begin), line.size()) - begin;
  fence.info = Trim(line.substr(begin + fence.length));
  if (fence.length < 3) return std::nullopt;
  if (fence.mark == '`' && fence.info.find('`') != fence.info.npos)
    return std::nullopt;  // code within a line
  return fence;
}

std::string_view WithoutIndent(std::string_view line, size_t most) {
  while (most > 0 && !line.empty() && (line.front() == ' ' || line.front() == '\t')) {
    line.remove_prefix(1);
    --most;
  }
  return line;
}

bool IsLabel(std::string_view info, bool cpp) {
  const std::string label = absl::AsciiStrToLower(std::string(info.substr(0, info.find_first_of(" \t{,:"))));
  if (cpp) return IsOneOf(label, {"cpp", "c++", "cc", "cxx"});
  return IsOneOf(label, {"python", "py", "python3"});
}

struct Blocks {
  std::optional<std::string> labelled, plain;  // the last closed ones
  bool any_fence = false, open_at_end = false, other_label = false;
};

Blocks ReadBlocks(std::string_view text, bool cpp) {
  Blocks blocks;
  std::optional<Fence> open;
  std::string code;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::optional<Fence> fence = ReadFence(line);
    if (!open) {
      if (!fence) continue;
      blocks.any_fence = true;
      open = fence;
      code.clear();
    } else if (fence && fence->mark == open->mark && fence->length >= open->length && fence->info.empty()) {
      if (IsLabel(open->info, cpp)) {
        blocks.labelled = code;
      } else if (open->info.empty()) {
        blocks.plain = code;
      } else {
        blocks.other_label = true;
      }
      open.reset();
    } else {
      absl::StrAppend(&code, std::string(WithoutIndent(line, open->indent)), "\n");
    }
  }
  blocks.open_at_end = open.has_value();
  return blocks;
}

}  // namespace

CodeBlock FindCode(const Completion& completion, bool cpp) {
  const bool cut = completion.stop == StopReason::kLength;
  if (!completion.raw && CountTag(completion.text, "</think>") > 1)
    return {VerdictKind::kMalformed, "", "two </think>"};
  const AnswerPlace place = FindAnswerPlace(completion);
  if (place.kind != VerdictKind::kCorrect) return {place.kind, "", place.reason};
  const std::string_view text = place.text;
  const Blocks blocks = ReadBlocks(text, cpp);
  CodeBlock found{VerdictKind::kCorrect, "", ""};
  if (blocks.labelled) {
    found.code = *blocks.labelled;
  } else if (blocks.plain) {
    found.code = *blocks.plain;
  } else if (completion.raw && !blocks.any_fence) {
    found.code = std::string(text);
  } else {
    const char* why = cut && blocks.open_at_end ? "cut by length in the code block"
                      : blocks.open_at_end      ? "the code block is not closed"
                      : blocks.other_label      ? "no code block of the task's language"
                                                : "no code block";
    return {VerdictKind::kNoAnswer, "", why};
  }
  if (Trim(found.code).empty()) return {VerdictKind::kNoAnswer, "", "the code block is empty"};
  if (found.code.size() > kMaxCodeBytes) {
    return {VerdictKind::kMalformed, "", absl::StrCat("a program of more than ", kMaxCodeBytes, " bytes")};
  }
  return found;
}

}  // namespace temper

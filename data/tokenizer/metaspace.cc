// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/metaspace.h"

#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {

absl::StatusOr<Metaspace> Metaspace::Parse(const JsonNode& node) {
  Metaspace metaspace;
  TEMPER_ASSIGN_OR_RETURN(metaspace.replacement, node.GetCharacter("replacement"));
  if (node.Find("prepend_scheme").has_value()) {
    TEMPER_ASSIGN_OR_RETURN(const std::string_view scheme, node.GetString("prepend_scheme"));
    if (scheme == "first") {
      metaspace.prepend = Prepend::kFirst;
    } else if (scheme == "never") {
      metaspace.prepend = Prepend::kNever;
    } else if (scheme != "always") {
      return node.MemberError("prepend_scheme", absl::StrCat("unknown scheme ", Printable(scheme),
                                                             "; always, first and never are known"));
    }
  }
  TEMPER_ASSIGN_OR_RETURN(const bool add_prefix_space, node.GetBool("add_prefix_space", true));
  if (!add_prefix_space && metaspace.prepend != Prepend::kNever) {
    return node.MemberError("add_prefix_space", "false needs the prepend_scheme never");
  }
  TEMPER_ASSIGN_OR_RETURN(metaspace.split, node.GetBool("split", true));
  return metaspace;
}

}  // namespace temper

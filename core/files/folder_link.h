// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace temper {

// The file that `name` of the folder is a link to, where that is outside of the folder; else empty. A model
// directory that somebody made may have links to any file of the one who copies it (LICENSE ->
// ~/.ssh/id_rsa), and copies are given away. The hub's cache counts as inside: snapshots/REVISION/NAME ->
// ../../blobs/HASH.
std::string OutsideTarget(const std::string& folder, const std::string& name);

}  // namespace temper

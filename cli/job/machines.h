// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace temper {

// The machines that a run may be started on, of which it needs some: those that were blamed last are left
// out, as many as there are beside the needed ones.
class Machines {
 public:
  Machines() = default;
  // `hosts`: HOST or HOST:SLOTS; `needed`: 0, or more than there are: all.
  Machines(std::vector<std::string> hosts, size_t needed) : hosts_(std::move(hosts)), needed_(needed) {}

  // Other machines than before; what those of the same names were blamed for stays.
  void Become(std::vector<std::string> hosts) { hosts_ = std::move(hosts); }
  // The next start is on these, in the order in which they were given.
  std::vector<std::string> Chosen() const;
  // Those that were blamed and are not among them, without slots, the latest last.
  std::vector<std::string> LeftOut() const;

  // Those of the names that are none of them.
  std::vector<std::string> Unknown(const std::vector<std::string>& names) const;

  // The start on the chosen ones has begun: all of them can be reached.
  void Began();
  // They were named as bad, the likeliest first; a name with or without its domain.
  void Blame(const std::vector<std::string>& names);
  // They may be bad, the likeliest first: left out where that brings back none that was blamed, nor one that
  // was suspected later.
  void Suspect(const std::vector<std::string>& names);
  // The start on the chosen ones has not begun, and nobody knows why: that one of them is blamed which was in
  // the most of such starts in a row, where to have been named as bad counts as one; of equals who was blamed
  // last, else who is first.
  void BlameOne();

 private:
  // In the order in which they get another chance.
  std::vector<std::string> Bad() const;
  void Forget(const std::string& name);
  void LeaveOut(const std::string& name);

  std::vector<std::string> hosts_;
  size_t needed_ = 0;
  std::vector<std::string>
      suspected_;  // and neither blamed nor known to work since; without slots, the latest last
  std::vector<std::string> blamed_;     // and not known to work since; the same
  std::map<std::string, int> in_vain_;  // in how many starts that did not begin, as BlameOne counts
};

}  // namespace temper

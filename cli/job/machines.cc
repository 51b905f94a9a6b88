// SPDX-License-Identifier: Apache-2.0
#include "cli/job/machines.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace temper {
namespace {

std::string NameOf(const std::string& with_slots) { return with_slots.substr(0, with_slots.find(':')); }

bool Has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsSame(const std::string& a, const std::string& b) {
  return a == b || absl::StartsWith(a, absl::StrCat(b, ".")) || absl::StartsWith(b, absl::StrCat(a, "."));
}

}  // namespace

// Where too few are left, those that were blamed first get another chance.
std::vector<std::string> Machines::Chosen() const {
  const size_t needed = needed_ == 0 ? hosts_.size() : std::min(needed_, hosts_.size());
  std::vector<std::string> out = blamed_, chosen;
  for (;; out.erase(out.begin())) {
    chosen.clear();
    for (const std::string& host : hosts_)
      if (chosen.size() < needed && !Has(out, NameOf(host))) chosen.push_back(host);
    if (chosen.size() == needed) return chosen;
  }
}

std::vector<std::string> Machines::LeftOut() const {
  std::vector<std::string> chosen, others;
  for (const std::string& host : Chosen()) chosen.push_back(NameOf(host));
  for (const std::string& host : hosts_)
    if (!Has(chosen, NameOf(host))) others.push_back(NameOf(host));
  std::vector<std::string> out;
  for (const std::string& name : blamed_)
    if (Has(others, name)) out.push_back(name);
  return out;
}

void Machines::Began() {
  for (const std::string& host : Chosen())
    blamed_.erase(std::remove(blamed_.begin(), blamed_.end(), NameOf(host)), blamed_.end());
  in_series_.clear();
}

void Machines::Blame(const std::vector<std::string>& names) {
  for (auto name = names.rbegin(); name != names.rend(); ++name)
    for (const std::string& host : hosts_)
      if (IsSame(NameOf(host), *name)) LeaveOut(NameOf(host));
}

void Machines::Suspect(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    for (const std::string& host : hosts_)
      if (IsSame(NameOf(host), name) && !Has(blamed_, NameOf(host)))
        blamed_.insert(blamed_.begin(), NameOf(host));
}

void Machines::BlameOne() {
  const std::vector<std::string> chosen = Chosen();
  if (chosen.size() == hosts_.size()) return;
  std::vector<std::string> possible;
  for (const std::string& host : chosen)
    if (!Has(in_series_, NameOf(host))) possible.push_back(NameOf(host));
  if (possible.empty()) {
    in_series_.clear();
    return BlameOne();
  }
  std::string name = possible[0];
  for (const std::string& one : blamed_)
    if (Has(possible, one)) name = one;
  in_series_.push_back(name);
  LeaveOut(name);
}

void Machines::LeaveOut(const std::string& name) {
  blamed_.erase(std::remove(blamed_.begin(), blamed_.end(), name), blamed_.end());
  blamed_.push_back(name);
}

}  // namespace temper

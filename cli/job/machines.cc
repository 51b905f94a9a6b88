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

// Where too few are left, those that were suspected first get another chance, then those that were blamed
// first.
std::vector<std::string> Machines::Chosen() const {
  const size_t needed = needed_ == 0 ? hosts_.size() : std::min(needed_, hosts_.size());
  std::vector<std::string> out = Bad(), chosen;
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
  for (const std::string& name : Bad())
    if (Has(others, name)) out.push_back(name);
  return out;
}

std::vector<std::string> Machines::Unknown(const std::vector<std::string>& names) const {
  std::vector<std::string> unknown;
  for (const std::string& name : names)
    if (std::none_of(hosts_.begin(), hosts_.end(),
                     [&](const std::string& host) { return IsSame(NameOf(host), name); }))
      unknown.push_back(name);
  return unknown;
}

void Machines::Began() {
  for (const std::string& host : Chosen()) {
    Forget(NameOf(host));
    in_vain_.erase(NameOf(host));
  }
  for (auto& [name, starts] : in_vain_) starts = 1;
}

void Machines::Blame(const std::vector<std::string>& names) {
  for (auto name = names.rbegin(); name != names.rend(); ++name)
    for (const std::string& host : hosts_)
      if (IsSame(NameOf(host), *name)) {
        LeaveOut(NameOf(host));
        ++in_vain_[NameOf(host)];
      }
}

void Machines::Suspect(const std::vector<std::string>& names) {
  for (auto name = names.rbegin(); name != names.rend(); ++name)
    for (const std::string& host : hosts_) {
      if (!IsSame(NameOf(host), *name) || Has(blamed_, NameOf(host))) continue;
      Forget(NameOf(host));
      suspected_.push_back(NameOf(host));
    }
}

void Machines::BlameOne() {
  const std::vector<std::string> chosen = Chosen();
  if (chosen.size() == hosts_.size()) return;
  int most = 0;
  for (const std::string& host : chosen) most = std::max(most, ++in_vain_[NameOf(host)]);
  std::vector<std::string> likely;
  for (const std::string& host : chosen)
    if (in_vain_[NameOf(host)] == most) likely.push_back(NameOf(host));
  std::string name = likely[0];
  for (const std::string& one : Bad())
    if (Has(likely, one)) name = one;
  LeaveOut(name);
}

std::vector<std::string> Machines::Bad() const {
  std::vector<std::string> bad = suspected_;
  bad.insert(bad.end(), blamed_.begin(), blamed_.end());
  return bad;
}

void Machines::Forget(const std::string& name) {
  for (std::vector<std::string>* names : {&suspected_, &blamed_})
    names->erase(std::remove(names->begin(), names->end(), name), names->end());
}

void Machines::LeaveOut(const std::string& name) {
  Forget(name);
  blamed_.push_back(name);
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "comm/lookout.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr size_t kNamed = 4;  // of the ranks that wait
constexpr size_t kShown = 8;  // of all
constexpr int kMostRanks = 1 << 20;
// Before ranks in a ring are all blamed: others may still find out whom they do not hear.
constexpr absl::Duration kForOthers = absl::Seconds(5);
constexpr absl::Duration kLately =
    absl::Seconds(20);  // a lease of NFS 4 lasts for 90 s, with some servers for 30

// "63 s".
std::string Seconds(absl::Duration time) {
  return absl::StrCat(absl::ToInt64Seconds(absl::Ceil(time, absl::Seconds(1))), " s");
}

// "0-15,32": ranks of one machine mostly follow each other.
std::string RangesText(const std::vector<int>& rising) {
  std::string text;
  for (size_t i = 0, end = 0; i < rising.size(); i = end) {
    for (end = i + 1; end < rising.size() && rising[end] == rising[end - 1] + 1;) ++end;
    absl::StrAppend(&text, text.empty() ? "" : ",", rising[i]);
    if (end > i + 1) absl::StrAppend(&text, "-", rising[end - 1]);
  }
  return text;
}

absl::StatusOr<std::vector<int>> ParseRanges(const std::string& text, const std::string& name) {
  std::vector<int> rising;
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, '-');
    int first = 0, last = 0;
    const bool good = ends.size() <= 2 && absl::SimpleAtoi(ends.front(), &first) &&
                      absl::SimpleAtoi(ends.back(), &last) && first > (rising.empty() ? -1 : rising.back()) &&
                      last >= first && last < kMostRanks;
    if (!good) return absl::InvalidArgumentError(absl::StrCat(name, ": unheard: names no ranks"));
    for (int rank = first; rank <= last; ++rank) rising.push_back(rank);
  }
  return rising;
}

}  // namespace

std::string SightingText(const Sighting& s) {
  return DumpJson({{"start", s.start},
                   {"rank", s.rank},
                   {"host", s.host},
                   {"pid", s.pid},
                   {"beats", s.beats},
                   {"signs", s.state.signs},
                   {"phase", s.state.phase},
                   {"silence_ms", absl::ToInt64Milliseconds(s.state.silence)},
                   {"operation", s.state.operation},
                   {"part", s.state.part},
                   {"number", s.state.number},
                   {"bytes", s.state.bytes},
                   {"waits_for", s.state.waits_for},
                   {"unheard", RangesText(s.unheard)},
                   {"over", s.over},
                   {"waited_ms", absl::ToInt64Milliseconds(s.state.waited)}});
}

absl::StatusOr<Sighting> ParseSighting(std::string_view text, const std::string& name) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(text, name));
  Sighting s;
  TEMPER_ASSIGN_OR_RETURN(s.start, GetString(json, "start", name));
  TEMPER_ASSIGN_OR_RETURN(s.host, GetString(json, "host", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.phase, GetString(json, "phase", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.operation, GetString(json, "operation", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.part, GetString(json, "part", name));
  TEMPER_ASSIGN_OR_RETURN(const int64_t rank, GetInt(json, "rank", name));
  TEMPER_ASSIGN_OR_RETURN(s.pid, GetInt(json, "pid", name));
  TEMPER_ASSIGN_OR_RETURN(s.beats, GetInt(json, "beats", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.signs, GetInt(json, "signs", name));
  TEMPER_ASSIGN_OR_RETURN(const int64_t silence, GetInt(json, "silence_ms", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.number, GetInt(json, "number", name));
  TEMPER_ASSIGN_OR_RETURN(s.state.bytes, GetInt(json, "bytes", name));
  TEMPER_ASSIGN_OR_RETURN(const int64_t waits_for, GetInt(json, "waits_for", name));
  TEMPER_ASSIGN_OR_RETURN(const int64_t waited, GetInt(json, "waited_ms", name));
  s.rank = static_cast<int>(rank);
  s.state.silence = absl::Milliseconds(silence);
  s.state.waits_for = static_cast<int>(waits_for);
  s.state.waited = absl::Milliseconds(waited);
  TEMPER_ASSIGN_OR_RETURN(s.over, GetBool(json, "over", name));
  TEMPER_ASSIGN_OR_RETURN(const std::string unheard, GetString(json, "unheard", name));
  TEMPER_ASSIGN_OR_RETURN(s.unheard, ParseRanges(unheard, name));
  return s;
}

void Lookout::See(const Sighting& sighting) {
  Watched& watched = ranks_[sighting.rank];
  const bool first = watched.seen.start.empty();
  if (first || sighting.beats != watched.seen.beats) watched.quiet = absl::ZeroDuration();
  if (first || sighting.state.signs != watched.seen.state.signs) watched.still = absl::ZeroDuration();
  watched.expected = true;
  watched.seen = sighting;
  const int peer = sighting.state.waits_for;
  if (peer >= static_cast<int>(ranks_.size()) || peer == sighting.rank) watched.seen.state.waits_for = -1;
}

void Lookout::LetGo(int rank) {
  const bool is_here = ranks_[rank].seen.host == ranks_[rank_].seen.host;
  ranks_[rank].died |= is_here || ranks_[rank].quiet <= kLately;
}

void Lookout::Pass(absl::Duration passed) {
  const double part = 1 - std::exp(-absl::FDivDuration(passed, absl::Minutes(1)));
  std::vector<int> waiting(ranks_.size(), 0);
  for (size_t r = 0; r < ranks_.size(); ++r) {
    Watched& rank = ranks_[r];
    if (!rank.expected) continue;
    rank.quiet += passed;
    rank.still += passed;
    const int end = Waits(static_cast<int>(r)) ? EndOf(static_cast<int>(r)) : -1;
    if (end >= 0) ++waiting[end];
  }
  const double others = std::max(1.0, static_cast<double>(ranks_.size()) - 1);
  for (size_t r = 0; r < ranks_.size(); ++r)
    ranks_[r].share += (waiting[r] / others - ranks_[r].share) * part;
}

bool Lookout::Waits(int rank) const { return ranks_[rank].seen.state.waits_for >= 0; }

int Lookout::EndOf(int rank) const {
  for (size_t steps = 0; steps <= ranks_.size(); ++steps) {
    if (!Waits(rank)) return rank;
    rank = ranks_[rank].seen.state.waits_for;
  }
  return -1;
}

bool Lookout::IsStill(int rank, absl::Duration deadline) const {
  return ranks_[rank].expected && ranks_[rank].still > deadline + ranks_[rank].seen.state.silence;
}

// Ranks of one machine hear each other whatever becomes of its network, so they have no voice. Where half of
// the machines or more would be named, nobody is: of two that do not hear each other each may be cut off.
std::vector<int> Lookout::CutOff(absl::Duration deadline) const {
  const int size = static_cast<int>(ranks_.size());
  std::vector<int> waiting, still, cut;
  std::map<std::string, bool> hosts;  // whether one of its ranks is cut off
  for (int r = 0; r < size; ++r) {
    if (ranks_[r].expected) hosts[ranks_[r].seen.host] = false;
    if (!Waits(r)) continue;
    waiting.push_back(r);
    if (IsStill(r, deadline)) still.push_back(r);
  }
  for (const int r : still) {
    int elsewhere = 0, deaf = 0;
    for (const int other : waiting) {
      const std::vector<int>& unheard = ranks_[other].seen.unheard;
      if (ranks_[other].seen.host == ranks_[r].seen.host) continue;
      ++elsewhere;
      deaf += std::binary_search(unheard.begin(), unheard.end(), r);
    }
    if (2 * deaf <= elsewhere) continue;
    cut.push_back(r);
    hosts[ranks_[r].seen.host] = true;
  }
  const auto named = std::count_if(hosts.begin(), hosts.end(), [](const auto& host) { return host.second; });
  return 2 * named < static_cast<int64_t>(hosts.size()) ? cut : std::vector<int>();
}

std::string Lookout::Name(int rank) const {
  const Sighting& seen = ranks_[rank].seen;
  if (seen.host.empty()) return absl::StrCat("rank ", rank);
  return absl::StrCat("rank ", rank, " (", Printable(seen.host, 100), ", process ", seen.pid, ")");
}

// "updates, SendReceive after 812 collectives of dp (64 bytes)".
std::string Lookout::At(int rank) const {
  const RankState& state = ranks_[rank].seen.state;
  const std::string phase = state.phase.empty() ? "starts" : Printable(state.phase, 100);
  if (state.operation.empty()) return phase;
  return absl::StrCat(phase, ", in ", Printable(state.operation, 40), " (collective ", state.number, " of ",
                      Printable(state.part, 40), ", ", state.bytes, " bytes)");
}

// "; rank 0 waits for it, ..".
std::string Lookout::Waiting(int rank) const {
  std::vector<std::string> texts;
  size_t more = 0;
  for (int r = 0; r < static_cast<int>(ranks_.size()); ++r) {
    if (r == rank || !Waits(r)) continue;
    const int peer = ranks_[r].seen.state.waits_for;
    if (EndOf(r) != rank && peer != rank) continue;
    if (texts.size() == kNamed) {
      ++more;
      continue;
    }
    texts.push_back(absl::StrCat("rank ", r, " waits for ",
                                 peer == rank ? std::string("it") : absl::StrCat("rank ", peer), ": ",
                                 At(r)));
  }
  if (texts.empty()) return "";
  return absl::StrCat("; ", absl::StrJoin(texts, "; "),
                      more > 0 ? absl::StrCat("; and ", more, " ranks more wait") : "");
}

Finding Lookout::Found(int rank, const std::string& text) const {
  return {rank, {ranks_[rank].seen.host}, absl::StrCat(Name(rank), text), ranks_[rank].died};
}

// The one that was seen last longest ago first: others may have died of that.
std::vector<int> Lookout::Dead() const {
  std::vector<int> dead;
  for (int r = 0; r < static_cast<int>(ranks_.size()); ++r)
    if (ranks_[r].died) dead.push_back(r);
  std::stable_sort(dead.begin(), dead.end(), [&](int a, int b) { return ranks_[a].quiet > ranks_[b].quiet; });
  return dead;
}

Finding Lookout::FoundDead(const std::vector<int>& dead) const {
  const int first = dead[0];
  std::vector<std::string> others;
  for (size_t i = 1; i < std::min(dead.size(), kNamed); ++i) others.push_back(Name(dead[i]));
  if (dead.size() > kNamed) others.push_back(absl::StrCat(dead.size() - kNamed, " ranks more"));
  Finding finding = Found(
      first, absl::StrCat(" has ended without a word",
                          others.empty() ? "" : absl::StrCat(", with ", absl::StrJoin(others, ", ")),
                          ": it was killed, for lack of memory perhaps, or its machine is gone; last seen: ",
                          At(first), Waiting(first)));
  AddHosts(dead, finding);
  return finding;
}

void Lookout::AddHosts(const std::vector<int>& ranks, Finding& finding) const {
  for (const int r : ranks)
    if (std::find(finding.hosts.begin(), finding.hosts.end(), ranks_[r].seen.host) == finding.hosts.end())
      finding.hosts.push_back(ranks_[r].seen.host);
}

std::optional<Finding> Lookout::Judge(absl::Duration deadline) const {
  const int size = static_cast<int>(ranks_.size());
  if (const std::vector<int> dead = Dead(); !dead.empty()) return FoundDead(dead);
  for (int r = 0; r < size; ++r) {
    if (!ranks_[r].expected || ranks_[r].quiet <= deadline) continue;
    if (r == rank_)
      return Found(r, absl::StrCat(" could not write in the run's folder for ", Seconds(ranks_[r].quiet)));
    return Found(r, absl::StrCat(" has given no sign of life for ", Seconds(ranks_[r].quiet),
                                 ": it is stopped or dead, or its machine, or its way to the run's folder; "
                                 "last seen: ",
                                 At(r), Waiting(r)));
  }
  for (int r = 0; r < size; ++r) {
    if (!Waits(r) || !IsStill(r, deadline)) continue;
    const int end = EndOf(r);
    if (end >= 0) {
      if (!IsStill(end, deadline)) continue;
      return Found(end, absl::StrCat(" has stood still for ", Seconds(ranks_[end].still), ": ", At(end),
                                     Waiting(end)));
    }
    // From r the way leads into a ring, perhaps from outside of it.
    if (const std::vector<int> cut = CutOff(deadline); !cut.empty()) {
      Finding finding = Found(cut[0], absl::StrCat(" has stood still for ", Seconds(ranks_[cut[0]].still),
                                                   ", and ranks of other machines hear nothing of it: its "
                                                   "machine's network is cut off; ",
                                                   At(cut[0]), Waiting(cut[0])));
      AddHosts(cut, finding);
      return finding;
    }
    int inside = r;
    for (int steps = 0; steps < size; ++steps) inside = ranks_[inside].seen.state.waits_for;
    std::vector<std::string> texts, hosts;
    bool all_still = true, in_devices = true;
    int at = inside;
    do {
      all_still &= IsStill(at, deadline + std::min(deadline / 2, kForOthers));
      in_devices &= ranks_[at].seen.state.operation == "Devices";
      const int peer = ranks_[at].seen.state.waits_for;
      if (std::find(hosts.begin(), hosts.end(), ranks_[at].seen.host) == hosts.end())
        hosts.push_back(ranks_[at].seen.host);
      texts.push_back(absl::StrCat(Name(at), " waits for rank ", peer, ": ", At(at)));
      at = peer;
    } while (at != inside);
    if (!all_still) continue;
    if (texts.size() > kNamed) texts.resize(kNamed);
    const char* const cause = in_devices         ? ": their GPUs do not end what they do together"
                              : hosts.size() > 1 ? ": the network between their machines is cut"
                                                 : "";
    return Finding{inside, hosts,
                   absl::StrCat("ranks wait for each other for ", Seconds(ranks_[inside].still), cause, ": ",
                                absl::StrJoin(texts, "; "))};
  }
  return std::nullopt;
}

std::vector<std::string> Lookout::Ranks() const {
  std::vector<int> order;
  for (int r = 0; r < static_cast<int>(ranks_.size()); ++r)
    if (!ranks_[r].seen.start.empty()) order.push_back(r);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return ranks_[a].still > ranks_[b].still; });
  if (order.size() > kShown) order.resize(kShown);
  std::vector<std::string> lines;
  for (const int r : order)
    lines.push_back(absl::StrCat(
        Name(r), ": ", At(r),
        Waits(r) ? absl::StrCat(", waits for rank ", ranks_[r].seen.state.waits_for) : "",
        ranks_[r].still >= absl::Seconds(1) ? absl::StrCat(", for ", Seconds(ranks_[r].still)) : ""));
  return lines;
}

Lookout::Straggler Lookout::Slowest() const {
  const auto most = std::max_element(ranks_.begin(), ranks_.end(),
                                     [](const Watched& a, const Watched& b) { return a.share < b.share; });
  if (most == ranks_.end() || most->share == 0) return {};
  return {static_cast<int>(most - ranks_.begin()), most->share};
}

}  // namespace temper

// SPDX-License-Identifier: Apache-2.0
#include "trainer/weight_sync.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "model/share_out.h"

namespace temper {
namespace {

constexpr int64_t kPieceElements = int64_t{4} << 20;

// The part of a weight that a rank keeps, and the weight's number in its unit.
struct KeptPart {
  size_t number = 0;
  LayoutEntry entry;
};

// What the rank at this place keeps of a unit's weights, which are given whole, in their order.
std::vector<KeptPart> KeptAt(const ModelConfig& config, const MeshPlace& place,
                             absl::Span<const LayoutEntry> unit) {
  std::vector<size_t> numbers;
  std::vector<LayoutEntry> parts;
  const IndexRange experts = ExpertsOf(config, place);
  for (size_t i = 0; i < unit.size(); ++i) {
    if (unit[i].expert >= 0 && !experts.Has(unit[i].expert)) continue;  // a copy takes time
    LayoutEntry part = unit[i];
    if (!CutTo(config, place, &part)) return {};  // of a unit a rank has all but experts, or nothing
    part.elements = PartElements(part);
    numbers.push_back(i);
    parts.push_back(std::move(part));
  }
  const PartPlace sharer = PlaceIn(MeshParts()[kSharersPart], place);
  ShareOut(absl::MakeSpan(parts), sharer.rank, sharer.ranks);
  std::vector<KeptPart> kept;
  for (size_t i = 0; i < parts.size(); ++i)
    if (parts[i].elements > 0) kept.push_back({numbers[i], std::move(parts[i])});
  return kept;
}

// Of the ranks that keep the same part of a weight: whether the one at `place` is it that sends it to the one
// at `other`. (Writes is the same of a rank that is the first on all axes.)
bool SendsTo(const ModelConfig& config, const MeshPlace& place, const MeshPlace& other,
             const LayoutEntry& entry) {
  const auto same = [&](Axis axis) { return place[axis] == other[axis]; };
  const bool routed = entry.expert >= 0;
  if (!same(Axis::kDpReplicate) || (!routed && !same(Axis::kEp))) return false;
  if (!routed && entry.sharing == Sharing::kNone && !same(Axis::kTp)) return false;
  if (!entry.trained && !(same(Axis::kDpShard) && same(Axis::kCp))) return false;
  // The first and the last stage of a pipeline have a tied embedding.
  const int64_t last = place.sizes.pp - 1;
  return entry.layer >= 0 ||
         place[Axis::kPp] == (config.tie_word_embeddings && other[Axis::kPp] == last ? last : 0);
}

// The rank of a pipeline that has the layer.
int64_t StageOf(const ModelConfig& config, const MeshSizes& sizes, int64_t layer) {
  MeshPlace place{sizes, {}};
  for (int64_t& stage = place.at[static_cast<int>(Axis::kPp)]; stage < sizes.pp; ++stage)
    for (int64_t chunk = 0; chunk < sizes.chunks(); ++chunk)
      if (LayersOf(config, place, chunk).Has(layer)) return stage;
  return -1;
}

}  // namespace

Parameters WithoutNumbers(const ModelConfig& config, const MeshPlace& place, kernels::Backend& backend,
                          bool rounded) {
  Layout layout(config, place);
  std::vector<at::Tensor> values;
  for (const LayoutEntry& entry : layout.entries()) {
    const bool is_bf16 = rounded && entry.trained && entry.shape.size() == 2;
    const std::vector<int64_t> flat = {entry.elements};
    values.push_back(NewTensor(backend, entry.elements == PartElements(entry) ? entry.shape : flat,
                               is_bf16 ? at::kBFloat16 : at::kFloat));
  }
  return Parameters(std::move(layout), std::move(values));
}

class WeightSync::Planner {
 public:
  Planner(const ModelConfig& config, const Layout& from, const Layout& to)
      : config_(config),
        from_(from),
        to_(to),
        rank_(static_cast<int>(RankOf(from.place()))),
        ranks_(static_cast<int>(RanksOf(from.place().sizes))) {
    TEMPER_CHECK(rank_ == RankOf(to.place()) && ranks_ == RanksOf(to.place().sizes));
  }

  void Plan(WeightSync* sync) const {
    const std::vector<LayoutEntry>& all = to_.whole();  // where nothing goes along
    std::vector<absl::Span<const LayoutEntry>> firsts;  // unit of each kind
    for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
      while (end < all.size() && all[end].layer == all[begin].layer) ++end;
      const absl::Span<const LayoutEntry> unit = absl::MakeSpan(all).subspan(begin, end - begin);
      const auto alike = std::find_if(firsts.begin(), firsts.end(),
                                      [&](const auto& first) { return AreAlike(first, unit); });
      sync->units_.push_back({static_cast<size_t>(alike - firsts.begin()), NumberOf(from_, unit[0].name),
                              NumberOf(to_, unit[0].name)});
      if (alike != firsts.end()) continue;
      firsts.push_back(unit);
      sync->kinds_.push_back(PlanUnit(unit));
    }
  }

 private:
  // What one rank has for another, as both see it.
  using Meetings = std::vector<std::pair<Patch, Patch>>;

  // Of the rank's first weight that comes with this name or behind it.
  static int64_t NumberOf(const Layout& layout, const std::string& name) {
    const auto& entries = layout.entries();
    return std::lower_bound(entries.begin(), entries.end(), name,
                            [](const LayoutEntry& entry, const std::string& n) { return entry.name < n; }) -
           entries.begin();
  }

  // Whether they are layers of the same weights, in the same order, on the same ranks.
  bool AreAlike(absl::Span<const LayoutEntry> a, absl::Span<const LayoutEntry> b) const {
    const auto is_layer = [&](int64_t layer) { return layer >= 0 && layer < config_.num_layers; };
    if (a.size() != b.size() || !is_layer(a[0].layer) || !is_layer(b[0].layer)) return false;
    for (const Layout* layout : {&from_, &to_}) {
      const MeshSizes& sizes = layout->place().sizes;
      if (StageOf(config_, sizes, a[0].layer) != StageOf(config_, sizes, b[0].layer)) return false;
    }
    return std::equal(a.begin(), a.end(), b.begin(), [](const LayoutEntry& x, const LayoutEntry& y) {
      return x.expert == y.expert && x.sharing == y.sharing && x.trained == y.trained && x.whole == y.whole;
    });
  }

  Kind PlanUnit(absl::Span<const LayoutEntry> unit) const {
    const std::vector<KeptPart> mine = KeptAt(config_, from_.place(), unit),
                                wanted = KeptAt(config_, to_.place(), unit);
    Kind kind{MeetingsOf(mine, from_.place(), wanted, from_.place()), {}};
    for (int distance = 1; distance < ranks_; ++distance) {
      const int to = (rank_ + distance) % ranks_, from = (rank_ + ranks_ - distance) % ranks_;
      const std::vector<std::vector<Patch>> out = Pieces(For(mine, unit, to), &Meetings::value_type::first),
                                            in = Pieces(From(wanted, unit, from),
                                                        &Meetings::value_type::second);
      for (size_t i = 0; i < std::max(out.size(), in.size()); ++i) {
        const bool sends = i < out.size(), receives = i < in.size();
        kind.rounds.push_back({sends ? to : -1, receives ? from : -1, sends ? out[i] : std::vector<Patch>(),
                               receives ? in[i] : std::vector<Patch>()});
      }
    }
    MakeRelative(unit[0].name, &kind);
    return kind;
  }

  // Numbers of weights count from their unit's first one.
  void MakeRelative(const std::string& first, Kind* kind) const {
    const int64_t from = NumberOf(from_, first), to = NumberOf(to_, first);
    for (auto& [mine, copy] : kind->own) {
      mine.parameter -= from;
      copy.parameter -= to;
    }
    for (Round& round : kind->rounds) {
      for (Patch& patch : round.out) patch.parameter -= from;
      for (Patch& patch : round.in) patch.parameter -= to;
    }
  }

  Meetings For(const std::vector<KeptPart>& mine, absl::Span<const LayoutEntry> unit, int to) const {
    const MeshPlace other = PlaceOf(from_.place().sizes, to), wants = PlaceOf(to_.place().sizes, to);
    if (mine.empty() || !MayMeet(from_.place(), other, wants)) return {};
    return MeetingsOf(mine, from_.place(), KeptAt(config_, wants, unit), other);
  }

  Meetings From(const std::vector<KeptPart>& wanted, absl::Span<const LayoutEntry> unit, int from) const {
    const MeshPlace other = PlaceOf(from_.place().sizes, from);
    if (wanted.empty() || !MayMeet(other, from_.place(), to_.place())) return {};
    return MeetingsOf(KeptAt(config_, other, unit), other, wanted, from_.place());
  }

  // Whether SendsTo may hold of any weight, which most pairs of many ranks rule out.
  bool MayMeet(const MeshPlace& sender, const MeshPlace& receiver, const MeshPlace& wants) const {
    if (sender[Axis::kDpReplicate] != receiver[Axis::kDpReplicate]) return false;
    if (sender[Axis::kEp] == receiver[Axis::kEp]) return true;
    const IndexRange has = ExpertsOf(config_, sender), asks = ExpertsOf(config_, wants);
    return has.begin < asks.end && asks.begin < has.end;
  }

  // Of what a sender keeps and a receiver, with their places in the sender's mesh.
  Meetings MeetingsOf(const std::vector<KeptPart>& kept, const MeshPlace& sender,
                      const std::vector<KeptPart>& wanted, const MeshPlace& receiver) const {
    Meetings meetings;
    auto part = kept.begin();
    for (const KeptPart& want : wanted) {
      while (part != kept.end() && part->number < want.number) ++part;
      if (part == kept.end()) break;
      if (part->number != want.number || !SendsTo(config_, sender, receiver, want.entry)) continue;
      for (const LayoutBlock& a : BlocksOf(part->entry))
        for (const LayoutBlock& b : BlocksOf(want.entry)) Meet(want.entry.name, a, b, &meetings);
    }
    return meetings;
  }

  void Meet(const std::string& name, const LayoutBlock& a, const LayoutBlock& b, Meetings* meetings) const {
    const int64_t row = std::max(a.first_row, b.first_row),
                  rows = std::min(a.first_row + a.rows, b.first_row + b.rows) - row,
                  column = std::max(a.first_column, b.first_column),
                  columns = std::min(a.first_column + a.columns, b.first_column + b.columns) - column;
    if (rows <= 0 || columns <= 0) return;
    const auto patch = [&](const Layout& layout, const LayoutBlock& block, int64_t first, int64_t count) {
      return Patch{layout.Find(name),
                   block.begin + (first - block.first_row) * block.columns + column - block.first_column,
                   block.columns, count, columns};
    };
    const int64_t at_once = std::max<int64_t>(kPieceElements / columns, 1);
    for (int64_t first = row; first < row + rows; first += at_once) {
      const int64_t count = std::min(at_once, row + rows - first);
      meetings->emplace_back(patch(from_, a, first, count), patch(to_, b, first, count));
    }
  }

  // One end's patches, as many together as a piece takes.
  static std::vector<std::vector<Patch>> Pieces(const Meetings& meetings, Patch Meetings::value_type::*end) {
    std::vector<std::vector<Patch>> pieces;
    int64_t elements = kPieceElements;
    for (const auto& meeting : meetings) {
      const Patch& patch = meeting.*end;
      elements += patch.rows * patch.columns;
      if (elements > kPieceElements) {
        pieces.emplace_back();
        elements = patch.rows * patch.columns;
      }
      pieces.back().push_back(patch);
    }
    return pieces;
  }

  const ModelConfig& config_;
  const Layout& from_;
  const Layout& to_;
  const int rank_, ranks_;
};

WeightSync::WeightSync(const ModelConfig& config, const Layout& from, const Layout& to) {
  Planner(config, from, to).Plan(this);
}

int64_t WeightSync::BytesOf(const std::vector<Patch>& patches, const Parameters& parameters, int64_t first) {
  int64_t bytes = 0;
  for (const Patch& patch : patches)
    bytes += patch.rows * patch.columns * parameters.list()[first + patch.parameter].value.element_size();
  return bytes;
}

int64_t WeightSync::SentBytes(const Parameters& from) const {
  int64_t bytes = 0;
  for (const Unit& unit : units_)
    for (const Round& round : kinds_[unit.kind].rounds) bytes += BytesOf(round.out, from, unit.from);
  return bytes;
}

// Rows that lie one behind the other are one.
template <typename Body>
void WeightSync::ForEachRow(const Patch& patch, const Body& body) {
  const bool together = patch.stride == patch.columns;
  const int64_t rows = together ? 1 : patch.rows, columns = patch.rows * patch.columns / rows;
  for (int64_t row = 0; row < rows; ++row) body(patch.begin + row * patch.stride, row * columns, columns);
}

// Of a unit: takes numbers out of where they are kept, and puts them where they are wanted.
class WeightSync::Copier {
 public:
  Copier(const Parameters& from, const Parameters& to, const Unit& unit)
      : from_(from), to_(to), unit_(unit) {}

  const at::Tensor& From(const Patch& patch) const {
    return from_.list()[unit_.from + patch.parameter].value;
  }
  const at::Tensor& To(const Patch& patch) const { return to_.list()[unit_.to + patch.parameter].value; }

  // Each returns where the next patch is in the packed numbers.
  char* Pack(const Patch& patch, char* at) const {
    const at::Tensor& value = From(patch);
    const int64_t size = value.element_size();
    const char* const data = static_cast<const char*>(value.const_data_ptr());
    ForEachRow(patch, [&](int64_t begin, int64_t before, int64_t count) {
      std::memcpy(at + before * size, data + begin * size, count * size);
    });
    return at + patch.rows * patch.columns * size;
  }
  const char* Unpack(const Patch& patch, const char* at) const {
    const at::Tensor& value = To(patch);
    const int64_t size = value.element_size();
    char* const data = static_cast<char*>(value.mutable_data_ptr());
    ForEachRow(patch, [&](int64_t begin, int64_t before, int64_t count) {
      std::memcpy(data + begin * size, at + before * size, count * size);
    });
    return at + patch.rows * patch.columns * size;
  }

 private:
  const Parameters &from_, &to_;
  const Unit& unit_;
};

void WeightSync::Copy(const Parameters& from, Communicator& world, Parameters* to) const {
  const bool moves = !world.counts_only();
  std::vector<char> out, in;
  for (const Unit& unit : units_) {
    const Copier copier(from, *to, unit);
    for (const auto& [mine, copy] : kinds_[unit.kind].own) {
      TEMPER_CHECK(copier.From(mine).element_size() == copier.To(copy).element_size(),
                   to->list()[unit.to + copy.parameter].name);
      if (!moves) continue;
      out.resize(BytesOf({mine}, from, unit.from));
      copier.Pack(mine, out.data());
      copier.Unpack(copy, out.data());
    }
    for (const Round& round : kinds_[unit.kind].rounds) {
      const auto out_bytes = static_cast<size_t>(BytesOf(round.out, from, unit.from)),
                 in_bytes = static_cast<size_t>(BytesOf(round.in, *to, unit.to));
      if (moves) {
        out.resize(out_bytes);
        in.resize(in_bytes);
        char* at = out.data();
        for (const Patch& patch : round.out) at = copier.Pack(patch, at);
      }
      world.Finish(world.Start({out.data(), out_bytes, round.to, in.data(), in_bytes, round.from}));
      const char* at = in.data();
      if (moves)
        for (const Patch& patch : round.in) at = copier.Unpack(patch, at);
    }
  }
}

}  // namespace temper

#include "containers/tombs.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <map>

#include "ctnbpf/removed.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {
namespace {

static_assert(CTN_MAX_SUBSYS == std::extent_v<decltype(ctn_tomb::figures)>);
static_assert(CTN_HIER_NAME_MAX + 1 == sizeof(ctn_tomb::hierarchy));

/* The end of a path that is too long, from the first byte of a character on. */
std::string shortened(std::string path) {
  constexpr std::size_t kMost = CTN_TOMB_PATH - 1;
  if (path.size() <= kMost) return path;
  std::size_t from = path.size() - kMost + 3;
  while (from < path.size() && (static_cast<unsigned char>(path[from]) & 0xc0) == 0x80) from++;
  return "..." + path.substr(from);
}

/* The attributes that a tombstone keeps, as they are now. */
void read_kept(const State& state, const Subsystem& subsystem, Slot slot, std::span<__u64> kept) {
  for (const Attribute& attribute : subsystem.attributes) {
    if (attribute.kept == 0) continue;
    auto value = attribute.read(state, slot);
    if (value) kept[attribute.kept - 1U] = std::get<std::uint64_t>(*value);
  }
}

/* `gone`: no task of it is left, so that what is cheap to read is exact. */
void read_figures(const State& state, const Subsystem& subsystem, Slot slot, bool gone,
                  std::span<__u64, CTN_TOMB_FIGURES> out) {
  if (subsystem.figures != nullptr)
    if (auto now = subsystem.figures(state, slot); now) {
      out[0] = now->current;
      out[1] = now->peak;
      out[2] = now->limit;
      out[3] = now->refused;
    }
  std::span<__u64> kept = out.subspan(CTN_TOMB_KEPT);
  if (gone && subsystem.last_words != nullptr)
    subsystem.last_words(state, slot, kept);
  else
    read_kept(state, subsystem, slot, kept);
}

Removed::Part part_of(const State& state, const Subsystem& subsystem,
                      std::span<const __u64, CTN_TOMB_FIGURES> figures) {
  Removed::Part part{&subsystem, {}, {}};
  if (subsystem.figures != nullptr) {
    /* Whatever is in the first slot after the roots, it has the same noun. */
    auto any = subsystem.figures(state, CTN_MAX_HIER);
    part.figures =
        Figures{any ? any->noun : subsystem.name, figures[0], figures[1], figures[2], figures[3]};
  }
  for (const Attribute& attribute : subsystem.attributes)
    if (attribute.kept != 0)
      part.kept.emplace_back(&attribute, figures[CTN_TOMB_KEPT + attribute.kept - 1U]);
  return part;
}

/* A whole copy of a tombstone, or nothing while it is being written. */
std::optional<ctn_tomb> copy_of(const ctn_tomb& shared) {
  std::uint64_t number = load(shared.number);
  ctn_tomb copy = shared;
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (number == 0 || load(shared.number) != number) return std::nullopt;
  return copy;
}

std::string address_in(const ctn_tomb& tomb) {
  return std::string(tomb.hierarchy, ::strnlen(tomb.hierarchy, sizeof(tomb.hierarchy))) + ":" +
         std::string(tomb.path, ::strnlen(tomb.path, sizeof(tomb.path)));
}

Removed removed_of(const State& state, const ctn_tomb& tomb) {
  Removed out;
  out.address = address_in(tomb);
  out.created_ns = tomb.created_ns;
  out.removed_ns = tomb.removed_ns;
  for (const Subsystem* subsystem : subsystems())
    if ((tomb.subsystems & (1U << subsystem->id)) != 0)
      out.parts.push_back(part_of(state, *subsystem, tomb.figures[subsystem->id]));
  return out;
}

/* All but the number. */
void fill(const State& state, Slot slot, bool gone, ctn_tomb& tomb) {
  const ctn_node& node = state.nodes()[slot];
  const ctn_info& info = state.infos()[slot];
  tomb.created_ns = info.created_ns;
  tomb.removed_ns = info.removed_ns;
  tomb.slot = slot;
  tomb.generation = node.generation;
  tree::hierarchy_name(state, node.hierarchy).copy(tomb.hierarchy, sizeof(tomb.hierarchy) - 1);
  shortened(tree::path_of(state, slot)).copy(tomb.path, CTN_TOMB_PATH - 1);
  for (const Subsystem* subsystem : bound_subsystems(state, node.hierarchy)) {
    tomb.subsystems |= 1U << subsystem->id;
    read_figures(state, *subsystem, slot, gone, tomb.figures[subsystem->id]);
  }
}

}  // namespace

void write_tomb(Writer& writer, Slot slot) {
  auto tombs = writer.array<ctn_tomb>("tombs", CTN_TOMBS);
  if (!tombs) return; /* only with the pins of another version, which open() refuses */
  __u64& count = writer.core().tombs;
  const ctn_info& info = writer.infos()[slot];
  if (count != 0) {
    ctn_tomb& last = (*tombs)[(count - 1) % CTN_TOMBS];
    if (last.slot == slot && last.created_ns == info.created_ns) { /* by a writer that was killed */
      store(last.number, count);
      return;
    }
  }
  ctn_tomb tomb = {};
  fill(writer, slot, true, tomb);
  auto at = static_cast<__u32>(count % CTN_TOMBS);
  auto map = writer.descriptor_of("tombs");
  store((*tombs)[at].number, __u64{0});
  __atomic_thread_fence(__ATOMIC_RELEASE); /* readers see that before any of the rest */
  if (!map || bpf_map_update_elem(*map, &at, &tomb, BPF_ANY) != 0) return;
  store(count, count + 1); /* the commit */
  store((*tombs)[at].number, count);
}

Result<std::vector<Removed>> removed_containers(const State& state) {
  CTN_ASSIGN(auto tombs, state.array<ctn_tomb>("tombs", CTN_TOMBS));
  /* By slot and generation; lingering ones first: one that goes while we look is found as both. */
  std::map<std::pair<Slot, std::uint32_t>, Removed> found;
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (load(node.state) != CTN_REMOVED || (node.flags & CTN_UNMADE) != 0) continue;
    ctn_tomb now = {};
    fill(state, slot, false, now);
    bool held = load(node.population) != 0 || load(node.refs) != 0 || load(node.dependants) != 0;
    if (load(node.state) != CTN_REMOVED) continue;
    Removed one = removed_of(state, now);
    one.lingering = held;
    found[{slot, now.generation}] = std::move(one);
  }
  for (const ctn_tomb& shared : tombs)
    if (auto tomb = copy_of(shared); tomb)
      found[{tomb->slot, tomb->generation}] = removed_of(state, *tomb);
  std::vector<Removed> out;
  for (auto& [key, one] : found) out.push_back(std::move(one));
  std::stable_sort(out.begin(), out.end(),
                   [](const Removed& a, const Removed& b) { return a.removed_ns < b.removed_ns; });
  if (out.size() > CTN_TOMBS) out.erase(out.begin(), out.end() - CTN_TOMBS);
  return out;
}

std::string removed_address(const State& state, Slot slot, std::uint32_t generation) {
  auto tombs = state.array<ctn_tomb>("tombs", CTN_TOMBS);
  if (!tombs) return "";
  for (const ctn_tomb& shared : *tombs) {
    if (shared.slot != slot || shared.generation != generation) continue;
    auto tomb = copy_of(shared);
    if (tomb && tomb->slot == slot && tomb->generation == generation) return address_in(*tomb);
  }
  return "";
}

}  // namespace ctnbpf

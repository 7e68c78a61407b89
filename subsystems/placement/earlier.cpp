#include "placement/earlier.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <set>

#include "kernel/iterators.h"
#include "kernel/object_table.h"
#include "placement/kind.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

constexpr std::uint32_t kRoom = CAME_WITH_MASKS / 8; /* for that many new masks before each pass */
constexpr int kMostPasses = 50;

}  // namespace

Result<Earlier> Earlier::open(Writer& writer) {
  Earlier earlier(writer);
  CTN_ASSIGN(earlier.request_, writer.array<came_with_state>("came_with", 1));
  CTN_ASSIGN(earlier.words_,
             writer.array<std::uint64_t>("came_with_masks", CAME_WITH_MASKS * place_words()));
  return earlier;
}

std::optional<IndexSet> Earlier::mask(std::uint32_t number) const {
  if (number == 0 || number >= CAME_WITH_MASKS) return std::nullopt;
  std::vector<std::uint64_t> words(place_words());
  for (std::size_t i = 0; i < words.size(); i++) words[i] = load(words_[number * words.size() + i]);
  return IndexSet(words);
}

/* Numbers that no record has are free again. A fork copies its forker's; looking twice finds the child's
 * where the forker was gone by the time its own was looked at. */
Result<void> Earlier::make_room() {
  came_with_state& state = request_[0];
  if (state.end - state.next >= kRoom) return {};
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(state_->pins(), "task", sizeof(ctn_task), false));
  std::set<std::uint32_t> used;
  for (int look = 0; look < 2; look++)
    tasks.each<ctn_task>(
        [&](std::uint64_t, const ctn_task& task) { used.insert(load(task.came_with)); });
  CTN_ASSIGN(UniqueFd numbers, state_->pins().open_map("came_with_numbers"));
  std::vector<std::vector<std::uint64_t>> unused;
  std::vector<std::uint64_t> key(place_words());
  for (bool first = true;
       bpf_map_get_next_key(numbers.get(), first ? nullptr : key.data(), key.data()) == 0;
       first = false) {
    std::uint32_t number = 0;
    if (bpf_map_lookup_elem(numbers.get(), key.data(), &number) == 0 && !used.contains(number))
      unused.push_back(key);
  }
  for (const auto& one : unused) bpf_map_delete_elem(numbers.get(), one.data());
  /* The longest run of free ones. */
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  for (std::uint32_t begin = 1; begin < CAME_WITH_MASKS;) {
    std::uint32_t end = begin;
    while (end < CAME_WITH_MASKS && !used.contains(end)) end++;
    if (end - begin > to - from) {
      from = begin;
      to = end;
    }
    begin = end + 1;
  }
  store(state.end, 0U);
  store(state.next, from);
  store(state.end, to);
  return {};
}

Result<void> Earlier::remember() {
  for (int pass = 0; pass < kMostPasses; pass++) {
    CTN_TRY(make_room());
    store(request_[0].request, static_cast<__u32>(CAME_WITH_REMEMBER));
    CTN_ASSIGN(auto remembered, run_iterator_as<std::uint32_t>(state_->pins(), "i_came_with", 0));
    if (remembered.empty()) return {};
  }
  return {};
}

Result<void> Earlier::forget(std::span<const pid_t> tids) {
  if (tids.empty()) return {};
  CTN_ASSIGN(UniqueFd done, state_->pins().open_map("came_with_done"));
  /* What a killed writer left: those tids may be others' now. */
  for (pid_t tid = 0; bpf_map_get_next_key(done.get(), nullptr, &tid) == 0;)
    if (bpf_map_delete_elem(done.get(), &tid) != 0) break;
  std::uint8_t yes = 1;
  Result<void> result;
  for (pid_t tid : tids)
    if (int err = bpf_map_update_elem(done.get(), &tid, &yes, BPF_ANY); err != 0 && result)
      result = system_error(-err, "note whose CPUs are as they were");
  store(request_[0].request, static_cast<__u32>(CAME_WITH_FORGET));
  auto ran = run_iterator(state_->pins(), "i_came_with", 0);
  for (pid_t tid : tids) bpf_map_delete_elem(done.get(), &tid);
  if (!ran) return ran.error();
  return result;
}

}  // namespace ctnbpf

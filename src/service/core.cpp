#include <algorithm>

#include "service/loaded.h"

namespace ctnbpf {

std::uint32_t places_for(std::uint32_t objects) {
  return std::max<std::uint32_t>(objects, 64) * 3 / 2;
}

ctn_lending lending_of(std::uint32_t objects) {
  constexpr std::uint32_t kLeastOwn = 16;
  std::uint32_t reserve = objects / 4;
  return {std::max(objects / 64, kLeastOwn), objects - reserve, reserve, 0};
}

void begin_core(ctn_core& core, const LoadSettings& settings,
                std::span<const std::uint32_t, CTN_HOOKS_NR> levels, std::uint32_t cpus) {
  core.layout = CTN_LAYOUT;
  core.max_containers = settings.max_containers;
  core.max_tasks = settings.max_tasks;
  core.max_files = settings.max_files;
  core.lending[CTN_LEND_TASKS] = lending_of(settings.max_tasks);
  core.lending[CTN_LEND_FILES] = lending_of(settings.max_files);
  core.high_slot = CTN_MAX_HIER;
  core.cpus = cpus;
  std::copy(levels.begin(), levels.end(), core.level);
  core.magic = CTN_MAGIC;
}

}  // namespace ctnbpf

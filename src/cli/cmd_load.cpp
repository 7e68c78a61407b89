/* up, down */
#include <fmt/format.h>

#include "context.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/service.h"

namespace ctnbpf::cli {

void add_up(CLI::App& app, Context& context) {
  auto settings = std::make_shared<LoadSettings>();
  app.add_option("--max-containers", settings->max_containers, "most containers in all hierarchies")
      ->type_name("N")
      ->check(CLI::Range(1U, 4'000'000U));
  app.add_option("--max-tasks", settings->max_tasks, "tasks that containers can hold at one time")
      ->type_name("N")
      ->check(CLI::Range(64U, 4'194'304U));
  app.add_option("--max-files", settings->max_files,
                 "open files that containers can hold at one time")
      ->type_name("N")
      ->check(CLI::Range(64U, 16'777'216U));
  app.add_flag_callback(
      "--bare", [settings] { settings->default_layout = false; },
      "make no hierarchy: a layout (`apply`) will");
  app.callback([&context, &app, settings] {
    auto fresh = bring_up(context.pins(), *settings);
    if (!fresh) {
      context.exit_code = fail(context, fresh.error());
      return;
    }
    auto state = State::open(context.pins());
    if (!state) {
      context.exit_code = fail(context, state.error());
      return;
    }
    const ctn_core& core = state->core();
    bool differs =
        (app.count("--max-containers") != 0 && settings->max_containers != core.max_containers) ||
        (app.count("--max-tasks") != 0 && settings->max_tasks != core.max_tasks) ||
        (app.count("--max-files") != 0 && settings->max_files != core.max_files);
    if (differs)
      context.exit_code =
          fail(context, {EBUSY, fmt::format("it is up with room for {} containers, {} tasks and {} "
                                            "files: `ctnbpf down` first to change that",
                                            core.max_containers, core.max_tasks, core.max_files)});
    else
      note(fmt::format("{}, level {}, room for {} containers", *fresh ? "up" : "is up already",
                       level_name(core.level[CTN_HOOKS_TASK]), core.max_containers));
  });
}

void add_down(CLI::App& app, Context& context) {
  auto force = std::make_shared<bool>(false);
  app.add_flag("--force", *force, "even with tasks in containers: their limits end");
  app.callback([&context, force] {
    auto was_up = take_down(context.pins(), *force);
    if (!was_up)
      context.exit_code = fail(context, was_up.error());
    else if (!*was_up)
      note("was not up");
  });
}

}  // namespace ctnbpf::cli

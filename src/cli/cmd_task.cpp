/* attach, ps, where */
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"

namespace ctnbpf::cli {
namespace {

Result<void> ps(const Context& context, const std::string& address, bool recursive, bool threads) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(Slot slot, tree::find(state, address));
  if (slot < CTN_MAX_HIER && !in_initial_pid_namespace())
    return Error{
        EPERM,
        fmt::format("{} has tasks outside of this pid namespace, which cannot be seen from it: do "
                    "this outside of it",
                    printable(tree::address_of(state, slot)))};
  CTN_TRY(refuse_unseen(state, slot, recursive));
  CTN_ASSIGN(auto tasks, walk_tasks(context.pins()));
  std::uint32_t hierarchy = state.nodes()[slot].hierarchy;
  std::map<std::uint32_t, const ctn_walk_task*>
      found; /* by pid or tid; the leader speaks for all */
  for (const ctn_walk_task& task : tasks) {
    Slot own = container_of(task, hierarchy);
    bool member = !has_exited(task) && (recursive ? tree::within(state, own, slot) : own == slot);
    if (!member) continue;
    const ctn_walk_task*& entry = found[threads ? task.tid : task.tgid];
    if (entry == nullptr || task.tid == task.tgid) entry = &task;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& [pid, task] : found) {
    if (!context.json) {
      fmt::print("{}\n", pid);
      continue;
    }
    static constexpr std::string_view kStates = "RSDTtXZPI";
    std::size_t state_bit =
        task->state == 0 ? 0 : 1 + static_cast<std::size_t>(__builtin_ctz(task->state));
    nlohmann::ordered_json one;
    one["pid"] = task->tgid;
    one["tid"] = pid;
    one["comm"] = portable({task->comm, ::strnlen(task->comm, sizeof(task->comm))});
    one["uid"] = task->uid;
    one["state"] = std::string(1, state_bit < kStates.size() ? kStates[state_bit] : '?');
    one["container"] = portable(tree::address_of(state, container_of(*task, hierarchy)));
    json.push_back(one);
  }
  if (context.json) print_json(json);
  return {};
}

Result<void> where(const Context& context, const std::string& text) {
  CTN_ASSIGN(int pid, parse_pid(text));
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(ctn_walk_task task, live_task(context.pins(), pid));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    Slot slot = container_of(task, h);
    if (slot >= state.nodes().size()) slot = h;
    std::string subsystems = subsystem_list(state, h);
    std::string path = tree::path_of(state, slot);
    bool lingering = slot >= CTN_MAX_HIER && state.nodes()[slot].state == CTN_REMOVED;
    /* A hierarchy without subsystems goes by its own name. */
    std::string name = subsystems.empty() ? tree::hierarchy_name(state, h) : subsystems;
    if (!context.json)
      fmt::print("{}:{}{}\n", name, printable(path), lingering ? " (removed)" : "");
    json.push_back({{"hierarchy", tree::hierarchy_name(state, h)},
                    {"subsystems", subsystems},
                    {"path", portable(path)},
                    {"removed", lingering}});
  }
  if (context.json) print_json(json);
  return {};
}

}  // namespace

void add_attach(CLI::App& app, Context& context) {
  struct Options {
    std::string address;
    std::vector<std::string> pids;
    bool thread = false;
    bool tree = false;
    bool within = false;
    bool move = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_option("PID", options->pids, "processes, with all their threads")->required();
  auto* thread =
      app.add_flag("--thread", options->thread, "PID is a thread id: move that thread alone");
  app.add_flag("--tree", options->tree, "with all descendants, those forked meanwhile too")
      ->excludes(thread);
  app.add_flag("--within-limits", options->within,
               "refuse what would exceed a limit, as things are when the attach begins");
  app.add_flag("--move", options->move,
               "also out of a group of a service manager or with limits (`doctor`)");
  app.callback([&context, options] {
    auto writer = open_writer(context, BringUp::kNo, Writer::Slots::kUsed);
    if (writer) writer->allow_moves(options->move);
    auto slot = writer ? tree::find(*writer, options->address) : Result<Slot>(writer.error());
    if (!slot) {
      context.exit_code = fail(context, slot.error());
      return;
    }
    context.exit_code =
        for_each(context, options->pids, [&](const std::string& one) -> Result<void> {
          CTN_ASSIGN(int pid, parse_pid(one));
          Limits limits = options->within ? Limits::kWithin : Limits::kIgnore;
          CTN_TRY(options->tree ? attach_tree(*writer, *slot, pid, limits)
                                : attach(*writer, *slot, pid, options->thread, limits));
          return {};
        });
  });
}

void add_ps(CLI::App& app, Context& context) {
  struct Options {
    std::string address;
    bool recursive = false;
    bool threads = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.add_flag("--threads", options->threads, "list threads, not processes");
  app.callback([&context, options] {
    if (auto done = ps(context, options->address, options->recursive, options->threads); !done)
      context.exit_code = fail(context, done.error());
  });
}

void add_where(CLI::App& app, Context& context) {
  auto pid = std::make_shared<std::string>();
  app.add_option("PID", *pid, "process or thread id")->required();
  app.callback([&context, pid] {
    if (auto done = where(context, *pid); !done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli

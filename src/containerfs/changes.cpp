#include "changes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <sstream>

#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/address.h"
#include "ctnbpf/confirmed.h"
#include "ctnbpf/tree.h"
#include "held.h"
#include "numbers.h"

namespace ctnbpf::containerfs {
namespace {

constexpr std::size_t kLongest = 4096; /* value */
constexpr int kTogether = 32;          /* jobs under one lock: others wait for it, too */

std::string trimmed(const std::string& text) {
  constexpr const char* kSpace = " \t\r\n\v\f";
  std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

Result<pid_t> parse_number(const std::string& text) {
  pid_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool whole = error == std::errc() && end == text.data() + text.size();
  if (whole && number >= 0) return number;
  if (error == std::errc::result_out_of_range && text[0] != '-')
    return Error{ESRCH, fmt::format("no task {}", printable(text.substr(0, 80)))};
  return Error{EINVAL, fmt::format("'{}' is not the number of a task: write one number, or 0 for "
                                   "the writer itself",
                                   printable(text.substr(0, 80)))};
}

Error not_seen(pid_t number, bool thread) {
  return {ESRCH, fmt::format("no {} {} in the writer's pid namespace",
                             thread ? "thread" : "process", number)};
}

/* In our numbers, of what the client wrote to `tasks` (`thread`) or `procs`. */
Result<pid_t> task_meant(const Pins& pins, pid_t number, bool thread, const Client& client) {
  if (number == 0 && client.thread == 0)
    return Error{ESRCH,
                 "the writer cannot be seen from the server's pid namespace: write its "
                 "number from there"};
  if (number == 0) {
    CTN_ASSIGN(auto writer, walk_tasks(pins, client.thread));
    if (writer.empty()) return Error{ESRCH, "the writer is gone"};
    return static_cast<pid_t>(thread ? writer[0].tid : writer[0].tgid);
  }
  Numbers numbers = Numbers::of(client.thread);
  if (numbers.same()) return number;
  CTN_ASSIGN(auto all, walk_tasks(pins));
  auto ours = numbers.ours(number, all);
  return ours ? Result<pid_t>(*ours) : not_seen(number, thread);
}

Result<void> move(Writer& writer, Slot slot, bool thread, const std::string& text,
                  const Client& opener, const Client& client) {
  CTN_ASSIGN(pid_t number, parse_number(text));
  CTN_ASSIGN(pid_t meant, task_meant(writer.pins(), number, thread, client));
  /* What is allowed is for the task that is looked at. That it ends, and another of somebody else's gets its
   * number, can happen up to the move itself: then what was moved goes back. */
  HeldTask held(meant);
  CTN_ASSIGN(auto all, walk_tasks(writer.pins()));
  std::vector<ctn_walk_task> threads;
  for (const ctn_walk_task& task : all)
    if (!has_exited(task) && static_cast<pid_t>(thread ? task.tid : task.tgid) == meant)
      threads.push_back(task);
  std::vector<ctn_walk_task> process;
  for (const ctn_walk_task& task : all)
    if (!has_exited(task) && !threads.empty() && task.tgid == threads[0].tgid)
      process.push_back(task);
  for (const Client* one : {&opener, &client})
    CTN_TRY(may_attach(writer, slot, *one, threads, process));
  for (const ctn_walk_task& task : threads)
    if (slot >= CTN_MAX_HIER && static_cast<pid_t>(task.tgid) == ::getpid())
      return Error{EINVAL, fmt::format("process {} serves this file system: it stays in the root, "
                                       "where nothing limits it",
                                       number)};
  CTN_TRY(attach_confirmed(writer, slot, meant, thread, [&]() -> Result<void> {
    if (held.there()) return {};
    return Error{ESRCH, fmt::format("{} {} ended while it was moved", thread ? "thread" : "process",
                                    number)};
  }));
  return {};
}

/* Of `.set`: a setting a line. */
Result<std::vector<std::string>> settings_in(const std::string& text, bool& best_effort) {
  std::vector<std::string> settings;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line == "--best-effort")
      best_effort = true;
    else
      settings.push_back(line);
  }
  if (settings.empty())
    return Error{EINVAL, "no setting: write ATTRIBUTE=VALUE, one a line; all are made, or none"};
  return settings;
}

Result<void> set(Writer& writer, const Inode& inode, const std::string& text, const Client& opener,
                 const Client& client) {
  std::vector<std::string> settings;
  bool best_effort = false;
  if (inode.file == kSet) {
    CTN_ASSIGN(settings, settings_in(text, best_effort));
  } else {
    auto ref = Layout::attribute(inode);
    if (!ref) return Error{EACCES, "this file is only read"};
    settings.push_back(ref->full_name + "=" + text);
  }
  Ownership owner = attributes_ownership(writer, inode.slot);
  for (const Client* one : {&opener, &client})
    if (!may_write(owner, *one))
      return Error{EACCES,
                   fmt::format("user {} may not set attributes of {}: that is for the owner of the "
                               "container above",
                               one->uid, printable(tree::address_of(writer, inode.slot)))};
  auto done = set_attributes(writer, inode.slot, settings, best_effort);
  if (done || done.error().code != ENOTSUP) return done;
  return Error{ENOTSUP, done.error().what + "; `ctnbpf doctor` says why, and the cure"};
}

Result<void> check_alive(const State& state, const Inode& inode, int code) {
  static const Style kAny;
  if (Layout(kAny, state).alive(inode)) return {};
  return Error{code, "the container is gone"};
}

/* May this client make, rename and remove in `parent`? */
Result<void> may_change(const State& state, const Inode& parent, const Client& client) {
  if (parent.file == kTop)
    return Error{EPERM,
                 "this directory has the hierarchies: `ctnbpf hierarchy` makes and destroys "
                 "them"};
  CTN_TRY(check_alive(state, parent, ENOENT));
  if (may_write(directory_ownership(state, parent.slot), client)) return {};
  return Error{EACCES, fmt::format("user {} may not change what is in {}", client.uid,
                                   printable(tree::address_of(state, parent.slot)))};
}

Result<Slot> child_of(const State& state, const Inode& parent, const std::string& name) {
  Slot child = tree::find_child(state, parent.slot, name);
  if (child != 0) return child;
  return Error{ENOENT, fmt::format("no container '{}' in {}", printable(name),
                                   printable(tree::address_of(state, parent.slot)))};
}

}  // namespace

void Changes::submit(Writer::Slots slots, Job job) {
  std::lock_guard lock(mutex_);
  jobs_.push_back({slots, std::move(job)});
  came_.notify_one();
}

Changes::Item Changes::next() {
  std::unique_lock lock(mutex_);
  came_.wait(lock, [this] { return !jobs_.empty(); });
  Item item = std::move(jobs_.front());
  jobs_.pop_front();
  return item;
}

/* Is there a next one that a Writer with these slots can do? */
bool Changes::more(Writer::Slots slots) {
  std::lock_guard lock(mutex_);
  return !jobs_.empty() && (slots == Writer::Slots::kAll || jobs_.front().slots == slots);
}

void Changes::run() {
  for (;;) {
    Item first = next();
    auto writer = Writer::open(pins_, first.slots);
    first.job(writer);
    for (int i = 1; i < kTogether && more(first.slots); i++) next().job(writer);
  }
}

Result<void> write_file(Writer& writer, const Inode& inode, const std::string& text,
                        const Client& opener, const Client& client) {
  CTN_TRY(check_alive(writer, inode, ENODEV));
  if (text.size() > kLongest)
    return Error{EINVAL, fmt::format("{} bytes are no value: write one of at most {} bytes",
                                     text.size(), kLongest)};
  std::string value = trimmed(text);
  if (value.find('\0') != std::string::npos)
    return Error{EINVAL, "there is a zero byte in the value"};
  bool list = inode.file == kTasks || inode.file == kProcs;
  return list ? move(writer, inode.slot, inode.file == kTasks, value, opener, client)
              : set(writer, inode, value, opener, client);
}

Result<Slot> make_directory(Writer& writer, const Inode& parent, const std::string& name,
                            mode_t mode, const Client& client) {
  CTN_TRY(may_change(writer, parent, client));
  CTN_ASSIGN(Slot slot, tree::create(writer, parent.slot, name));
  set_directory_mode(writer, slot, mode);
  give_to(writer, slot, {client.uid, client.gid});
  return slot;
}

Result<void> remove_directory(Writer& writer, const Inode& parent, const std::string& name,
                              const Client& client) {
  CTN_TRY(may_change(writer, parent, client));
  CTN_ASSIGN(Slot slot, child_of(writer, parent, name));
  /* Nobody can come in meanwhile: there is nobody in it to fork, and who attaches needs the lock. */
  const ctn_node& node = writer.nodes()[slot];
  bool only_references = node.children == 0 && live_tasks(node) == 0;
  return tree::remove(writer, slot, only_references);
}

Result<void> rename_directory(Writer& writer, const Inode& parent, const std::string& name,
                              const Inode& to, const std::string& wanted, const Client& client) {
  CTN_TRY(may_change(writer, parent, client));
  CTN_ASSIGN(Slot slot, child_of(writer, parent, name));
  if (!(parent == to))
    return Error{EPERM, fmt::format("{} stays below its parent: only its name can change",
                                    printable(tree::address_of(writer, slot)))};
  return tree::rename(writer, slot, wanted);
}

Result<void> change_status(Writer& writer, const Inode& inode, const NewStatus& status,
                           const Client& client) {
  CTN_TRY(check_alive(writer, inode, ENOENT));
  bool list = inode.file == kTasks || inode.file == kProcs;
  if (!list && inode.file != kDirectory)
    return Error{EPERM,
                 "who may use this file follows from who owns the directories: change those"};
  Ownership now =
      list ? tasks_ownership(writer, inode.slot) : directory_ownership(writer, inode.slot);
  bool new_owner = status.uid && *status.uid != now.uid;
  if (client.uid != 0 && (client.uid != now.uid || new_owner))
    return Error{EPERM, fmt::format("user {} may not change the {} of this file", client.uid,
                                    new_owner ? "owner" : "mode")};
  uid_t uid = status.uid.value_or(now.uid);
  gid_t gid = status.gid.value_or(now.gid);
  if (status.uid || status.gid)
    list ? set_tasks_owner(writer, inode.slot, uid, gid)
         : set_directory_owner(writer, inode.slot, uid, gid);
  if (status.mode)
    list ? set_tasks_mode(writer, inode.slot, *status.mode)
         : set_directory_mode(writer, inode.slot, *status.mode);
  return {};
}

}  // namespace ctnbpf::containerfs

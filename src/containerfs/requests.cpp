#include "requests.h"

#include <poll.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "answers.h"
#include "contents.h"
#include "ctnbpf/tree.h"
#include "server.h"

namespace ctnbpf::containerfs {
namespace {

/* A file that a client has open: the text is of the moment it was opened, or was last read from the start. */
struct OpenFile {
  Inode inode;
  Client opener;
  std::mutex mutex;
  std::string text;
  std::optional<Error> failed;
  bool was_read = false;
  std::optional<Question> question; /* of .where and .explain */
};

struct OpenDirectory {
  std::vector<Entry> entries;
};

Server& server_of(fuse_req_t req) { return *static_cast<Server*>(fuse_req_userdata(req)); }

OpenFile& file_of(const fuse_file_info* fi) { return *reinterpret_cast<OpenFile*>(fi->fh); }

Client client_of(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  Client client{context->pid, context->uid, context->gid, {}};
  if (client.uid == 0) return client;
  client.groups.resize(64);
  int count = fuse_req_getgroups(req, static_cast<int>(client.groups.size()), client.groups.data());
  if (count > static_cast<int>(client.groups.size())) {
    client.groups.resize(static_cast<std::size_t>(count));
    count = fuse_req_getgroups(req, count, client.groups.data());
  }
  client.groups.resize(
      static_cast<std::size_t>(std::clamp(count, 0, static_cast<int>(client.groups.size()))));
  return client;
}

/* Nothing is up any more: so there is nothing here. */
Error as_gone(const Error& error) {
  return error.code == ENOENT ? Error{ENODEV, error.what} : error;
}

/* Has `work` answer the request, or answers it with the errno of what it returns. */
template <typename Work>
void answer(fuse_req_t req, const Work& work) {
  int code = 0;
  try {
    Result<void> done = work();
    if (!done) code = done.error().code;
  } catch (const std::bad_alloc&) {
    code = ENOMEM;
  } catch (const std::exception&) {
    code = EIO;
  }
  if (code != 0) (void)fuse_reply_err(req, code);
}

/* The same with the writer lock, later. What is wrong is noted in .errors. */
template <typename Work>
void change(fuse_req_t req, const Inode& inode, const Work& work,
            Writer::Slots slots = Writer::Slots::kUsed) {
  Server& server = server_of(req);
  Client client = client_of(req);
  server.changes().submit(slots, [&server, req, inode, client, work](Result<Writer>& writer) {
    answer(req, [&]() -> Result<void> {
      if (!writer) return as_gone(writer.error());
      Layout layout(server.style(), *writer);
      Result<void> done = work(*writer, layout, client);
      if (!done) server.journal().add(client, layout.path(inode), done.error().what);
      return done;
    });
  });
}

/* The directory `number` stands for, if it is still there. */
Result<Inode> directory(const Layout& layout, fuse_ino_t number) {
  CTN_ASSIGN(Inode dir, layout.resolve(Inode::of(number)));
  if (!layout.alive(dir)) return Error{ENOENT, "the container is gone"};
  if (!is_directory(dir)) return Error{ENOTDIR, "no directory"};
  return dir;
}

void reply_entry(fuse_req_t req, const Layout& layout, const Inode& inode) {
  fuse_entry_param entry = {}; /* timeouts of 0: who changes something else changes it here */
  entry.ino = inode.number();
  entry.generation = inode.generation;
  entry.attr = layout.status(inode, entry.ino);
  (void)fuse_reply_entry(req, &entry);
}

Result<void> reply_status(fuse_req_t req, const Layout& layout, fuse_ino_t number) {
  CTN_ASSIGN(Inode inode, layout.resolve(Inode::of(number)));
  if (!layout.alive(inode))
    return Error{is_directory(inode) ? ENOENT : ENODEV, "the container is gone"};
  struct stat st = layout.status(inode, number);
  (void)fuse_reply_attr(req, &st, 0);
  return {};
}

void on_init(void*, fuse_conn_info* connection) {
  connection->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

void on_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  answer(req, [&]() -> Result<void> {
    CTN_ASSIGN(States::Lease state, server_of(req).states().look());
    Layout layout(server_of(req).style(), *state);
    CTN_ASSIGN(Inode dir, directory(layout, parent));
    auto found = layout.find(dir, parent == FUSE_ROOT_ID, name);
    if (!found) return Error{ENOENT, "no such name"};
    reply_entry(req, layout, *found);
    return {};
  });
}

void on_getattr(fuse_req_t req, fuse_ino_t number, fuse_file_info*) {
  answer(req, [&]() -> Result<void> {
    CTN_ASSIGN(States::Lease state, server_of(req).states().look());
    return reply_status(req, Layout(server_of(req).style(), *state), number);
  });
}

void on_setattr(fuse_req_t req, fuse_ino_t number, struct stat* st, int to_set, fuse_file_info*) {
  NewStatus wanted;
  if ((to_set & FUSE_SET_ATTR_UID) != 0) wanted.uid = st->st_uid;
  if ((to_set & FUSE_SET_ATTR_GID) != 0) wanted.gid = st->st_gid;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) wanted.mode = st->st_mode;
  if (!wanted.uid && !wanted.gid && !wanted.mode) { /* a size or a time: a value has none */
    on_getattr(req, number, nullptr);
    return;
  }
  change(req, Inode::of(number),
         [=](Writer& writer, const Layout& layout, const Client& client) -> Result<void> {
           CTN_ASSIGN(Inode inode, layout.resolve(Inode::of(number)));
           CTN_TRY(change_status(writer, inode, wanted, client));
           return reply_status(req, layout, number);
         });
}

void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  change(
      req, Inode::of(parent),
      [=, wanted = std::string(name)](Writer& writer, const Layout& layout,
                                      const Client& client) -> Result<void> {
        CTN_ASSIGN(Inode dir, directory(layout, parent));
        if (layout.find(dir, parent == FUSE_ROOT_ID, wanted))
          return Error{EEXIST, "'" + printable(wanted) + "' exists already"};
        CTN_ASSIGN(Slot slot, make_directory(writer, dir, wanted, mode, client));
        reply_entry(req, layout, layout.directory(slot));
        return {};
      },
      Writer::Slots::kAll);
}

void on_rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  change(req, Inode::of(parent),
         [=, gone = std::string(name)](Writer& writer, const Layout& layout,
                                       const Client& client) -> Result<void> {
           CTN_ASSIGN(Inode dir, directory(layout, parent));
           CTN_TRY(remove_directory(writer, dir, gone, client));
           (void)fuse_reply_err(req, 0);
           return {};
         });
}

void on_rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t to,
               const char* wanted, unsigned flags) {
  change(req, Inode::of(parent),
         [=, from = std::string(name), into = std::string(wanted)](
             Writer& writer, const Layout& layout, const Client& client) -> Result<void> {
           if ((flags & ~1U) != 0) /* RENAME_NOREPLACE is what happens in any case */
             return Error{EINVAL, "two containers cannot change places"};
           CTN_ASSIGN(Inode old_dir, directory(layout, parent));
           CTN_ASSIGN(Inode new_dir, directory(layout, to));
           CTN_TRY(rename_directory(writer, old_dir, from, new_dir, into, client));
           (void)fuse_reply_err(req, 0);
           return {};
         });
}

/* The text of a file, into what a client has open. */
void take_text(Server& server, OpenFile& file) {
  auto text = [&]() -> Result<std::string> {
    if (file.inode.file == kErrors) return server.journal().text(file.opener.uid);
    CTN_ASSIGN(States::Lease state, server.states().look());
    Layout layout(server.style(), *state);
    if (!layout.alive(file.inode)) return Error{ENODEV, "the container is gone"};
    Question question = file.question.value_or(Question{0, file.opener});
    if (file.inode.file == kWhere) return where_text(*state, question, file.opener);
    if (file.inode.file == kExplain) return explain_text(*state, question, file.opener);
    return contents(layout, server.style(), file.inode, file.opener);
  }();
  file.failed.reset();
  if (text)
    file.text = std::move(*text);
  else
    file.failed = text.error();
}

bool is_question(const Inode& inode) { return inode.file == kWhere || inode.file == kExplain; }

void on_open(fuse_req_t req, fuse_ino_t number, fuse_file_info* fi) {
  answer(req, [&]() -> Result<void> {
    auto file = std::make_unique<OpenFile>();
    file->inode = Inode::of(number);
    file->opener = client_of(req);
    bool asks = is_question(file->inode) && (fi->flags & O_ACCMODE) != O_RDONLY;
    if (asks) file->was_read = true; /* what is to be read is not known yet */
    if (!asks && (fi->flags & O_ACCMODE) != O_WRONLY) take_text(server_of(req), *file);
    if (file->failed && file->failed->code == ENODEV) return *file->failed;
    fi->fh = reinterpret_cast<std::uint64_t>(file.get());
    fi->direct_io = 1;
    if (fuse_reply_open(req, fi) == 0) (void)file.release(); /* else the client is gone */
    return {};
  });
}

void on_release(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  server_of(req).watch().remove(&file_of(fi));
  delete &file_of(fi);
  (void)fuse_reply_err(req, 0);
}

void on_read(fuse_req_t req, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info* fi) {
  answer(req, [&]() -> Result<void> {
    Server& server = server_of(req);
    OpenFile& file = file_of(fi);
    std::lock_guard lock(file.mutex);
    if (offset == 0 && file.was_read) {
      take_text(server, file);
    } else {
      CTN_ASSIGN(States::Lease state, server.states().look());
      if (!Layout(server.style(), *state).alive(file.inode))
        return Error{ENODEV, "the container is gone"};
    }
    file.was_read = true;
    if (file.failed) {
      server.journal().add(file.opener, "", file.failed->what);
      return *file.failed;
    }
    std::size_t from = std::min(static_cast<std::size_t>(offset), file.text.size());
    (void)fuse_reply_buf(req, file.text.data() + from, std::min(size, file.text.size() - from));
    return {};
  });
}

/* What is read next is the answer. */
void ask(fuse_req_t req, OpenFile& file, const std::string& text) {
  answer(req, [&]() -> Result<void> {
    auto question = parse_question(text, client_of(req));
    if (!question) {
      server_of(req).journal().add(client_of(req), "", question.error().what);
      return question.error();
    }
    std::lock_guard lock(file.mutex);
    file.question = *question;
    file.was_read = true;
    (void)fuse_reply_write(req, text.size());
    return {};
  });
}

void on_write(fuse_req_t req, fuse_ino_t number, const char* data, std::size_t size, off_t,
              fuse_file_info* fi) {
  if (is_question(file_of(fi).inode)) return ask(req, file_of(fi), std::string(data, size));
  change(req, Inode::of(number),
         [=, text = std::string(data, size), opener = file_of(fi).opener](
             Writer& writer, const Layout& layout, const Client& client) -> Result<void> {
           CTN_ASSIGN(Inode inode, layout.resolve(Inode::of(number)));
           CTN_TRY(write_file(writer, inode, text, opener, client));
           (void)fuse_reply_write(req, size);
           return {};
         });
}

void on_poll(fuse_req_t req, fuse_ino_t, fuse_file_info* fi, fuse_pollhandle* waiter) {
  Server& server = server_of(req);
  OpenFile& file = file_of(fi);
  auto drop = [](fuse_pollhandle* handle) { fuse_pollhandle_destroy(handle); };
  std::unique_ptr<fuse_pollhandle, decltype(drop)> owned(waiter, drop);
  answer(req, [&]() -> Result<void> {
    unsigned ready = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
    if (file.inode.file == kEvents) {
      std::lock_guard lock(file.mutex);
      if (owned) server.watch().add(&file, file.inode, file.text, owned.release());
      /* After that, so that no change is between the two. */
      if (events_now(server.states(), file.inode) != file.text) ready |= POLLPRI | POLLERR;
    }
    (void)fuse_reply_poll(req, ready);
    return {};
  });
}

void on_opendir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  answer(req, [&]() -> Result<void> {
    auto opened = std::make_unique<OpenDirectory>();
    fi->fh = reinterpret_cast<std::uint64_t>(opened.get());
    if (fuse_reply_open(req, fi) == 0) (void)opened.release();
    return {};
  });
}

void on_releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  delete reinterpret_cast<OpenDirectory*>(fi->fh);
  (void)fuse_reply_err(req, 0);
}

void on_readdir(fuse_req_t req, fuse_ino_t number, std::size_t size, off_t offset,
                fuse_file_info* fi) {
  answer(req, [&]() -> Result<void> {
    auto& opened = *reinterpret_cast<OpenDirectory*>(fi->fh);
    if (offset == 0) {
      CTN_ASSIGN(States::Lease state, server_of(req).states().look());
      Layout layout(server_of(req).style(), *state);
      CTN_ASSIGN(Inode dir, directory(layout, number));
      opened.entries = {{".", Inode::of(number)}, {"..", Inode::of(FUSE_ROOT_ID)}};
      for (Entry& one : layout.list(dir, number == FUSE_ROOT_ID))
        opened.entries.push_back(std::move(one));
    }
    std::vector<char> buffer(size);
    std::size_t used = 0;
    for (auto at = static_cast<std::size_t>(offset); at < opened.entries.size(); at++) {
      const Entry& entry = opened.entries[at];
      struct stat st = {};
      st.st_ino = entry.inode.number();
      st.st_mode = is_directory(entry.inode) ? S_IFDIR : S_IFREG;
      std::size_t need = fuse_add_direntry(req, buffer.data() + used, size - used,
                                           entry.name.c_str(), &st, static_cast<off_t>(at + 1));
      if (need > size - used) break;
      used += need;
    }
    (void)fuse_reply_buf(req, buffer.data(), used);
    return {};
  });
}

void on_statfs(fuse_req_t req, fuse_ino_t) {
  struct statvfs all = {};
  all.f_bsize = all.f_frsize = 4096;
  all.f_namemax = CTN_NAME_MAX;
  (void)fuse_reply_statfs(req, &all);
}

/* A directory is a container, and its files are what a container has: nothing else can be made. */
void refuse(fuse_req_t req) { (void)fuse_reply_err(req, EPERM); }

}  // namespace

const fuse_lowlevel_ops& requests() {
  static const fuse_lowlevel_ops kRequests = [] {
    fuse_lowlevel_ops all = {};
    all.init = on_init;
    all.lookup = on_lookup;
    all.getattr = on_getattr;
    all.setattr = on_setattr;
    all.mkdir = on_mkdir;
    all.rmdir = on_rmdir;
    all.rename = on_rename;
    all.open = on_open;
    all.release = on_release;
    all.read = on_read;
    all.write = on_write;
    all.poll = on_poll;
    all.opendir = on_opendir;
    all.releasedir = on_releasedir;
    all.readdir = on_readdir;
    all.statfs = on_statfs;
    all.create = [](fuse_req_t req, fuse_ino_t, const char*, mode_t, fuse_file_info*) {
      refuse(req);
    };
    all.mknod = [](fuse_req_t req, fuse_ino_t, const char*, mode_t, dev_t) { refuse(req); };
    all.unlink = [](fuse_req_t req, fuse_ino_t, const char*) { refuse(req); };
    all.symlink = [](fuse_req_t req, const char*, fuse_ino_t, const char*) { refuse(req); };
    all.link = [](fuse_req_t req, fuse_ino_t, fuse_ino_t, const char*) { refuse(req); };
    return all;
  }();
  return kRequests;
}

}  // namespace ctnbpf::containerfs

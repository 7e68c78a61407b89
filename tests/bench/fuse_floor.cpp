/* fuse_floor DIR: mounts a file system that does nothing there, in the foreground: one empty file, `empty`, of which
 * nothing is kept by the kernel, as nothing is of containerfs. What is left of the cost of that without its work. */
#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr fuse_ino_t kFile = 2;
constexpr int kThreads = 4; /* as many as containerfs has */

struct stat status(fuse_ino_t number) {
  struct stat st = {};
  st.st_ino = number;
  st.st_mode = number == kFile ? S_IFREG | 0444 : S_IFDIR | 0755;
  st.st_nlink = 1;
  return st;
}

void on_lookup(fuse_req_t req, fuse_ino_t, const char* name) {
  fuse_entry_param entry = {};
  entry.ino = kFile;
  entry.attr = status(kFile);
  (void)(std::strcmp(name, "empty") == 0 ? fuse_reply_entry(req, &entry)
                                         : fuse_reply_err(req, ENOENT));
}

void on_getattr(fuse_req_t req, fuse_ino_t number, fuse_file_info*) {
  struct stat st = status(number);
  (void)fuse_reply_attr(req, &st, 0);
}

void on_open(fuse_req_t req, fuse_ino_t, fuse_file_info* fi) {
  fi->direct_io = 1;
  (void)fuse_reply_open(req, fi);
}

void on_read(fuse_req_t req, fuse_ino_t, std::size_t, off_t, fuse_file_info*) {
  (void)fuse_reply_buf(req, nullptr, 0);
}

void serve(fuse_session* session) {
  fuse_buf buffer = {};
  while (fuse_session_exited(session) == 0) {
    int got = fuse_session_receive_buf(session, &buffer);
    if (got == -EINTR) continue;
    if (got <= 0) return;
    fuse_session_process_buf(session, &buffer);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuse_floor DIR\n");
    return 2;
  }
  std::string name = argv[0];
  std::string dash_o = "-o";
  std::string words = "allow_other,default_permissions,noexec,subtype=floor,fsname=floor";
  char* own[] = {name.data(), dash_o.data(), words.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, own);
  fuse_lowlevel_ops all = {};
  all.lookup = on_lookup;
  all.getattr = on_getattr;
  all.open = on_open;
  all.read = on_read;
  fuse_session* session = fuse_session_new(&args, &all, sizeof(all), nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[1]) != 0) return 1;
  std::printf("mounted\n");
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; i++) threads.emplace_back(serve, session);
  for (std::thread& one : threads) one.join();
  fuse_session_destroy(session);
}

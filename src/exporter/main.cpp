/* ctnbpf-exporter: what `ctnbpf exporter` becomes. Keeps nothing between two scrapes. */
#include <fmt/format.h>
#include <malloc.h>
#include <microhttpd.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "ctnbpf/address.h"
#include "listen.h"
#include "negotiate.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::exporter {
namespace {

constexpr unsigned kThreads = 4; /* scrapes at once; more wait */
constexpr unsigned kConnections = 64;
constexpr unsigned kTimeout = 10; /* seconds for a client that sends or takes nothing */

constexpr int kKept = 64 << 20; /* bytes */

struct Options {
  std::string pin_root = kDefaultPinRoot;
  std::string listen;
  metrics::Selection selection;
};

MHD_Result answer(MHD_Connection* connection, unsigned status, const char* type, char* text,
                  std::size_t size, MHD_ResponseMemoryMode mode) {
  MHD_Response* response = MHD_create_response_from_buffer(size, text, mode);
  if (response == nullptr) {
    if (mode == MHD_RESPMEM_MUST_FREE) std::free(text);
    return MHD_NO;
  }
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  MHD_Result queued = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return queued;
}

MHD_Result say(MHD_Connection* connection, unsigned status, const std::string& text) {
  return answer(connection, status, "text/plain; charset=utf-8", const_cast<char*>(text.data()),
                text.size(), MHD_RESPMEM_MUST_COPY);
}

/* Text as it grows, in memory that the answer then owns. A memory stream of the C library clears what it gets,
 * which took a fifth of a scrape. */
class Text {
 public:
  Text()
      : room_(last_size + last_size / 8 + kLeast), data_(static_cast<char*>(std::malloc(room_))) {
    cookie_io_functions_t calls = {};
    calls.write = [](void* text, const char* piece, std::size_t size) {
      return static_cast<Text*>(text)->add(piece, size);
    };
    file_ = data_ != nullptr ? ::fopencookie(this, "w", calls) : nullptr;
    if (file_ != nullptr) std::setvbuf(file_, nullptr, _IONBF, 0); /* the writer has a buffer */
  }
  ~Text() {
    if (file_ != nullptr) (void)std::fclose(file_);
    std::free(data_);
  }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  std::FILE* file() const { return file_; }
  /* Is all of it here? */
  bool is_whole() const { return std::ferror(file_) == 0; }
  std::size_t size() const { return size_; }
  char* release() {
    last_size = size_;
    return std::exchange(data_, nullptr);
  }

 private:
  ssize_t add(const char* piece, std::size_t size) {
    if (size > room_ - size_) {
      std::size_t room = std::max(2 * room_, size_ + size);
      auto* data = static_cast<char*>(std::realloc(data_, room));
      if (data == nullptr) return 0;
      data_ = data;
      room_ = room;
    }
    std::memcpy(data_ + size_, piece, size);
    size_ += size;
    return static_cast<ssize_t>(size);
  }

  static constexpr std::size_t kLeast = 64 * 1024;
  static inline std::atomic<std::size_t> last_size{0}; /* the next is likely as large */
  std::size_t room_;
  std::size_t size_ = 0;
  char* data_;
  std::FILE* file_ = nullptr;
};

MHD_Result scrape(MHD_Connection* connection, const Options& options) {
  const char* accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
  metrics::Format format = negotiate(accept != nullptr ? accept : "");
  Text text;
  if (text.file() == nullptr) return MHD_NO;
  auto done = metrics::collect(Pins(options.pin_root), options.selection, format, CTNBPF_VERSION,
                               text.file());
  if (done && text.is_whole()) {
    std::size_t size = text.size();
    return answer(connection, MHD_HTTP_OK, content_type(format), text.release(), size,
                  MHD_RESPMEM_MUST_FREE);
  }
  return say(
      connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
      "ctnbpf: " + (done ? std::string("no memory for the figures") : done.error().what) + "\n");
}

MHD_Result handle(void* options, MHD_Connection* connection, const char* url, const char* method,
                  const char*, const char*, std::size_t*, void**) {
  bool get = std::strcmp(method, "GET") == 0 || std::strcmp(method, "HEAD") == 0;
  if (!get) return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
  if (std::strcmp(url, "/metrics") == 0)
    return scrape(connection, *static_cast<const Options*>(options));
  if (std::strcmp(url, "/") == 0)
    return say(connection, MHD_HTTP_OK, "ctnbpf exporter: see /metrics\n");
  return say(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n");
}

int serve(Options& options) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  sigprocmask(SIG_BLOCK, &end, nullptr); /* before there are threads */
  signal(SIGPIPE, SIG_IGN);
  /* What a scrape had is there for the next, instead of being given back and faulted in again. */
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, kKept);
  mallopt(M_TRIM_THRESHOLD, kKept);
  auto fd = listen_on(options.listen);
  if (!fd) {
    fmt::print(stderr, "ctnbpf: {}\n", fd.error().what);
    return 1;
  }
  MHD_Daemon* daemon =
      MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, handle,
                       &options, MHD_OPTION_LISTEN_SOCKET, fd->get(), MHD_OPTION_THREAD_POOL_SIZE,
                       kThreads, MHD_OPTION_CONNECTION_LIMIT, kConnections,
                       MHD_OPTION_CONNECTION_TIMEOUT, kTimeout, MHD_OPTION_END);
  if (daemon == nullptr) {
    fmt::print(stderr, "ctnbpf: the HTTP server cannot be started: {}\n", std::strerror(errno));
    return 1;
  }
  (void)fd->release(); /* the daemon has it, until it is stopped */
  int signal_number = 0;
  sigwait(&end, &signal_number);
  /* The socket is taken back first: stopping shuts it down, for everybody, and it may be systemd's. */
  UniqueFd listening(MHD_quiesce_daemon(daemon));
  MHD_stop_daemon(daemon);
  if (options.listen.starts_with("unix:")) ::unlink(options.listen.substr(5).c_str());
  return 0;
}

}  // namespace
}  // namespace ctnbpf::exporter

int main(int argc, char** argv) {
  ctnbpf::exporter::Options options;
  CLI::App app("Serves figures of ctnbpf's containers; started by `ctnbpf exporter`.");
  app.add_option("--bpffs", options.pin_root);
  app.add_option("--listen", options.listen);
  app.add_option("--match", options.selection.match);
  app.add_option("--depth", options.selection.depth);
  app.add_flag("--transient", options.selection.transient);
  CLI11_PARSE(app, argc, argv);
  return ctnbpf::exporter::serve(options);
}

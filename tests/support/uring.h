/* As much of io_uring as opens a file. */
#pragma once

#include <linux/io_uring.h>

#include <memory>

namespace ctnbpf::test {

class Uring {
 public:
  enum class Open {
    kByWorker, /* by a thread of the kernel's, into a descriptor */
    kDirect,   /* into the ring's own table: no descriptor */
  };

  /* Null: this kernel has none, or forbids it. */
  static std::unique_ptr<Uring> make();
  ~Uring();
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  /* The descriptor, 0 for a direct one, or a negative errno. */
  int open(const char* path, Open how);

 private:
  Uring(int fd, const io_uring_params& params);

  int fd_;
  io_uring_params params_;
  char* rings_;
  io_uring_sqe* entries_;
};

}  // namespace ctnbpf::test

#include "uring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace ctnbpf::test {
namespace {

constexpr unsigned kEntries = 4;

void* map(int fd, std::size_t size, std::uint64_t what) {
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                    static_cast<off_t>(what));
  return at == MAP_FAILED ? nullptr : at;
}

std::size_t rings_size(const io_uring_params& params) {
  return std::max<std::size_t>(params.sq_off.array + params.sq_entries * sizeof(unsigned),
                               params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
}

}  // namespace

std::unique_ptr<Uring> Uring::make() {
  io_uring_params params = {};
  int fd = static_cast<int>(::syscall(SYS_io_uring_setup, kEntries, &params));
  if (fd < 0 || (params.features & IORING_FEAT_SINGLE_MMAP) == 0) return nullptr;
  std::unique_ptr<Uring> ring(new Uring(fd, params));
  if (ring->rings_ == nullptr || ring->entries_ == nullptr) return nullptr;
  return ring;
}

Uring::Uring(int fd, const io_uring_params& params)
    : fd_(fd),
      params_(params),
      rings_(static_cast<char*>(map(fd, rings_size(params), IORING_OFF_SQ_RING))),
      entries_(static_cast<io_uring_sqe*>(
          map(fd, params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES))) {}

Uring::~Uring() {
  if (rings_ != nullptr) ::munmap(rings_, rings_size(params_));
  if (entries_ != nullptr) ::munmap(entries_, params_.sq_entries * sizeof(io_uring_sqe));
  ::close(fd_);
}

int Uring::open(const char* path, Open how) {
  int none = -1; /* a table of one empty place */
  if (how == Open::kDirect &&
      ::syscall(SYS_io_uring_register, fd_, IORING_REGISTER_FILES, &none, 1) != 0)
    return -errno;
  io_uring_sqe& entry = entries_[0];
  entry = {};
  entry.opcode = IORING_OP_OPENAT;
  entry.fd = AT_FDCWD;
  entry.addr = reinterpret_cast<std::uint64_t>(path);
  entry.open_flags = O_RDONLY;
  if (how == Open::kByWorker) entry.flags = IOSQE_ASYNC;
  if (how == Open::kDirect) entry.file_index = 1; /* place 0 */
  *reinterpret_cast<unsigned*>(rings_ + params_.sq_off.array) = 0;
  __atomic_store_n(reinterpret_cast<unsigned*>(rings_ + params_.sq_off.tail), 1U, __ATOMIC_RELEASE);
  if (::syscall(SYS_io_uring_enter, fd_, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1)
    return -errno;
  return reinterpret_cast<io_uring_cqe*>(rings_ + params_.cq_off.cqes)->res;
}

}  // namespace ctnbpf::test

#include "descriptors.h"

#include <sys/socket.h>

#include <cstring>

namespace ctnbpf::test {
namespace {

/* A message of one byte and room for one descriptor. */
struct Message {
  char byte = 'f';
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header = {};

  Message() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
};

}  // namespace

bool send_fd(int socket, int fd, int flags) {
  Message message;
  cmsghdr* part = CMSG_FIRSTHDR(&message.header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(part), &fd, sizeof(fd));
  return ::sendmsg(socket, &message.header, flags) == 1;
}

int receive_fd(int socket, int flags) {
  Message message;
  if (::recvmsg(socket, &message.header, flags) != 1) return -1;
  const cmsghdr* part = CMSG_FIRSTHDR(&message.header);
  if (part == nullptr) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(part), sizeof(fd));
  return fd;
}

}  // namespace ctnbpf::test

/* Passing descriptors over a unix socket, one a message. */
#pragma once

namespace ctnbpf::test {

bool send_fd(int socket, int fd, int flags = 0);
/* -1: nothing came. */
int receive_fd(int socket, int flags = 0);

}  // namespace ctnbpf::test

/* FUSE's operations, for a session whose user data is the Server. */
#pragma once

#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>

namespace ctnbpf::containerfs {

const fuse_lowlevel_ops& requests();

}  // namespace ctnbpf::containerfs

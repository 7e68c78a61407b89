/* Attaching for somebody else, who may do that for some tasks alone. */
#pragma once

#include <functional>

#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"

namespace ctnbpf {

/* As attach(). `confirm` is asked when all are there: with an error they go back, and no subsystem has heard of
 * them. */
Result<AttachResult> attach_confirmed(Writer& writer, Slot slot, pid_t pid, bool one_thread,
                                      const std::function<Result<void>()>& confirm);

}  // namespace ctnbpf

/* Waiting for a grace period. */
#pragma once

namespace ctnbpf {

/* Returns after every BPF program that was running (sleepable ones aside) has ended. Not by
 * membarrier(2): with one CPU that returns at once, and a program may have been preempted. */
void wait_for_programs();

}  // namespace ctnbpf

/* How hooks are written down, once each: in rows of a table that is read three times. bpf/probe.bpf.c makes a
 * program of each to try it with; src/kernel/hooks.h has what the rest of a row says, which BPF's compiler does not
 * look at. The program itself is beside the table.
 *
 *   HOOK(name, section, ...)   a program that looks
 *   GATE(name, section, ...)   one that may refuse
 *   COPY(name, section, ...)   one that works if another does (.like), so that it is not tried by itself
 *
 * Tables are in the order in which programs are attached: those that take back before those that give. */
#ifndef CTNBPF_BPF_HOOK_ROWS_H
#define CTNBPF_BPF_HOOK_ROWS_H

/* Three programs that refuse what a kprobe, `judge`, did not charge: where programs are skipped. They are as short
 * as can be, since a task that is preempted inside of one has it skipped for others on that CPU: to pass, there must
 * be one in each of the three. `single` is the program that does it all where nothing is skipped. */
#define CTN_THREE_GATES(COPY, of, section, in_group, judge, single) \
  CTN_SHORT_GATE(COPY, a_##of, section, in_group, judge, single)    \
  CTN_SHORT_GATE(COPY, b_##of, section, in_group, judge, single)    \
  CTN_SHORT_GATE(COPY, c_##of, section, in_group, judge, single)
#define CTN_SHORT_GATE(COPY, name, section, in_group, judge, single)                  \
  COPY(name, section, .group = in_group, .levels = kFallback, .when = When::kIfSkips, \
       .with = #judge, .like = #single, .skipped = CTN_GATES_SKIPPED)

#define CTN_GATES_SKIPPED \
  "another of the three programs refuses instead; where none does it is counted all the same"

#endif

/* Records shared by the BPF programs and the control plane.
 *
 * This header is read by clang for the BPF target (C) and by the C++ compiler. It holds only
 * fixed-size types, so one definition serves both; the asserts at its end pin the layout. A change
 * here that an older binary would misread needs a new CTN_LAYOUT.
 *
 * Words: a *slot* is the index of a container in every per-container array. Slots 0 .. 7 are the
 * roots of hierarchies 0 .. 7, so a task record of zeroes means "in the root of each".
 * Units are bytes, nanoseconds and plain counts. */
#ifndef CTNBPF_ABI_H
#define CTNBPF_ABI_H

#include <linux/types.h>

#define CTN_LAYOUT 6
#define CTN_MAGIC 0x63746e62 /* "ctnb" */

#define CTN_MAX_HIER 8
#define CTN_MAX_SUBSYS 16
/* Containers below a root may nest this deep; every charge walks at most this many levels. */
#define CTN_MAX_DEPTH 256
#define CTN_NAME_MAX 255
#define CTN_HIER_NAME_MAX 63
#define CTN_UNLIMITED (~0ULL)

/* A counter that is charged up the tree. Low 48 bits: what is charged. High 16 bits: how many of those
 * charges are not granted yet, as a container above may still refuse them. One atomic changes both, so
 * whoever sees a charge also sees whether it counts. */
#define CTN_ONE_CHARGE 1ULL
#define CTN_ONE_PENDING (1ULL << 48)
#define CTN_CHARGED(word) ((word) & (CTN_ONE_PENDING - 1))
#define CTN_GRANTED(word) (CTN_CHARGED(word) - ((word) >> 48))

/* Load-time settings and their defaults. */
#define CTN_DEFAULT_CONTAINERS 65536
#define CTN_DEFAULT_TASKS 131072
#define CTN_DEFAULT_FILES 131072

/* --- the tree ------------------------------------------------------------------------------ */

enum ctn_state {
  CTN_FREE = 0,    /* not in use; on the free list or never used */
  CTN_ACTIVE = 1,  /* in the tree */
  CTN_REMOVED = 2, /* out of the tree, kept until its last task record, reference and child go */
};

enum ctn_flag {
  CTN_NOTIFY_ON_RELEASE = 1 << 0,
  CTN_TRANSIENT = 1 << 1, /* made by `run`; removed when the run and its tasks are gone */
  CTN_KILLING = 1 << 2,   /* `kill` is at work: forks of its tasks are refused */
  CTN_UNMADE = 1 << 3,    /* removed by the command that made it: leaves no tombstone */
  CTN_WATCHED = 1 << 4,   /* `kill` waits: the next time its last task goes is told, once */
  CTN_CROWDED =
      1 << 30, /* in no node: a fork has brought the container above its own part of the table */
};

/* One per slot, a cache line each. The writer lock guards every field but `population` and `refs`,
 * which BPF programs change with atomics; so they take CTN_WATCHED off. */
struct ctn_node {
  /* Low half: task records that name this slot, from fork until the task_struct is freed.
   * High half: those of them that have not exited. One atomic changes both. */
  __u64 population;
  __u32 refs;   /* references held by subsystems' objects (an open file); they block removal */
  __u32 parent; /* slot; a root is its own parent */
  __u32 generation;
  __u32 flags;
  __u16 depth; /* root 0 */
  __u8 hierarchy;
  __u8 state;
  __u32 children;     /* containers in the tree right below */
  __u32 dependants;   /* slots in use whose parent this is, lingering ones included */
  __u32 name_hash;    /* of (parent, name) */
  __u32 hash_next;    /* next slot in the same index bucket, or 0; next on the free list */
  __u32 first_child;  /* 0: none */
  __u32 next_sibling; /* 0: last */
  __u32 prev_sibling; /* 0: first */
  __u32 armed;        /* something came in since the container was last told to be empty */
  __u32 releases;     /* how often it became empty with CTN_NOTIFY_ON_RELEASE or CTN_TRANSIENT */
};
#define CTN_ONE_RECORD 1ULL
#define CTN_ONE_LIVE (1ULL << 32)

/* Cold data by slot: read to print and to look up a name, never by a BPF program. */
struct ctn_info {
  __u64 created_ns;  /* CLOCK_REALTIME */
  __u64 removed_ns;  /* likewise; 0 while it is in the tree */
  __u64 owner_start; /* transient: start time of the run, as `start_ns` of a walk */
  __u32 owner_pid;   /* transient: pid of the run in the machine's own namespace */
  __u32 announced;   /* how many of the node's `releases` agentd has dealt with */
  char name[CTN_NAME_MAX + 1];
  /* Whose it is, for containerfs; a root has them too. See ownership.h. */
  __u64 owner;       /* uid, and the gid in the high half */
  __u64 tasks_owner; /* likewise, of its lists of tasks */
  __u16 mode;        /* permission bits */
  __u16 tasks_mode;
  __u32 pad;
};

#define CTN_TOMBS 1024
#define CTN_TOMB_PATH 668
#define CTN_TOMB_FIGURES 10

/* What is left of a container that is gone. Number n (from 0) is in record n % CTN_TOMBS. */
struct ctn_tomb {
  __u64 number; /* n + 1; stored last, 0 while it is being written */
  __u64 created_ns;
  __u64 removed_ns;
  __u32 slot; /* it had; with the generation, whose tombstone this is: a clock may be set back */
  __u32 generation;
  __u32 subsystems; /* bit (1 << id): those of its hierarchy */
  char hierarchy[64];
  char path[CTN_TOMB_PATH]; /* one that is longer lost its beginning, and begins with "..." */
  /* By subsystem: use, peak, limit, refusals; then the attributes with a `kept` place, from 1 on. */
  __u64 figures[16][CTN_TOMB_FIGURES];
};
#define CTN_TOMB_KEPT 4 /* place 1 is figure CTN_TOMB_KEPT */

/* --- hierarchies and the core's settings ---------------------------------------------------- */

struct ctn_hierarchy {
  __u32 active;
  __u32 notes_moves; /* moves are noted in the map `arrivals` */
  __u64 created_ns;
  char name[CTN_HIER_NAME_MAX + 1];
  char release_agent[CTN_NAME_MAX + 1]; /* absolute path, or empty */
};

/* A change of a text, which is more than one store: written here first, so that whoever comes after
 * a killed writer finishes it. */
enum ctn_pending {
  CTN_PENDING_NONE = 0,
  CTN_PENDING_RENAME, /* `index` is a slot */
  CTN_PENDING_AGENT,  /* `index` is a hierarchy */
};
struct ctn_pending_text {
  __u32 what; /* enum ctn_pending; stored last, and cleared when the change is made */
  __u32 index;
  char text[CTN_NAME_MAX + 1];
};

enum ctn_level {
  CTN_LEVEL_NONE = 0,
  CTN_LEVEL_ACCOUNTING = 1, /* tracepoints only: counts, no refusals */
  CTN_LEVEL_FALLBACK = 2,   /* BPF trampolines on security_*: refusals, best effort */
  CTN_LEVEL_STRICT = 3,     /* BPF LSM */
};

/* What can be missed or refused for a reason of our own; each is printed by `doctor`. */
enum ctn_miss {
  CTN_MISS_TASK_TABLE_FULL, /* forks of contained tasks refused: no room for a task record */
  CTN_MISS_BACKSTOP_FORK,   /* children the fork gate did not see and newtask put right */
  CTN_MISS_LATE_EXIT,       /* tasks whose exit was only seen when they were freed */
  CTN_MISS_FILE_TABLE_FULL, /* opens of contained tasks refused: no room for the file's entry */
  CTN_MISS_FILE_LATE,       /* files that no gate saw made: charged, whatever the limit */
  CTN_MISS_FILE_LOST, /* files whose charge found no room in the table: not charged any more */
  CTN_MISS_STRAYED,   /* children born outside of their CPUs, in the middle of a change */
  CTN_MISS_TASK_LENT, /* forks refused: all that is lent of the task table is lent (ctn_lending) */
  CTN_MISS_FILE_LENT, /* opens refused: likewise of the table of files */
  CTN_MISS_NR,
};

/* How the table of tasks, and that of files, is shared out. Each container may always have `own` entries: its
 * task records, its references. What is beyond that is lent, to all containers together. When `most` are lent,
 * only those go on that are bounded: by a limit of theirs, or of a container above, of at most `bounded`. So
 * what one container without a limit can take is own + most, and the rest of the table is the others'. */
struct ctn_lending {
  __u64 own;
  __u64 most;
  __u64 bounded;
  __u64 lent; /* the sum of what containers have beyond `own`; programs add to it */
};
#define CTN_LEND_TASKS 0
#define CTN_LEND_FILES 1
#define CTN_LEND_NR 2

/* Groups of hook programs. Each has a level of its own, found by firing its hooks, and is attached
 * only while a subsystem that needs it is in use (bpf/hook_rows.h). */
enum ctn_hooks {
  CTN_HOOKS_TASK,      /* a task's life: needed by every hierarchy in use; who refuses forks */
  CTN_HOOKS_REAP,      /* sees a task reaped; level none: only its freeing is seen */
  CTN_HOOKS_SWITCH,    /* context switches */
  CTN_HOOKS_FILE,      /* allocation of open files: who refuses them */
  CTN_HOOKS_PLACE,     /* changes of a task's CPU mask */
  CTN_HOOKS_FILE_FREE, /* freeing of open files; a better level than the gate's is of use */
  CTN_HOOKS_NR,
};

/* The one global of the BPF programs, mapped by the control plane. */
struct ctn_core {
  /* read by every program */
  __u32 magic;
  __u32 layout;
  __u8 bound[CTN_MAX_SUBSYS]; /* by subsystem: its hierarchy + 1, or 0 while unbound */
  __u8 modes[CTN_MAX_SUBSYS]; /* by subsystem: settings of its own, such as BEANS_FLAT */
  __u8 pad0[24];
  /* written by programs, seldom */
  __u64 misses[CTN_MISS_NR];
  /* control plane only, under the writer lock */
  __u32 dirty; /* a writer is at work, or died at work: rebuild what is derived */
  __u32 max_containers;
  __u32 max_tasks;
  __u32 high_slot;  /* slots from here on were never used */
  __u32 free_list;  /* slots free for use at once, by hash_next */
  __u32 quarantine; /* freed slots that a program may still look at; a grace period frees them */
  __u32 lingering;  /* how many slots are CTN_REMOVED */
  __u32 containers; /* how many slots are CTN_ACTIVE, roots apart */
  __u32 level[CTN_HOOKS_NR]; /* enum ctn_level of each group of hooks */
  __u32 rename_seq;          /* odd while a name is being changed: who finds nothing looks again */
  __u32 tree_watch;   /* `attach --tree` is at work: newtask tells of each fork of the machine */
  __u64 event_head;   /* number of events so far; programs add to it */
  __u64 forks_told;   /* forks newtask went to tell of; counted before the ring has them */
  __u64 forks_untold; /* forks that found no room in the ring `forks` */
  struct ctn_pending_text pending;
  struct ctn_hierarchy hierarchies[CTN_MAX_HIER];
  __u32 cpus; /* how many there can be, for arrays by slot and CPU */
  __u32 max_files;
  __u64 tombs;        /* how many tombstones were ever written */
  __u32 walk_mark;    /* of the last walk of i_mark: 1 to CTN_LAST_MARK, round and round */
  __u32 caveats_told; /* by subsystem, as bits: whose limits can be run over, and the user knows */
  __u32 keep_hooks;   /* hooks stay attached until `down` once they are: for tests */
  /* Which control groups are this instance's (placement): those below `ctnbpf`, or, as another instance had
   * these when this was loaded, below `ctnbpf-N`: N is this, the id of this map. */
  __u32 groups;
  /* written by programs, seldom */
  __u64 forks_inside; /* of forks_told: children born in the target, which nobody has to hear of */
  __u64 refusals_untold; /* refusals that are in no record of the log: see struct ctn_refusals */
  struct ctn_lending lending[CTN_LEND_NR];
};
#define CTN_NO_GROUPS (~0U) /* it is being taken down */

/* --- tasks ----------------------------------------------------------------------------------- */

/* Tasks and charged files are found by the address of their kernel object in a table with open
 * addressing: NAME_keys says which object is at a place, NAME_records has what is known of it. An
 * object is at its home unless that was taken; then at the first free one of the places that are tried
 * after it. `home` of a place says how many objects have their home there, `displaced` how many of those
 * are elsewhere: a miss costs one load where the home is nobody's, which is the common case for tasks
 * outside all containers. There is no lock: a place is claimed by compare-and-swap on an empty (0) key.
 * Records of empty places are zero. */
struct ctn_key {
  __u64 object;
  __u32 home;
  __u32 displaced;
};

/* So many places are tried. A table is at most two thirds full, so one in 10^11 objects finds none. */
#define CTN_KEY_TRIES 64

/* What chooses the places of an object, from the low half of its address: the multiplier is one of splitmix64's.
 * Addresses are multiples of some large number, and those of one slab are at equal distances; with the golden
 * ratio large objects have a third of the homes they could have (tests/unit/table_test.cpp). */
static inline __attribute__((always_inline)) __u64 ctn_key_hash(__u32 low) {
  return low * 0x94d049bb133111ebULL;
}

/* The home, of a table with `places`: the upper half of the hash, scaled to them. */
static inline __attribute__((always_inline)) __u64 ctn_key_home(__u64 hash, __u32 places) {
  return (hash >> 32) * places >> 32;
}

/* What to take as the hash for the next try. Not by addition: objects at equal distances would meet again and
 * again. */
static inline __attribute__((always_inline)) __u64 ctn_key_next(__u64 hash) {
  return (hash ^ hash >> 32) * 0xd6e8feb86659fd93ULL + 1;
}

/* Set in a slot word once the task has left that container by exiting. */
#define CTN_EXITED (1U << 31)

/* One per task that is, or ever was, outside the root of some hierarchy. */
struct ctn_task {
  __u32 slot[CTN_MAX_HIER]; /* membership | CTN_EXITED */
  __u32 counted;   /* slot that the task itself is charged to, with a flag of its subsystem; or 0 */
  __u8 inner_file; /* the next file, or socket, it makes is the kernel's own: not charged */
  __u8 seen;       /* the last `walk_mark` under which a walk met the task; 0: none */
  __u16 came_with; /* number of the CPU mask it had before it was placed; 0: not placed */
  __u32 moves_seen; /* how many moves there had been when it forked last (t_newtask) */
  __u32 user;       /* CPU time that was charged: of utime, like the words below */
  /* what has been charged of the task's own figures */
  __u64 charged; /* of se.sum_exec_runtime, ns */
  __u32 waited;  /* of sched_info.run_delay, in steps of 1024 ns */
  __u32 system;  /* of stime, likewise */
};

/* Is `seen` the mark of the last walk or of the one before? */
#define ctn_met(seen, mark) ((__u8)((mark) - (seen)) <= 1)
#define CTN_LAST_MARK 0xff

/* --- events ---------------------------------------------------------------------------------- */

#define CTN_EVENT_LOG 4096 /* records kept */

enum ctn_event_kind {
  CTN_EVENT_FORK_REFUSED = 1, /* by the limit of `by_slot` */
  CTN_EVENT_FORK_RATE,        /* by the fork rate of `by_slot` */
  CTN_EVENT_FILE_REFUSED,     /* by the limit of `by_slot` */
  CTN_EVENT_RELEASED,         /* the last task, reference or child is gone */
  CTN_EVENT_GONE,             /* a removed container is held by nothing any more */
  CTN_EVENT_EMPTIED,          /* the last task is gone, and `kill` waits for it */
  CTN_EVENT_STRAYED,          /* CTN_MISS_STRAYED: a sweep of agentd puts it right */
};

/* Number n (from 0) is in record n % CTN_EVENT_LOG until n + CTN_EVENT_LOG replaces it. Refusals of one kind, of
 * tasks of one container by one ancestor, are one record for CTN_REFUSALS_NS from the first one on, which the
 * task is of; `count` and `last_ns` grow until then. Every other event is a record of its own. */
#define CTN_REFUSALS_NS 1000000000ULL
struct ctn_event {
  __u64 number;  /* n + 1; stored last, 0 while it is being written */
  __u64 time_ns; /* CLOCK_BOOTTIME */
  __u32 kind;    /* enum ctn_event_kind */
  __u32 slot;
  __u32 generation;
  __u32 by_slot;
  __u32 by_generation;
  __u32
      pid; /* the task it happened to: the forker, the opener, the last to leave; global, as tid */
  __u32 tid;
  __u32 uid;
  char comm[16];
  __u64 count;   /* 1 or more */
  __u64 last_ns; /* CLOCK_BOOTTIME: of the last one counted; time_ns is of the first */
};

#define ctn_is_refusal(kind) ((kind) >= CTN_EVENT_FORK_REFUSED && (kind) <= CTN_EVENT_FILE_REFUSED)

/* Where equal refusals of the present second are counted. Found by the hash of `key`, in one of the ways of a
 * set. While it is open (before `until`), `number` says which record of the log it is. */
struct ctn_refusals {
  __u64 key;    /* ctn_refusals_key(); 0: never used */
  __u64 until;  /* CLOCK_BOOTTIME; who sets it has to make the record */
  __u64 number; /* of the record, + 1; 0: not made yet */
  __u64 early;  /* refusals that found it so, and that whoever sees the number adds to the record */
};
#define CTN_REFUSALS_WAYS 4
#define CTN_REFUSALS_SETS 512
struct ctn_refusals_set {
  struct ctn_refusals way[CTN_REFUSALS_WAYS];
};

/* --- what the iterators print ------------------------------------------------------------------ */

#define CTN_KTHREAD 1       /* a kernel thread */
#define CTN_KTHREAD_BOUND 2 /* ... whose CPUs only the kernel chooses */

/* Numbers of tasks are those of the reader's pid namespace, which is shown no others; `global` ones are those
 * of the machine's own, by which programs know tasks. */
struct ctn_walk_task {
  __u64 start_ns; /* CLOCK_BOOTTIME of the machine: with global_tid it names a task for ever */
  __u32 global_tid;
  __u32 global_tgid;
  __u32 global_ppid; /* tgid of the parent */
  __u32 tid;
  __u32 tgid;
  __u32 uid;
  __u32 exit_state; /* non-zero: zombie or dead */
  __u32 state;
  __u32 kernel_thread; /* CTN_KTHREAD, CTN_KTHREAD_BOUND */
  __u32 contained;     /* has a record */
  __u32 slot[CTN_MAX_HIER];
  __u32 counted; /* as in its record, as is */
  __u32 came_with;
  char comm[16];
};

enum ctn_move_result {
  CTN_MOVED = 0,
  CTN_MOVE_SAME,    /* was there already */
  CTN_MOVE_EXITING, /* too late */
  CTN_MOVE_NEW,     /* still being forked: ask again */
  CTN_MOVE_FULL,    /* no room for a task record */
};

struct ctn_move_report {
  __u32 tid;
  __u32 tgid;
  __u32 result; /* enum ctn_move_result */
  __u32 from;   /* slot it was in */
  __u32 global_tid;
};

/* Argument of the move iterator, set under the writer lock. */
struct ctn_move_request {
  __u32 hierarchy;
  __u32 slot;   /* target */
  __u32 tgid;   /* only the threads of this process, as the reader knows it; 0: every task shown */
  __u32 chosen; /* only processes in the map `move_pids`, by global_tgid */
};

/* Key of the map `arrivals`: a task that came to another container of the hierarchy, until the
 * subsystems that have to do something for it were told. So a mover that is killed in between leaves
 * word of it, and a child that followed its forker when the mover had looked is not forgotten. The
 * value is the slot it was in first. */
struct ctn_arrival {
  __u32 tid; /* global */
  __u32 hierarchy;
};

/* One fork, told while `tree_watch` is set; both are global. */
struct ctn_fork {
  __u32 parent; /* process that forked, whoever the child's parent is */
  __u32 child;  /* process; the same when it is a thread */
};

#ifdef __cplusplus
#define CTN_ASSERT static_assert
#else
#define CTN_ASSERT _Static_assert
#endif
CTN_ASSERT(sizeof(struct ctn_node) == 64, "a node is one cache line");
CTN_ASSERT(sizeof(struct ctn_key) == 16, "four keys are one cache line");
CTN_ASSERT(sizeof(struct ctn_tomb) == 2048, "no room lost");
CTN_ASSERT(sizeof(struct ctn_task) == 64, "a task record is one cache line");
CTN_ASSERT(sizeof(struct ctn_info) == 312, "layout");
CTN_ASSERT(sizeof(struct ctn_event) == 80, "layout");
CTN_ASSERT(sizeof(struct ctn_walk_task) == 104, "layout");

#endif

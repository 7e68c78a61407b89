/* SPANK plugin: the tasks of a step of a Slurm job are in a container of ctnbpf before they run
 * anything of the user's.
 *
 * All that is decided is decided by `ctnbpf slurm-hook`, which is started twice for a step on a node,
 * however many tasks that has: when all of them are forked and wait for their exec, and when the last
 * has ended. Here is only what has to be inside of slurmstepd. Built for one major version of Slurm, as
 * its headers are. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <slurm/spank.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

SPANK_PLUGIN(ctnbpf, 1)

#define FAILED (-1) /* what SPANK takes for a failure is below zero: ESPANK_ERROR is above */
#define SECONDS \
  120 /* for one run of the command, which may have to load all of ctnbpf into the kernel */

enum { kNumtasks, kNumfiles, kForkrate, kOptions };
static const char *const kNames[kOptions] = {"numtasks", "numfiles", "forkrate"};

/* Of the one step that this slurmstepd is for. */
static char *asked[kOptions];
static int stat_asked;
static pid_t *pids;
static uint32_t pid_count;
static uint32_t tasks; /* that have not ended */
static int in_container;

/* `max`, N, or N/SECONDS: the rest of the rules is the command's. */
static int well_formed(const char *text, int rate) {
  size_t digits = strspn(text, "0123456789");
  if (strcmp(text, "max") == 0) return 1;
  if (digits == 0 || strlen(text) > 20) return 0;
  if (text[digits] == '\0') return 1;
  size_t more = text[digits] == '/' && rate ? strspn(text + digits + 1, "0123456789") : 0;
  return more != 0 && text[digits + 1 + more] == '\0';
}

static int take_option(int which, const char *text, int remote) {
  (void)remote;
  if (which == kOptions) {
    stat_asked = 1;
    return ESPANK_SUCCESS;
  }
  if (text == NULL || !well_formed(text, which == kForkrate)) {
    slurm_error("ctnbpf: --ctn-%s='%.40s': write max or a number%s", kNames[which],
                text == NULL ? "" : text, which == kForkrate ? ", or N/SECONDS" : "");
    return FAILED;
  }
  free(asked[which]);
  asked[which] = strdup(text);
  return asked[which] == NULL ? FAILED : ESPANK_SUCCESS;
}

static struct spank_option options[] = {
    {"ctn-numtasks", "N", "at most N tasks (threads too) of the step on each node", 1, kNumtasks,
     take_option},
    {"ctn-numfiles", "N", "at most N open files of the step on each node", 1, kNumfiles,
     take_option},
    {"ctn-forkrate", "N/SEC", "at most N forks of the step in any SEC seconds on each node", 1,
     kForkrate, take_option},
    {"ctn-stat", NULL, "say at its end what the step used on each node", 0, kOptions, take_option},
};

int slurm_spank_init(spank_t spank, int ac, char **av) {
  (void)ac, (void)av;
  for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
    if (spank_option_register(spank, &options[i]) != ESPANK_SUCCESS) return FAILED;
  return ESPANK_SUCCESS;
}

/* --- running the command ----------------------------------------------------------------------- */

struct words {
  char **at; /* ends with NULL */
  size_t count;
  int failed;
};

__attribute__((format(printf, 2, 3))) static void add(struct words *words, const char *format,
                                                      ...) {
  char *word = NULL;
  va_list args;
  va_start(args, format);
  int length = vasprintf(&word, format, args);
  va_end(args);
  char **at = length < 0 ? NULL : realloc(words->at, (words->count + 2) * sizeof(char *));
  if (at == NULL) {
    if (length >= 0) free(word);
    words->failed = 1;
    return;
  }
  words->at = at;
  at[words->count++] = word;
  at[words->count] = NULL;
}

static void drop(struct words *words) {
  for (size_t i = 0; i < words->count; i++) free(words->at[i]);
  free(words->at);
}

/* Reads what the command says until it ends: 0; ETIMEDOUT. What is too much is left out. */
static int listen_to(int from, char *text, size_t size) {
  struct timespec now, end;
  char rest[256];
  size_t have = 0;
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += SECONDS;
  for (;;) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    long left = (end.tv_sec - now.tv_sec) * 1000 + (end.tv_nsec - now.tv_nsec) / 1000000;
    struct pollfd ready = {.fd = from, .events = POLLIN};
    int found = left > 0 ? poll(&ready, 1, (int)left) : 0;
    if (found < 0 && errno == EINTR) continue;
    text[have] = '\0';
    if (found == 0) return ETIMEDOUT;
    int full = have + 1 == size;
    ssize_t got = full ? read(from, rest, sizeof(rest)) : read(from, text + have, size - 1 - have);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    if (!full) have += (size_t)got;
  }
}

/* Of a step on several nodes it says which one it is. */
static void tell_user(spank_t spank, char *text) {
  char node[256] = "";
  uint32_t nodes = 1;
  char *at = NULL;
  if (spank_get_item(spank, S_JOB_NNODES, &nodes) == ESPANK_SUCCESS && nodes > 1 &&
      spank_getenv(spank, "SLURMD_NODENAME", node, sizeof(node) - 2) == ESPANK_SUCCESS)
    strcat(node, ": ");
  else
    node[0] = '\0';
  for (char *line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at))
    slurm_spank_log("%s%s", node, line);
}

/* Its exit status; what it says goes to the user. */
static int run(spank_t spank, char **words) {
  int ends[2], error;
  pid_t pid;
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none, all;
  char said[4096];
  char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};

  if (pipe2(ends, O_CLOEXEC) != 0) {
    slurm_error("ctnbpf: pipe: %s", strerror(errno));
    return FAILED;
  }
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawn_file_actions_adddup2(&files, ends[1], 2);
  posix_spawnattr_init(&how);
  posix_spawnattr_setflags(&how,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &all);
  error = posix_spawn(&pid, words[0], &files, &how, words, environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    slurm_error("ctnbpf: start '%s': %s; its place is `ctnbpf=PATH` in plugstack.conf", words[0],
                strerror(error));
    return FAILED;
  }
  error = listen_to(ends[0], said, sizeof(said));
  close(ends[0]);
  tell_user(spank, said);
  if (error != 0) {
    kill(pid, SIGKILL); /* which leaves nothing half done */
    slurm_error("ctnbpf: `ctnbpf slurm-hook` did not end within %d s", SECONDS);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return FAILED;
  if (WIFSIGNALED(status) && error == 0)
    slurm_error("ctnbpf: `ctnbpf slurm-hook` was ended by signal %d", WTERMSIG(status));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ESPANK_SUCCESS : FAILED;
}

/* The job's partition as slurmctld has it: what the job's environment says is the user's. */
static int add_partition(struct words *words, uint32_t job) {
  job_info_msg_t *jobs = NULL;
  int found = 0;
  if (slurm_load_job(&jobs, job, SHOW_ALL) != SLURM_SUCCESS) {
    slurm_error("ctnbpf: ask slurmctld for the partition of job %u: %s", job,
                slurm_strerror(errno));
    return FAILED;
  }
  for (uint32_t i = 0; i < jobs->record_count && !found; i++)
    if (jobs->job_array[i].job_id == job && jobs->job_array[i].partition != NULL) {
      add(words, "--partition=%s", jobs->job_array[i].partition);
      found = 1;
    }
  slurm_free_job_info_msg(jobs);
  if (!found) slurm_error("ctnbpf: slurmctld names no partition of job %u", job);
  return found ? ESPANK_SUCCESS : FAILED;
}

/* Runs `ctnbpf slurm-hook WHAT` for this step, with what plugstack.conf says. */
static int hook(spank_t spank, const char *what, int ac, char **av) {
  struct words words = {NULL, 0, 0};
  const char *command = CTNBPF_COMMAND;
  uint32_t job = 0, step = 0;
  int by_partition = 0, rc = FAILED;
  if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS ||
      spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS) {
    slurm_error("ctnbpf: this slurmstepd has no job and step");
    return FAILED;
  }
  for (int i = 0; i < ac; i++)
    if (strncmp(av[i], "ctnbpf=", 7) == 0) command = av[i] + 7;
  add(&words, "%s", command);
  add(&words, "slurm-hook");
  add(&words, "%s", what);
  add(&words, "--job=%u", job);
  if (step == SLURM_BATCH_SCRIPT)
    add(&words, "--step=batch");
  else if (step == SLURM_INTERACTIVE_STEP)
    add(&words, "--step=interactive");
  else
    add(&words, "--step=%u", step);
  add(&words, "--stepd=%d", getpid());
  if (stat_asked) add(&words, "--stat");
  for (int i = 0; i < ac; i++) {
    if (strncmp(av[i], "ctnbpf=", 7) == 0) continue;
    add(&words, "--conf=%s", av[i]);
    by_partition |= memchr(av[i], '@', strcspn(av[i], "=")) != NULL;
  }
  if (strcmp(what, "begin") == 0) {
    for (int i = 0; i < kOptions; i++)
      if (asked[i] != NULL) add(&words, "--ask=%s=%s", kNames[i], asked[i]);
    for (uint32_t i = 0; i < pid_count; i++) add(&words, "%d", pids[i]);
    if (by_partition && add_partition(&words, job) != ESPANK_SUCCESS) words.failed = 1;
  }
  if (!words.failed) rc = run(spank, words.at);
  drop(&words);
  return rc;
}

/* --- a step's life ------------------------------------------------------------------------------ */

/* The step that lasts as long as the job, and runs nothing of the user's. */
static int is_extern(spank_t spank) {
  uint32_t step = 0;
  return spank_get_item(spank, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step == SLURM_EXTERN_CONT;
}

/* Every task is forked when this is called for the first of them, and none has passed its exec when it returns for
 * the last. */
int slurm_spank_task_post_fork(spank_t spank, int ac, char **av) {
  pid_t pid = 0;
  uint32_t count = 0;
  if (is_extern(spank)) return ESPANK_SUCCESS;
  if (spank_get_item(spank, S_TASK_PID, &pid) != ESPANK_SUCCESS ||
      spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &count) != ESPANK_SUCCESS || count == 0) {
    slurm_error("ctnbpf: Slurm does not say which tasks there are");
    return FAILED;
  }
  if (pids == NULL) pids = calloc(count, sizeof(*pids));
  if (pids == NULL || pid_count == count) return FAILED;
  pids[pid_count++] = pid;
  if (pid_count < count) return ESPANK_SUCCESS;
  tasks = count;
  in_container = hook(spank, "begin", ac, av) == ESPANK_SUCCESS;
  return in_container ? ESPANK_SUCCESS : FAILED;
}

/* What a task left running goes on to be held by the container's limits, which lingers until that is gone. */
static int end(spank_t spank, int ac, char **av) {
  in_container = 0;
  (void)hook(spank, "end", ac, av);
  return ESPANK_SUCCESS;
}

/* The user is still there to be told, which is not so at the step's own end. */
int slurm_spank_task_exit(spank_t spank, int ac, char **av) {
  if (!in_container || --tasks > 0) return ESPANK_SUCCESS;
  return end(spank, ac, av);
}

int slurm_spank_exit(spank_t spank, int ac, char **av) {
  if (!in_container || spank_context() != S_CTX_REMOTE) return ESPANK_SUCCESS;
  return end(spank, ac, av);
}

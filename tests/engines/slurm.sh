#!/bin/bash
# Steps of Slurm jobs under limits of ours, for real: munge, slurmctld and two slurmd of the distribution on this
# machine, over the SPANK plugin. A check is a line `ok` or `not ok`; exit status 0 if all are ok.
#
# usage: slurm.sh CTNBPF SPANK_CTNBPF_SO      as root, nothing up; no Slurm is touched that may be there already
# Below level fallback nothing is refused: limits are then set as far as they go (best effort), and what tells of
# refusals is left out. CTNBPF_ENGINE_ROUNDS: of steps whose cost is measured (15; 0: it is not).
# shellcheck disable=SC2317 # most functions are called by check
set -u
# shellcheck source=tests/support/checks.sh
. "$(dirname "$(readlink -f "$0")")/../support/checks.sh"
PATH=$PATH:/usr/sbin:/sbin
ctnbpf=$(readlink -f "$1")
plugin=$(readlink -f "$2")
work=$(mktemp -d)
pids=()
user=(setpriv --reuid 65534 --regid 65534 --clear-groups)

finish() {
  local pid
  ((!${#pids[@]})) || kill "${pids[@]}" 2>/dev/null
  for pid in "${pids[@]}"; do await not_running "$pid"; done
  "$ctnbpf" down --force
  rm -rf "$work"
}
trap finish EXIT

not_running() { ! kill -0 "$1"; }
await() { # COMMAND..., for a minute
  for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  echo "# in vain: $*: $("$@" 2>&1)"
  return 1
}
# Programs that stay must not keep what the caller has open, such as a lock.
daemon() { # NAME COMMAND...
  local name=$1
  shift
  (for fd in /proc/self/fd/*; do ((${fd##*/} <= 2)) || eval "exec ${fd##*/}>&-"; done 2>/dev/null; exec "$@") \
    </dev/null >"$work/$name.out" 2>&1 &
  pids+=($!)
  disown # or the shell tells of those that are killed
}
node() { # NAME
  daemon "$1" slurmd -D -N "$1"
  eval "$1=\$!"
}
idle() { [[ $(sinfo -h -o %T -p all) == idle ]]; }
plugstack() { # WORD...
  echo "required $plugin ctnbpf=$ctnbpf $effort $*" >"$work/plugstack.conf"
}
jobs_in() { "$ctnbpf" --json tree default:/slurm | grep -o '"default:/slurm/job[^"]*"'; }
nothing_left() { [[ -z $(jobs_in) ]] && "$ctnbpf" fsck; }
there() { "$ctnbpf" ps -r "$1" | grep -q .; } # ADDRESS
has() { # PATTERN in the output of the last `said`
  grep -Eq "$1" "$work/said" || { cat "$work/said"; false; }
}
lacks() { ! has "$1" >/dev/null || { cat "$work/said"; false; }; }
said() { # COMMAND...
  timeout 60 "$@" >"$work/said" 2>&1 </dev/null
}

prepare() {
  local host
  chmod 755 "$work"
  # Slurm asks for names with AI_ADDRCONFIG: with no address but 127.0.0.1 it finds none.
  [[ -n $(ip -o addr show scope global) ]] || {
    modprobe dummy 2>/dev/null
    ip link set lo up && ip link add name ctnbpf0 type dummy && ip addr add 192.0.2.1/24 dev ctnbpf0 && ip link set ctnbpf0 up
  }
  host=$(uname -n)
  mkdir -p "$work"/{state,n1,n2}
  (umask 077 && head -c 128 /dev/urandom >"$work/key")
  echo CgroupPlugin=cgroup/v1 >"$work/cgroup.conf"
  cat >"$work/slurm.conf" <<END
ClusterName=ctnbpf
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=30
KillWait=1
PlugStackConfig=$work/plugstack.conf
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=8
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=8
PartitionName=all Nodes=n1,n2 Default=YES State=UP
PartitionName=small Nodes=n1,n2 State=UP
END
  export SLURM_CONF=$work/slurm.conf
  daemon munge munged --foreground --force --key-file="$work/key" --socket="$work/munge" --pid-file="$work/munged.pid" \
    --log-file="$work/munged.log" --seed-file="$work/seed"
  await test -S "$work/munge"
  daemon slurmctld slurmctld -D -c
  node n1
  node n2
  await idle || { tail -n 20 "$work"/*.out; exit 1; }
}

test_steps() {
  plugstack
  # shellcheck disable=SC2016 # for the shell there
  said srun --ctn-numtasks=9 sh -c '"$0" where $$' "$ctnbpf"
  check "the task is in the step's container before its program runs" has ':/slurm/job_[0-9]+/step_0$'
  # shellcheck disable=SC2016
  said srun -N2 -n6 sh -c '"$0" where $$' "$ctnbpf"
  check "each of many tasks is, on two nodes" test "$(grep -Ec ':/slurm/job_[0-9]+/step_0(-2)?$' "$work/said")" = 6
  said "${user[@]}" srun --ctn-numtasks=9 --ctn-stat -N2 sh -c 'sleep 0.1 & sleep 0.2'
  check "a user is told what a step used, on each node" has '^n2: ctnbpf: default:/slurm/job_.*tasks peak [1-9][0-9]* of 9, 0 refused'
  check "steps leave nothing" nothing_left
  check "but their figures" grep -q '/slurm/job_[0-9]*/step_0' <("$ctnbpf" stat -r --removed default:/slurm)
  said srun --ctn-numtasks=9x echo started
  check "what is no number is refused by srun" has "ctn-numtasks='9x'"
}

test_ceilings() {
  plugstack numtasks=40 max-numtasks=60 numtasks@small=10 job-numtasks=100
  # shellcheck disable=SC2016
  local show='exec "$0" get -n "default:/slurm/job_$SLURM_JOB_ID/step_0" numtasks.limit'
  said srun sh -c "$show" "$ctnbpf"
  check "a default" has '^40$'
  said srun --ctn-numtasks=7 sh -c "$show" "$ctnbpf"
  check "which the user lowers" has '^7$'
  said srun --ctn-numtasks=60 sh -c "$show" "$ctnbpf"
  check "or raises as far as it goes" has '^60$'
  said srun --ctn-numtasks=61 echo started
  check "and no further" lacks '^started'
  check "of which the user is told" has 'ctn-numtasks=61: the most that can be asked for here is 60'
  # What the job's environment says is the user's.
  said env SLURM_JOB_PARTITION=all srun -p small sh -c "$show" "$ctnbpf"
  check "a partition has another" has '^10$'
  # shellcheck disable=SC2016
  said srun sh -c 'exec "$0" get -n "default:/slurm/job_$SLURM_JOB_ID" numtasks.limit' "$ctnbpf"
  check "the job has its own" has '^100$'
  plugstack numtask=4
  said srun echo started
  check "a word that is unknown stops the step" lacks '^started'
  # shellcheck disable=SC2016
  check "and is named" has 'did you mean `numtasks`'
  plugstack "ctnbpf=$work/nothing"
  said srun echo started
  check "as does a command that is not there" lacks '^started'
  check "of refused steps nothing is left" nothing_left
}

test_batch() {
  plugstack stat
  printf '#!/bin/sh\nfor i in 1 2 3 4; do srun -n1 -c1 --exact --mem=0 sh -c '\''"%s" where $$; sleep 0.2'\'' & done; wait\n' \
    "$ctnbpf" >"$work/job.sh"
  said sbatch --wait -n4 --ctn-numtasks=64 -o "$work/job.out" "$work/job.sh"
  cp "$work/job.out" "$work/said"
  check "steps in parallel are in containers of one job" \
    test "$(grep -Eo ':/slurm/job_[0-9]+/step_[0-3]$' "$work/said" | sort -u | wc -l)" = 4
  check "the batch script has one" has '/step_batch .*tasks peak [1-9][0-9]* of 64'
  check "and the job's figures are told at its end" has 'default:/slurm/job_[0-9]+  .*tasks peak'
  said sbatch --wait --array=1-4 -o "$work/array-%a.out" --wrap "\"$ctnbpf\" where \$\$"
  check "each job of an array has its own" \
    test "$(cat "$work"/array-?.out | grep -Eo ':/slurm/job_[0-9]+/step_batch$' | sort -u | wc -l)" = 4
  check "jobs leave nothing" nothing_left
}

begun() { there "default:/slurm/job_$job"; }
long_job() { # OPTION...: sets `job`
  job=$(sbatch --parsable --no-requeue -o "$work/long.out" "$@" --wrap 'sleep 1000 & srun sleep 1000')
  await there "default:/slurm/job_$job/step_0"
}
# Those of the job: the parents of its tasks.
stepds() {
  local pid parent
  for pid in $("$ctnbpf" ps -r "default:/slurm/job_$job"); do
    parent=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
    [[ $(cat "/proc/$parent/comm") != slurmstepd ]] || echo "$parent"
  done | sort -u
}
test_ends() {
  plugstack
  long_job -w n1
  scancel "$job"
  check "scancel takes the job's containers away" await nothing_left
  long_job -w n1
  # shellcheck disable=SC2154 # by node()
  kill -KILL "$n1"
  check "without slurmd the job goes on in its container" begun
  node n1
  await answers
  scancel "$job"
  check "and they go with it" await nothing_left
  long_job -w n1
  # shellcheck disable=SC2046 # numbers
  kill -KILL "$n1" $(stepds)
  check "what slurmstepd left when it was killed is held on to" begun
  "$ctnbpf" kill -r "default:/slurm/job_$job"
  node n1
  await answers
  scancel "$job" 2>/dev/null
  await idle
  said srun -w n1 true
  check "and goes with the next step" await nothing_left
}
answers() { [[ $(sinfo -h -N -n n1 -p all -o %t) =~ ^[a-z]+$ ]]; } # a star: it does not, a cross: it is to

# Opens files until that fails; says how many, and why not one more.
# shellcheck disable=SC2016
files='my @f; for (1 .. 100) { open(my $f, "<", "/dev/null") or do { print "$_ $!\n"; exit 7 }; push @f, $f } print "all\n"'
test_refusals() {
  plugstack
  # What perl itself is charged with is in the 20 too.
  said "${user[@]}" srun --ctn-numfiles=20 perl -e "$files"
  check "the 21st file is refused" has '^[0-9]+ Too many open files in system'
  check "of which the user is told" has 'files peak 20 of 20, [1-9][0-9]* refused'
  said "${user[@]}" srun --ctn-numtasks=4 sh -c 'for i in 1 2 3 4 5 6; do sleep 1 & done; wait'
  check "one task too many is refused" has 'Cannot fork'
  said "${user[@]}" srun --ctn-forkrate=5/60 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait'
  check "one fork too many in a time is refused" has 'Cannot fork'
  plugstack job-numtasks=6
  said "${user[@]}" srun sh -c 'for i in 1 2 3 4 5 6 7; do sleep 1 & done; wait'
  check "and by the job's own limit" has 'default:/slurm/job_[0-9]+  tasks peak 6 of 6, [1-9]'
  plugstack
  # shellcheck disable=SC2016
  said srun --ctn-numtasks=9 sh -c 'exec "$0" explain $$' "$ctnbpf"
  check "explain names the nearest limit" has '^\* numtasks.limit +1 of 9 .*step_0'
}

# Milliseconds of one step.
step_ms() {
  local from=${EPOCHREALTIME/./}
  srun -n1 true
  echo $(((${EPOCHREALTIME/./} - from) / 100))
}
# What else the machine does makes steps slower and none quicker: the best of each is compared.
best() { sort -n "$1" | head -n 1; }
test_cost() {
  local rounds=${CTNBPF_ENGINE_ROUNDS-15} with without
  ((rounds)) || return
  for _ in $(seq "$rounds"); do
    echo >"$work/plugstack.conf"
    step_ms >>"$work/without"
    plugstack numtasks=40
    step_ms >>"$work/with"
  done
  without=$(best "$work/without") with=$(best "$work/with")
  echo "# a step of one task: $((without / 10)).$((without % 10)) ms, with the plugin $((with / 10)).$((with % 10)) ms"
  check "a step costs at most 1.2 times what it does without" test $((with * 10)) -le $((without * 12))
}

effort='' enforced=1
"$ctnbpf" up >/dev/null || exit 1
"$ctnbpf" --json subsystems | grep -A 4 '"numfiles"' | grep -qE '"level": *"(strict|fallback)"' ||
  effort=best-effort enforced=''
prepare
echo "# Slurm $(slurmd -V), $(uname -r)"
test_steps
test_ceilings
test_batch
test_ends
[[ -z $enforced ]] || test_refusals
test_cost
exit "$failed"

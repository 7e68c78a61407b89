"""What must not happen under load: counters that differ from what is really there, limits exceeded."""

import os
import time

from world import Driver, Hierarchy, ctnbpf, ctnbpf_status, emit, run, up

LONG = os.environ.get("CTNBPF_BENCH_STORM") != "short"


def problems():
    """How many figures fsck finds off, once the tasks that ended last are freed."""
    deadline = time.monotonic() + 30
    while True:
        found = [line for line in run("ctnbpf", "fsck", check=False).splitlines() if line != "clean"]
        if not found or time.monotonic() > deadline:
            return len(found)
        time.sleep(0.2)


def value(address, attribute):
    return ctnbpf("get", "-n", address, attribute).strip()


def storm(kind, count, subsystem, setting, current, peak, limit):
    """Eight workers, moved to and fro among four containers that are under one limit, while others
    beside them are made, renamed and removed."""
    up()
    homes = [f"b:/top/{i}" for i in range(4)]
    with Hierarchy(subsystem), Driver("drift_bench", kind, count) as driver:
        driver.ready()
        ctnbpf("create", "b:/top", *homes, "-s", f"{setting}={limit}")
        workers = driver.pids()[1:]
        for number, pid in enumerate(workers):
            ctnbpf("attach", homes[number % 4], pid)
        driver.begin()
        moves = 0
        while not driver.has_answered():
            ctnbpf("attach", homes[(moves + moves // 4) % 4], *workers[moves % 4::4])
            ctnbpf("create", "b:/top/new")
            ctnbpf("rename", "b:/top/new", "old")
            ctnbpf("rm", "b:/top/old")
            moves += 1
        driver.ready()
        over = sum(int(value(one, peak)) > limit for one in ["b:/top", *homes])
        emit(fact=f"drift: figures off after {count:,} {kind} of 8 tasks, moved, renamed and removed beside",
             value=problems())
        emit(fact=f"drift: {kind}: containers whose peak was over the limit", value=over)
        for pid in workers:
            ctnbpf("attach", "b:/", pid)
        left = sum(int(value(one, current)) for one in ["b:/top", *homes])
        emit(fact=f"drift: {kind}: left in the containers when all have gone", value=left)


def drift(_):
    # Attaching is not refused by the limit, so it leaves room for all eight in one container.
    storm("forks", 100000 if LONG else 4000, "numtasks", "numtasks.limit", "numtasks.current",
          "numtasks.peak", 64)
    storm("opens", 1000000 if LONG else 20000, "numfiles", "numfiles.ceiling", "numfiles.held",
          "numfiles.maxheld", 400)


def memory(_):
    """Of all maps, with the defaults, which hold 65,536 containers and more than 65,536 open files."""
    ctnbpf_status("down", "--force")
    ctnbpf("up")
    mib = [line.split() for line in run("ctnbpf", "doctor", check=False).splitlines() if "memory:" in line]
    emit(fact="memory", value=float(mib[0][mib[0].index("MiB") - 1]))

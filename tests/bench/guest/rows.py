"""How each row is measured. A row measures its configurations in turn, round by round, so that whatever
drifts does so for all of them. The unit is the guest's clock, which counts instructions."""

import contextlib
import pathlib
import subprocess

from world import (ROOT, Cgroup, Driver, Hierarchy, ctnbpf, emit, floor,
                   hold_in_root, hooks, run, settle, up)

LIMIT = 1000000
MANY = 10000


def hot_path(row, words, subsystem, setting, count, depths, controller):
    """Measures a driver with nothing attached, in cgroups, with empty programs on our hooks, outside all
    containers while some exist, and in containers; once more while there are MANY."""

    def measure_all(rounds):
        up()
        with contextlib.ExitStack() as stack:
            driver = stack.enter_context(Driver(*words))
            groups = {depth: stack.enter_context(Cgroup(depth, controller))
                      for depth in depths if controller and depth < 200}
            stack.callback(lambda: hold_in_root(driver.pids()))
            driver.round(count)  # the first one of a fresh process is cheaper than all that follow
            for number in range(rounds):

                def measure(config):
                    emit(row=row, config=config, round=number, value=driver.round(count))

                measure("none")
                for depth, group in groups.items():
                    group.hold(driver.pids())
                    measure(f"cgroup{depth}")
                hold_in_root(driver.pids())
                with floor(row):
                    measure("floor")
                with Hierarchy(subsystem) as hierarchy:
                    measure("uncontained")
                    create("b:/present", MANY)
                    measure("uncontained-many")
                    for depth in depths:
                        hierarchy.hold(hierarchy.deep(depth, setting), driver.pids())
                        if depth == 1:
                            measure("depth1-many")
                            remove("b:/present", MANY)
                        measure(f"depth{depth}")
                    hierarchy.hold("b:/", driver.pids())

    return measure_all


def addresses(parent, count):
    return "".join(f"{parent}/{i}\n" for i in range(count))


def create(parent, count):
    ctnbpf("create", "-f", "-", input=addresses(parent, count))


def remove(parent, count):
    ctnbpf("rm", "-f", "-", input=addresses(parent, count))


def command(row, config, number, *words, runs=1, warm_up=0):
    """Emits the cost of running a command to its end; a run before, unmeasured, where `warm_up`."""
    settle()
    with Driver("exec_bench", 0, 1, *words) as driver:
        emit(row=row, config=config, round=number, value=driver.round(runs, warm_up))


def create_remove(rounds):
    """10,000 containers made and removed by two commands, beside mkdir and rmdir."""
    up()
    pathlib.Path(ROOT, "tmp/list").write_text(addresses("b:/present", MANY))
    both = "ctnbpf create -f /tmp/list && ctnbpf rm -f /tmp/list"
    with Hierarchy("numtasks"), Cgroup(1) as group:
        for number in range(rounds):
            command("create", "cgroup", number, "cgroup_bench", "cycle", group.parent(), MANY)
            command("create", "ctnbpf", number, "sh", "-c", both)


def read_all(rounds):
    """Every figure of 10,000 containers, beside pids.current, pids.events and cpu.stat; as CSV too, whose
    rates are over a tenth of a second, which the guest's clock counts as instructions."""
    up()
    with Hierarchy("numtasks,cpuacct"), Cgroup(1) as group:
        create("b:/present", MANY)
        run("cgroup_bench", "make", group.parent(), MANY)
        for number in range(rounds):
            command("read", "cgroup", number, "cgroup_bench", "read", group.path, MANY)
            command("read", "ctnbpf", number, "ctnbpf", "stat", "b:/present", "-r", "--format", "openmetrics")
            command("read", "csv", number, "ctnbpf", "stat", "b:/present", "-r", "--format", "csv")
        run("cgroup_bench", "remove", group.path, MANY)


def get(rounds, runs=50):
    """One attribute by one process."""
    up()
    with Hierarchy("numtasks"), Cgroup(1) as group:
        for number in range(rounds):
            command("get", "cgroup", number, "cat", group.path / "pids.current", runs=runs, warm_up=5)
            command("get", "ctnbpf", number, "ctnbpf", "get", "-n", "b:/present", "numtasks.current",
                    runs=runs, warm_up=5)
            command("get", "true", number, "true", runs=runs, warm_up=5)


def attach(rounds, threads=2000):
    """A process of 2,000 threads moved."""
    up()
    with Hierarchy("numtasks") as hierarchy, Cgroup(1) as group, \
            Driver("tasks_bench", "threads", threads) as tasks:
        tasks.tell()
        target = hierarchy.deep(1, f"numtasks.limit={LIMIT}")
        for number in range(rounds):
            command("attach", "cgroup", number, "cgroup_bench", "move", group.path, tasks.pid)
            hold_in_root([tasks.pid])
            command("attach", "ctnbpf", number, "ctnbpf", "attach", target, tasks.pid)
            hierarchy.hold("b:/", [tasks.pid])


def kill(rounds, children=1000):
    """A container of 1,000 tasks killed, until the last is gone from it."""
    up()
    with Hierarchy("numtasks"), Cgroup(1) as group:
        for number in range(rounds):
            with Driver("tasks_bench", "children", children) as tasks:
                group.hold([tasks.pid])
                tasks.tell()
                command("kill", "cgroup", number, "cgroup_bench", "kill", group.path)
            with Driver("tasks_bench", "children", children) as tasks:
                ctnbpf("attach", "b:/present", tasks.pid)
                tasks.tell()
                command("kill", "ctnbpf", number, "ctnbpf", "kill", "b:/present")


def files(rounds, reads=2000, containers=1000):
    """One attribute read through a mount by one process, and containers made and removed as directories; beside the
    same of cgroups, and a file system that does nothing."""
    subprocess.run(["modprobe", "fuse"], check=False)
    up()
    for name in ("mnt", "floor"):
        (ROOT / name).mkdir(exist_ok=True)
    with Hierarchy("numtasks"), Cgroup(1) as group, Driver("fuse_floor", "/floor") as floor_of_fuse:
        if floor_of_fuse.ready() != "mounted":
            raise RuntimeError("fuse_floor cannot mount")
        ctnbpf("mount", "/mnt", "b")
        try:
            paths = {"cgroup": group.path / "pids.current", "floor": "/floor/empty",
                     "containerfs": "/mnt/present/numtasks.current"}
            with contextlib.ExitStack() as stack:
                drivers = {config: stack.enter_context(Driver("file_bench", 0, 1, path))
                           for config, path in paths.items()}
                for number in range(rounds):
                    for config, driver in drivers.items():
                        emit(row="files", config=config, round=number, value=driver.round(reads))
            for number in range(rounds):
                command("files", "mkdir-cgroup", number, "cgroup_bench", "cycle", group.parent(), containers)
                command("files", "mkdir", number, "cgroup_bench", "cycle", "/mnt/present", containers)
        finally:
            for name in ("mnt", "floor"):
                subprocess.run(["umount", ROOT / name], check=True)


def stores(rounds, count=800):
    """The record of a task kept in our table, task storage, a hash map, an array by pid."""
    with Driver("fork_bench", 0) as driver:
        driver.round(count)
        for number in range(rounds):
            emit(row="stores", config="none", round=number, value=driver.round(count))
            for store in ("table", "storage", "hash", "array"):
                for config, pid in ((store, 0), (store + "-contained", driver.pid)):
                    with hooks(store, pid):
                        emit(row="stores", config=config, round=number, value=driver.round(count))


RUN = {
    "fork": hot_path("fork", ("fork_bench", 0), "numtasks", f"numtasks.limit={LIMIT}", 800, (1, 8, 200),
                     "pids"),
    "switch": hot_path("switch", ("switch_bench", 0), "cpuacct", None, 8000, (1,), "cpu"),
    "open": hot_path("open", ("open_bench", 0), "numfiles", f"numfiles.ceiling={LIMIT}", 8000, (1,), None),
    "stores": stores,
    "create": create_remove,
    "read": read_all,
    "get": get,
    "attach": attach,
    "kill": kill,
    "files": files,
}

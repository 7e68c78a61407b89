"""What the rows of scripts/bench use inside the VM: drivers, containers, the kernel's own controllers."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
ROOT = pathlib.Path("/tmp/bench")  # programs and libraries in RAM: the VM's root waits for the host
BIN = pathlib.Path(__file__).resolve().parents[3] / "build/release/bin"
DRIVERS = ["fork_bench", "switch_bench", "open_bench", "exec_bench", "hook_bench", "cgroup_bench",
           "tasks_bench", "drift_bench", "file_bench", "fuse_floor"]
TOOLS = ["/bin/cat", "/bin/sh", "/bin/true"]


def note(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def emit(**record):
    """One line for scripts/bench: a figure, or a fact about the run."""
    print(json.dumps(record), flush=True)


def prepare():
    """A root in RAM for all that is measured, and a quiet kernel."""
    programs = [str(BIN / name) for name in ["ctnbpf", "ctnbpf-fs", *DRIVERS] if (BIN / name).exists()] + TOOLS
    files = set(programs)
    for program in programs:
        for line in subprocess.run(["ldd", program], text=True, capture_output=True).stdout.splitlines():
            words = line.split()
            files.update(word for word in words if word.startswith("/"))
    for name in files:
        to = ROOT / ("bin/" + os.path.basename(name) if name in programs else name.lstrip("/"))
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, to)
    if os.path.exists("/etc/ld.so.cache"):
        (ROOT / "etc").mkdir(exist_ok=True)
        shutil.copy("/etc/ld.so.cache", ROOT / "etc")
    for name in ["proc", "sys", "dev", "run", "tmp"]:
        (ROOT / name).mkdir(exist_ok=True)
        subprocess.run(["mount", "--rbind", "/" + name, ROOT / name], check=True)
    pathlib.Path("/proc/sys/kernel/randomize_va_space").write_text("0")
    (CGROUPS / "cgroup.subtree_control").write_text("+pids")
    emit(fact="kernel", value=os.uname().release)
    time.sleep(2)  # the machine's own start-up comes to rest: there is no event for that


def settle():
    """The kernel puts off what is left of a thing that was removed: programs, trampolines, cgroups. On one
    CPU that work would be counted for whoever is measured next, which made baselines up to twice what
    they are. There is no event for its end; the guest's clock passes at once while nothing runs."""
    time.sleep(4)


def chroot(*words):
    return ["chroot", ROOT, *map(str, words)]


def run(*words, input=None, check=True):
    """Runs one of the programs; returns what it printed."""
    done = subprocess.run(chroot(*words), text=True, input=input, stdout=subprocess.PIPE)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: status {done.returncode}")
    return done.stdout


def ctnbpf(*words, input=None, check=True):
    return run("ctnbpf", *words, input=input, check=check)


def up(*options):
    """Loads what is to be measured; rows make their own hierarchies."""
    ctnbpf_status("down", "--force")
    ctnbpf("up", *options)
    ctnbpf("hierarchy", "destroy", "default")


class Driver:
    """A benchmark driver that waits to be told to do a round."""

    def __init__(self, *words):
        self.process = subprocess.Popen(chroot(*words), text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def has_answered(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def ready(self):
        return self.process.stdout.readline().strip()

    def round(self, count, warm_up=None):
        """The cost of one of `count`, after a quarter of them unmeasured."""
        for asked in (count // 4 if warm_up is None else warm_up, count):
            if not asked:
                continue
            self.process.stdin.write(f"{asked}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"driver {self.process.args} ended")
        return float(line)

    def tell(self):
        """For drivers that answer a line with a word."""
        self.process.stdin.write("1\n")
        self.process.stdin.flush()
        return self.ready()

    def pids(self):
        """The driver and its children."""
        kids = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, kids)]

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # it may have been killed, which may be the benchmark
            self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Hierarchy:
    """A hierarchy `b` with the subsystem; with a container in it the hooks are attached. At its end
    nothing is attached any more, and no task has a record."""

    def __init__(self, subsystem):
        self.subsystem = subsystem

    def __enter__(self):
        ctnbpf("hierarchy", "create", "b", "-o", self.subsystem)
        self.retry("create", "b:/present")  # what was detached just now may still be going
        return self

    def __exit__(self, *_):
        self.retry("hierarchy", "destroy", "b", "-r")  # the last tasks measured are still being freed
        settle()

    @staticmethod
    def retry(*words):
        deadline = time.monotonic() + 20
        while ctnbpf_status(*words):
            if time.monotonic() > deadline:
                raise RuntimeError(f"ctnbpf {' '.join(words)} does not succeed")
            time.sleep(0.05)

    def deep(self, depth, setting=None):
        """A container `depth` levels down, with the setting at each level."""
        path = "".join(f"/{depth}-{i}" for i in range(depth))
        ctnbpf("create", "-p", "b:" + path)
        if setting:
            at = "b:"
            for part in path.strip("/").split("/"):
                at += "/" + part
                ctnbpf("set", at, setting)
        return "b:" + path

    def hold(self, address, pids):
        for pid in pids:
            ctnbpf("attach", address, pid)


def ctnbpf_status(*words):
    return subprocess.run(chroot("ctnbpf", *words), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode


class Cgroup:
    """A group `depth` levels down, with a limit of the pids controller at each."""

    def __init__(self, depth, controller="pids", name="bench"):
        self.path = CGROUPS
        self.made = []
        for i in range(depth):
            self.path = self.path / f"{name}{depth}-{i}"
            self.path.mkdir()
            self.made.append(self.path)
            (self.path.parent / "cgroup.subtree_control").write_text("+" + controller)
            if controller == "pids":
                (self.path / "pids.max").write_text("100000")

    def parent(self):
        """The controller works in the groups below as well; none of them has processes."""
        (self.path / "cgroup.subtree_control").write_text("+pids")
        return self.path

    def hold(self, pids):
        for pid in pids:
            (self.path / "cgroup.procs").write_text(str(pid))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in reversed(self.made):
            path.rmdir()


@contextlib.contextmanager
def hooks(*words):
    """Programs of hook_bench are attached."""
    with Driver("hook_bench", *words) as driver:
        if driver.ready() != "attached":
            raise RuntimeError(f"hook_bench {words}: cannot be attached")
        yield
    settle()


def floor(name):
    """Empty programs on the hooks of fork, switch or open."""
    if name in ("fork", "open") and kernel_version() >= (6, 19):
        name += "7"
    return hooks("empty_" + name)


def kernel_version():
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def hold_in_root(pids):
    for pid in pids:
        (CGROUPS / "cgroup.procs").write_text(str(pid))

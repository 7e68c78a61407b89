"""What scripts/bench makes of the figures: medians, ratios, goals, tables."""

import collections
import statistics

Goal = collections.namedtuple("Goal", "title row config against most")

# `most`: the largest ratio of `config` to `against` that is good enough; None: shown only.
GOALS = [
    Goal("fork, exit, wait: outside all containers", "fork", "uncontained", "none", 1.008),
    Goal("fork, exit, wait: contained, depth 1", "fork", "depth1", "none", 1.03),
    Goal("fork, exit, wait: depth 8, a limit at each level, to cgroup pids", "fork", "depth8",
         "cgroup8", 0.95),
    Goal("fork, exit, wait: depth 200 to depth 1", "fork", "depth200", "depth1", 1.25),
    Goal("fork, exit, wait: outside, 10,000 containers to 1", "fork", "uncontained-many", "uncontained",
         1.02),
    Goal("fork, exit, wait: depth 1, 10,000 containers to 1", "fork", "depth1-many", "depth1", 1.02),
    Goal("fork, exit, wait: cgroup pids, depth 1", "fork", "cgroup1", "none", None),
    Goal("fork, exit, wait: cgroup pids, depth 8", "fork", "cgroup8", "none", None),
    Goal("fork, exit, wait: depth 8, a limit at each level", "fork", "depth8", "none", None),
    Goal("fork, exit, wait: floor, empty programs on our 5 hooks", "fork", "floor", "none", None),
    Goal("context switch: outside all containers", "switch", "uncontained", "none", 1.02),
    Goal("context switch: contained, depth 1", "switch", "depth1", "none", 1.03),
    Goal("context switch: depth 1, 10,000 containers to 1", "switch", "depth1-many", "depth1", 1.02),
    Goal("context switch: cgroup cpu, depth 1", "switch", "cgroup1", "none", None),
    Goal("context switch: floor, an empty program on our hook", "switch", "floor", "none", None),
    Goal("open, close: outside all containers", "open", "uncontained", "none", 1.045),
    Goal("open, close: contained, depth 1", "open", "depth1", "none", 1.12),
    Goal("open, close: depth 1, 10,000 containers to 1", "open", "depth1-many", "depth1", 1.02),
    Goal("open, close: floor, empty programs on our 2 hooks", "open", "floor", "none", None),
    Goal("create and remove 10,000 containers, to mkdir and rmdir with pids", "create", "ctnbpf",
         "cgroup", 0.2),
    Goal("read all figures of 10,000 containers, to pids.current, pids.events, cpu.stat", "read",
         "ctnbpf", "cgroup", 0.05),
    Goal("attach a process of 2,000 threads, to cgroup.procs", "attach", "ctnbpf", "cgroup", 1.0),
    Goal("one attribute by one process: get, to cat of pids.current", "get", "ctnbpf", "cgroup", 4.0),
    Goal("kill a container of 1,000 tasks, to cgroup.kill", "kill", "ctnbpf", "cgroup", 2.0),
    Goal("one attribute by one process: a file of a mount, to a cgroup's", "files", "containerfs", "cgroup", 4.0),
    Goal("one attribute by one process: a file of a mount, to an empty one of FUSE", "files", "containerfs",
         "floor", 1.3),
    Goal("one attribute by one process: an empty file of FUSE, to a cgroup's", "files", "floor", "cgroup", None),
    Goal("make and remove 1,000 containers as directories, to mkdir and rmdir with pids", "files", "mkdir",
         "mkdir-cgroup", 1.0),
    *(Goal(f"fork with a task's record in {what}: {where}", "stores", store + suffix, "none", None)
      for store, what in (("table", "the table we use"), ("storage", "task storage"),
                          ("hash", "a hash map"), ("array", "an array by pid"))
      for suffix, where in (("", "outside"), ("-contained", "contained"))),
]

# What has to be at most this, in its own unit.
LIMITS = {"memory": ("memory for 65,536 containers and 65,536 open files on 2 CPUs, MiB", 96)}


class Results:
    """Figures of one kernel, by (row, config) and round; facts by name."""

    def __init__(self):
        self.rounds = collections.defaultdict(dict)
        self.facts = {}

    def add(self, record):
        if "fact" in record:
            self.facts[record["fact"]] = record["value"]
        else:
            self.rounds[record["row"], record["config"]][record["round"]] = record["value"]

    def ratios(self, goal):
        ours, base = self.rounds.get((goal.row, goal.config), {}), self.rounds.get(
            (goal.row, goal.against), {})
        return [ours[number] / base[number] for number in ours if number in base]

    def rows(self):
        """A dictionary for each goal that was measured."""
        for goal in GOALS:
            ratios = self.ratios(goal)
            if not ratios:
                continue
            ours, base = self.rounds[goal.row, goal.config], self.rounds[goal.row, goal.against]
            ratio = statistics.median(ratios)
            yield {
                "title": goal.title, "row": goal.row, "config": goal.config, "against": goal.against,
                "instructions": round(statistics.median(ours.values())),
                "instructions_against": round(statistics.median(base.values())),
                "ratio": round(ratio, 4), "least": round(min(ratios), 4), "greatest": round(max(ratios), 4),
                "rounds": len(ratios), "goal": goal.most,
                "met": None if goal.most is None else ratio <= goal.most,
            }

    def limits(self):
        for name, (title, most) in LIMITS.items():
            if name in self.facts:
                yield {"title": title, "value": self.facts[name], "goal": most,
                       "met": self.facts[name] <= most}
        for name, value in self.facts.items():
            if name.startswith("drift: "):
                yield {"title": name, "value": value, "goal": 0, "met": value == 0}


def verdict(row):
    if row["goal"] is None:
        return ""
    return f"{'met' if row['met'] else '**missed**'}, ≤ {row['goal']:g}"


def markdown(measured):
    """Of what docs/benchmarks.json has of one kernel."""
    lines = [f"### Kernel {measured['kernel']}", "", *(f"{one}\n" for one in measured["measured"]),
             "| | instructions | against | ratio | least … greatest | rounds | goal |",
             "|---|---:|---:|---:|---|---:|---|"]
    for row in measured["rows"]:
        lines.append(f"| {row['title']} | {row['instructions']:,} | {row['instructions_against']:,} | "
                     f"{row['ratio']:.4f} | {row['least']:.4f} … {row['greatest']:.4f} | {row['rounds']} | "
                     f"{verdict(row)} |")
    limits = measured["limits"]
    if limits:
        lines += ["", "| | | goal |", "|---|---:|---|"]
        lines += [f"| {row['title']} | {row['value']:,} | {verdict(row)} |" for row in limits]
    return "\n".join(lines) + "\n"


def plain(results):
    lines = []
    for row in results.rows():
        lines.append(f"{row['title']:<78} {row['instructions']:>13,} {row['ratio']:8.4f} "
                     f"[{row['least']:.4f} {row['greatest']:.4f}]  {verdict(row)}")
    lines += [f"{row['title']:<78} {row['value']:>13,}  {verdict(row)}" for row in results.limits()]
    return "\n".join(lines)

#!/usr/bin/env python3
"""Does a real Prometheus get an answer to everything that share/ asks?

Two network namespaces stand for two machines: an exporter in each, of the same containers, so that a name's figures
are summed over both. Prometheus scrapes them with the shipped rules; every expression of the dashboard and of the
rules must have samples, the sums must be those of both, and alerts must be raised for a container at its limit.

usage: fleet.py SHARE_DIR CTNBPF        as root, with prometheus, promtool and ip in PATH, nothing up
Below level fallback nothing is refused and no files are counted: what tells of that may be empty there.
"""
import contextlib, json, os, pathlib, re, signal, subprocess, sys, tempfile, time, urllib.parse, urllib.request

MACHINES = {"ctn-a": "10.77.1", "ctn-b": "10.77.2"}
PORT = 9974
LIMIT = 4


def run(*words, **more):
    return subprocess.run(words, check=True, text=True, capture_output=True, **more).stdout


def wait_for(what, tell, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            if found := what():
                return found
        time.sleep(0.2)
    sys.exit(f"not ok: {tell} within {seconds} s")


def ask(base, path, **query):
    with urllib.request.urlopen(f"{base}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def expressions(share):
    """Of the dashboard's panels, of the recording rules and of the alerts without what they compare with."""
    dashboard = json.loads((share / "grafana/ctnbpf.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expr = re.sub(r"\$(instance|hierarchy|path)\b", ".*", target["expr"])
            yield f"panel '{panel['title']}'", expr.replace("$__rate_interval", "30s")
    for name in ("ctnbpf-records.yml", "ctnbpf-alerts.yml"):
        for line in (share / "prometheus" / name).read_text().splitlines():
            if found := re.match(r"\s+expr: (.*)", line):
                yield name, re.sub(r" (==|<|>) [0-9.]+$", "", found[1])


def main():
    share = pathlib.Path(sys.argv[1]).resolve()
    os.environ["PATH"] = f"{pathlib.Path(sys.argv[2]).resolve().parent}:{os.environ['PATH']}"
    rules = [str(share / "prometheus" / name) for name in ("ctnbpf-records.yml", "ctnbpf-alerts.yml")]
    run("promtool", "check", "rules", *rules)
    run("promtool", "test", "rules", "ctnbpf-rules-test.yml", cwd=share / "prometheus")
    with contextlib.ExitStack() as stack:
        dir = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(*words, **more):
            process = subprocess.Popen(words, **more)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)
            return process

        run("ctnbpf", "up")
        refuses = json.loads(subprocess.run(["ctnbpf", "--json", "subsystems"], capture_output=True).stdout)
        refuses = any(one["name"] == "numfiles" and one["level"] in ("strict", "fallback") for one in refuses)
        stack.callback(subprocess.run, ["ctnbpf", "down", "--force"])
        run("ctnbpf", "create", "default:/web", "-s", "notify_on_release=0")
        run("ctnbpf", "set", "--best-effort", "default:/web", f"numtasks.limit={LIMIT}")
        # At its limit, and where that is refused, one that tries for another all the time.
        sleepers = "for (1..%d) { if (!fork) { sleep 1 while 1 } } " % (LIMIT - 1)
        wait = "sleep 1 while 1"
        more = "while (1) { exit if defined(my $pid = fork) && !$pid; select undef, undef, undef, 0.05; wait if $pid }"
        start("ctnbpf", "run", "-c", "default:/web", "--", "perl", "-e", sleepers + (more if refuses else wait), stderr=subprocess.DEVNULL)
        stack.callback(subprocess.run, ["ctnbpf", "kill", "default:/web"])  # while its limit holds
        for name, net in MACHINES.items():
            run("ip", "netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name])
            run("ip", "link", "add", f"{name}-0", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "address", "add", f"{net}.1/24", "dev", f"{name}-0")
            run("ip", "link", "set", f"{name}-0", "up")
            run("ip", "-n", name, "address", "add", f"{net}.2/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            # Not `ip netns exec`, which mounts another /sys.
            start("nsenter", f"--net=/run/netns/{name}", "ctnbpf", "exporter", "--listen", f"{net}.2:{PORT}")
        run("ip", "link", "set", "lo", "up")
        text = wait_for(lambda: urllib.request.urlopen(f"http://10.77.1.2:{PORT}/metrics", timeout=5).read(),
                        "an exporter answers")
        check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
        if check.returncode or check.stdout or check.stderr:
            sys.exit(f"not ok: promtool check metrics: {(check.stdout + check.stderr).decode()}")
        (dir / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": [{"job_name": "ctnbpf", "static_configs": [
                {"targets": [f"{net}.2:{PORT}" for net in MACHINES.values()]}]}]}))
        base = "http://127.0.0.1:9990"
        start("prometheus", f"--config.file={dir}/prometheus.yml", f"--storage.tsdb.path={dir}/data",
              "--web.listen-address=127.0.0.1:9990", stderr=(dir / "log").open("w"))
        value = lambda expr: ask(base, "/api/v1/query", query=expr)["data"]["result"]
        wait_for(lambda: len(value("ctnbpf_up == 1")) == 2, "Prometheus has scraped both machines")
        empty = list(expressions(share))
        def still_empty():
            empty[:] = [one for one in empty if not value(one[1])]
            return not empty
        end = time.monotonic() + 60
        while not still_empty() and time.monotonic() < end:
            time.sleep(1)
        if not refuses:
            empty = [one for one in empty if not re.search("files|refused", one[1])]
        for where, expr in empty:
            print(f"not ok: {where} is empty: {expr}")
        if empty:
            sys.exit(1)
        total = wait_for(lambda: value('path:ctnbpf_tasks:sum{path="/web"}'), "the sum over both machines")
        if int(float(total[0]["value"][1])) != 2 * LIMIT:
            sys.exit(f"not ok: tasks of /web over both machines are {total[0]['value'][1]}, not {2 * LIMIT}")
        raised = lambda: {one["metric"]["alertname"] for one in value('ALERTS{path="/web"}')}
        expected = {"CtnbpfNearTaskLimit", "CtnbpfForksRefused"} if refuses else {"CtnbpfNearTaskLimit"}
        wait_for(lambda: expected <= raised(), "alerts for a container at its limit")
        print(f"ok: {len(list(expressions(share)))} expressions have samples, {2 * LIMIT} tasks of /web on 2 machines, "
              f"alerts {', '.join(sorted(raised()))}")


main()

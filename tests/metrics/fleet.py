#!/usr/bin/env python3
"""Does a real Prometheus get an answer to everything that share/ asks?

Two machines with an exporter each, of the same containers, so that a name's figures are summed over both. Prometheus
scrapes them with the shipped rules; every expression of the dashboard and of the rules must have samples, the sums
must be those of both, and alerts must be raised for a container at its limit.

usage: fleet.py SHARE_DIR CTNBPF        as root, with prometheus, promtool and ip in PATH, nothing up: the machines
                                        are two network namespaces. Where this kernel refuses nothing and counts no
                                        files, what tells of that may be empty
       fleet.py SHARE_DIR --vms         they are two VMs of scripts/vm, on the oldest kernel and on the newest, where
                                        nothing may be empty
"""
import contextlib, json, os, pathlib, re, signal, subprocess, sys, tempfile, time, urllib.parse, urllib.request

PORT = 9974
LIMIT = 4
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


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


# As many as the limit allows; where more are refused, one of them tries for more, of files too.
def crowd(refuses):
    sleepers = "for (1..%d) { if (!fork) { sleep 1 while 1 } } " % (LIMIT - 1)
    forks = "exit if defined(my $pid = fork) && !$pid; select undef, undef, undef, 0.05; wait if $pid;"
    opens = "while (open my $f, '<', '/dev/null') { push @open, $f } @open = ();"
    return sleepers + ("while (1) { %s %s }" % (forks, opens) if refuses else "sleep 1 while 1")


def starter(stack):
    def start(*words, **more):
        process = subprocess.Popen(words, **more)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        return process

    return start


def namespaces_here(stack):
    """Two network namespaces, one kernel and one ctnbpf; their exporters' addresses, and whether it refuses."""
    start = starter(stack)
    run("ctnbpf", "up")
    shown = json.loads(subprocess.run(["ctnbpf", "--json", "subsystems"], capture_output=True).stdout)
    refuses = any(one["name"] == "numfiles" and one["level"] in ("strict", "fallback") for one in shown)
    stack.callback(subprocess.run, ["ctnbpf", "down", "--force"])
    run("ctnbpf", "create", "default:/web", "-s", "notify_on_release=0")
    run("ctnbpf", "set", "--best-effort", "default:/web", f"numtasks.limit={LIMIT}", *["numfiles.ceiling=64"] * refuses)
    start("ctnbpf", "run", "-c", "default:/web", "--", "perl", "-e", crowd(refuses), stderr=subprocess.DEVNULL)
    stack.callback(subprocess.run, ["ctnbpf", "kill", "default:/web"])  # while its limit holds
    for name, net in {"ctn-a": "10.77.1", "ctn-b": "10.77.2"}.items():
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
    return ["10.77.1.2:%d" % PORT, "10.77.2.2:%d" % PORT], refuses


def two_vms(stack):
    """The same, of two kernels."""
    start = starter(stack)
    inside = (f"ctnbpf up && ctnbpf create default:/web -s numtasks.limit={LIMIT} -s numfiles.ceiling=64 && "
              "{ ctnbpf run -c default:/web -- perl -e \"$0\" 2>/dev/null & } && "
              f"exec ctnbpf exporter --listen 10.0.2.15:{PORT}")
    addresses = []
    for port, kernel in ((PORT, "6.1"), (PORT + 1, "7.2")):
        start(ROOT / "scripts/vm", "-k", kernel, "-m", "2048", "--forward", f"{port}:{PORT}", "--", "sh", "-c", inside,
              crowd(True), env={"VM_TIMEOUT": "1200", **os.environ}, stdin=subprocess.DEVNULL)
        addresses.append(f"127.0.0.1:{port}")
    return addresses, True


def main():
    share = pathlib.Path(sys.argv[1]).resolve()
    vms = sys.argv[2] == "--vms"
    if not vms:
        os.environ["PATH"] = f"{pathlib.Path(sys.argv[2]).resolve().parent}:{os.environ['PATH']}"
    rules = [str(share / "prometheus" / name) for name in ("ctnbpf-records.yml", "ctnbpf-alerts.yml")]
    run("promtool", "check", "rules", *rules)
    run("promtool", "test", "rules", "ctnbpf-rules-test.yml", cwd=share / "prometheus")
    with contextlib.ExitStack() as stack:
        dir = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))

        start = starter(stack)
        addresses, refuses = (two_vms if vms else namespaces_here)(stack)
        patience = 600 if vms else 120
        scrape = lambda address: urllib.request.urlopen(f"http://{address}/metrics", timeout=20).read()
        texts = [wait_for(lambda: scrape(address), f"{address} answers", patience) for address in addresses]
        for text in texts:
            check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
            if check.returncode or check.stdout or check.stderr:
                sys.exit(f"not ok: promtool check metrics: {(check.stdout + check.stderr).decode()}")
        (dir / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": f"{2 if vms else 1}s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": [{"job_name": "ctnbpf", "static_configs": [
                {"targets": addresses}]}]}))
        base = "http://127.0.0.1:9990"
        start("prometheus", f"--config.file={dir}/prometheus.yml", f"--storage.tsdb.path={dir}/data",
              "--web.listen-address=127.0.0.1:9990", stderr=(dir / "log").open("w"))
        value = lambda expr: ask(base, "/api/v1/query", query=expr)["data"]["result"]
        wait_for(lambda: len(value("ctnbpf_up == 1")) == 2, "Prometheus has scraped both machines")
        empty = list(expressions(share))
        def still_empty():
            empty[:] = [one for one in empty if not value(one[1])]
            return not empty
        end = time.monotonic() + patience / 2
        while not still_empty() and time.monotonic() < end:
            time.sleep(1)
        if not refuses:
            empty = [one for one in empty if not re.search("files|refused", one[1])]
        if empty:
            sys.exit("".join(f"not ok: {where} is empty: {expr}\n" for where, expr in empty))
        total = wait_for(lambda: value('path:ctnbpf_tasks:sum{path="/web"}'), "the sum over both machines")
        if int(float(total[0]["value"][1])) != 2 * LIMIT:
            sys.exit(f"not ok: tasks of /web over both machines are {total[0]['value'][1]}, not {2 * LIMIT}")
        raised = lambda: {one["metric"]["alertname"] for one in value('ALERTS{path="/web"}')}
        expected = {"CtnbpfNearTaskLimit", "CtnbpfForksRefused"} if refuses else {"CtnbpfNearTaskLimit"}
        wait_for(lambda: expected <= raised(), "alerts for a container at its limit")
        print(f"ok: {len(list(expressions(share)))} expressions have samples, {2 * LIMIT} tasks of /web on 2 machines, "
              f"alerts {', '.join(sorted(raised()))}")


main()

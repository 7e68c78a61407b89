"""What `scripts/bench --check` compares: figures with the committed ones, drift with none."""

CHECKED = ["fork", "switch", "open"]
# Ratios may be this much above the committed ones; what a single round differs by is less.
TOLERANCE = {"fork": 1.02, "switch": 1.01, "open": 1.02}
DRIFT_FACTS = 6  # of a storm of forks and one of opens


def checks(committed, results):
    """A sentence and whether it holds, for each figure: no worse than the committed row, and no drift. What
    should have been measured and was not does not hold."""
    measured = {(row["row"], row["config"], row["against"]): row for row in results.rows()}
    for row in committed:
        if row["row"] not in CHECKED or not row["config"].startswith(("uncontained", "depth")):
            continue
        now = measured.get((row["row"], row["config"], row["against"]))
        ratio = now["ratio"] if now else None
        most = row["ratio"] * TOLERANCE[row["row"]]
        yield f"{row['title']}: {ratio}, was {row['ratio']}", bool(now) and ratio <= most
    for row in results.limits():
        yield f"{row['title']}: {row['value']}, must be at most {row['goal']}", row["met"]
    if sum(fact.startswith("drift: ") for fact in results.facts) != DRIFT_FACTS:
        yield "drift: not all figures were measured", False

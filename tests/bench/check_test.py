"""A check that cannot fail checks nothing: each way in which scripts/bench --check has to fail."""

import unittest

import check
import report


def measured(opened=1120, outside=1100, drift=0, left_out=()):
    """What one round would give: an open costs 1,000 with nothing attached."""
    results = report.Results()
    for goal in report.GOALS:
        for config, value in ((goal.config, 1100), (goal.against, 1000)):
            results.add({"row": goal.row, "config": config, "round": 0, "value": value})
    results.add({"row": "open", "config": "depth1", "round": 0, "value": opened})
    results.add({"row": "open", "config": "uncontained", "round": 0, "value": outside})
    for number in range(check.DRIFT_FACTS):
        results.add({"fact": f"drift: {number}", "value": drift if number == 3 else 0})
    for name in left_out:
        results.facts.pop(name, None)
        results.rounds.pop(name, None)
    return results


class Check(unittest.TestCase):
    committed = list(measured().rows())

    def failed(self, results):
        return [sentence for sentence, holds in check.checks(self.committed, results) if not holds]

    def test_the_same_again_passes(self):
        self.assertEqual(self.failed(measured()), [])

    def test_less_is_no_failure(self):
        self.assertEqual(self.failed(measured(outside=1050)), [])

    def test_what_differs_from_run_to_run_passes(self):
        self.assertEqual(self.failed(measured(opened=1125)), [])

    def test_an_open_that_costs_more_fails(self):
        self.assertEqual(self.failed(measured(opened=1150)), ["open, close: contained, depth 1: 1.15, was 1.12"])

    def test_one_figure_that_drifted_fails(self):
        self.assertEqual(self.failed(measured(drift=1)), ["drift: 3: 1, must be at most 0"])

    def test_a_row_that_was_not_measured_fails(self):
        without = measured(left_out=[("open", "uncontained")])
        self.assertEqual(self.failed(without), ["open, close: outside all containers: None, was 1.1"])

    def test_drift_that_was_not_measured_fails(self):
        self.assertEqual(self.failed(measured(left_out=["drift: 5"])), ["drift: not all figures were measured"])


if __name__ == "__main__":
    unittest.main()

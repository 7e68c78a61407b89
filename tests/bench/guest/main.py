"""Runs rows of scripts/bench in the VM it is started in; prints a line of JSON for each figure.

usage: main.py ROUNDS ROW..."""

import sys

import rows
import storms
import world


def main():
    rounds, names = int(sys.argv[1]), sys.argv[2:]
    run = {**rows.RUN, "drift": storms.drift, "memory": storms.memory}
    world.prepare()
    for name in names:
        world.note(name)
        world.settle()
        run[name](rounds)


main()

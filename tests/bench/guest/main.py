"""Runs rows of scripts/bench in the VM it is started in; prints a line of JSON for each figure.

usage: main.py ROUNDS ROW..."""

import sys

import rows
import world


def main():
    rounds, names = int(sys.argv[1]), sys.argv[2:]
    world.prepare()
    for name in names:
        world.note(name)
        rows.RUN[name](rounds)


main()

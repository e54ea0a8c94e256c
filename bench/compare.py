#!/usr/bin/env python3
"""compare.py OLD NEW: what changed between two runs of a benchmark (files of --json lines).

A result changed when the medians differ by more than the noise: the 10th to 90th percentile ranges
of the two runs do not overlap, and the difference is at least --least percent (5). Prints the
changed ones, or all with --all; ends with 1 when something became worse. Less is better, except for
units that end in /s.
"""
import argparse
import json
import sys


def read(path):
    """The results of a file by (suite, name, size); a later line replaces an earlier one."""
    results = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("{"):
                result = json.loads(line)
                results[result["suite"], result["name"], result["size"]] = result
    return results


def verdict(old, new, least):
    """'better', 'worse' or '' and the change of the median in percent."""
    if old["median"] == 0:
        return ("" if new["median"] == 0 else "worse"), 0.0
    change = 100 * (new["median"] / old["median"] - 1)
    overlap = new["p10"] <= old["p90"] and old["p10"] <= new["p90"]
    if overlap or abs(change) < least:
        return "", change
    more_is_better = new["unit"].endswith("/s")
    return "better" if (change > 0) == more_is_better else "worse", change


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--least", type=float, default=5, help="smallest change told, percent")
    parser.add_argument("--all", action="store_true", help="tell unchanged results too")
    options = parser.parse_args()
    old, new = read(options.old), read(options.new)
    worse = changed = 0
    for key in sorted(old.keys() & new.keys()):
        word, change = verdict(old[key], new[key], options.least)
        worse += word == "worse"
        changed += word != ""
        if word or options.all:
            suite, name, size = key
            print(f"{suite}/{name} {size}: {old[key]['median']:.4g} -> {new[key]['median']:.4g} "
                  f"{new[key]['unit']} ({change:+.1f} %) {word}")
    for key in sorted(old.keys() ^ new.keys()):
        print("only in", options.old if key in old else options.new, *key)
    print(f"{len(old.keys() & new.keys())} results, {changed} changed, {worse} worse")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Contracts of operators: docs/ops/<op>.md numbers them <op>-c1, <op>-c2, ...; tests cite them.

Fails for a contract that no test cites, for a citation of a contract that does not exist, and for
numbers that do not run from 1 without a gap. Contracts that no source file cites are counted only.
"""
import os
import re

import tree

CITATION = re.compile(r"\b([a-z][a-z0-9_]*)-c([1-9]\d*)\b")


def citations(pattern):
    """(op, number) -> the first place that cites it."""
    found = {}
    for path in tree.matching(pattern):
        if path.startswith("tests/tidy/"):
            continue
        for number, line in enumerate(tree.read(path).splitlines(), 1):
            for op, contract in CITATION.findall(line):
                found.setdefault((op, int(contract)), f"{path}:{number}")
    return found


def main():
    tree.arguments(__doc__)
    defined, problems = set(), []
    ops = {os.path.basename(path)[:-3]: path for path in tree.matching(r"docs/ops/[^/]+\.md")}
    for op, path in ops.items():
        numbers = sorted({int(n) for o, n in CITATION.findall(tree.read(path)) if o == op})
        defined |= {(op, n) for n in numbers}
        if numbers != list(range(1, len(numbers) + 1)):
            problems.append(f"{path}: contracts are numbered {numbers}, not from 1 without a gap")
    in_tests = citations(r"tests/.*\.(ir|c|h|py)")
    in_code = citations(r"src/.*\.(c|h|def)")
    for (op, number), place in {**in_code, **in_tests}.items():
        if (op, number) not in defined and (op in ops or place.split(":")[0].endswith(".ir")):
            problems.append(f"{place}: docs/ops/{op}.md has no {op}-c{number}")
    for op, number in sorted(defined - set(in_tests)):
        problems.append(f"{ops[op]}: no test cites {op}-c{number}")
    uncited = len(defined - set(in_code))
    tree.finish(problems, f"{len(defined)} contracts are tested; no source file cites {uncited}")


main()

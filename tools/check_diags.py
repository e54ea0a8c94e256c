#!/usr/bin/env python3
"""Every diagnostic kind of src/tables/diags.def is emitted from one place and shown by a test.

Emitted: DIAG_<KIND> stands in one source file under src/ (a NOTE may stand in several; comparisons
do not count). Shown: a golden or error test has `;! KIND` or, where no program can cause it, a C
test names DIAG_<KIND>. Kinds listed in tools/diags_baseline.txt are excused until they are.
"""
import os
import re

import tree


def kinds():
    """(kind, severity, line) of each row of diags.def."""
    path = "src/tables/diags.def"
    if os.path.exists(path):
        text = tree.blank(tree.read(path))
        for match in re.finditer(r"^DIAG\(\s*(\w+)\s*,\s*(\w+)", text, re.M):
            if match.group(1) != "NIL":
                yield match.group(1), match.group(2), text.count("\n", 0, match.start()) + 1


def emitters():
    """kind -> the source files that emit it."""
    found = {}
    for path in tree.matching(r"src/.*\.(c|h|def)"):
        if not path.endswith("diags.def"):
            text = re.sub(r"([=!]=|\bcase)\s*DIAG_\w+", "", tree.blank(tree.read(path)))
            for kind in set(re.findall(r"\bDIAG_(\w+)", text)):
                found.setdefault(kind, []).append(path)
    return found


def shown():
    """The kinds that some test expects."""
    found = set()
    for path in tree.matching(r"tests/.*\.(ir|c|h)"):
        if path.startswith("tests/tidy/"):
            continue
        text = tree.read(path)
        found.update(re.findall(r"\bDIAG_(\w+)", text) if path[-3:] != ".ir"
                     else re.findall(r";!\s*(\w+)", text))
    return found


def main():
    tree.arguments(__doc__)
    baseline_path = "tools/diags_baseline.txt"
    baseline = set()
    if os.path.exists(baseline_path):
        baseline = set(re.sub(r"#.*", "", tree.read(baseline_path)).split())
    emitted, tested, problems, bad = emitters(), shown(), [], set()
    for kind, severity, line in kinds():
        where = f"src/tables/diags.def:{line}: {kind}"
        files = emitted.get(kind, [])
        complaints = []
        if not files:
            complaints.append("is never emitted")
        elif len(files) > 1 and severity != "NOTE":
            complaints.append(f"is emitted from {len(files)} files: {' '.join(files)}")
        if kind not in tested:
            complaints.append("appears in no test (`;! KIND`, or DIAG_KIND in a C test)")
        if complaints:
            bad.add(kind)
            if kind not in baseline:
                problems += [f"{where} {complaint}" for complaint in complaints]
    problems += [f"{baseline_path}: {kind} needs no excuse" for kind in sorted(baseline - bad)]
    tree.finish(problems, f"{len(list(kinds()))} diagnostic kinds are emitted once and tested")


main()

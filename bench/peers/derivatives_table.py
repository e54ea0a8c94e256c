#!/usr/bin/env python3
"""One table of what bench_derivatives --json and peers/derivatives.py printed.

    python3 bench/peers/derivatives_table.py FILES [--markdown]

A line a case: of Stoa and of each peer ms a step (median), MB, seconds to the end of the first
step, kernels and the error: the largest relative difference of the loss, of the norm of the
gradient, and of the gradient's product with a vector (relative to the norm). It is against a run
in f64 of any system where there is one, else against the others' median. x: the fastest peer over
Stoa; MISSES: an error above its limit (LIMITS). Exits with 1 if there is such a case.
"""
import json
import statistics
import sys

LIMITS = {"f32": 1e-3, "f64": 1e-9}
# some determinants are nearly singular: JAX and PyTorch differ by 4e-7 in f64, by far more in f32
LIMITS_OF = {"19.electrons": {"f32": float("inf"), "f64": 1e-6}}
ORDER = ["stoa", "jax-jet", "jax-nested", "jax-grad", "torch", "torch-compiled"]


def read(paths):
    rows = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if not line.startswith("{"):
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                row.setdefault("system", "stoa")
                row.setdefault("dtype", "f32")
                row.setdefault("size", 0)
                rows.setdefault(row["name"], {})[row["system"], row["dtype"], row["size"]] = row
    return rows


def error_of(row, truth):
    scale = abs(truth["norm"]) or 1
    return max(abs(row["loss"] - truth["loss"]) / (abs(truth["loss"]) or 1),
               abs(row["norm"] - truth["norm"]) / scale,
               abs(row["probe"] - truth["probe"]) / scale)


def truth_for(row, of_case):
    alike = [r for (_, _, size), r in of_case.items()
             if "failed" not in r and size == row["size"] and r["system"] != row["system"]]
    wide = [r for r in alike if r["dtype"] == "f64" and r is not row]
    if wide:
        return wide[0]
    alike = [r for r in alike if r["dtype"] == row["dtype"]]
    if not alike:
        return None
    middle = statistics.median_low([r["probe"] for r in alike])
    return next(r for r in alike if r["probe"] == middle)


def cells(row, of_case):
    """(ms, MB, first s, kernels, error, wrong)"""
    if row is None:
        return ["", "", "", "", ""], False
    if "failed" in row:
        return [row["failed"] if len(row["failed"]) < 16 else "failed", "", "", "", ""], False
    truth = truth_for(row, of_case)
    error = None if truth is None else error_of(row, truth)
    wrong = error is not None and not error <= LIMITS_OF.get(row["name"], LIMITS)[row["dtype"]]
    return [f"{row['median']:.3g}", f"{row['bytes'] / 1e6:.4g}" if row.get("bytes") else "",
            f"{row['first_s']:.2g}", f"{row.get('launches', 0):.0f}" if row.get("launches") else "",
            "" if error is None else f"{error:.0e}" + (" MISSES" if wrong else "")], wrong


def tell(paths, mark):
    """Prints the table, with lines of Markdown if they are wanted; true: values disagree."""
    rows, bad = read(paths), False
    for dtype in ("f32", "f64"):
        systems = [s for s in ORDER if any((s, dtype) == key[:2] for of in rows.values()
                                           for key in of)]
        if not systems:
            continue
        table = [["case", "points"] + [f"{s} {w}" for s in systems
                                       for w in ("ms", "MB", "first", "kernels", "error")] + ["x"]]
        for name, of_case in rows.items():
            for size in sorted({key[2] for key in of_case if key[1] == dtype and key[2]}):
                line, peers = [name, str(size)], []
                ours = of_case.get(("stoa", dtype, size))
                for system in systems:
                    row = of_case.get((system, dtype, size))
                    texts, wrong = cells(row, of_case)
                    bad |= wrong
                    line += texts
                    if row and "failed" not in row and system != "stoa":
                        peers.append(row["median"])
                ratio = min(peers) / ours["median"] if ours and peers else None
                table.append(line + ["" if ratio is None else f"{ratio:.2f}"])
        empty = [i for i in range(len(table[0])) if not any(line[i] for line in table[1:])]
        table = [[c for i, c in enumerate(line) if i not in empty] for line in table]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        print(f"\n{dtype}, ms a step")
        for n, line in enumerate(table):
            gap = " | " if mark else "  "
            text = gap.join(c.ljust(w) if i == 0 else c.rjust(w)
                            for i, (c, w) in enumerate(zip(line, widths)))
            print(f"| {text} |" if mark else text)
            if mark and n == 0:
                print("|" + "---|" * len(line))
    return bad


if __name__ == "__main__":
    sys.exit(tell([a for a in sys.argv[1:] if not a.startswith("--")], "--markdown" in sys.argv))

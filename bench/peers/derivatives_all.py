#!/usr/bin/env python3
"""All cases of derivative_cases.def in Stoa and its peers, and one table of them.

    python3 bench/peers/derivatives_all.py BENCH_DERIVATIVES [--device cpu|cuda] [--size N]
        [--sizes CASE=N,...] [--filter TEXT,...] [--systems LIST] [--limit S] [--until S]
        [--jobs N] [--keep FILE] [--markdown]

A process for each case and system, one after the other, so that what a peer keeps does not count
for the next; a system may end in :f64, and the first of these is what errors are measured against.
One that takes longer than --limit seconds is ended, and the table says so; after --until seconds no
other begins. What was measured is a JSON line of --keep; what stands there already is not measured
again, so that a run that was cut short goes on. --jobs: so many compile side by side, and take
turns to be measured (derivatives.py --lock). Columns: derivatives_table.py. Exits with 1 where
values disagree.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

import derivatives
import derivatives_table

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEMS = "torch:f64,stoa:f64,stoa,torch,torch-compiled,jax-jet,jax-nested"
BEGUN = time.perf_counter()


def command_of(system, dtype, name, size, options):
    common = ["--filter", name, "--size", str(size), "--seconds", str(options.seconds)]
    common += ["--f64"] if dtype == "f64" else []
    if system != "stoa":
        patience = str(0.8 * options.limit)
        lock = ["--lock", options.lock, "--patience", patience] if options.lock else []
        return [sys.executable, os.path.join(HERE, "derivatives.py"), system, *lock, *common,
                "--device", options.device]
    where = ["--lanes", "1"] if options.device == "cpu" else ["--device", options.device]
    return [options.program, "--json", *where, *common]


def measure(job):
    """The line of a result."""
    system, dtype, name, size, options = job
    told = {"system": system, "dtype": dtype, "name": name, "size": size}
    if time.perf_counter() - BEGUN > options.until:
        return None
    print(f"{system} {dtype} {name}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command_of(system, dtype, name, size, options), check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {**told, "failed": f"not in {options.limit:g} s"}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            return {**json.loads(line), **told}
    return {**told, "failed": (done.stderr.strip().splitlines() or ["nothing was told"])[-1][:300]}


def jobs_of(options, known):
    sizes = dict(pair.split("=") for pair in options.sizes.split(",") if pair)
    for case in derivatives.read_cases():
        name = case["name"]
        if not any(part in name for part in options.filter.split(",")):
            continue
        size = min(case["points"], int(sizes.get(name, options.size or case["points"])))
        for entry in options.systems.split(","):
            system, _, dtype = entry.partition(":")
            if (system, dtype or "f32", name, size) not in known:
                yield system, dtype or "f32", name, size, options


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--sizes", default="")
    parser.add_argument("--filter", default="")
    parser.add_argument("--systems", default=SYSTEMS)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--until", type=float, default=1e9)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", default="derivatives.jsonl")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    known = set()
    if os.path.exists(options.keep):
        with open(options.keep, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.startswith("{")]
        known = {(r["system"], r["dtype"], r["name"], r["size"]) for r in rows}
    with tempfile.TemporaryDirectory() as folder, \
            open(options.keep, "a", encoding="utf-8") as file, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        options.lock = os.path.join(folder, "lock") if options.jobs > 1 else None
        for row in pool.map(measure, jobs_of(options, known)):
            if row is not None:
                file.write(json.dumps(row) + "\n")
                file.flush()
    sys.exit(derivatives_table.tell([options.keep], options.markdown))


if __name__ == "__main__":
    main()

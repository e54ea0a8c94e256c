#!/usr/bin/env python3
"""Headers stand alone: each compiles as the first and only include of a file.

Headers of src/ are compiled as C17 with warnings as errors; those of include/stoa as strict C11 and
as C++17 too, since programs of both kinds include them. Nothing is generated, so it takes a second.
"""
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import tree

COMMON = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-D_DEFAULT_SOURCE"]


def commands(cc):
    internal = tree.matching(r"src/.*\.h")
    public = tree.matching(r"include/.*\.h")
    for path in internal + public:
        yield path, [cc, "-std=c17", "-x", "c", *COMMON, "-Isrc", "-Iinclude"]
    for path in public:
        yield path, [cc, "-std=c11", "-x", "c", *COMMON, "-Iinclude"]
        if shutil.which("c++"):
            yield path, ["c++", "-std=c++17", "-x", "c++", *COMMON, "-Iinclude"]


def compile_header(job):
    path, command = job
    source = f'#include "{os.path.abspath(path)}"\n'
    result = subprocess.run(command + ["-"], input=source, capture_output=True, text=True,
                            check=False)
    if result.returncode == 0:
        return None
    message = next((m for m in result.stderr.splitlines() if "error" in m), result.stderr)
    return f"{path}: does not stand alone as {command[1]}: {message}"


def main():
    args = tree.arguments(__doc__, cc="cc")
    jobs = list(commands(args.cc))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for problem in pool.map(compile_header, jobs) if problem]
    tree.finish(problems, f"{len(jobs)} compilations of headers passed")


if __name__ == "__main__":
    sys.exit(main())

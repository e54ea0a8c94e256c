#!/usr/bin/env python3
"""Names in the object code: every global symbol begins with the noun of its file.

In tables/ops.c that noun is `ops` or `op` (ops_add, op_count); os_linux.c may use os_ too.
Further nouns, and the files that may call malloc, print or read errno, are listed in
tools/symbols.txt. The shared library may export stoa_* only. Reads those of --build with nm.
"""
import fnmatch
import glob
import os
import re
import subprocess

import tree

RESTRICTED = set("""malloc calloc realloc free aligned_alloc posix_memalign strdup strndup
    printf puts putchar fprintf vprintf vfprintf perror __printf_chk __fprintf_chk stdout stderr
    getenv setenv secure_getenv exit abort _exit atexit rand srand random
    __errno_location""".split())
TOOLCHAIN = re.compile(r"__(asan|ubsan|tsan|gcov|odr|llvm|sanitizer|start|stop)|_{0,2}gcov|\.")


def read_rules():
    """Rows `prefix GLOB WORDS...` and `libc GLOB WORDS...` of tools/symbols.txt."""
    rules = []
    if os.path.exists("tools/symbols.txt"):
        for line in tree.read("tools/symbols.txt").splitlines():
            words = line.split("#")[0].split()
            if words:
                rules.append((words[0], words[1], words[2:]))
    return rules


def words_for(rules, kind, path):
    return [w for k, pattern, words in rules if k == kind and fnmatch.fnmatch(path, pattern)
            for w in words]


def nm(path, *options):
    result = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def prefixes(stem):
    """os_linux -> os_linux, os; dtypes -> dtypes, dtype."""
    parts = stem.split("_")
    nouns = ["_".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return nouns + [re.sub("ies$", "y", noun) if noun.endswith("ies") else noun[:-1]
                    for noun in nouns if noun.endswith("s")]


def begins(symbol, prefix):
    return symbol == prefix or symbol.startswith(prefix.rstrip("_") + "_")


def check_archive(archive, rules):
    layer = re.sub(r"^libstoa_|\.a$", "", os.path.basename(archive))
    path = None
    for line in nm(archive, "-g"):
        member = re.match(r"(\S+)\.c\.o:$", line)
        if member:
            path = f"src/{layer}/{member.group(1)}.c"
            nouns = prefixes(member.group(1)) + words_for(rules, "prefix", path)
            allowed = set(words_for(rules, "libc", path))
            continue
        if line.endswith(".o:"):
            path = None  # not compiled from this tree
        words = line.split()
        if path is None or len(words) < 2:
            continue
        kind, symbol = words[-2], words[-1].split("@")[0]
        if kind in "Uw":
            if symbol in RESTRICTED and symbol not in allowed:
                yield f"{path}: uses {symbol}, which tools/symbols.txt does not allow here"
        elif not TOOLCHAIN.match(symbol) and not any(begins(symbol, noun) for noun in nouns):
            yield f"{path}: global symbol {symbol} does not begin with {nouns[0]}_"


def check_exports(library):
    for line in nm(library, "-D", "--defined-only"):
        symbol = line.split()[-1].split("@")[0]
        if not symbol.startswith("stoa_"):
            yield f"{os.path.basename(library)}: exports {symbol}"


def main():
    args = tree.arguments(__doc__, build="build/relassert")
    rules = read_rules()
    layers = os.path.join(args.build, "layers", "libstoa_*.a")
    archives = [a for a in sorted(glob.glob(layers)) if not a.endswith("libstoa_models.a")]
    problems = [p for archive in archives for p in check_archive(archive, rules)]
    library = os.path.join(args.build, "lib", "libstoa.so")
    if os.path.exists(library):
        problems += check_exports(library)
    tree.finish(problems, f"the symbols of {len(archives)} layers are in order")


main()

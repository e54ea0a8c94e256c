#!/usr/bin/env python3
"""Compiles and runs the C program that README.md shows, and compares what it prints with the
comment in it, so that what a reader copies is known to work.

Usage: tests/cli/readme.py CC LIBRARY_FOLDER
"""
import os
import re
import subprocess
import sys
import tempfile


def main():
    compiler, library = sys.argv[1], os.path.abspath(sys.argv[2])
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        code = re.search(r"```c\n(.*?)```", file.read(), re.S).group(1)
    wanted = re.search(r"^ *printf\(.*/\* (.*) \*/", code, re.M).group(1)
    with tempfile.TemporaryDirectory() as scratch:
        source, program = os.path.join(scratch, "readme.c"), os.path.join(scratch, "readme")
        with open(source, "w", encoding="utf-8") as file:
            file.write(code)
        subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
                        "-Werror", "-I" + os.path.join(root, "include"), source, "-o", program,
                        "-L" + library, "-lstoa", "-Wl,-rpath," + library], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    if printed.strip() != wanted:
        sys.exit(f"README.md says {wanted!r}, its program printed {printed.strip()!r}")


if __name__ == "__main__":
    main()

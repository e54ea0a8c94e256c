"""What the style checks share: the files of the tree, C text without comments, how a check ends.

The tree is the repository (git decides what belongs to it) or, given --root, any folder: so
tests/tidy runs the checks on toy trees. Every check prints `file:line: what is wrong` and exits 1.
"""
import argparse
import functools
import os
import re
import subprocess
import sys

IGNORED_DIRS = {".git", "build", "runs", "__pycache__", ".cache"}


def arguments(description, **options):
    """Parses --root and the extra options (name=default), and changes into the root."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), ".."))
    for name, default in options.items():
        parser.add_argument("--" + name, default=default)
    args = parser.parse_args()
    for name in ("build",):
        if getattr(args, name, None):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    os.chdir(args.root)
    return args


def git_files(*options):
    """Paths that `git ls-files` prints, or None where the root is no git work tree of its own."""
    if not os.path.exists(".git"):
        return None
    result = subprocess.run(["git", "ls-files", "-z", *options], capture_output=True, check=False)
    return [p for p in result.stdout.decode().split("\0") if p] if result.returncode == 0 else None


@functools.cache
def tree_files():
    """Every file of the tree, sorted: known to git or new and not ignored."""
    files = git_files("--cached", "--others", "--exclude-standard")
    if files is None:
        files = []
        for folder, dirs, names in os.walk("."):
            dirs[:] = [d for d in dirs if d not in IGNORED_DIRS]
            files += [os.path.relpath(os.path.join(folder, name), ".") for name in names]
    return sorted(p for p in set(files) if os.path.isfile(p))


def matching(pattern):
    """The files of the tree whose path matches the regular expression from its start to its end."""
    return [path for path in tree_files() if re.fullmatch(pattern, path)]


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def blank(text, strings=True):
    """C text with comments (and the inside of strings) as spaces; lines keep their numbers."""
    def spaces(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[0] if strings else token
        return re.sub(r"[^\n]", " ", token)
    return TOKEN.sub(spaces, text)


def includes(path):
    """(line, name) of each #include "name" in a file."""
    found = []
    for number, line in enumerate(blank(read(path), strings=False).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if match:
            found.append((number, match.group(1)))
    return found


def finish(problems, summary):
    """Prints the problems, or the summary if there are none, and ends the program."""
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else summary)
    sys.exit(1 if problems else 0)

#!/usr/bin/env python3
"""Budgets and hygiene of the tree, as docs/style.md states them; prints the lines of each layer.

Length of files, functions and lines, depth and cycles of includes, an opening comment in every
source file, no tabs, trailing blanks, unfinished notes or `switch (opcode)` where a column belongs,
and no file that git does not know (an error in CI, where the tree is a fresh clone; a remark
elsewhere).
"""
import os
import re

import tree

FILE_LINES_SOFT, FILE_LINES_HARD = 800, 1200
FUNCTION_LINES, LINE_COLUMNS, INCLUDE_DEPTH = 70, 100, 16  # depth: docs/notes/0001
OPENING_LINES = range(3, 16)
SOURCE = r"(src|include|tools|tests|bench|models|examples)/.*\.(c|h|def|cu)"
SCRIPT = r"\.ci/run|(.*/)?CMakeLists\.txt|.*\.(py|sh|cmake)|tools/[a-z_]+|tests/embed/run"
DISPATCH = "tidy: dispatch"
UNFINISHED = re.compile("FIX" + "ME|TO" + r"DO(?!\(note \d{4}\))")
OPCODE_SWITCH = re.compile(r"\bswitch\s*\(.*\bopcode\b")
OPCODE_SWITCH_HOMES = re.compile(
    r"src/(tables/|cpu/interp|systems/(fold|layout|lower_expr)\.c|[a-z]+/emit)")


def check_lines(path, text):
    """Rules that look at one line."""
    generated = "do not edit." in text[:400]
    longest = 0 if path.endswith(".def") or generated else LINE_COLUMNS
    for number, line in enumerate(text.split("\n"), 1):
        if longest and len(line) > longest:
            yield number, f"{len(line)} columns (at most {longest})"
        if line != line.rstrip():
            yield number, "trailing blanks"
        if "\t" in line:
            yield number, "a tab"
        if UNFINISHED.search(line):
            yield number, "an unfinished note; do it, or write TO" + "DO(note NNNN)"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"


def opening_lines(path, text):
    """Number of lines of the comment that opens a file (after #! and a docstring's quotes)."""
    text = re.sub(r"\A#![^\n]*\n", "", text)
    if re.search(r"\.(c|h|def|cu)$", path):
        match = re.match(r"\s*(/\*.*?\*/|(?://[^\n]*\n)+)", text, re.S)
    else:
        match = re.match(r'\s*(""".*?"""|(?:#[^\n]*\n)+)', text, re.S)
    return match.group(1).rstrip("\n").count("\n") + 1 if match else 0


def functions(text):
    """(first line, lines, whole text of the signature) of each function body in blanked C text."""
    lines = re.sub(r"^[ \t]*#[^\n]*(\\\n[^\n]*)*", lambda m: "\n" * m.group(0).count("\n"), text,
                   flags=re.M).split("\n")
    depth, head, head_line, start = 0, "", 0, None
    for number, line in enumerate(lines, 1):
        if line.startswith("}"):
            depth = 1  # a closing brace in the first column ends whatever is open
        for part in re.findall(r"[{};]|[^{};]+", line):
            if part == "{":
                if depth == 0:
                    is_function = re.search(r"\)\s*$", head) and "=" not in head.split("(")[0]
                    start = head_line if is_function else None
                depth += 1
            elif part == "}":
                depth = max(depth - 1, 0)
                if depth == 0:
                    if start:
                        yield start, number - start + 1
                    head, head_line, start = "", 0, None
            elif depth == 0:
                if part == ";":
                    head, head_line = "", 0
                else:
                    if not head.strip() and part.strip():
                        head_line = number
                    head += part + " "


def check_c(path, text):
    """Rules for C files: function length and dispatch on opcodes."""
    blanked, lines = tree.blank(text), text.split("\n")
    for first, count in functions(blanked):
        marked = any(DISPATCH in line for line in lines[max(first - 4, 0):first + 1])
        if count > FUNCTION_LINES and not marked:
            yield first, f"a function of {count} lines (at most {FUNCTION_LINES}; `// {DISPATCH}`)"
    if path.startswith("src/") and not OPCODE_SWITCH_HOMES.match(path):
        for number, line in enumerate(blanked.split("\n"), 1):
            if OPCODE_SWITCH.search(line):
                yield number, "switch on an opcode: add a column to opcodes.def or a rule row"


def check_file(path, remarks):
    text = tree.read(path)
    count = text.count("\n")
    if path.endswith((".c", ".h", ".cu", ".py")) and count > FILE_LINES_SOFT:
        message = f"{path}:1: {count} lines (soft limit {FILE_LINES_SOFT}, hard {FILE_LINES_HARD})"
        (yield message) if count > FILE_LINES_HARD else remarks.append(message)
    opening = opening_lines(path, text)
    if opening > max(OPENING_LINES) or opening < (2 if path.startswith("src/") else 1):
        yield f"{path}:1: opens with a comment of {opening} lines (2 to 15 in src, or 1)"
    rules = list(check_lines(path, text))
    if path.endswith((".c", ".h", ".cu")):
        rules += check_c(path, text)
    for line, message in rules:
        yield f"{path}:{line}: {message}"


def check_includes():
    """Depth and cycles of the include graph under src/."""
    graph = {}
    for path in tree.matching(r"src/.*\.(c|h|def)"):
        graph[path[4:]] = [name for _, name in tree.includes(path)]
    depths, problems = {}, []

    def depth(name, stack):
        if name in stack:
            cycle = stack[stack.index(name):] + [name]
            problems.append(f"src/{name}:1: include cycle {' > '.join(cycle)}")
            return 0
        if name not in depths:
            below = [1 + depth(n, stack + [name]) for n in graph.get(name, [])]
            depths[name] = max(below, default=0)
        return depths[name]

    for name in sorted(graph):
        if depth(name, []) > INCLUDE_DEPTH and name.endswith(".c"):
            problems.append(f"src/{name}:1: includes {depths[name]} deep (at most {INCLUDE_DEPTH})")
    return problems


def check_unknown(remarks):
    unknown = tree.git_files("--others", "--exclude-standard") or []
    messages = [f"{path}:1: unknown to git; add it or remove it" for path in unknown]
    if os.environ.get("CI"):
        return messages
    if messages:
        remarks.append(f"{len(messages)} files are unknown to git")
    return []


def print_totals():
    print("lines per layer:")
    for layer in sorted({path.split("/")[1] for path in tree.matching(r"src/[^/]+/.*")}):
        files = tree.matching(rf"src/{layer}/.*\.(c|h|def|cu)")
        lines = sum(tree.read(path).count("\n") for path in files)
        print(f"  {layer:10} {lines:7} in {len(files)} files")


def main():
    tree.arguments(__doc__)
    problems, remarks = [], []
    files = tree.matching(f"{SOURCE}|{SCRIPT}")
    for path in files:
        problems += check_file(path, remarks)
    problems += check_includes() + check_unknown(remarks)
    print_totals()
    for remark in remarks:
        print("remark:", remark)
    tree.finish(problems, f"{len(files)} files are tidy")


main()

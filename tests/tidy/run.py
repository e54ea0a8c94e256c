#!/usr/bin/env python3
"""Tests of the style checks: each case is a toy tree, a check and the messages that it must print.

A toy tree is a dict of path -> text, laid out in a scratch folder. A case names the words that the
check must print, in any order; no words means that the tree must pass. OPEN is a proper opening.
"""
import contextlib
import io
import os
import runpy
import subprocess
import sys
import tempfile

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools")
sys.path.insert(0, TOOLS)
import tree  # noqa: E402

OPEN = "/* A file.\n *\n * It holds a toy. */\n"
LAYERS = "# toy\n# layers\n# of two\narena : -\ntables : arena\nmodels : public\n"
DIAGS = OPEN + "DIAG(BAD, ERROR, \"m\", \"\")\nDIAG(HERE, NOTE, \"m\", \"\")\n"
LONG = "static void f(int a,\n              int b) {\n" + "    a++;\n" * 80 + "}\n"
DEEP = {f"src/arena/h{n}.h": OPEN + f'#include "arena/h{n + 1}.h"\n' for n in range(17)}

CASES = [
    ("tidy", "a clean tree", {"src/arena/a.c": OPEN + "int a;\n"}, []),
    ("tidy", "no opening comment", {"src/arena/a.c": "int a;\n"}, ["a.c:1: opens"]),
    ("tidy", "a long opening", {"src/arena/a.h": "/*" + "\n" * 16 + "*/\n"}, ["a.h:1: opens"]),
    ("tidy", "a python opening", {"tools/a.py": '#!/x\nimport os\n'}, ["a.py:1: opens"]),
    ("tidy", "a long line",
     {"src/arena/a.c": OPEN + "/*" + "x" * 100 + "*/\n"}, ["a.c:4: 104 col"]),
    ("tidy", "long lines in .def", {"src/arena/a.def": OPEN + "A(" + "x" * 200 + ")\n"}, []),
    ("tidy", "a tab", {"src/arena/a.c": OPEN + "\tint a;\n"}, ["a.c:4: a tab"]),
    ("tidy", "trailing blanks", {"src/arena/a.c": OPEN + "int a; \n"}, ["a.c:4: trailing"]),
    ("tidy", "unfinished",
     {"src/arena/a.c": OPEN + "/* FIX" + "ME */\n"}, ["a.c:4: an unfinished"]),
    ("tidy", "a note without number",
     {"src/arena/a.c": OPEN + "/* TO" + "DO x */\n"}, ["a.c:4: an"]),
    ("tidy", "a note with one", {"src/arena/a.c": OPEN + "/* TO" + "DO(note 0031) */\n"}, []),
    ("tidy", "a long function", {"src/arena/a.c": OPEN + LONG}, ["a.c:4: a function of 83"]),
    ("tidy", "a marked one", {"src/arena/a.c": OPEN + "/* tidy: dispatch */\n" + LONG}, []),
    ("tidy", "a long table", {"src/arena/a.c": OPEN + "int a[] = {\n" + "1,\n" * 90 + "};\n"}, []),
    ("tidy", "a brace in a string",
     {"src/arena/a.c": OPEN + 'void f(void) {\n    g("{");\n}\n' + LONG},
     ["a.c:7: a function of 83"]),
    ("tidy", "a long file", {"src/arena/a.c": OPEN + "int a;\n" * 1200}, ["a.c:1: 1203 lines"]),
    ("tidy", "a switch on opcodes",
     {"src/systems/a.c": OPEN + "void f(void) {\n    switch (ops->opcode[row]) {\n    }\n}\n"},
     ["a.c:5: switch"]),
    ("tidy", "a switch in the interpreter",
     {"src/cpu/interp_x.c": OPEN + "void f(void) {\n    switch (opcode) {\n    }\n}\n"}, []),
    ("tidy", "deep includes", {**DEEP, "src/arena/h17.h": OPEN,
                               "src/arena/a.c": OPEN + '#include "arena/h0.h"\n'},
     ["includes 18 deep"]),
    ("tidy", "a cycle", {"src/arena/a.h": OPEN + '#include "arena/b.h"\n',
                         "src/arena/b.h": OPEN + '#include "arena/a.h"\n'}, ["include cycle"]),
    ("check_layers", "downwards", {"src/tables/a.c": '#include "arena/a.h"\n'}, []),
    ("check_layers", "upwards", {"src/arena/a.c": '\n#include "tables/a.h"\n'},
     ["src/arena/a.c:2: arena may not include tables"]),
    ("check_layers", "in a comment", {"src/arena/a.c": '/*\n#include "tables/a.h"\n*/\n'}, []),
    ("check_layers", "a bare name",
     {"src/arena/a.c": '#include "a.h"\n'}, ['write "a.h" from src/']),
    ("check_layers", "a strange folder",
     {"src/arena/a.c": '#include "bench/a.h"\n'}, ["in no layer"]),
    ("check_layers", "a model inside", {"models/a.c": '#include "arena/a.h"\n'}, ["is internal"]),
    ("check_layers", "cmake differs", {"CMakeLists.txt": "stoa_layer(arena DEPENDS tables)\n"},
     ["stoa_layer(arena) differs"]),
    ("check_layers", "cmake agrees",
     {"CMakeLists.txt": "stoa_layer(tables DEPENDS arena LIBS z)\n"}, []),
    ("check_diags", "all in order",
     {"src/tables/a.c": "add(DIAG_BAD, DIAG_HERE);\n", "src/tables/b.c": "if (k == DIAG_BAD)\n",
      "tests/errors/a.ir": "graph ;! BAD\n", "tests/unit/a.c": "DIAG_HERE\n"}, []),
    ("check_diags", "never emitted, never shown",
     {}, ["BAD is never", "HERE is never", "BAD appears"]),
    ("check_diags", "emitted twice",
     {"src/tables/a.c": "DIAG_BAD DIAG_HERE\n", "src/tables/b.c": "DIAG_BAD DIAG_HERE\n",
      "tests/errors/a.ir": ";! BAD\n;! HERE\n"}, ["BAD is emitted from 2 files"]),
    ("check_diags", "a stale excuse",
     {"src/tables/a.c": "DIAG_BAD DIAG_HERE\n", "tests/errors/a.ir": ";! BAD\n;! HERE\n",
      "tools/diags_baseline.txt": "BAD\n"}, ["BAD needs no excuse"]),
    ("check_contracts", "cited", {"docs/ops/add.md": "add-c1 add-c2\n",
                                  "tests/ops/add.ir": "; add-c1 add-c2\n"}, []),
    ("check_contracts", "uncited", {"docs/ops/add.md": "add-c1\n"}, ["no test cites add-c1"]),
    ("check_contracts", "unknown", {"docs/ops/add.md": "\n", "src/tables/a.c": "/* add-c9 */\n"},
     ["a.c:1: docs/ops/add.md has no add-c9"]),
    ("check_contracts", "a gap", {"docs/ops/add.md": "add-c1 add-c3\n",
                                  "tests/ops/add.ir": "; add-c1 add-c3\n"}, ["without a gap"]),
    ("check_headers", "alone", {"src/arena/a.h": "#include <stddef.h>\nextern size_t a;\n"}, []),
    ("check_headers", "not alone",
     {"src/arena/a.h": "extern size_t a;\n"}, ["a.h: does not stand"]),
    ("check_headers", "not C++",
     {"include/stoa/a.h": "typedef int class;\n"}, ["alone as -std=c++17"]),
]


def lay_out(folder, files):
    for path, text in {"tools/layers.txt": LAYERS, "src/tables/diags.def": DIAGS, **files}.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def run(check, folder, *arguments):
    """Runs a check inside this process, which is ten times as fast as starting one."""
    output, status = io.StringIO(), 0
    sys.argv = [check, "--root", folder, *arguments]
    tree.tree_files.cache_clear()
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_path(os.path.join(TOOLS, check + ".py"), run_name="__main__")
        except SystemExit as end:
            status = end.code
        finally:
            os.chdir(TOOLS)
    return status, output.getvalue()


def symbols(folder):
    """check_symbols needs object code: a toy layer with a stray name and a call of malloc."""
    layers = os.path.join(folder, "build", "layers")
    os.makedirs(layers)
    source = "void *malloc(unsigned long); void *os_a(void); void *stray(void);" \
             "void *os_a(void) { return malloc(9); } void *stray(void) { return os_a(); }"
    subprocess.run(["cc", "-x", "c", "-c", "-", "-o", layers + "/os_linux.c.o"], input=source,
                   text=True, check=True)
    subprocess.run(["ar", "rc", layers + "/libstoa_arena.a", layers + "/os_linux.c.o"], check=True)
    _, output = run("check_symbols", folder, "--build", folder + "/build")
    wanted = ["src/arena/os_linux.c: global symbol stray", "uses malloc", "2 problems"]
    return [word for word in wanted if word not in output], output


def main():
    failed = 0
    for check, name, files, words in CASES:
        with tempfile.TemporaryDirectory() as folder:
            lay_out(folder, files)
            status, output = run(check, folder)
        missing = [word for word in words if word not in output]
        if missing or status != (1 if words else 0):
            failed += 1
            print(f"FAILED {check}: {name}: status {status}, not printed: {missing}\n{output}")
    with tempfile.TemporaryDirectory() as folder:
        missing, output = symbols(folder)
        if missing:
            failed += 1
            print(f"FAILED check_symbols: not printed: {missing}\n{output}")
    print(f"{len(CASES) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()

#!/usr/bin/env python3
"""Who includes whom: compares every #include "..." with tools/layers.txt.

Includes are written from src/ as "layer/file.h", so the layer is the first word of the path. Who is
`public` in the table may include <stoa/...>, the system and files of its own folder. The same table
must stand in the stoa_layer() calls of CMakeLists.txt.
"""
import fnmatch
import os
import re

import tree

LAYERS, RULES = {}, []  # layer -> layers it may include; (glob, allowed) of the other folders


def read_table():
    text = re.sub(r"#.*", "", tree.read("tools/layers.txt"))
    for name, allowed in re.findall(r"^(\S+)\s*:\s*(.*?)\s*$", text, re.M):
        if "/" in name or allowed in ("*", "public"):
            RULES.append((name if "/" in name else name + "/*", allowed))
        else:
            LAYERS[name] = [] if allowed == "-" else allowed.split()


def check_layer_include(layer, name):
    target = name.split("/")[0]
    if "/" not in name or ".." in name:
        return f'write "{name}" from src/, as "layer/file.h"'
    if target not in LAYERS:
        return f'"{name}" is in no layer of tools/layers.txt'
    if target != layer and target not in LAYERS[layer]:
        return f"{layer} may not include {target} (tools/layers.txt)"
    return None


def check_public_include(path, name):
    own = os.path.join(os.path.dirname(path), os.path.basename(name))
    if os.path.exists(own) or name.split("/")[0] not in LAYERS:
        return None
    return f'"{name}" is internal; this folder uses <stoa/...> only'


def check_file(path):
    parts = path.split("/")
    for line, name in tree.includes(path):
        problem = None
        if parts[0] == "src":
            if parts[1] not in LAYERS:
                problem = f"{parts[1]} is no layer of tools/layers.txt"
            else:
                problem = check_layer_include(parts[1], name)
        elif parts[0] == "include":
            problem = "a public header includes <...> only"
        else:
            rule = next((allowed for glob, allowed in RULES if fnmatch.fnmatch(path, glob)), "*")
            if rule == "public":
                problem = check_public_include(path, name)
        if problem:
            yield f"{path}:{line}: {problem}"


def check_cmake():
    call = r"^stoa_layer\((\w+)(?:\s+DEPENDS ([^)]*?))?(?:\s+LIBS[^)]*)?\)"
    for name, depends in re.findall(call, tree.read("CMakeLists.txt"), re.M):
        if sorted(depends.split()) != sorted(LAYERS.get(name, ["?"])):
            yield f"CMakeLists.txt: stoa_layer({name}) differs from tools/layers.txt"


def main():
    tree.arguments(__doc__)
    read_table()
    problems = [p for path in tree.matching(r".*\.(c|h|def)") for p in check_file(path)]
    if os.path.exists("CMakeLists.txt"):
        problems += check_cmake()
    tree.finish(problems, f"{len(LAYERS)} layers are clean")


main()

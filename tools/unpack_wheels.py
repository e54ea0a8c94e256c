#!/usr/bin/env python3
"""Copies the shared libraries out of wheels into one folder: unpack_wheels.py FOLDER WHEEL...

The libraries of one CUDA version find each other there (they search their own folder), whatever the
layout of their wheels. Each is written beside its name and renamed: a reader sees all or nothing.
"""
import os
import re
import shutil
import sys
import zipfile


def main():
    folder, wheels = sys.argv[1], sys.argv[2:]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = os.path.basename(member)
                if not re.search(r"\.so(\.\d+)*$", name):
                    continue
                path = os.path.join(folder, name)
                with archive.open(member) as source, open(path + ".tmp", "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                os.rename(path + ".tmp", path)


main()

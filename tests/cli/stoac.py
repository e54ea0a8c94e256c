#!/usr/bin/env python3
"""Schedules on the command line: what `stoac --steps` prints, `--schedule` reads; `--explain`
begins with the loops as they were lowered and ends with those that are compiled.

Usage: tests/cli/stoac.py STOAC.
"""
import os
import subprocess
import sys
import tempfile
import unittest

STOAC = os.path.abspath(sys.argv[1])
PROGRAM = """graph f(%x: f32[B,C], %y: f32[C,B]) {
  %t = transpose %y {permutation=[1,0]}
  %s = add %x, %t
  %m = reduce %s {kind=sum, axes=[1]}
  %q = reduce %s {kind=max, axes=[0]}
  return %s, %m, %q
}
"""


class Schedules(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.write("f.ir", PROGRAM)

    def tearDown(self):
        self.scratch.cleanup()

    def path(self, name):
        return os.path.join(self.scratch.name, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    def stoac(self, *words, code=0):
        done = subprocess.run([STOAC, self.path("f.ir"), "-r", "compile", "--target", "cpu", "-o",
                               os.devnull, *words], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}\n{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def test_printed_steps_replay(self):
        steps, loops = self.stoac("--steps"), self.stoac("--kernels")
        self.write("book", steps)
        self.assertIn("vector for", loops)
        self.assertEqual(self.stoac("--schedule", self.path("book"), "--kernels"), loops)
        self.assertEqual(self.stoac("--schedule", self.path("book"), "--steps"), steps)
        self.assertNotIn("vector", self.stoac("--schedule", "none", "--kernels"))

    def test_every_step_is_explained(self):
        told, loops = self.stoac("--explain"), self.stoac("--kernels")
        self.assertTrue(told.startswith(self.stoac("--schedule", "none", "--kernels")))
        steps = self.stoac("--steps").splitlines()[2:]
        lines = told.splitlines()
        self.assertEqual([line for line in lines if line in steps], steps)
        self.assertEqual(told.count("  estimate "), len(steps) + 1)
        last = lines[len(lines) - 1 - len(loops.splitlines()):-1]
        self.assertEqual(last, loops.splitlines())

    def test_what_is_wrong_is_said(self):
        self.write("book", "kernel all\nsplit 1 4 0\nfuse 0\n")
        told = self.stoac("--schedule", self.path("book"), code=1)
        self.assertIn("error[SCHEDULE_ILLEGAL]", told)
        self.assertIn("'fuse' in line 3 of its schedule is refused: there is no loop", told)
        self.write("book", "kernel all\nsplit 1 4\n")
        told = self.stoac("--schedule", self.path("book"), code=1)
        self.assertIn("error[SCHEDULE_SYNTAX]", told)
        self.assertIn("book:2:", told)
        self.assertIn("cannot read", self.stoac("--schedule", self.path("none"), code=2))


unittest.main(argv=sys.argv[:1])

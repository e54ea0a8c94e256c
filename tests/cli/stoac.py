#!/usr/bin/env python3
"""Schedules and the peak of memory on the command line: what `stoac --steps` prints, `--schedule`
reads; `--explain` begins with the loops as they were lowered and ends with those that are
compiled.

Usage: tests/cli/stoac.py STOAC.
"""
import os
import re
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

    def test_loops_are_told(self):
        self.write("f.ir", """dim N hint=5000
graph f(%h: f32[4], %x: f32[N,4]) {
  %y = scan %h, %x {carries=1} : f32[4] (%i: i64, %c: f32[4], %r: f32[4]) {
    %s = sin %c
    %n = add %s, %r
    return %n
  }
  %z = scan %y {carries=1, length=2} : f32[4] (%j: i64, %d: f32[4]) {
    %e = exp %d
    return %e
  }
  return %z
}
""")
        for flag in "--steps", "--kernels":
            told = self.stoac(flag)
            if "cannot be compiled" in told:
                self.skipTest("there is no LLVM")
            self.assertRegex(told, r"# scan %y: one function of \d+ launches\n"
                                   r"# scan %z: \d+ launches, one by one: a run does little\n")
        self.write("book", self.stoac("--steps"))
        self.stoac("--schedule", self.path("book"), "--kernels")

    def test_modes_are_told(self):
        self.write("j.ir", """graph f(%x: f32[300], %w: f32[2,300]) {
  %e = sin %x
  %y = dot_general %w, %e {x_contract=[1], y_contract=[0]}
  %j = jacobian %y, %x
  return %j
}
""")
        done = subprocess.run([STOAC, self.path("j.ir"), "--streams"], capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertIn("jacobian of 2 in 300 elements: reverse", done.stdout)

    def test_streams_are_told(self):
        self.write("f.ir", """graph f(%x: f64[B,2], %w: f64[3,2]) {
  %y = linear %x, %w
  %a, %b = derivatives %y, %x {of=["bilaplacian", "0"]}
  %c = derivatives %y, %x {of=["laplacian"]}
  return %a, %b, %c
}
""")
        done = subprocess.run([STOAC, self.path("f.ir"), "--streams"], capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertIn("derivatives: 3 in one walk, from 2 rows", done.stdout)
        self.assertIn("14 streams, 1 of them sums; 17 without sums", done.stdout)
        self.assertIn("order 3 (and a summed top) along 1 e0 + -1 e1", done.stdout)
        self.assertRegex(done.stdout, "operations: Taylor .*, forward over reverse .*, reverse")
        self.assertIn("by Taylor mode: reverse mode is for one number, to order two", done.stdout)

    def test_derivatives_of_one_number_choose(self):
        self.write("f.ir", """graph f(%x: f64[2,6], %w: f64[5,6]) {
  %z = linear %x, %w
  %h = tanh %z
  %y = reduce %h {kind=sum, axes=[0,1]}
  %a, %b, %c = derivatives %y, %x {of=["0+1+2", "03", "33-05"]}
  return %a, %b, %c
}
graph g(%x: f64[2,6], %w: f64[5,6]) {
  %z = linear %x, %w
  %h = tanh %z
  %y = reduce %h {kind=sum, axes=[0,1]}
  %l = derivatives %y, %x {of=["laplacian"]}
  return %l
}
""")
        done = subprocess.run([STOAC, self.path("f.ir"), "--streams"], capture_output=True,
                              text=True, timeout=60, check=True)
        self.assertRegex(done.stdout, "by reverse mode: time of Taylor .*with 2 derivatives")
        self.assertRegex(done.stdout, "by Taylor mode: time of Taylor .*with 6 derivatives")

    def test_every_step_is_explained(self):
        told, loops = self.stoac("--explain"), self.stoac("--kernels")
        self.assertTrue(told.startswith(self.stoac("--schedule", "none", "--kernels")))
        steps = self.stoac("--steps").splitlines()[2:]
        lines = told.splitlines()
        self.assertEqual([line for line in lines if line in steps], steps)
        self.assertEqual(told.count("  estimate "), len(steps) + 1)
        last = lines[len(lines) - 1 - len(loops.splitlines()):-1]
        self.assertEqual(last, loops.splitlines())

    def test_a_search_is_kept_and_used(self):
        done = subprocess.run([STOAC, self.path("f.ir"), "-r", "compile", "--target", "cpu", "-o",
                               os.devnull, "--search", self.path("found")], capture_output=True,
                              text=True, timeout=120, check=False)
        if "JIT_UNAVAILABLE" in done.stderr:
            self.skipTest("there is no compiler here")
        self.assertEqual(done.returncode, 0, done.stderr)
        kernels = re.findall(r"^k\d+: [\d.]+ us by the rules, [\d.]+ us found", done.stderr,
                             re.M)
        self.assertTrue(kernels)
        with open(self.path("found"), encoding="ascii") as file:
            text = file.read()
        self.assertEqual(text.count("kernel "), len(kernels))
        self.assertRegex(text, r'\Astoa schedules 1\nmachine ".+"\n(?s:.*)\nsum [0-9a-f]{16}\n\Z')
        self.stoac("--search", self.path("found"))  # nothing is left to search
        with open(self.path("found"), encoding="ascii") as file:
            self.assertEqual(file.read(), text)
        told = self.stoac("--schedule", self.path("found"), "--measure")
        self.assertEqual(len(re.findall(r"^k\d+: [\d.]+ us measured", told, re.M)), len(kernels))
        mine = "kernel all\nsplit 1 4 0\n"  # a person's: not overwritten
        self.write("mine", mine)
        self.assertIn("SCHEDULES_IGNORED", self.stoac("--search", self.path("mine"), code=1))
        with open(self.path("mine"), encoding="ascii") as file:
            self.assertEqual(file.read(), mine)

    def test_code_is_shown(self):
        done = subprocess.run([STOAC, self.path("f.ir"), "-r", "compile", "--target", "cpu", "-o",
                               os.devnull, "--asm", "--llvm"], capture_output=True, text=True,
                              timeout=120, check=False)
        if "JIT_UNAVAILABLE" in done.stderr:
            self.skipTest("there is no compiler here")
        self.assertEqual(done.returncode, 0, done.stderr)
        parts = re.findall(r"^; k\d+, phase \d+$", done.stdout, re.M)
        self.assertTrue(parts)
        self.assertEqual(sorted(parts), sorted(list(set(parts)) * 2))  # one of each kind
        self.assertEqual(done.stdout.count("define void @kernel("), len(parts) // 2)
        self.assertEqual(len(re.findall(r"^kernel:", done.stdout, re.M)), len(parts) // 2)

    def test_peak_is_told(self):
        self.write("g.ir", "dim B hint=4\n"
                           "graph g(%x: f32[B,16], %w: f32[16,16]) {\n"
                           "  %y = matmul %x, %w\n  %z = matmul %y, %w\n  %u = matmul %z, %w\n"
                           "  %v = add %u, %y\n  return %v\n}\n")
        words = [STOAC, self.path("g.ir"), "--peak"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("graph g at B=4: 768 bytes of intermediates, at launch 3", done.stdout)
        self.assertRegex(done.stdout,
                         r"\n +256  33.3 %  %y +(linear|matmul|dot_general) +f32\[B,16\]")
        done = subprocess.run(words + ["--memory-budget", "0.5KiB"], capture_output=True, text=True,
                              timeout=60, check=True)
        self.assertIn("graph g at B=4: 512 bytes of intermediates", done.stdout)
        words += ["--memory-budget", "511"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("error[BUDGET_SMALL]", done.stderr)
        self.assertIn("512 is the least", done.stderr)

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

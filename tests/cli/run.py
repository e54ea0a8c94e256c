#!/usr/bin/env python3
"""The command line, tried as a user does: train, stop, resume, sample, inspect, trace, and every
mistake that has a message of its own.

Usage: tests/cli/run.py STOA [unittest arguments]. Works in a scratch folder on a small text made
here; nothing is read from the machine, and a run takes seconds.
"""
import json
import os
import pty
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

STOA = os.path.abspath(sys.argv[1])
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = ("--data t.txt --layers 1 --heads 2 --width 16 --context 16 --batch 2 --vocab 300 --lanes 2 "
        "--log-every 1 --eval-every 0 --schedule constant --warmup 1 --seed 5").split()


def make_text():
    rng = random.Random(1)
    words = ["".join(rng.choice("abcdefghij") for _ in range(rng.randint(2, 7)))
             for _ in range(60)]
    return " ".join(rng.choice(words) for _ in range(6000))


def make_images(path, count):
    rng = random.Random(2)
    with open(path + "-images", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, count, 28, 28))
        file.write(bytes(rng.randrange(256) for _ in range(count * 28 * 28)))
    with open(path + "-labels", "wb") as file:
        file.write(struct.pack(">II", 0x801, count))
        file.write(bytes(i % 10 for i in range(count)))


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.dir = cls.scratch.name
        with open(os.path.join(cls.dir, "t.txt"), "w", encoding="ascii") as file:
            file.write(make_text())

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def stoa(self, *words, code=0):
        done = subprocess.run([STOA, *words], cwd=self.dir, capture_output=True, text=True,
                              errors="replace", timeout=120, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def train(self, out, *words, code=0):
        return self.stoa("train", "gpt", *TINY, "--out", out, *words, code=code)

    def read(self, *parts):
        with open(os.path.join(self.dir, *parts), "rb") as file:
            return file.read()

    def state(self, out, step):
        return self.read(out, "checkpoints", f"step-{step:08d}", "state.safetensors")


class Help(Case):
    def test_overview_and_version(self):
        self.assertIn("Exit codes", self.stoa("help").stdout)
        self.assertIn("Commands", self.stoa(code=2).stdout)
        self.assertRegex(self.stoa("--version").stdout, r"^stoa \d+\.\d+\.\d+\n$")
        for command in "train sample inspect trace bench doctor".split():
            self.assertTrue(self.stoa("help", command).stdout.startswith("stoa " + command))
            self.assertEqual(self.stoa(command, "--help").stdout,
                             self.stoa("help", command).stdout)

    def test_help_and_page_name_every_setting(self):
        with open(os.path.join(SOURCE, "docs", "cli.md"), encoding="utf-8") as file:
            page = file.read()
        shown = set(re.findall(r"^  --([a-z0-9-]+)", self.stoa("help", "train").stdout, re.M))
        self.train("help", "--steps", "1")
        kept = self.read("help", "config.toml").decode().splitlines()
        keys = {line.split(" = ")[0].replace("_", "-") for line in kept} - {"model"}
        self.assertLessEqual(keys, shown)
        for command in ("train", "sample", "trace"):
            for flag in re.findall(r"^  --([a-z0-9-]+)", self.stoa("help", command).stdout, re.M):
                self.assertIn(f"`--{flag}", page)

    def test_help_fits_80_columns(self):
        for command in "train sample inspect trace bench doctor".split():
            for line in self.stoa("help", command).stdout.splitlines():
                self.assertLessEqual(len(line), 100 if "`" in line else 88, line)


class Mistakes(Case):
    def refuse(self, words, *parts, code=2):
        done = self.stoa(*words, code=code)
        for part in parts:
            self.assertIn(part, done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "runs")), words)

    def test_messages(self):
        self.refuse(["trian"], "no command 'trian'", "did you mean 'train'")
        self.refuse(["train"], "which model", "stoa train gpt")
        self.refuse(["train", "gtp"], "did you mean 'gpt'")
        self.refuse(["train", "gpt", "--stepz", "3"], "stepz", "did you mean 'steps'")
        self.refuse(["train", "lenet", "--layers", "3"], "layers")
        self.refuse(["train", "gpt", "--steps"], "--steps needs a value")
        self.refuse(["train", "gpt", "--steps", "many"], "steps", "whole number")
        self.refuse(["train", "gpt", "--layers", "0"], "layers", "from 1 to")
        self.refuse(["train", "gpt", "--data", "t.txt", "--heads", "3"], "multiple of the heads")
        self.refuse(["train", "gpt", "--steps", "3", "--warmup", "4"], "longer than the run")
        self.refuse(["train", "gpt", "-x"], "two dashes")
        self.refuse(["train", "gpt", "more"], "one word too many")
        self.refuse(["train", "gpt", "--device", "gpu"], "cpu, cuda and cuda:N")
        self.refuse(["train", "gpt", "--data", "absent.txt"], "absent.txt", "--data", code=1)
        self.refuse(["train", "--resume"], "no run to resume")
        self.refuse(["train", "--resume", "--out", "absent"], "nothing to resume")
        self.refuse(["train", "gpt", "--data", "."], "Is a directory", code=1)
        self.refuse(["sample", "--temperature", "x", "--run", "x"], "stoa help COMMAND")
        self.refuse(["sample"], "no run under runs/")
        self.refuse(["sample", "--tempreature", "1", "--run", "x"], "did you mean 'temperature'")
        self.refuse(["inspect"], "which file")
        self.refuse(["inspect", "absent"], "absent", code=1)
        self.refuse(["inspect", "t.txt"], "'t.txt' is not a file that Stoa knows", code=1)
        self.refuse(["trace", "absent"], "absent", "--trace", code=1)

    def test_text_that_is_too_short(self):
        with open(os.path.join(self.dir, "short.txt"), "w", encoding="ascii") as file:
            file.write("abc")
        done = self.train("short", "--data", "short.txt", code=1)
        self.assertIn("short.txt", done.stderr)

    def test_damaged_checkpoints(self):
        self.train("d", "--steps", "2", "--quiet")
        self.stoa("train", "--resume", "--out", "d", "--steps", "4", "--quiet")
        path = os.path.join(self.dir, "d", "checkpoints", "step-00000004", "state.safetensors")
        os.truncate(path, os.path.getsize(path) - 1)
        done = self.stoa("train", "--resume", "--out", "d", "--steps", "6", "--quiet")
        self.assertEqual(done.stderr.count("CKPT_SKIPPED"), 1, done.stderr)
        self.assertIn("step-00000004", done.stderr)
        done = self.stoa("train", "--resume", "--out", "d", "--steps", "8", "--width", "32", code=1)
        self.assertIn("more like [CKPT_MISMATCH]", done.stderr)
        os.remove(os.path.join(self.dir, "d", "config.toml"))
        done = self.stoa("train", "--resume", "--out", "d", "--steps", "8", code=2)
        self.assertIn("there is no config.toml", done.stderr)

    def test_a_file_that_may_not_grow(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
        done = subprocess.run([STOA, "train", "gpt", *TINY, "--steps", "2", "--out", "small"],
                              cwd=self.dir, capture_output=True, text=True, preexec_fn=limit,
                              check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("File too large", done.stderr)

    def test_a_run_is_not_overwritten_by_mistake(self):
        self.train("kept", "--steps", "2", "--quiet")
        before = self.state("kept", 2)
        self.assertIn("--overwrite", self.train("kept", "--steps", "1", code=2).stderr)
        self.assertEqual(before, self.state("kept", 2))
        self.train("kept", "--steps", "1", "--overwrite", "--quiet")
        self.assertEqual(os.listdir(os.path.join(self.dir, "kept", "checkpoints")),
                         ["step-00000001"])


class Training(Case):
    def test_run_folder_and_summary(self):
        done = self.train("run", "--steps", "5", "--eval-every", "2", "--trace")
        self.assertIn("done", done.stdout)
        self.assertIn("unigram", done.stdout)
        self.assertIn("step 5/5", done.stderr)
        names = sorted(os.listdir(os.path.join(self.dir, "run")))
        for name in ("checkpoints config.toml loss.svg metrics.jsonl program.stoa tokenizer.stok "
                     "trace.json").split():
            self.assertIn(name, names)
        rows = [json.loads(line) for line in self.read("run", "metrics.jsonl").splitlines()]
        self.assertEqual([row["step"] for row in rows], [1, 2, 3, 4, 5])
        json.loads(self.read("run", "trace.json"))
        table = self.stoa("trace", "run", "--top", "5").stdout
        self.assertIn("dot_general", table)
        self.assertIn("ui.perfetto.dev", table)
        for what in ("program.stoa", "tokenizer.stok", "checkpoints/step-00000005",
                     "checkpoints/step-00000005/state.safetensors",
                     next(name for name in names if name.startswith("tokens-"))):
            self.assertGreater(len(self.stoa("inspect", "run/" + what).stdout), 40, what)
        layers = self.stoa("inspect", "run/program.stoa", "--compute", "fp8", "--fp8-scaling",
                           "block").stdout
        self.assertIn("sizes are no multiples of 128", layers)
        self.assertIn("it is the last layer", layers)
        self.assertIn("scaled by blocks of 128", layers)

    def test_json_and_quiet(self):
        done = self.train("json", "--steps", "3", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["step"] for line in lines[:-1]], [1, 2, 3])
        self.assertEqual(lines[-1]["event"], "done")
        self.assertEqual(done.stderr, "")
        quiet = self.train("quiet", "--steps", "3", "--quiet")
        self.assertEqual((quiet.stdout, quiet.stderr), ("", ""))

    def test_resume_is_the_uninterrupted_run(self):
        for name, words in (("plain", []), ("dropout", ["--dropout", "0.2"]),
                            ("parts", ["--accumulate", "2"]), ("double", ["--dtype", "f64"])):
            self.train(name + "1", *words, "--steps", "6", "--quiet")
            self.train(name + "2", *words, "--steps", "3", "--quiet")
            self.stoa("train", "--resume", "--out", name + "2", "--steps", "6", "--quiet")
            self.assertEqual(self.state(name + "1", 6), self.state(name + "2", 6), name)
        done = self.stoa("train", "--resume", "--out", "plain2", code=2)
        self.assertIn("at step 6 of 6 already", done.stderr)

    def test_config_file_and_flags(self):
        with open(os.path.join(self.dir, "c.toml"), "w", encoding="ascii") as file:
            file.write('model = "gpt"\nsteps = 9\nlr = 1e-3 # comment\n')
        self.stoa("train", "--config", "c.toml", *TINY, "--steps=2", "--out", "config", "--quiet")
        kept = self.read("config", "config.toml").decode()
        self.assertIn("steps = 2\n", kept)
        self.assertIn("lr = 0.001\n", kept)
        with open(os.path.join(self.dir, "bad.toml"), "w", encoding="ascii") as file:
            file.write("stepz = 9\n")
        done = self.stoa("train", "gpt", "--config", "bad.toml", code=2)
        self.assertIn("bad.toml:1", done.stderr)
        self.assertIn("steps", done.stderr)

    def test_steps_that_are_not_finite(self):
        done = self.train("nan", "--steps", "3", "--lr", "1e9", "--clip", "0")
        self.assertIn("step 3/3  skipped 2", done.stderr)
        self.assertIn("loss        not finite", done.stdout)

    def test_weights_are_taken_over(self):
        self.train("w1", "--steps", "1", "--quiet")
        weights = "w1/checkpoints/step-00000001/state.safetensors"
        first = json.loads(self.train("w2", "--steps", "1", "--json", "--weights",
                                      weights).stdout.splitlines()[0])
        other = json.loads(self.train("w3", "--steps", "1", "--json").stdout.splitlines()[0])
        self.assertNotEqual(first["loss"], other["loss"])

    def test_images(self):
        make_images(os.path.join(self.dir, "i"), 20)
        words = ["--images", "i-images", "--labels", "i-labels", "--test-images", "i-images",
                 "--test-labels", "i-labels", "--batch", "10", "--steps", "2"]
        done = self.stoa("train", "lenet", *words, "--out", "lenet")
        self.assertIn("accuracy", done.stdout)
        self.assertIn("IDX, u8 [20, 28, 28]", self.stoa("inspect", "i-images").stdout)
        self.assertIn("lenet", self.stoa("sample", "--run", "lenet", code=2).stderr)


class Stopping(Case):
    def start(self, out, *words):
        return subprocess.Popen([STOA, "train", "gpt", *TINY, "--out", out, *words], cwd=self.dir,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_stop_saves_and_resume_goes_on(self):
        for name, number in (("term", signal.SIGTERM), ("int", signal.SIGINT),
                             ("hangup", signal.SIGHUP)):
            process = self.start(name, "--steps", "100000", "--json")
            for _ in range(3):
                process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 75, err)
            last = json.loads(out.splitlines()[-1])
            self.assertEqual(last["event"], "stopped")
            step = last["steps"]
            self.stoa("train", "--resume", "--out", name, "--steps", str(step + 3), "--quiet")
            self.train(name + "-whole", "--steps", str(step + 3), "--quiet")
            self.assertEqual(self.state(name, step + 3), self.state(name + "-whole", step + 3))

    def test_a_reader_that_leaves_ends_the_run_well(self):
        process = self.start("pipe", "--steps", "100000", "--json")
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 75)
        self.assertTrue(os.listdir(os.path.join(self.dir, "pipe", "checkpoints")))


class Terminal(Case):
    def on_terminal(self, words, **environment):
        """What the command writes when its standard error is a terminal of 60 columns."""
        leader, follower = pty.openpty()
        process = subprocess.Popen([STOA, *words], cwd=self.dir, stdout=subprocess.DEVNULL,
                                   stderr=follower, env={**os.environ, "TERM": "xterm",
                                                         "COLUMNS": "60", **environment})
        os.close(follower)
        text, end = b"", time.time() + 60
        while time.time() < end:
            try:
                part = os.read(leader, 4096)
            except OSError: # the terminal has nobody at its other end
                break
            if not part:
                break
            text += part
        os.close(leader)
        self.assertEqual(process.wait(60), 0, text)
        return text.decode()

    def test_bar(self):
        words = ["train", "gpt", *TINY, "--steps", "3", "--out"]
        shown = self.on_terminal([*words, "bar"])
        self.assertIn("\r\x1b[K", shown)
        self.assertIn("\x1b[1m", shown)
        for part in shown.split("\r\x1b[K")[1:]:
            self.assertLess(len(part.split("\r")[0].split("\n")[0]), 100)
        self.assertNotIn("\x1b[1m", self.on_terminal([*words, "plain"], NO_COLOR="1"))
        self.assertNotIn("\r\x1b[K", self.on_terminal([*words, "dumb"], TERM="dumb"))


class Sampling(Case):
    def test_sample(self):
        self.train("run", "--steps", "3", "--quiet")
        words = ["sample", "--run", "run", "--tokens", "20", "--prompt", "--ab [c"]
        one = self.stoa(*words, "--seed", "7").stdout
        self.assertTrue(one.startswith("--ab [c"))
        self.assertEqual(one, self.stoa(*words, "--seed", "7").stdout)
        self.assertNotEqual(one, self.stoa(*words, "--seed", "8").stdout)
        cold = self.stoa(*words, "--temperature", "0", "--seed", "1").stdout
        self.assertEqual(cold, self.stoa(*words, "--temperature", "0", "--seed", "2").stdout)
        self.stoa("sample", "--run", "run", "--tokens", "0")
        self.train("bytes", "--tokenizer", "bytes", "--steps", "2", "--quiet", "--untied-head",
                   "--dtype", "f64", "--accumulate", "2", "--dropout", "0.1")
        self.stoa("sample", "--run", "bytes", "--tokens", "5", "--top-k", "1")


class Equations(Case):
    def test_a_network_solves_the_beam(self):
        words = ["train", "pinn", "--case", "beam", "--lanes", "1", "--json"]
        done = self.stoa(*words, "--steps", "200", "--refine", "1200", "--out", "beam")
        told = json.loads(done.stdout)
        self.assertEqual(told["case"], "beam")
        self.assertLess(told["relative_l2_error"], 0.03)
        with open(os.path.join(self.dir, "beam", "result.json"), encoding="utf-8") as file:
            self.assertEqual(told, json.load(file))
        with open(os.path.join(self.dir, "beam", "solution.svg"), encoding="utf-8") as file:
            self.assertIn("polyline", file.read())
        self.assertIn("safetensors", self.stoa("inspect", "beam/weights.safetensors").stdout)

    def test_every_case_begins(self):
        cases = ["poisson", "helmholtz", "plate", "elasticity", "kdv", "burgers",
                 "kuramoto-sivashinsky", "allen-cahn", "schroedinger", "navier-stokes"]
        for case in cases:
            done = self.stoa("train", "pinn", "--case", case, "--steps", "2", "--refine", "2",
                             "--points", "20", "--border", "8", "--width", "4", "--layers", "1",
                             "--dtype", "f32", "--lanes", "1", "--json", "--out", case)
            self.assertGreater(json.loads(done.stdout)["loss"], 0)

    def test_wrong_words(self):
        self.assertIn("poisson", self.stoa("train", "pinn", "--case", "poison", code=2).stderr)
        self.assertIn("sampler", self.stoa("train", "pinn", "--sampler", "x", code=2).stderr)
        self.assertIn("--case", self.stoa("train", "pinn", "--help").stdout)


class Reports(Case):
    def test_doctor_and_bench(self):
        self.assertIn("lanes", self.stoa("doctor").stdout)
        json.loads(self.stoa("doctor", "--json").stdout)
        done = subprocess.run([STOA, "bench"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            self.assertTrue(done.stdout.startswith("suites:"))
            self.assertIn("no suite", self.stoa("bench", "absent", code=2).stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])

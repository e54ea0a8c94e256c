#!/usr/bin/env python3
"""bench_peers: the training steps of models/ in Stoa, PyTorch (eager, compiled) and JAX, in turns.

For each model and number of threads every peer prepares the same step from the same weights and
data, on the same processors (its affinity is set), and runs its first step. Then rounds: one peer
after the other, beginning with another one each time, runs steps for a moment while the others are
stopped. A ratio is that of one round. Peers whose losses differ from Stoa's compute something else:
that is an error. Needs bench/peers/setup; without it only Stoa runs. See docs/benchmarks.md.
"""
import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from array import array

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD = os.path.dirname(os.path.abspath(__file__))  # the link to this file stands in a build
PRESET_FOLDER = os.path.join(HERE, "..", "..", "build", "peers")
MODELS = ["nano", "10m", "124m", "lenet"]
MODES = {"torch": ["torch_peer.py", "eager"], "torch.compile": ["torch_peer.py", "compile"],
         "jax": ["jax_peer.py"]}
BATCHES, LOSSES, LOSS_APART = 4, 10, 1e-3  # of data; compared, and how far apart at most


class Failure(Exception):
    """A peer ended, or said something else than a result."""


class Peer:
    """A process that trains one model. Stopped unless it is its turn."""

    def __init__(self, name, command, threads, cache):
        self.name, self.walls, self.cpus, self.losses, self.steps = name, [], [], [], 1
        cpus = sorted(os.sched_getaffinity(0))[:threads]
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu",
               "XDG_CACHE_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "inductor"),
               "PYTHONDONTWRITEBYTECODE": "1"}
        begin = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=cache,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        try:
            self.first = self.answer()
        except Failure:
            self.close()
            raise
        self.ready = time.monotonic() - begin
        self.losses.append(self.first["loss"])
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise Failure(f"{self.name} ended with {self.process.wait()} instead of a result")
        return json.loads(line)

    def turn(self, steps):
        """Runs steps; (wall, processor) seconds of one."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"steps {steps}\n")
        self.process.stdin.flush()
        said = self.answer()
        self.process.send_signal(signal.SIGSTOP)
        self.losses += said["losses"]
        return said["wall"] / steps, said["cpu"] / steps

    def peak(self):
        """The most memory it had, in MiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            lines = [line for line in status if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1024

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spread(numbers):
    """p10, median and p90, between neighbours as bench.c does it."""
    numbers = sorted(numbers)
    if len(numbers) == 1:
        return numbers * 3
    tenths = statistics.quantiles(numbers, n=10, method="inclusive")
    return [tenths[0], statistics.median(numbers), tenths[8]]


def write_data(path, config):
    """Batches of random inputs and targets, as the words that common.py reads."""
    source, items = random.Random(1), config["batch"] * config["length"]
    with open(path, "wb") as file:
        for _ in range(BATCHES):
            if config["images"]:
                array("f", [source.random() for _ in range(items * 784)]).tofile(file)
                array("i", [source.randrange(10) for _ in range(items)]).tofile(file)
            else:
                tokens = [source.randrange(config["vocab"]) for _ in range(2 * items)]
                array("i", tokens).tofile(file)


class Teller:
    """Results as a table or as JSON lines, and kept for --compare."""

    def __init__(self, options):
        self.options, self.lines = options, []

    def tell(self, config, threads, name, numbers, unit, **more):
        p10, median, p90 = numbers
        batch, length = config["batch"], config["length"]
        line = {"suite": "peers", "name": f"{config['model']}.{name}",
                "size": config["parameters"], "shape": f"{batch}x{length}", "dtype": "f32",
                "lanes": threads, "median": median, "p10": p10, "p90": p90, "unit": unit, **more,
                "commit": config["commit"], "machine": config["machine"]}
        self.lines.append(json.dumps(line))
        if self.options.json:
            print(self.lines[-1], flush=True)

    def table(self, rows):
        if self.options.json:
            return
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            first = row[0].ljust(widths[0])
            print(first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:])), sep="  ")
        print(flush=True)

    def compare(self):
        if not self.options.compare:
            return 0
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write("\n".join(self.lines) + "\n")
            file.flush()
            command = [os.path.join(BUILD, "bench_compare"), self.options.compare, file.name]
            return subprocess.run(command, check=False,
                                  stdout=sys.stderr if self.options.json else None).returncode


def start_all(options, config, threads, folder):
    """The peers that got ready, Stoa first."""
    model, stoa = config["model"], os.path.join(BUILD, "peer_stoa")
    data, weights = os.path.join(folder, "data"), os.path.join(folder, "weights")
    commands = {"stoa": [stoa, model, str(threads), data]}
    if options.smoke:
        commands["itself"] = commands["stoa"]
    else:
        for name in [name for name in options.peers if name in MODES]:
            script, *mode = MODES[name]
            commands[name] = [options.python, os.path.join(HERE, script), json.dumps(config),
                              str(threads), data, weights, *mode]
    if os.path.exists(weights):
        commands["stoa"] = commands["stoa"] + [weights]
    peers = []
    for name, command in commands.items():
        cache = os.path.join(folder, f"{name}-{threads}")
        os.mkdir(cache)
        try:
            peers.append(Peer(name, command, threads, cache))
        except Failure as failure:
            print(f"bench_peers: {model}: {failure}", file=sys.stderr)
            if name == "stoa":
                raise
    return peers


def run_rounds(options, peers):
    for peer in peers:  # warm up, and find how many steps fill a turn
        wall, _ = peer.turn(1)
        if not options.smoke:
            wall, _ = peer.turn(2)
            peer.steps = max(1, min(1000, round(options.seconds / wall)))
    for number in range(options.rounds):
        turn = number % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            wall, cpu = peer.turn(peer.steps)
            peer.walls.append(wall)
            peer.cpus.append(cpu)


def loss_distance(stoa, peer):
    pairs = list(zip(stoa.losses, peer.losses))[:LOSSES]
    return max(abs(a - b) / max(abs(a), 1e-6) for a, b in pairs)


def tell_all(teller, config, threads, peers):
    """False when a peer's losses are not those of Stoa."""
    stoa, good = peers[0], True
    rows = [[f"{config['model']}, {threads} threads", "ms/step", "p10", "p90", "cpu ms",
             "Stoa is faster", "p10", "p90", "by cpu", "first s", "cpu", "start s", "peak MiB",
             "loss apart"]]
    for peer in peers:
        wall = spread([1000 * w for w in peer.walls])
        ratio = spread([p / s for p, s in zip(peer.walls, stoa.walls)])
        cpu_ratio = statistics.median(p / s for p, s in zip(peer.cpus, stoa.cpus))
        cpu, apart = 1000 * statistics.median(peer.cpus), loss_distance(stoa, peer)
        first, peak = peer.first, peer.peak()
        teller.tell(config, threads, f"step.{peer.name}", wall, "ms", cpu=cpu,
                    version=first["version"], samples=len(peer.walls), loss_apart=apart)
        teller.tell(config, threads, f"first.{peer.name}", [first["first"]] * 3, "s",
                    cpu=first["first_cpu"], start=peer.ready)
        teller.tell(config, threads, f"peak.{peer.name}", [peak] * 3, "MiB")
        if peer is not stoa:
            teller.tell(config, threads, f"over.{peer.name}", ratio, "of its steps/s",
                        by_cpu=cpu_ratio, first_ratio=first["first"] / stoa.first["first"])
        rows.append([peer.name] + [f"{x:.4g}" for x in (wall[1], wall[0], wall[2], cpu)] +
                    [f"{x:.2f} x" for x in (ratio[1], ratio[0], ratio[2], cpu_ratio)] +
                    [f"{x:.3g}" for x in (first["first"], first["first_cpu"], peer.ready)] +
                    [f"{peak:.0f}", f"{apart:.1e}"])
        if apart > LOSS_APART:
            good = False
            print(f"bench_peers: {config['model']}: the losses of {peer.name} differ from Stoa's: "
                  f"{peer.losses[:3]}, {stoa.losses[:3]}", file=sys.stderr)
    teller.table(rows)
    return good


def measure(options, teller, model, folder):
    described = subprocess.run([os.path.join(BUILD, "peer_stoa"), model, "--describe"], check=True,
                               capture_output=True, text=True)
    config, good = json.loads(described.stdout), True
    write_data(os.path.join(folder, "data"), config)
    if options.peers:
        subprocess.run([options.python, os.path.join(HERE, "make_weights.py"), json.dumps(config),
                        os.path.join(folder, "weights")], check=True)
    for threads in options.threads:
        peers = start_all(options, config, threads, folder)
        try:
            run_rounds(options, peers)
            good = tell_all(teller, config, threads, peers) and good
        finally:
            for peer in peers:
                peer.close()
    return good


def parse():
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a result")
    parser.add_argument("--smoke", action="store_true", help="Stoa against itself, small and once")
    parser.add_argument("--filter", default="", help="only models whose name contains this")
    parser.add_argument("--threads", type=words, default=["1", "2"], help="comma-separated")
    parser.add_argument("--peers", type=words, default=list(MODES), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1, help="of a turn")
    parser.add_argument("--folder", default=PRESET_FOLDER, help="where bench/peers/setup put them")
    parser.add_argument("--compare", help="a file of --json lines to compare with")
    options = parser.parse_args()
    usable = len(os.sched_getaffinity(0))
    options.threads = [int(t) for t in options.threads if int(t) <= usable]
    options.python = os.path.join(os.path.realpath(options.folder), "bin", "python")
    if options.smoke:
        options.threads, options.peers, options.rounds = options.threads[:1], [], 1
    elif not os.path.exists(options.python):
        print(f"bench_peers: {options.python} is not there: run bench/peers/setup to install "
              "PyTorch and JAX; only Stoa is measured", file=sys.stderr)
        options.peers = []
    return options


def main():
    options = parse()
    teller, good = Teller(options), True
    for model in ["tiny"] if options.smoke else [m for m in MODELS if options.filter in m]:
        folder = tempfile.mkdtemp(prefix="bench_peers_")
        try:
            good = measure(options, teller, model, folder) and good
        except (Failure, OSError, subprocess.CalledProcessError) as failure:
            good = False
            print(f"bench_peers: {model}: {failure}", file=sys.stderr)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    changed = teller.compare()
    return changed if good else 1


if __name__ == "__main__":
    sys.exit(main())

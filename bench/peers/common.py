"""What the peers of Stoa share: files of weights and data, and the talk with bench_peers.py.

A peer is started as `PEER.py CONFIG_JSON THREADS DATA WEIGHTS [MODE]`. It prepares a training step,
runs it once, tells what that took, and then runs as many steps as each line of its input says.
"""
import json
import sys
import time

import numpy

RATE = 1e-3  # as in bench/trainee.c, like what follows
BETA1, BETA2, EPSILON, DECAY, CLIP = 0.9, 0.95, 1e-8, 0.1, 1.0  # the GPT
MOMENTUM, LENET_DECAY = 0.9, 1e-4  # LeNet, with Nesterov's form
NORM_EPSILON, NORM_MOMENTUM = 1e-5, 0.1
PIXELS = 28 * 28


def load_weights(path):
    """A safetensors file of f32 tensors, as name -> array."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, tensors = file.tell(), {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            tensor = numpy.frombuffer(bytearray(file.read(end - begin)), numpy.float32)
            tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def load_batches(path, config):
    """[(inputs, targets)] of a data file."""
    words, batch, length = numpy.fromfile(path, numpy.int32), config["batch"], config["length"]
    inputs = batch * length * (PIXELS if config["images"] else 1)
    batches = []
    for row in words.reshape(-1, inputs + batch * length):
        if config["images"]:
            pixels = row[:inputs].view(numpy.float32).reshape(batch, 1, 28, 28)
            batches.append((pixels, row[inputs:]))
        else:
            tokens, targets = row[:inputs], row[inputs:]
            batches.append((tokens.reshape(batch, length), targets.reshape(batch, length)))
    return batches


def serve(version, prepare):
    """prepare(config, threads, batches, weights, mode) gives run(count) -> losses. Its time counts
    to the first step, that of reading the files does not."""
    config, threads = json.loads(sys.argv[1]), int(sys.argv[2])
    batches, weights = load_batches(sys.argv[3], config), load_weights(sys.argv[4])
    begin, cpu = time.perf_counter(), time.process_time()
    run = prepare(config, threads, batches, weights, *sys.argv[5:])
    loss = run(1)[0]
    print(json.dumps({"version": version, "first": time.perf_counter() - begin,
                      "first_cpu": time.process_time() - cpu, "loss": loss}), flush=True)
    for line in sys.stdin:
        begin, cpu = time.perf_counter(), time.process_time()
        losses = run(int(line.split()[1]))
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "losses": losses}), flush=True)

#!/usr/bin/env python3
"""How far narrow trainings are from the one in f32: Stoa beside PyTorch, on a GPU.

For each seed, the same weights and batches of a text train in f32 (no tf32) and in bf16 in both;
PyTorch's bf16 is autocast. Prints, for each narrow run, the mean and the largest distance of its
losses from PyTorch's f32 curve, and fails where Stoa's mean distance exceeds twice PyTorch's own.
fp8-block: every product that can be, scaled by blocks; fp8: those that pay, by earlier steps.
Usage: curve.py PEER_STOA TEXT [--model nano] [--steps 200] [--seeds 3] [--computes bf16,fp8]
"""
import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
BATCHES, FACTOR = 64, 2.0


def write_batches(path, text, config, seed):
    """Windows of bytes and the bytes that follow them."""
    data = numpy.frombuffer(open(text, "rb").read(), numpy.uint8).astype(numpy.int32)
    data %= config["vocab"]
    random = numpy.random.default_rng(seed)
    with open(path, "wb") as file:
        for _ in range(BATCHES):
            begins = random.integers(0, len(data) - config["length"] - 1, config["batch"])
            windows = numpy.stack([data[b:b + config["length"] + 1] for b in begins])
            file.write(numpy.ascontiguousarray(windows[:, :-1]).tobytes())
            file.write(numpy.ascontiguousarray(windows[:, 1:]).tobytes())


def stoa_losses(peer, model, folder, compute, steps):
    command = [peer, model, "0", folder + "/data", folder + "/weights", "cuda", compute]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        out, _ = process.communicate(f"steps {steps - 1}\n")
    if process.returncode != 0:
        sys.exit(f"curve.py: {' '.join(command)} ended with {process.returncode}")
    first, rest = (json.loads(line) for line in out.splitlines())
    return [first["loss"]] + rest["losses"], first["first"]


def torch_peer():
    """Its functions, without serving."""
    sys.path.insert(0, HERE)
    import common
    common.serve = lambda *_: None
    spec = importlib.util.spec_from_file_location("torch_peer", HERE + "/torch_peer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, common


def torch_losses(folder, config, narrow, steps):
    import torch
    peer, common = torch_peer()
    torch.backends.cuda.matmul.allow_tf32 = False
    weights = common.load_weights(folder + "/weights")
    p = {n: torch.from_numpy(w).cuda().requires_grad_() for n, w in weights.items()}
    data = [(torch.from_numpy(x).cuda(), torch.from_numpy(y).long().cuda())
            for x, y in common.load_batches(folder + "/data", config)]
    optimizer, losses = peer.optimizer_of(p, config), []
    for step in range(steps):
        x, y = data[step % len(data)]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=narrow):
            loss = peer.gpt_loss(p, config, x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(p.values()), common.CLIP)
        optimizer.step()
        losses.append(loss.detach())
    return [loss.item() for loss in losses]


def distance(losses, wanted):
    apart = [abs(a - b) for a, b in zip(losses, wanted)]
    return statistics.fmean(apart), max(apart)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer")
    parser.add_argument("text")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--computes", default="bf16,f16,fp8,fp8-block")
    options = parser.parse_args()
    config = json.loads(subprocess.run([options.peer, options.model, "--describe"], check=True,
                                       capture_output=True, text=True).stdout)
    apart = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, options.seeds + 1):
            write_batches(folder + "/data", options.text, config, seed)
            subprocess.run([sys.executable, HERE + "/make_weights.py", json.dumps(config),
                            folder + "/weights", str(seed)], check=True)
            wanted = torch_losses(folder, config, False, options.steps)
            runs = {"PyTorch bf16": torch_losses(folder, config, True, options.steps)}
            for compute in ["f32"] + options.computes.split(","):
                runs["Stoa " + compute], first = stoa_losses(options.peer, options.model, folder,
                                                             compute, options.steps)
                print(f"seed {seed}: Stoa {compute}: first step {first:.2f} s", flush=True)
            print(f"seed {seed}: loss {wanted[0]:.4f} to {wanted[-1]:.4f}")
            for name, losses in runs.items():
                mean, most = distance(losses, wanted)
                apart.setdefault(name, []).append(mean)
                print(f"  {name:14} mean distance {mean:.2e}, largest {most:.2e}, "
                      f"last loss {losses[-1]:.4f}", flush=True)
    limit = FACTOR * statistics.fmean(apart["PyTorch bf16"])
    if statistics.fmean(apart["Stoa bf16"]) > limit:
        sys.exit(f"curve.py: Stoa's bf16 is farther than {limit:.2e} from f32")


if __name__ == "__main__":
    main()

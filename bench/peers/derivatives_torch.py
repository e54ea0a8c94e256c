#!/usr/bin/env python3
"""The steps of bench_derivatives in PyTorch eager with nested torch.autograd.grad: loss and its
gradient in all weights. Median processor milliseconds of one thread.

    python3 bench/peers/derivatives_torch.py --size 2000 [--filter NAME]
"""
import argparse
import math
import statistics
import time

import torch

CASES = [
    ("poisson", "xy", 50, 4, 10000, False, ["laplacian"]),
    ("burgers", "tx", 20, 8, 10000, False, ["t", "x", "xx"]),
    ("helmholtz", "xy", 256, 5, 8192, True, ["laplacian"]),
    ("kdv", "tx", 64, 6, 20000, False, ["t", "x", "xxx"]),
    ("kuramoto", "tx", 64, 6, 20000, False, ["t", "x", "xx", "xxxx"]),
    ("beam", "x", 20, 3, 1000, False, ["xxxx"]),
    ("beam.100k", "x", 20, 3, 100000, False, ["xxxx"]),
    ("plate", "xy", 20, 5, 8000, False, ["bilaplacian"]),
    ("bilaplacian.5d", "abcde", 128, 4, 512, False, ["bilaplacian"]),
] + [(f"order{k}", "x", 64, 3, 4096, False, ["x" * k]) for k in range(1, 10)]


def net(axes, width, layers, sine):
    sizes = [len(axes)] + [width] * layers + [1]
    modules = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]

    def run(x):
        for module in modules[:-1]:
            x = torch.sin(module(x)) if sine else torch.tanh(module(x))
        return modules[-1](x)

    return run, [p for m in modules for p in m.parameters()]


def gradient(y, x, cache):
    """All first derivatives of y[N,1] at x[N,d], once a y."""
    if id(y) not in cache:
        cache[id(y)] = (y, torch.autograd.grad(y.sum(), x, create_graph=True)[0])
    return cache[id(y)][1]


def laplacian(y, x, cache):
    first = gradient(y, x, cache)
    parts = [first[:, i : i + 1] for i in range(x.shape[1])]
    return sum(gradient(p, x, cache)[:, i : i + 1] for i, p in enumerate(parts))


def derivative(u, x, axes, of, cache):
    if of == "laplacian":
        return laplacian(u, x, cache)
    if of == "bilaplacian":
        return laplacian(laplacian(u, x, cache), x, cache)
    for n, letter in enumerate(of):
        key = of[: n + 1]
        if key not in cache:
            i = axes.index(letter)
            cache[key] = gradient(u, x, cache)[:, i : i + 1]
        u = cache[key]
    return u


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--filter", default="")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    for name, axes, width, layers, points, sine, of in CASES:
        if options.filter not in name:
            continue
        points = min(points, options.size or points)
        run, parameters = net(axes, width, layers, sine)
        x = (2 * torch.rand(points, len(axes)) - 1).requires_grad_()
        times, begun = [], time.perf_counter()
        while len(times) < 12 and (len(times) < 2 or time.perf_counter() - begun < options.seconds):
            cache = {}
            process = time.process_time()
            u = run(x)
            r = sum(derivative(u, x, axes, word, cache) for word in of)
            torch.autograd.grad(r.square().mean(), parameters, allow_unused=True)
            times.append((time.process_time() - process) * 1e3)
        spread = statistics.median(times[1:])
        print(f"{name:16s} {points:7d} {spread:10.2f} ms", flush=True)
        if not math.isfinite(float(r.detach().sum())):
            print("  not finite")


if __name__ == "__main__":
    main()

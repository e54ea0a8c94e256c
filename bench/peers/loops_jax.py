#!/usr/bin/env python3
"""The loops of bench_loops in JAX: loops_jax.py BENCH_LOOPS [--rounds N] [--filter TEXT]
[--device cuda] [--most N].

Both sides take turns: a round runs bench_loops once for a case and then the jitted function of JAX
a few times. Told are the medians of an iteration and their ratio, Stoa over JAX: on the CPU, one
core of it, in processor time; with --device cuda in time of the wall clock, to the end of what was
launched. --most: iterations that JAX is given at most (on a GPU it takes long for each). The inputs
are those of bench_loops; an iteration of batch_... is a sample of jax.vmap. There is no gradient of
a while loop in JAX.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

PARSER = argparse.ArgumentParser()
PARSER.add_argument("program")
PARSER.add_argument("--rounds", type=int, default=5)
PARSER.add_argument("--filter", default="")
PARSER.add_argument("--device", default="cpu")
PARSER.add_argument("--most", type=int, default=1000000)
OPTIONS = PARSER.parse_args()
ON_CPU = OPTIONS.device == "cpu"
if ON_CPU:
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = ("--xla_cpu_multi_thread_eigen=false "
                               "intra_op_parallelism_threads=1 inter_op_parallelism_threads=1")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax  # noqa: E402
import numpy  # noqa: E402
from jax import lax, numpy as jnp  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
HIDDEN, ROWS, SCALAR = 64, 1000, min(1000000, OPTIONS.most)
THIRD = round(SCALAR ** (1 / 3))


def numbers(shape, place, dtype):
    """What bench_loops gives the input at this place, from 1."""
    count = int(numpy.prod(shape, dtype=numpy.int64))
    values = 0.1 * ((numpy.arange(count) * 7 + place) % 9) - 0.4
    if dtype == numpy.float64:
        values = numpy.full(count, 0.01) if count <= 3 else values
    else:
        values = values * 0.5
    return jnp.asarray(values.reshape(shape).astype(dtype))


def step(a, b, c):
    return c * b + a


def scalar_while(a, b):
    return lax.while_loop(lambda s: s[0] < SCALAR,
                          lambda s: (s[0] + 1, step(a, b, s[1])), (jnp.int64(0), a))[1]


def scalar_scan(a, b, length=SCALAR):
    return lax.scan(lambda c, _: (step(a, b, c), None), a, None, length=length)[0]


def nested_three(a, b):
    def level(depth, c):
        if depth == 3:
            return step(a, b, c)
        return lax.scan(lambda x, _: (level(depth + 1, x), None), c, None, length=THIRD)[0]
    return level(0, a)


def lstm_step(w, h, c, row):
    i, f, o, g = jnp.split(w @ jnp.concatenate([h, row]), 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def lstm_scan(w, h, c, x):
    h, c = lax.scan(lambda s, row: (lstm_step(w, *s, row), None), (h, c), x)[0]
    return (h * c).sum()


def lstm_while(w, h, c, x):
    def body(s):
        row = lax.dynamic_index_in_dim(x, s[0], keepdims=False)
        return (s[0] + 1, *lstm_step(w, s[1], s[2], row))
    _, h, c = lax.while_loop(lambda s: s[0] < ROWS, body, (jnp.int64(0), h, c))
    return (h * c).sum()


def ode_scan(y0, s10, s28, s3, dt, half, length=ROWS):
    def slope(y):
        x, y, z = y[0:1], y[1:2], y[2:3]
        return jnp.concatenate([(y - x) * s10, x * (s28 - z) - y, x * y - z * s3])

    def one(y, _):
        k1 = slope(y)
        k2 = slope(y + k1 * half)
        k3 = slope(y + k2 * half)
        k4 = slope(y + k3 * dt)
        return y + (2 * (k2 + k3) + (k1 + k4)) * dt / 6, None
    return lax.scan(one, y0, None, length=length)[0].sum()


def network(w, v, x):
    return ((v @ jnp.tanh(w @ x)) ** 2).sum()


def norm_of_gradient(w, v, x):
    return jnp.sqrt(sum((g * g).sum() for g in jax.grad(network, (0, 1))(w, v, x)))


def ode_hundred(y0, *rest):
    return ode_scan(y0, *rest, length=100)


def steps_until_small(x):  # as many as x says
    return lax.while_loop(lambda c: c > 1e-9, lambda c: c * (abs(x) + 0.5), jnp.float64(1))


SAMPLES = 1024
SCALARS = [numbers((), 1, numpy.float64), numbers((), 2, numpy.float64)]
LSTM = [numbers((4 * HIDDEN, 2 * HIDDEN), 1, numpy.float32), numbers((HIDDEN,), 2, numpy.float32),
        numbers((HIDDEN,), 3, numpy.float32), numbers((ROWS, HIDDEN), 4, numpy.float32)]
ODE = [numbers(shape, place + 1, numpy.float64)
       for place, shape in enumerate([(3,), (1,), (1,), (1,), (3,), (3,)])]
GRADIENTS = [numbers((64, 32), 1, numpy.float32), numbers((10, 64), 2, numpy.float32),
             numbers((SAMPLES, 32), 4, numpy.float32)]
HESSIANS = [numbers((64, 8), 1, numpy.float32), numbers((1, 64), 2, numpy.float32),
            numbers((SAMPLES, 8), 4, numpy.float32)]
STATES = [numbers((SAMPLES, 3), 7, numpy.float64)] + ODE[1:]
ONE_OF = (0, None, None, None, None, None)
CASES = {  # name in bench_loops: function, arguments, iterations
    "scalar_while": (scalar_while, SCALARS, SCALAR),
    "scalar_scan": (scalar_scan, SCALARS, SCALAR),
    "scalar_scan_gradient": (jax.grad(lambda b, a: scalar_scan(a, b, min(SCALAR, 100000))),
                             SCALARS[::-1], min(SCALAR, 100000)),
    "lstm_scan": (lstm_scan, LSTM, ROWS),
    "lstm_while": (lstm_while, LSTM, ROWS),
    "lstm_scan_gradient": (jax.value_and_grad(lstm_scan, (0, 3)), LSTM, ROWS),
    "ode_scan": (ode_scan, ODE, ROWS),
    "ode_scan_gradient": (jax.value_and_grad(ode_scan, (0, 2)), ODE, ROWS),
    "nested_three": (nested_three, SCALARS, THIRD**3),
    "batch_gradients": (jax.vmap(norm_of_gradient, (None, None, 0)), GRADIENTS, SAMPLES),
    "batch_hessians": (jax.vmap(jax.hessian(network, 2), (None, None, 0)), HESSIANS, SAMPLES),
    "batch_ode": (jax.vmap(ode_hundred, ONE_OF), STATES, SAMPLES),
    "batch_ode_gradient": (jax.vmap(jax.grad(ode_hundred), ONE_OF), STATES, SAMPLES),
    "batch_while": (jax.vmap(steps_until_small), [numbers((SAMPLES,), 2, numpy.float64)], SAMPLES),
}


def of_stoa(name):
    where = [] if ON_CPU else ["--device", OPTIONS.device]
    text = subprocess.run([OPTIONS.program, *where, "--json", "--filter", name], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return next(row["median"] for row in found if row["name"] == name)


def of_jax(run, arguments, iterations, times):
    taken, clock = [], time.process_time if ON_CPU else time.perf_counter
    for _ in range(times):
        begin = clock()
        jax.block_until_ready(run(*arguments))
        taken.append((clock() - begin) * 1e9 / iterations)
    return statistics.median(taken)


def main():
    if ON_CPU:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"jax {jax.__version__}, ns/iteration\n{'':22}{'stoa':>10}{'jax':>10}{'stoa/jax':>10}")
    for name, (function, arguments, iterations) in CASES.items():
        if OPTIONS.filter not in name:
            continue
        run = jax.jit(function)
        jax.block_until_ready(run(*arguments))
        ours, theirs, ratios = [], [], []
        for _ in range(OPTIONS.rounds):
            ours.append(of_stoa(name))
            theirs.append(of_jax(run, arguments, iterations, 5 if ON_CPU else 3))
            ratios.append(ours[-1] / theirs[-1])
        print(f"{name:22}{statistics.median(ours):10.4g}{statistics.median(theirs):10.4g}"
              f"{statistics.median(ratios):10.2f}", flush=True)


if __name__ == "__main__":
    main()

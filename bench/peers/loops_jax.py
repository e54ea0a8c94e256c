#!/usr/bin/env python3
"""The loops of bench_loops in JAX on the CPU, one core: loops_jax.py BENCH_LOOPS [ROUNDS [CASE]].

Both sides take turns, in processor time an iteration: a round runs bench_loops once for a case and
then the jitted function of JAX a few times. Told are the medians and their ratio, Stoa over JAX.
The inputs are those of bench_loops. There is no gradient of a while loop in JAX.
"""
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["XLA_FLAGS"] = ("--xla_cpu_multi_thread_eigen=false "
                           "intra_op_parallelism_threads=1 inter_op_parallelism_threads=1")
import jax  # noqa: E402
import numpy  # noqa: E402
from jax import lax, numpy as jnp  # noqa: E402

jax.config.update("jax_enable_x64", True)
HIDDEN, ROWS, THIRD = 64, 1000, 100


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
    return lax.while_loop(lambda s: s[0] < 1000000,
                          lambda s: (s[0] + 1, step(a, b, s[1])), (jnp.int64(0), a))[1]


def scalar_scan(a, b, length=1000000):
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


def ode_scan(y0, s10, s28, s3, dt, half):
    def slope(y):
        x, y, z = y[0:1], y[1:2], y[2:3]
        return jnp.concatenate([(y - x) * s10, x * (s28 - z) - y, x * y - z * s3])

    def one(y, _):
        k1 = slope(y)
        k2 = slope(y + k1 * half)
        k3 = slope(y + k2 * half)
        k4 = slope(y + k3 * dt)
        return y + (2 * (k2 + k3) + (k1 + k4)) * dt / 6, None
    return lax.scan(one, y0, None, length=ROWS)[0].sum()


SCALARS = [numbers((), 1, numpy.float64), numbers((), 2, numpy.float64)]
LSTM = [numbers((4 * HIDDEN, 2 * HIDDEN), 1, numpy.float32), numbers((HIDDEN,), 2, numpy.float32),
        numbers((HIDDEN,), 3, numpy.float32), numbers((ROWS, HIDDEN), 4, numpy.float32)]
ODE = [numbers(shape, place + 1, numpy.float64)
       for place, shape in enumerate([(3,), (1,), (1,), (1,), (3,), (3,)])]
CASES = {  # name in bench_loops: function, arguments, iterations
    "scalar_while": (scalar_while, SCALARS, 1000000),
    "scalar_scan": (scalar_scan, SCALARS, 1000000),
    "scalar_scan_gradient": (jax.grad(lambda b, a: scalar_scan(a, b, 100000)),
                             SCALARS[::-1], 100000),
    "lstm_scan": (lstm_scan, LSTM, ROWS),
    "lstm_while": (lstm_while, LSTM, ROWS),
    "lstm_scan_gradient": (jax.value_and_grad(lstm_scan, (0, 3)), LSTM, ROWS),
    "ode_scan": (ode_scan, ODE, ROWS),
    "ode_scan_gradient": (jax.value_and_grad(ode_scan, (0, 2)), ODE, ROWS),
    "nested_three": (nested_three, SCALARS, THIRD**3),
}


def of_stoa(program, name):
    text = subprocess.run([program, "--json", "--filter", name], check=True, capture_output=True,
                          text=True).stdout
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return next(row["median"] for row in found if row["name"] == name)


def of_jax(run, arguments, iterations, times=5):
    taken = []
    for _ in range(times):
        begin = time.process_time()
        jax.block_until_ready(run(*arguments))
        taken.append((time.process_time() - begin) * 1e9 / iterations)
    return statistics.median(taken)


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"jax {jax.__version__}, ns/iteration\n{'':22}{'stoa':>10}{'jax':>10}{'stoa/jax':>10}")
    for name, (function, arguments, iterations) in CASES.items():
        if len(sys.argv) > 3 and sys.argv[3] not in name:
            continue
        run = jax.jit(function)
        jax.block_until_ready(run(*arguments))
        ours, theirs, ratios = [], [], []
        for _ in range(rounds):
            ours.append(of_stoa(program, name))
            theirs.append(of_jax(run, arguments, iterations))
            ratios.append(ours[-1] / theirs[-1])
        print(f"{name:22}{statistics.median(ours):10.4g}{statistics.median(theirs):10.4g}"
              f"{statistics.median(ratios):10.2f}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The loops and batches of bench_loops in JAX and PyTorch: loops.py BENCH_LOOPS [--rounds N]
[--filter TEXT] [--peers jax,torch] [--device cuda] [--most N].

The sides take turns: a round runs bench_loops once for a case and then the function of each peer a
few times. Told are the medians of an iteration and the peer's over Stoa's: on the CPU, one core of
it, in processor time; with --device cuda in time of the wall clock, to the end of what was
launched. JAX is jitted; PyTorch is torch.func, eager, and has the cases of batches only. --most:
iterations that JAX is given at most (on a GPU it takes long for each). The inputs are those of
bench_loops; an iteration of batch_... is a sample of vmap. `error` is the largest relative
difference of a weighted sum of the first result; above 1e-3 (f32; f64: 1e-9) it exits with 1.
There is no gradient of a while loop in JAX, nor a batch of loops that end by data in PyTorch.
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
PARSER.add_argument("--peers", default="jax")
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


def ode_end(y0, s10, s28, s3, dt, half, length=ROWS):
    def slope(y):
        x, y, z = y[0:1], y[1:2], y[2:3]
        return jnp.concatenate([(y - x) * s10, x * (s28 - z) - y, x * y - z * s3])

    def one(y, _):
        k1 = slope(y)
        k2 = slope(y + k1 * half)
        k3 = slope(y + k2 * half)
        k4 = slope(y + k3 * dt)
        return y + (2 * (k2 + k3) + (k1 + k4)) * dt / 6, None
    return lax.scan(one, y0, None, length=length)[0]


def ode_scan(*arguments, length=ROWS):
    return ode_end(*arguments, length=length).sum()


def outputs(w, v, x):
    return v @ jnp.tanh(w @ x)


def network(w, v, x):
    return (outputs(w, v, x) ** 2).sum()


def norm_of_gradient(w, v, x):
    return jnp.sqrt(sum((g * g).sum() for g in jax.grad(network, (0, 1))(w, v, x)))


def solve(a, b):
    return jnp.linalg.solve(a + 8 * jnp.eye(16, dtype=a.dtype), b)


def solve_square(a, b):
    return (solve(a, b) ** 2).sum()


def ode_hundred(*arguments):
    return ode_end(*arguments, length=100)


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
MATRICES = [numbers((SAMPLES, 16, 16), 3, numpy.float64), numbers((16, 1), 2, numpy.float64)]
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
    "batch_jacobians": (jax.vmap(jax.jacobian(outputs, 2), (None, None, 0)), GRADIENTS, SAMPLES),
    "batch_solves": (jax.vmap(solve, (0, None)), MATRICES, SAMPLES),
    "batch_solve_gradients": (jax.vmap(jax.grad(solve_square), (0, None)), MATRICES, SAMPLES),
    "batch_ode": (jax.vmap(ode_hundred, ONE_OF), STATES, SAMPLES),
    "batch_ode_gradient": (jax.vmap(jax.grad(lambda *a: ode_hundred(*a).sum()), ONE_OF), STATES,
                           SAMPLES),
    "batch_while": (jax.vmap(steps_until_small), [numbers((SAMPLES,), 2, numpy.float64)], SAMPLES),
}


# --- PyTorch: the cases of batches ----------------------------------------------------------------
def torch_cases():
    import torch
    from torch import func

    def outputs_of(w, v, x):
        return v @ torch.tanh(w @ x)

    def network_of(w, v, x):
        return (outputs_of(w, v, x) ** 2).sum()

    def norm_of(w, v, x):
        return torch.sqrt(sum((g * g).sum() for g in func.grad(network_of, (0, 1))(w, v, x)))

    def solve_of(a, b):
        return torch.linalg.solve(a + 8 * torch.eye(16, dtype=a.dtype, device=a.device), b)

    def slope(y, s10, s28, s3):
        x, y, z = y[0:1], y[1:2], y[2:3]
        return torch.cat([(y - x) * s10, x * (s28 - z) - y, x * y - z * s3])

    def ode_of(y, s10, s28, s3, dt, half):
        for _ in range(100):
            k1 = slope(y, s10, s28, s3)
            k2 = slope(y + k1 * half, s10, s28, s3)
            k3 = slope(y + k2 * half, s10, s28, s3)
            k4 = slope(y + k3 * dt, s10, s28, s3)
            y = y + (2 * (k2 + k3) + (k1 + k4)) * dt / 6
        return y
    of_last = (None, None, 0)
    return {
        "batch_gradients": func.vmap(norm_of, of_last),
        "batch_hessians": func.vmap(func.hessian(network_of, 2), of_last),
        "batch_jacobians": func.vmap(func.jacrev(outputs_of, 2), of_last),
        "batch_solves": func.vmap(solve_of, (0, None)),
        "batch_solve_gradients": func.vmap(func.grad(lambda a, b: (solve_of(a, b) ** 2).sum()),
                                           (0, None)),
        "batch_ode": func.vmap(ode_of, ONE_OF),
        "batch_ode_gradient": func.vmap(func.grad(lambda *a: ode_of(*a).sum()), ONE_OF),
    }


# --- running --------------------------------------------------------------------------------------
def of_stoa(name):
    where = [] if ON_CPU else ["--device", OPTIONS.device]
    text = subprocess.run([OPTIONS.program, *where, "--json", "--filter", name], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return next((row["median"], row["told"]) for row in found if row["name"] == name)


def of_peer(run, iterations, times):
    taken, clock = [], time.process_time if ON_CPU else time.perf_counter
    for _ in range(times):
        begin = clock()
        run()
        taken.append((clock() - begin) * 1e9 / iterations)
    return statistics.median(taken)


def told(result):
    """Of the first array, as bench_loops tells it."""
    array = numpy.asarray(result[0] if isinstance(result, tuple) else result, numpy.float64).ravel()
    return float((array * (numpy.arange(array.size) % 7 + 1)).sum())


def peers_of(name, function, arguments):
    """{peer: (run to the end, what it tells, the limit of its error)}"""
    found, limit = {}, 1e-3 if arguments[0].dtype == jnp.float32 else 1e-9
    if "jax" in OPTIONS.peers:
        run = jax.jit(function)
        found["jax"] = (lambda: jax.block_until_ready(run(*arguments)), told(run(*arguments)))
    if "torch" in OPTIONS.peers and name in TORCH:
        import torch
        given = [torch.tensor(numpy.asarray(a), device=OPTIONS.device) for a in arguments]

        def once():
            result = TORCH[name](*given)
            if not ON_CPU:
                torch.cuda.synchronize()
            return result
        found["torch"] = (once, told(once().cpu()))
    return found, limit


def main():
    wrong = False
    peers = OPTIONS.peers.split(",")
    if ON_CPU:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"jax {jax.__version__}, ns/iteration\n{'':22}{'stoa':>10}"
          + "".join(f"{peer:>10}{peer + '/stoa':>12}" for peer in peers) + f"{'error':>10}")
    for name, (function, arguments, iterations) in CASES.items():
        if OPTIONS.filter not in name:
            continue
        found, limit = peers_of(name, function, arguments)
        ours, theirs, error = [], {peer: [] for peer in found}, 0.0
        for _ in range(OPTIONS.rounds):
            ours.append(of_stoa(name))
            for peer, (run, value) in found.items():
                taken = of_peer(run, iterations, 5 if ON_CPU else 3)
                theirs[peer].append((taken, taken / ours[-1][0]))
                error = max(error, abs(value - ours[-1][1]) / (abs(value) or 1))
        line = f"{name:22}{statistics.median(row[0] for row in ours):10.4g}"
        for peer in peers:
            if peer in found:
                taken, ratios = zip(*theirs[peer])
                line += f"{statistics.median(taken):10.4g}{statistics.median(ratios):12.2f}"
            else:
                line += f"{'-':>10}{'-':>12}"
        wrong |= not error <= limit
        print(line + f"{error:10.0e}", flush=True)
    sys.exit(wrong)


TORCH = {}
if __name__ == "__main__":
    if "torch" in OPTIONS.peers:
        import torch
        if ON_CPU:
            torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = False
        TORCH = torch_cases()
    main()

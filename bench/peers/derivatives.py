#!/usr/bin/env python3
"""The steps of bench_derivatives in JAX and PyTorch: the same cases (of derivative_cases.def, which
this file reads), weights and points (by the same formula), loss and its gradient in all weights.

    python3 bench/peers/derivatives.py SYSTEM [--filter TEXT] [--size N] [--device cpu|cuda] [--f64]

Systems: jax-jet (jax.experimental.jet along as few directions as give all that is asked for),
jax-nested (jvp of jvp), jax-grad (vmap of nested grad), torch (eager, nested autograd.grad) and
torch-compiled (that step traced as a whole, then torch.compile). One JSON line a case as from
bench_derivatives: ms a step, bytes, seconds to the end of the first step, loss, norm of the
gradient and its product with a vector. Matrix products are f32 throughout (no tf32), as Stoa's are.
On the CPU it is one thread and its processor time (bench_derivatives --lanes 1). Several processes
with the same --lock compile side by side and take turns once all have.
"""
import argparse
import ast
import contextlib
import ctypes
import fcntl
import gc
import itertools
import json
import math
import os
import re
import statistics
import sys
import time

import numpy

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
HERE = os.path.dirname(os.path.abspath(__file__))
FIELDS = ("name", "axes", "points", "border", "net", "width", "layers", "outputs", "activation",
          "coefficients", "inside", "around")
DIRECTIONS, DETERMINANTS = 16, 16
VIEWS = {"as_strided", "detach", "detach_", "empty", "empty_like", "empty_strided", "expand",
         "lift_fresh", "numpy_T", "permute", "resolve_conj", "resolve_neg", "select", "slice", "t",
         "transpose", "unsqueeze", "view", "_unsafe_view", "_reshape_alias", "set_", "alias"}
STARTED = time.perf_counter()


def read_cases():
    for folder in (HERE, os.path.join(HERE, "..")):
        path = os.path.join(folder, "derivative_cases.def")
        if os.path.exists(path):
            break
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    for kind, row in re.findall(r"^(CASE|ORDERS)\((.*?)\)$", text, flags=re.S | re.M):
        if kind == "ORDERS":
            width, layers = ast.literal_eval(f"({row})")
            for k in range(1, 10):
                yield dict(zip(FIELDS, (f"21.order{k}.{width}x{layers}", "x", 16384, 0, "MLP",
                                        width, layers, "u", "tanh", "", f"u[{'x' * k}];", "")))
            continue
        row = re.sub(r"\b(MLP|NORMED|PIRATE|ORBITALS|OPERATOR)\b(?=,)", r'"\1"', row)
        yield dict(zip(FIELDS, ast.literal_eval(f"({row})")))


def count_of(letters):
    return int(letters) if letters[0].isdigit() else len(letters)


def hashed(tensor, count):
    """Numbers in [-1, 1): derivative_number of derivative_cases.c."""
    x = numpy.arange(count, dtype=numpy.uint64) * 2654435761 + (tensor + 1) * 0x9e3779b9
    x = (x & 0xffffffff).astype(numpy.uint32)
    x = (x ^ x >> numpy.uint32(16)) * numpy.uint32(0x7feb352d)
    x = (x ^ x >> numpy.uint32(15)) * numpy.uint32(0x846ca68b)
    x ^= x >> numpy.uint32(16)
    return (x >> numpy.uint32(8)).astype(numpy.float32) * numpy.float32(2.0 ** -23) - 1


# --- networks: tensors are made when first asked for, in the order of derivative_cases.c ----------
class Tensors:
    """What a network takes its weights from: made at the first walk, then given."""

    def __init__(self):
        self.made, self.trained, self.at, self.given = [], [], 0, None

    def take(self, trained, scale, *sizes):
        if self.at == len(self.made):
            count = int(numpy.prod(sizes, dtype=numpy.int64))
            numbers = hashed(self.at, count) * numpy.float32(scale)
            self.made.append(numbers.reshape(sizes))
            self.trained.append(trained)
        self.at += 1
        return (self.given or self.made)[self.at - 1]


class Network:
    """ops: what differs between numpy, jax.numpy and torch."""

    def __init__(self, case, tensors, ops):
        self.case, self.t, self.ops = case, tensors, ops
        self.act = {"tanh": ops.tanh, "sin": ops.sin, "silu": ops.silu}[case["activation"]]

    def layer(self, x, a, b):
        w = self.t.take(True, math.sqrt(6.0 / (a + b)), b, a)
        if self.case["net"] == "NORMED":
            g = self.t.take(True, 1, b)
            w = w * (g / self.ops.sqrt((w * w).sum(1)))[:, None]
        return x @ w.T + self.t.take(True, 0.1, b)

    def hidden(self, x, a, b):
        return self.act(self.layer(x, a, b))

    def mlp(self, x, a, b):
        for _ in range(self.case["layers"]):
            x = self.hidden(x, a, self.case["width"])
            a = self.case["width"]
        return self.layer(x, a, b)

    def pirate(self, x, a, b):
        width = self.case["width"]
        waves = x @ self.t.take(False, 2, width // 2, a).T
        x = self.ops.concat([self.ops.cos(waves), self.ops.sin(waves)], -1)
        u, v = self.hidden(x, width, width), self.hidden(x, width, width)
        for _ in range(self.case["layers"]):
            f = self.hidden(x, width, width)
            f = self.hidden(v + f * (u - v), width, width)
            h = self.hidden(v + f * (u - v), width, width)
            x = x + self.t.take(True, 1) * (h - x)
        return self.layer(x, width, b)

    def operator(self, x, a, b):
        f = self.mlp(self.t.take(False, 1, b, 100), 100, self.case["width"])
        return self.mlp(x, a, self.case["width"]) @ f.T

    def orbitals(self, x, a, _):
        electrons, width = a // 3, self.case["width"]
        h = x.reshape(x.shape[:-1] + (electrons, 3))
        r = self.ops.sqrt((h * h).sum(-1))[..., None]
        h = self.ops.concat([h, r], -1)
        for i in range(self.case["layers"]):
            size = 4 if i == 0 else width
            mean = h.mean(-2)[..., None, :] + 0 * h
            step = self.hidden(self.ops.concat([h, mean], -1), 2 * size, width)
            h = step if i == 0 else h + step
        h = self.layer(h, width, DETERMINANTS * electrons) * self.ops.exp(-r)
        h = self.ops.swap(h.reshape(h.shape[:-1] + (DETERMINANTS, electrons)), -3, -2)
        sign, size = self.ops.slogdet(h)
        most = self.ops.stop(self.ops.most(size))
        total = (self.ops.stop(sign) * self.ops.exp(size - most[..., None])).sum(-1)
        return (most + self.ops.log(abs(total)))[..., None]

    def __call__(self, x):
        kind = self.case["net"].lower()
        run = {"mlp": self.mlp, "normed": self.mlp}.get(kind) or getattr(self, kind)
        return run(x, count_of(self.case["axes"]), count_of(self.case["outputs"]))


# --- residuals ------------------------------------------------------------------------------------
def indices(case, word):
    """What a request asks for: {sorted coordinates: weight}."""
    d = count_of(case["axes"])
    if word == "laplacian":
        return {(i, i): 1.0 for i in range(d)}
    if word == "bilaplacian":
        return {tuple(sorted((i, i, j, j))): 1.0 if i == j else 2.0
                for i in range(d) for j in range(i, d)}
    found = {}
    for term in re.findall(r"[+-]?[^+-]+", word):
        sign = -1.0 if term[0] == "-" else 1.0
        number, letters = ("1*" + term.lstrip("+-")).split("*")[-2:]
        key = tuple(sorted(case["axes"].index(letter) for letter in letters))
        found[key] = found.get(key, 0) + sign * float(number)
    return found


class Residuals:
    """The residuals of a text, and the (output, word) that they need."""

    def __init__(self, case, text):
        self.case, self.text = case, text
        self.words = sorted(set(re.findall(r"(\w)\[([^\]]*)\]", text)))
        self.letters = "u" if case["net"] == "OPERATOR" else case["outputs"]

    def loss(self, values, outputs, x, coefficients, sin):
        """values: (output, word) -> tensor like the outputs."""
        total = 0
        for residual in self.text.split(";")[:-1]:
            r = 0
            for term in re.findall(r"[+-]?(?:\[[^\]]*\]|[^\[+-])+", residual):
                product = -1.0 if term[0] == "-" else 1.0
                for factor in re.findall(r"(?:\[[^\]]*\]|[^\[*])+", term.lstrip("+-")):
                    if factor[0].isdigit():
                        product = product * float(factor)
                    elif factor.startswith("sin("):
                        product = product * sin(outputs[factor[4]])
                    elif "[" in factor:
                        product = product * values[factor[0], factor[2:-1]]
                    elif factor in outputs:
                        product = product * outputs[factor]
                    elif factor in self.case["coefficients"]:
                        product = product * coefficients[self.case["coefficients"].index(factor)]
                    else:
                        product = product * x[:, self.case["axes"].index(factor)]
                r = r + product
            total = total + (r * r).mean()
        return total


def columns(case, u):
    """Outputs by letter from u[N, m]; an operator's are one."""
    if case["net"] == "OPERATOR":
        return {"u": u}
    return {letter: u[..., i] for i, letter in enumerate(
        case["outputs"] if not case["outputs"][0].isdigit() else "u")}


def plan_directions(d, keys):
    """Directions [R, d], the order of each, and {key: [(direction, weight)]} so that partial
    derivatives are weighted sums of derivatives along directions (weights times order!)."""
    used = sorted({i for key in keys for i in key})
    top, result, rows, orders = {}, {}, [], []
    for key in sorted(keys, key=lambda k: (-len(k), len(set(k)))):
        if len(set(key)) == 1:
            top[(key[0],)] = max(top.get((key[0],), 0), len(key))
    mixed = sorted({tuple(sorted(set(key))) for key in keys if len(set(key)) > 1})
    assert all(len(pair) == 2 for pair in mixed)
    wanted = {}
    for pair in mixed:
        for k in sorted({len(key) for key in keys if set(key) == set(pair)}):
            odd = any(key.count(pair[0]) % 2 for key in keys if set(key) == set(pair)
                      and len(key) == k)
            both = k > 2 or not odd  # xy takes one direction, xxyy takes two
            for i in pair:
                top[(i,)] = max(top.get((i,), 0), k)
            for sign in (1, -1) if both else (1,):
                name = pair + (sign,)
                top[name] = max(top.get(name, 0), k)
            wanted[pair, k] = [pair[:1], pair[1:]] + [pair + (s,) for s in ((1, -1) if both
                                                                            else (1,))]
    names = sorted(top, key=lambda n: (top[n], n))
    for name in names:
        row = numpy.zeros(d)
        row[name[0]] = 1
        if len(name) == 3:
            row[name[1]] = name[2]
        rows.append(row)
        orders.append(top[name])
    for key in keys:
        k = len(key)
        if len(set(key)) == 1:
            result[key] = [(names.index((key[0],)), 1.0)]
            continue
        pair = tuple(sorted(set(key)))
        along = wanted[pair, k]
        # D^k along v = sum over j of binom(k, j) v0^j v1^(k-j) (j times the first coordinate)
        table = numpy.array([[math.comb(k, j) * rows[names.index(n)][pair[0]] ** j
                              * rows[names.index(n)][pair[1]] ** (k - j) for n in along]
                             for j in range(k + 1)])
        right = numpy.zeros(k + 1)
        right[key.count(pair[0])] = 1
        weights, *_ = numpy.linalg.lstsq(table, right, rcond=None)
        assert numpy.abs(table @ weights - right).max() < 1e-9, key
        result[key] = [(names.index(n), w) for n, w in zip(along, weights) if abs(w) > 1e-12]
    assert used is not None
    return numpy.array(rows), orders, result


# --- JAX ------------------------------------------------------------------------------------------
class JaxOps:
    def __init__(self):
        import jax
        from jax import numpy as jnp
        self.tanh, self.sin, self.cos, self.silu = jnp.tanh, jnp.sin, jnp.cos, jax.nn.silu
        self.sqrt, self.exp, self.log = jnp.sqrt, jnp.exp, jnp.log
        self.concat, self.swap, self.slogdet = jnp.concatenate, jnp.swapaxes, jnp.linalg.slogdet
        self.stop = jax.lax.stop_gradient
        self.most = lambda x: x.max(-1)


def jax_values(system, case, f, x, residuals, directions):
    """u and {(output, word): values} for the network f at x[N, d]."""
    import jax
    from jax import numpy as jnp
    from jax.experimental import jet

    d, words = x.shape[1], {}
    plain = [w for w in residuals.words if w[1] not in ("slope2", "estimate")]
    asked = {w: indices(case, w[1]) for w in plain}
    keys = {key for table in asked.values() for key in table}
    outputs = columns(case, f(x))

    def combine(part):
        for word, table in asked.items():
            words[word] = sum(weight * part(word[0], key) for key, weight in table.items())

    def along(g, v):
        return lambda z: jax.jvp(g, (z,), (jnp.broadcast_to(v, z.shape),))[1]

    def second(v):  # along v[N, d]
        return jax.jvp(lambda z: jax.jvp(f, (z,), (v,))[1], (x,), (v,))[1]

    def jets(v, order):  # derivatives 1..order of f along v
        seeds = [jnp.broadcast_to(v, x.shape)] + [jnp.zeros_like(x)] * (order - 1)
        return jet.jet(f, (x,), (seeds,))[1]

    pure = all(key == (i, i) for key in keys for i in key[:1]) and d > 10
    if pure:  # many coordinates: all at once
        unit = jnp.eye(d, dtype=x.dtype)
        one = (lambda v: jets(v, 2)[1]) if system == "jax-jet" else (
            lambda v: second(jnp.broadcast_to(v, x.shape)))
        total = columns(case, jax.vmap(one)(unit).sum(0))
        for word in plain:
            words[word] = total[word[0]]
    elif system == "jax-jet" and keys:
        rows, orders, parts = plan_directions(d, keys)
        found = [None] * len(orders)
        for order, group in itertools.groupby(range(len(orders)), key=lambda i: orders[i]):
            group = list(group)
            block = jnp.asarray(rows[group[0]:group[-1] + 1], x.dtype)
            series = jax.vmap(lambda v, k=order: jets(v, k))(block)
            for n, i in enumerate(group):
                found[i] = [columns(case, s[n]) for s in series]
        combine(lambda letter, key: sum(w * found[i][len(key) - 1][letter]
                                        for i, w in parts[key]))
    elif system == "jax-nested" and keys:
        unit, cache = jnp.eye(d, dtype=x.dtype), {}

        def chain(key):
            return f if not key else along(chain(key[:-1]), unit[key[-1]])
        for key in keys:
            cache[key] = columns(case, chain(key)(x))
        combine(lambda letter, key: cache[key][letter])
    elif keys:  # jax-grad: a point at a time, nested reverse mode
        cache = {}

        def nest(letter, key):
            if not key:
                return lambda z: columns(case, f(z[None])[0])[letter]
            return lambda z: jax.grad(nest(letter, key[:-1]))(z)[key[-1]]

        def part(letter, key):
            if (letter, key) not in cache:
                cache[letter, key] = jax.vmap(nest(letter, key))(x)
            return cache[letter, key]
        combine(part)
    for word in residuals.words:
        if word[1] == "slope2":
            slope = jax.grad(lambda z: f(z).sum())(x)
            words[word] = (slope * slope).sum(1)
        if word[1] == "estimate":
            one = (lambda v: jet.jet(f, (x,), ([v, jnp.zeros_like(v)],))[1][1]) \
                if system == "jax-jet" else second
            words[word] = columns(case, jax.vmap(one)(directions).mean(0))[word[0]]
    return outputs, words


def first_walk(case, points):
    """The tensors of a case, in order: points, border, directions, coefficients, weights."""
    t, d = Tensors(), count_of(case["axes"])
    ops = JaxOps()
    x = t.take(False, 1, points, d)
    if case["border"]:
        t.take(False, 1, case["border"], d)
    if "estimate" in case["inside"]:
        t.take(False, math.sqrt(3), DIRECTIONS, points, d)
    for _ in case["coefficients"]:
        t.take(True, 1)
    t.before = t.at
    Network(case, t, ops)(numpy.asarray(x[:2]))
    return t


def loss_with(case, t, given, values, sin, ops):
    """The loss from tensors `given`; values(f, x, residuals, directions) gives derivatives."""
    t.given, t.at = given, 0
    at = 1
    x, border, directions = given[0], None, None
    if case["border"]:
        border, at = given[at], at + 1
    if "estimate" in case["inside"]:
        directions, at = given[at], at + 1
    coefficients = given[at:at + len(case["coefficients"])]

    def f(z):
        t.at = t.before
        return Network(case, t, ops)(z)
    total = 0
    for text, where in ((case["inside"], x), (case["around"], border)):
        if text:
            residuals = Residuals(case, text)
            outputs, words = values(f, where, residuals, directions)
            total = total + residuals.loss(words, outputs, where, coefficients, sin)
    return total


def run_jax(system, case, t, options):
    import jax
    from jax import numpy as jnp
    kind = jnp.float64 if options.f64 else jnp.float32
    tensors = [jnp.asarray(a, kind) for a in t.made]
    weights = [a for a, on in zip(tensors, t.trained) if on]
    fixed = [a for a, on in zip(tensors, t.trained) if not on]
    ops = JaxOps()

    def loss(weights, fixed):
        weights, fixed = list(weights), list(fixed)
        given = [weights.pop(0) if on else fixed.pop(0) for on in t.trained]
        return loss_with(case, t, given, lambda *a: jax_values(system, case, *a), jnp.sin, ops)

    begun = time.perf_counter()
    compiled = jax.jit(jax.value_and_grad(loss)).lower(weights, fixed).compile()
    value, gradients = jax.block_until_ready(compiled(weights, fixed))
    first = time.perf_counter() - begun
    memory = compiled.memory_analysis()
    text = compiled.as_text()
    entry = text[text.index("\nENTRY"):]
    kernels = len(re.findall(r"= .*?(fusion|custom-call|dot|reduce|sort)\(", entry))
    return (lambda: jax.block_until_ready(compiled(weights, fixed))), {
        "first_s": first, "launches": kernels, "loss": float(value),
        "bytes": memory.temp_size_in_bytes + memory.argument_size_in_bytes
        + memory.output_size_in_bytes}, [numpy.asarray(g, numpy.float64) for g in gradients]


# --- PyTorch --------------------------------------------------------------------------------------
class TorchOps:
    def __init__(self):
        import torch
        self.tanh, self.sin, self.cos = torch.tanh, torch.sin, torch.cos
        self.silu = torch.nn.functional.silu
        self.sqrt, self.exp, self.log, self.concat = torch.sqrt, torch.exp, torch.log, torch.cat
        self.swap, self.slogdet = torch.swapaxes, torch.linalg.slogdet
        self.stop, self.most = (lambda x: x.detach()), (lambda x: x.amax(-1))


def torch_values(case, f, x, residuals, directions):
    import torch
    cache, d = {}, x.shape[1]
    outputs = columns(case, f(x))
    many = d > 10

    def slope(y):
        """All first derivatives of y[N] or y[N, m] at x[N, d], once a y."""
        if id(y) not in cache:
            cache[id(y)] = (y, torch.autograd.grad(y.sum(), x, create_graph=True,
                                                   materialize_grads=True)[0])
        return cache[id(y)][1]

    def part(letter, key):
        if not key:
            return outputs[letter]
        if (letter, key) not in cache:
            if case["net"] == "OPERATOR":  # forward mode by a derivative in the weight (ZCS)
                y = part(letter, key[:-1])
                ones = torch.ones_like(y, requires_grad=True)
                back = torch.autograd.grad((y * ones).sum(), x, create_graph=True)[0]
                cache[letter, key] = torch.autograd.grad(back[:, key[-1]].sum(), ones,
                                                         create_graph=True)[0]
            else:
                cache[letter, key] = slope(part(letter, key[:-1]))[:, key[-1]]
        return cache[letter, key]

    words = {}

    def along(v):
        g = lambda z: torch.func.jvp(f, (z,), (v,))[1]
        return torch.func.jvp(g, (x,), (v,))[1]
    for word in residuals.words:
        letter, of = word
        if of == "slope2":
            words[word] = slope(outputs[letter]).square().sum(1)
        elif of == "estimate":
            words[word] = torch.func.vmap(along)(directions).mean(0)[:, 0]
        elif many:
            unit = torch.eye(d, dtype=x.dtype, device=x.device)[:, None, :].expand(d, *x.shape)
            words[word] = torch.func.vmap(along)(unit).sum(0)[:, 0]
        elif of == "bilaplacian":
            once = sum(part(letter, (i, i)) for i in range(d))
            words[word] = sum(slope(slope(once)[:, i])[:, i] for i in range(d))
        else:
            words[word] = sum(w * part(letter, key) for key, w in indices(case, of).items())
    return outputs, words


def run_torch(system, case, t, options):
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    kind = torch.float64 if options.f64 else torch.float32
    device = options.device
    tensors = [torch.tensor(a, dtype=kind, device=device) for a in t.made]
    inputs = 1 + bool(case["border"])
    ops = TorchOps()
    on = [i for i, trained in enumerate(t.trained) if trained]

    def step(*given):
        given = [a.detach().requires_grad_(t.trained[i] or i < inputs)
                 for i, a in enumerate(given)]
        loss = loss_with(case, t, given, lambda *a: torch_values(case, *a), torch.sin, ops)
        return (loss.detach(),) + torch.autograd.grad(loss, [given[i] for i in on],
                                                      materialize_grads=True)

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    run = step
    if system == "torch-compiled":
        from torch.fx.experimental.proxy_tensor import make_fx
        run = torch.compile(make_fx(step)(*tensors))
    with torch.no_grad() if system == "torch-compiled" else torch.enable_grad():
        value, *gradients = run(*tensors)
    wait()
    first = time.perf_counter() - begun
    found = [g.detach().cpu().numpy().astype(numpy.float64) for g in gradients]
    told = {"first_s": first, "loss": float(value)}
    del value, gradients

    def once():
        with torch.no_grad() if system == "torch-compiled" else torch.enable_grad():
            run(*tensors)
        wait()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        once()
        told["bytes"] = torch.cuda.max_memory_allocated()
    else:
        told["bytes"] = peak_of(once) + sum(a.nbytes for a in tensors)
    told["launches"] = kernels_of(once, device)
    if system == "torch-compiled" and device == "cpu":
        from torch._inductor import metrics
        told["launches"] += metrics.generated_kernel_count
    return once, told, found


def peak_of(once):
    """How far the memory of the process rises in a step."""
    def now(field):
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak begins anew
    before = now("VmRSS")
    once()
    return now("VmHWM") - before


def kernels_of(once, device):
    """Kernels of a step; on a CPU, operators that compute (not those of compiled graphs)."""
    from torch.profiler import ProfilerActivity, profile
    with profile(activities=[ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU],
                 acc_events=True) as told:
        once()
    if device == "cuda":
        return sum(e.count for e in told.key_averages() if "CUDA" in str(e.device_type))
    return sum(1 for e in told.events() if not e.cpu_children and e.name.startswith("aten::")
               and e.name[6:] not in VIEWS)


# --- running --------------------------------------------------------------------------------------
@contextlib.contextmanager
def locked(path, kind):
    if not path:
        yield
        return
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, kind)
        yield


def wait_for_compilers(options):
    while options.lock and time.perf_counter() - STARTED < options.patience:
        with open(options.lock, "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.2)


def measure(system, case, options):
    points = min(case["points"], options.size or case["points"])
    t = first_walk(case, points)
    with locked(options.lock, fcntl.LOCK_SH):
        once, told, gradients = (run_jax if system.startswith("jax") else run_torch)(
            system, case, t, options)
    trained = [i for i, on in enumerate(t.trained) if on]
    norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    probe = sum(float((g.ravel() * hashed(1000 + i, g.size)).sum())
                for i, g in zip(trained, gradients))
    times = []
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    with locked(options.lock and options.lock + ".turn", fcntl.LOCK_EX):
        wait_for_compilers(options)
        begun = time.perf_counter()
        while len(times) < 3 or (len(times) < 200
                                 and time.perf_counter() - begun < options.seconds):
            start = clock()
            once()
            times.append((clock() - start) * 1e3)
    times = sorted(times[1:])
    told.update(system=system, name=case["name"], size=points,
                median=statistics.median(times), p10=times[len(times) // 10],
                p90=times[len(times) * 9 // 10], samples=len(times), unit="ms", norm=norm,
                probe=probe, dtype="f64" if options.f64 else "f32", device=options.device)
    print(json.dumps(told), flush=True)


def warm(options):
    """Libraries are loaded and opened before anything is timed."""
    if "jax" in options.systems:
        import jax
        from jax import numpy as jnp
        jax.block_until_ready(jax.jit(lambda x: jnp.tanh(x @ x).sum())(jnp.ones((64, 64))))
    if "torch" in options.systems:
        import torch
        x = torch.ones(64, 64, device=options.device, requires_grad=True)
        torch.tanh(x @ x).sum().backward()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("systems", help="separated by commas")
    parser.add_argument("--filter", default="", help="parts of names, separated by commas")
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lock", help="a file")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for others")
    parser.add_argument("--f64", action="store_true")
    options = parser.parse_args()
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = ("--xla_cpu_multi_thread_eigen=false "
                                   "intra_op_parallelism_threads=1 inter_op_parallelism_threads=1")
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        if "torch" in options.systems:
            import torch
            torch.set_num_threads(1)
    import jax
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    warm(options)
    failed = 0
    for case in read_cases():
        if not any(part in case["name"] for part in options.filter.split(",")):
            continue
        for system in options.systems.split(","):
            print(f"{system} {case['name']}", file=sys.stderr, flush=True)
            try:
                measure(system, case, options)
            except Exception as error:  # told as a result: a peer that cannot is a result
                failed = 1
                print(json.dumps({"system": system, "name": case["name"],
                                  "failed": f"{type(error).__name__}: {error}"[:300]}), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

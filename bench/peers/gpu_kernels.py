#!/usr/bin/env python3
"""The programs of bench_gpu_kernels through torch.compile, timed as there: replays of a CUDA graph.

A backward program gets the input and the gradient of the result and gives gradients, in two forms:
`whole` (torch.func.vjp, compiled as one: what bench_gpu_kernels runs) and `saved` (the backward
half of an autograd function, which reads what the forward half saved); the faster one counts.
Medians of 15 batches of 20 replays.
Usage: gpu_kernels.py [--filter TEXT] [--without TEXT] [--jobs N] [--beside FILE]
  --jobs N     first compile in N processes, into the cache on disk that all share
  --beside F   JSON lines of `bench_gpu_kernels --json`, shown with the ratio of the times
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

SAMPLES, RUNS = 15, 20
ODD = [(1000003, 33), (65537, 1000), (1000, 50257), (1000, 131072), (7, 131072), (1, 131072)]


def cases():
    """Rows of name, inputs (shape, dtype; a number is the end of a range of integers), function."""
    import torch
    import torch.nn.functional as F
    bf16, f32 = torch.bfloat16, torch.float32
    rows, columns = 16384, 4096
    x, w = ((rows, columns), bf16), ((columns,), bf16)

    def rms(x, w):
        return F.rms_norm(x, w.shape, w, 1e-5)

    def norm(x, w, b):
        return F.layer_norm(x, w.shape, w, b)

    def softmax(x):
        return F.softmax(x, -1)

    def gelu(x, b):
        return F.gelu(x + b, approximate="tanh")

    def swiglu(x, g):
        return F.silu(g) * x

    def loss(x, l):
        return F.cross_entropy(x, l, reduction="none")

    def back(function, fixed=0):
        """(inputs.., dy) -> gradients of the inputs but the last `fixed`."""
        function.fixed = fixed
        return ("back", function)

    def column_sum(x):
        return x.sum(0)

    def residual(x, w, b, dy, r):
        _, pull = torch.func.vjp(lambda x, w, b: norm(x, w, b).to(bf16), x, w, b)
        dx, dw, db = pull(dy)
        s = dx + r
        n = s.to(bf16)
        return s, n, dw, db, n.sum(0)

    def adamw(p, g, m, v, rate, steps):
        m = torch.lerp(m, g, 0.1)
        v = torch.lerp(v, g * g, 0.001)
        a = m / (1 - 0.9 ** steps)
        b = v / (1 - 0.999 ** steps)
        return p - rate * (a / (b.sqrt() + 1e-8) + 0.1 * p), m, v

    def narrow(rows, columns):
        return ((rows, columns), bf16), ((columns,), bf16)
    short, short_w = narrow(32768, 768)
    wide, labels = ((8192, 50304), bf16), ((8192,), 50304)
    n, one = ((124000000,), f32), ((), f32)
    yield "copy 16384x4096 bf16", [x], torch.neg
    yield "rms_norm 16384x4096 bf16", [x, w], rms
    yield "rms_norm backward", [x, w, x], back(rms)
    yield "layer_norm 16384x4096 bf16", [x, w, w], norm
    yield "layer_norm backward", [x, w, w, x], back(norm)
    yield "layer_norm backward 32768x768", [short, short_w, short_w, short], back(norm)
    yield "layer_norm 32768x768 bf16", [short, short_w, short_w], norm
    yield "softmax 16384x4096 bf16", [x], softmax
    yield "softmax backward", [x, x], back(softmax)
    yield "log_softmax 16384x4096 bf16", [x], lambda x: F.log_softmax(x, -1)
    yield "bias gelu 16384x4096 bf16", [x, w], gelu
    yield "bias gelu backward", [x, w, x], back(gelu)
    yield "swiglu 16384x4096 bf16", [x, x], swiglu
    yield "swiglu backward", [x, x, x], back(swiglu)
    yield "cross_entropy 8192x50304 bf16", [wide, labels], loss
    yield "cross_entropy backward", [wide, labels, ((8192,), bf16)], back(loss, 1)
    yield "column sum 16384x4096 bf16", [x], column_sum
    yield "column sum 32768x768 bf16", [short], column_sum
    yield "column sum 32768x2304 bf16", [((32768, 2304), bf16)], column_sum
    yield ("residual layer_norm backward 32768x768",
           [((32768, 768), f32), ((768,), f32), ((768,), f32), short, ((32768, 768), f32)],
           residual)
    yield "sum of squares 124M f32", [n], lambda x: (x * x).sum()
    yield "transpose 8192x8192 bf16", [((8192, 8192), bf16)], lambda x: -x.t().contiguous()
    yield "adamw 124M f32", [n, n, n, n, one, one], adamw
    for name, function, backward in [("softmax", softmax, False), ("rms_norm", rms, False),
                                     ("softmax", softmax, True), ("rms_norm", rms, True)]:
        for size in ODD:
            inputs = list(narrow(*size))[:function.__code__.co_argcount]
            yield (f"odd {name}{' backward' if backward else ''} {size[0]}x{size[1]}",
                   inputs + inputs[:1] * backward, back(function) if backward else function)


def forms(inputs, function):
    """Rows of form, a call without arguments that gives tensors; all compiled when called."""
    import torch
    if not isinstance(function, tuple):
        compiled = torch.compile(function, dynamic=False)
        return [("whole", lambda: compiled(*inputs))]
    function = function[1]
    fixed = inputs[len(inputs) - 1 - function.fixed:-1] if function.fixed else []
    free, dy = inputs[:len(inputs) - 1 - function.fixed], inputs[-1]

    def pulled(free, fixed, dy):
        return torch.func.vjp(lambda *args: function(*args, *fixed), *free)[1](dy)
    whole = torch.compile(pulled, dynamic=False)
    leaves = [x.detach().requires_grad_() for x in free]
    y = torch.compile(lambda *args: function(*args), dynamic=False)(*leaves, *fixed)
    return [("whole", lambda: whole(free, fixed, dy)),
            ("saved", lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True))]


def made(kind):
    import torch
    shape, dtype = kind
    if isinstance(dtype, int):
        return torch.randint(dtype, shape, device="cuda")
    return torch.randn(shape, device="cuda", dtype=dtype).abs() + 0.5 * (shape == ())


def replayed(call):
    """Median microseconds of a replay, and what the call gives."""
    import torch
    stream = torch.cuda.current_stream()
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = call()
    times = []
    for _ in range(SAMPLES + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(RUNS):
            graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / RUNS)
    return statistics.median(times[1:]), results


def run_case(name, kinds, function, ours, only_compile):
    inputs = [made(kind) for kind in kinds]
    best = None
    for form, call in forms(inputs, function):
        if only_compile:
            call()
            continue
        us, results = replayed(call)
        results = results if isinstance(results, (tuple, list)) else [results]
        bytes_ = sum(t.numel() * t.element_size() for t in [*inputs, *results])
        del results
        if best is None or us < best[0]:
            best = (us, form, bytes_)
    if only_compile:
        return
    line = f"{name:40} {best[0]:9.1f} us {best[2] / best[0] * 1e-6:6.2f} TB/s {best[1]}"
    if name in ours:
        line += (f" | ours {ours[name]['median']:9.1f} us {ours[name]['TB/s']:6.2f} TB/s"
                 f" ratio {best[0] / ours[name]['median']:.2f}")
    print(line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--filter", default="")
    parser.add_argument("--without", default="none of it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", default="")  # of the processes of --jobs: number/all
    parser.add_argument("--beside")
    args = parser.parse_args()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/tmp/inductor_cache")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    part, parts = (int(x) for x in args.part.split("/")) if args.part else (0, 1)
    if args.jobs > 1:
        options = ["--filter", args.filter, "--without", args.without]
        workers = [subprocess.Popen([sys.executable, __file__, "--part", f"{i}/{args.jobs}",
                                     *options], stdout=subprocess.DEVNULL)
                   for i in range(args.jobs)]
        for worker in workers:
            worker.wait()
    ours = {}
    if args.beside:
        with open(args.beside) as lines:
            ours = {row["name"]: row for row in map(json.loads, lines)}
    import torch
    import torch._functorch.config
    import torch._inductor.config
    torch._inductor.config.autotune_local_cache = False  # what was chosen while others ran
    torch._functorch.config.donated_buffer = False  # gradients are asked for again and again
    print(f"# torch {torch.__version__}, {torch.cuda.get_device_name()}", flush=True)
    chosen = [c for c in cases() if args.filter in c[0] and args.without not in c[0]]
    with torch.cuda.stream(torch.cuda.Stream()):
        for name, inputs, function in chosen[part::parts]:
            torch._dynamo.reset()
            try:
                run_case(name, inputs, function, ours, parts > 1)
            except Exception as error:  # a case that a version of PyTorch cannot compile
                print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            torch.cuda.empty_cache()


main()

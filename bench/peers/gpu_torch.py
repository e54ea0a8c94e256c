#!/usr/bin/env python3
"""The products and attention of bench_gpu_matmul and bench_gpu_attention through PyTorch.

Event times of batches of runs after a warm-up, median; random data. Prints a line a measurement:
name, microseconds, TFLOP/s. Usage: gpu_torch.py [SAMPLES]
"""
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SAMPLES = int(sys.argv[1]) if len(sys.argv) > 1 else 15
TOKENS = 32768


def measure(name, flops, run, runs=5):
    """Median of SAMPLES batches of `runs` runs."""
    for _ in range(3):
        run()
    times = []
    for _ in range(SAMPLES):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / runs)
    us = statistics.median(times)
    print(f"{name:44} {us:10.1f} us {flops / us * 1e-6:8.1f} TFLOP/s", flush=True)


def random(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def products():
    """A linear layer: forward with bias, both gradients. Weights are [out, in] here."""
    a, b = random(8192, 8192), random(8192, 8192)
    measure("ceiling 8192", 2 * 8192**3, lambda: a @ b)
    for name, inner, outer in [("qkv", 768, 2304), ("proj", 768, 768), ("fc", 768, 3072),
                               ("fc2", 3072, 768), ("head", 768, 50304)]:
        x, w, bias, dy = random(TOKENS, inner), random(outer, inner), random(outer), None
        flops = 2 * TOKENS * inner * outer
        with_bias = name != "head"
        measure(f"{name} forward" + (", bias" if with_bias else ""), flops,
                lambda: F.linear(x, w, bias if with_bias else None))
        dy = random(TOKENS, outer)
        measure(f"{name} d_input", flops, lambda: dy @ w)
        measure(f"{name} d_weight", flops, lambda: dy.t() @ x)
        if with_bias:
            measure(f"{name} d_bias", 0, lambda: dy.sum(0))
        del x, w, bias, dy


def attention(name, batch, heads, heads_kv, tokens, width):
    q = random(batch, heads, tokens, width).requires_grad_()
    k, v = (random(batch, heads_kv, tokens, width).requires_grad_() for _ in range(2))
    d_o = random(batch, heads, tokens, width)
    flops = 4 * batch * heads * tokens * tokens * width / 2
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
        label = f"{name} {backend.name.split('_')[0].lower()}"
        try:
            with sdpa_kernel(backend):
                def forward():
                    return F.scaled_dot_product_attention(
                        q, k, v, is_causal=True, enable_gqa=heads != heads_kv)
                with torch.no_grad():
                    measure(f"{label} forward", flops, forward)
                out = forward()
                measure(f"{label} backward", 2.5 * flops,
                        lambda: torch.autograd.grad(out, (q, k, v), d_o, retain_graph=True))
        except RuntimeError as error:
            print(f"{label}: {str(error).splitlines()[0]}")


print(f"# torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, "
      f"{torch.cuda.get_device_name()}")
products()
attention("gpt2", 32, 12, 12, 1024, 64)
attention("grouped", 4, 32, 8, 4096, 128)

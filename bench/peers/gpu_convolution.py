#!/usr/bin/env python3
"""The layers of bench_gpu_convolution through PyTorch (cuDNN, deterministic, no tf32).

Event times of batches of runs after a warm-up, median; random data; row-major and channels last.
Prints a line a measurement: name, microseconds, TFLOP/s. Usage: gpu_convolution.py
"""
import statistics

import torch

SAMPLES, RUNS, BATCH = 15, 20, 32
bf16, f32 = torch.bfloat16, torch.float32
LAYERS = [("7x7/2 3-64 224", 3, 224, 64, 7, 2, bf16), ("1x1 64-256 56", 64, 56, 256, 1, 1, bf16),
          ("3x3 64-64 56", 64, 56, 64, 3, 1, bf16), ("3x3/2 128-128 56", 128, 56, 128, 3, 2, bf16),
          ("3x3 256-256 14", 256, 14, 256, 3, 1, bf16), ("3x3 512-512 7", 512, 7, 512, 3, 1, bf16),
          ("3x3 64-64 56 f32", 64, 56, 64, 3, 1, f32)]


def measure(name, flops, run):
    for _ in range(5):
        run()
    times = []
    for _ in range(SAMPLES):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(RUNS):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / RUNS)
    us = statistics.median(times)
    print(f"{name:48} {us:9.1f} us {flops / us * 1e-6:8.1f} TFLOP/s", flush=True)


def main():
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    for name, channels, size, outputs, window, stride, dtype in LAYERS:
        for layout in (torch.contiguous_format, torch.channels_last):
            def random(*shape):
                x = torch.randn(*shape, device="cuda", dtype=dtype)
                return x.contiguous(memory_format=layout)
            out = size // stride
            x, w = random(BATCH, channels, size, size), random(outputs, channels, window, window)
            dy = random(BATCH, outputs, out, out)
            flops = 2 * dy.numel() * w[0].numel()
            last = ", channels last" if layout == torch.channels_last else ""

            def gradients(mask):
                return torch.ops.aten.convolution_backward(
                    dy, x, w, None, [stride] * 2, [window // 2] * 2, [1, 1], False, [0, 0], 1, mask)
            measure(f"{name}, forward{last}", flops,
                    lambda: torch.conv2d(x, w, None, stride, window // 2))
            measure(f"{name}, gradient of x{last}", flops, lambda: gradients([True, False, False]))
            measure(f"{name}, gradient of w{last}", flops, lambda: gradients([False, True, False]))


main()

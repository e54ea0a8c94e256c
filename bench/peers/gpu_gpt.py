#!/usr/bin/env python3
"""The training step of bench_gpu_step in PyTorch: GPT-2 124M (or 1.5B), AdamW, clip 1.0, bf16.

Autocast; eager and compiled; medians of event times. Prints a line a measurement: name, ms, tokens
a second, peak memory, seconds to the end of the first step. Usage: gpu_gpt.py BATCH [eager] [1.5b]
"""
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH = int(sys.argv[1]) if len(sys.argv) > 1 else 8
WAYS = [False] if "eager" in sys.argv else [True]
VOCAB, TOKENS = 50304, 1024
LAYERS, HEADS, WIDTH = (48, 25, 1600) if "1.5b" in sys.argv else (12, 12, 768)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (y.view(b, t, HEADS, c // HEADS).transpose(1, 2)
                   for y in self.qkv(self.ln1(x)).split(c, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.fc2(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCAB, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln = nn.LayerNorm(WIDTH)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe(torch.arange(TOKENS, device="cuda"))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, VOCAB).float(), labels.view(-1))


def measure(compiled):
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Gpt().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    loss_of = torch.compile(model) if compiled else model
    tokens, labels = (torch.randint(VOCAB, (BATCH, TOKENS), device="cuda") for _ in range(2))

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = loss_of(tokens, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    begun = time.time()
    step()
    torch.cuda.synchronize()
    first = time.time() - begun
    for _ in range(5):
        step()
    times = []
    for _ in range(15):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    ms = statistics.median(times)
    way = "compiled" if compiled else "eager"
    print(f"torch {way:9} batch {BATCH}: {ms:8.2f} ms "
          f"{BATCH * TOKENS / ms * 1e3:10.0f} tokens/s "
          f"{torch.cuda.max_memory_allocated() / 1e9:6.2f} GB, first step {first:.1f} s",
          flush=True)


for way in WAYS:
    measure(way)

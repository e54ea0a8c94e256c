#!/usr/bin/env python3
"""Writes tests/parity/fixture: two small trainings computed by PyTorch, in float64 and float32.

Run by hand with Debian's python3-torch when the fixture is to change:
    /usr/bin/python3 tests/parity/make_fixture.py

gpt.*: a byte-level GPT (models/gpt.h) trained with AdamW on text.txt, which is a copy of LICENSE.
lenet.*: the convolutional network of models/lenet.h with Nesterov SGD, on images and labels drawn
from the generator `Lcg`, which tests/parity/lenet_case.h repeats.

Weights are stored as float32 and are the starting point of both runs. The JSON holds the settings,
every loss, the norm of each gradient at step 0, some of those gradients in full, and the norms of
the final parameters.
"""
import json
import math
import os
import struct

import torch
from torch.nn import functional as F

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixture")
GPT = {"vocab": 256, "context": 32, "layers": 2, "heads": 2, "width": 32, "batch": 4, "steps": 20}
GPT_FULL = ["h.0.qkv.bias", "h.0.ln1.weight", "h.1.ln1.bias", "h.1.fc2.bias", "lnf.weight"]
LENET = {"batch": 8, "steps": 8, "items": 64}
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def save_safetensors(path, tensors):
    """tensors: name -> float32 tensor."""
    header, payload = {}, b""
    for name, tensor in tensors.items():
        data = tensor.detach().to(torch.float32).contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(payload), len(payload) + len(data)]}
        payload += data
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + payload)


def norm(tensor):
    return tensor.detach().double().norm().item()


def norms(tensors):
    return {name: norm(tensor) for name, tensor in tensors.items()}


def as_leaves(weights, dtype):
    return {name: w.to(dtype).clone().requires_grad_() for name, w in weights.items()}


# --- gpt ------------------------------------------------------------------------------------------
def gpt_weights():
    width, weights = GPT["width"], {}

    def normal(name, *shape):
        weights[name] = torch.randn(*shape) * 0.05

    def near(name, value):
        weights[name] = value + torch.randn(width) * 0.05

    normal("wte.weight", GPT["vocab"], width)
    normal("wpe.weight", GPT["context"], width)
    for layer in range(GPT["layers"]):
        h = f"h.{layer}."
        for part in ("ln1", "ln2"):
            near(h + part + ".weight", 1)
            near(h + part + ".bias", 0)
        for part, out, inner in (("qkv", 3 * width, width), ("proj", width, width),
                                 ("fc1", 4 * width, width), ("fc2", width, 4 * width)):
            normal(h + part + ".weight", out, inner)
            normal(h + part + ".bias", out)
    near("lnf.weight", 1)
    near("lnf.bias", 0)
    return weights


def gpt_loss(p, x, y):
    width, heads = GPT["width"], GPT["heads"]
    length = x.shape[1]
    mask = torch.full((length, length), -math.inf, dtype=p["lnf.bias"].dtype).triu(1)

    def layer_norm(a, name):
        return F.layer_norm(a, (width,), p[name + ".weight"], p[name + ".bias"], 1e-5)

    def linear(a, name):
        return F.linear(a, p[name + ".weight"], p[name + ".bias"])

    def split(a):
        return a.view(a.shape[0], length, heads, width // heads).transpose(1, 2)

    a = p["wte.weight"][x] + p["wpe.weight"][:length]
    for layer in range(GPT["layers"]):
        h = f"h.{layer}."
        q, k, v = (split(t) for t in linear(layer_norm(a, h + "ln1"), h + "qkv").split(width, 2))
        scores = q @ k.transpose(2, 3) / math.sqrt(width // heads) + mask
        mixed = (scores.softmax(3) @ v).transpose(1, 2).reshape(a.shape)
        a = a + linear(mixed, h + "proj")
        inner = F.gelu(linear(layer_norm(a, h + "ln2"), h + "fc1"), approximate="tanh")
        a = a + linear(inner, h + "fc2")
    logits = layer_norm(a, "lnf") @ p["wte.weight"].T
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def gpt_run(weights, text, dtype):
    p = as_leaves(weights, dtype)
    decayed = [w for w in p.values() if w.dim() >= 2]
    others = [w for w in p.values() if w.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    batch, length, steps = GPT["batch"], GPT["context"], GPT["steps"]
    run = {"loss": [], "grad_norm": []}
    for i in range(steps):
        at = torch.arange(batch * length).view(batch, length) + i * batch * length
        at = at % (len(text) - 1)
        rate = 1e-3 * min(1, (i + 1) / 10) * (0.1 + 0.45 * (1 + math.cos(math.pi * i / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = gpt_loss(p, text[at], text[at + 1])
        loss.backward()
        if i == 0:
            run["grad_norm_step0"] = norms({name: w.grad for name, w in p.items()})
            run["grad_step0"] = {name: p[name].grad.flatten().tolist() for name in GPT_FULL}
        total = torch.nn.utils.clip_grad_norm_(p.values(), 1.0)
        optimizer.step()
        run["loss"].append(loss.item())
        run["grad_norm"].append(total.item())
    run["final_param_norm"] = norms(p)
    return run


def make_gpt():
    torch.manual_seed(1)
    with open(os.path.join(FOLDER, "text.txt"), "rb") as file:
        text = torch.tensor(list(file.read()))
    weights = gpt_weights()
    save_safetensors(os.path.join(FOLDER, "gpt.safetensors"), weights)
    return {"config": GPT, **{name: gpt_run(weights, text, d) for name, d in DTYPES.items()}}


# --- lenet ----------------------------------------------------------------------------------------
class Lcg:
    """Knuth's MMIX generator; the top bits are used."""

    def __init__(self, seed):
        self.state = seed

    def bits(self, count):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.state >> (64 - count)


def lenet_items():
    """Noise with a bright square whose place depends on the label. Grey levels are multiples of
    1/256, so that they are exact in float32."""
    lcg, images, labels = Lcg(2024), [], []
    for _ in range(LENET["items"]):
        label = lcg.bits(16) % 10
        image = [lcg.bits(7) for _ in range(28 * 28)]
        for row in range(8):
            for column in range(8):
                image[(row + 2 * label) * 28 + column + label] += 128
        images.append(image)
        labels.append(label)
    pixels = torch.tensor(images, dtype=torch.float64).view(-1, 1, 28, 28) / 256
    return pixels, torch.tensor(labels)


def lenet_weights():
    weights = {}

    def uniform(name, fan_in, *shape):
        weights[name + ".weight"] = (torch.rand(*shape) * 2 - 1) / math.sqrt(fan_in)
        weights[name + ".bias"] = (torch.rand(shape[0]) * 2 - 1) / math.sqrt(fan_in)

    def batch_norm(name, count):
        weights[name + ".weight"] = 1 + torch.randn(count) * 0.1
        weights[name + ".bias"] = torch.randn(count) * 0.1
        weights[name + ".running_mean"] = torch.zeros(count)
        weights[name + ".running_var"] = torch.ones(count)

    uniform("c1", 25, 8, 1, 5, 5)
    batch_norm("b1", 8)
    uniform("c2", 36, 16, 4, 3, 3)
    batch_norm("b2", 16)
    uniform("f1", 576, 64, 576)
    uniform("f2", 64, 10, 64)
    return weights


def lenet_loss(p, x, y):
    def linear(a, name):
        return F.linear(a, p[name + ".weight"], p[name + ".bias"])

    def batch_norm(a, name):
        return F.batch_norm(a, p[name + ".running_mean"], p[name + ".running_var"],
                            p[name + ".weight"], p[name + ".bias"], True, 0.1, 1e-5)

    x = F.conv2d(x, p["c1.weight"], p["c1.bias"], padding=2)
    x = F.max_pool2d(F.relu(batch_norm(x, "b1")), 2)
    x = F.conv2d(x, p["c2.weight"], p["c2.bias"], stride=2, groups=2)
    x = F.relu(batch_norm(x, "b2")).flatten(1)
    return F.cross_entropy(linear(F.relu(linear(x, "f1")), "f2"), y)


def lenet_run(weights, images, labels, dtype):
    p = as_leaves(weights, dtype)
    for name in p:
        if "running" in name:
            p[name].requires_grad_(False)
    trained = {name: w for name, w in p.items() if w.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.05, momentum=0.9, weight_decay=1e-4,
                                nesterov=True)
    run = {"loss": []}
    for i in range(LENET["steps"]):
        at = (torch.arange(LENET["batch"]) + i * LENET["batch"]) % LENET["items"]
        optimizer.zero_grad()
        loss = lenet_loss(p, images[at].to(dtype), labels[at])
        loss.backward()
        if i == 0:
            run["grad_norm_step0"] = norms({name: w.grad for name, w in trained.items()})
        optimizer.step()
        run["loss"].append(loss.item())
    run["final"] = norms(p)
    return run


def make_lenet():
    torch.manual_seed(2)
    images, labels = lenet_items()
    weights = lenet_weights()
    save_safetensors(os.path.join(FOLDER, "lenet.safetensors"), weights)
    runs = {name: lenet_run(weights, images, labels, d) for name, d in DTYPES.items()}
    return {"config": LENET, **runs}


def main():
    torch.set_num_threads(1)
    for name, make in (("gpt", make_gpt), ("lenet", make_lenet)):
        with open(os.path.join(FOLDER, name + ".json"), "w", encoding="utf-8") as file:
            json.dump({"made_with": "PyTorch " + torch.__version__, **make()}, file)
            file.write("\n")


if __name__ == "__main__":
    main()

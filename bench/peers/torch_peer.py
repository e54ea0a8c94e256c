"""The models of models/ in PyTorch, as an experienced user would write them for speed on a CPU:
scaled_dot_product_attention, fused AdamW, foreach clipping. MODE is eager or compile; compiled are
forward and backward, the optimizer is fused already. Functional form: modules would only cost.
"""
import torch
from torch.nn import functional as F

import common


def layer_norm(p, x, name):
    weight = p[name + ".weight"]
    return F.layer_norm(x, weight.shape, weight, p[name + ".bias"], common.NORM_EPSILON)


def linear(p, x, name):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def gpt_loss(p, config, tokens, targets):
    batch, length = tokens.shape
    heads, width = config["heads"], config["width"]

    def split(x):
        return x.view(batch, length, heads, width // heads).transpose(1, 2)

    x = F.embedding(tokens, p["wte.weight"]) + p["wpe.weight"][:length]
    for layer in range(config["layers"]):
        h = f"h.{layer}."
        q, k, v = linear(p, layer_norm(p, x, h + "ln1"), h + "qkv").split(width, 2)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
        x = x + linear(p, y.transpose(1, 2).reshape(batch, length, width), h + "proj")
        y = F.gelu(linear(p, layer_norm(p, x, h + "ln2"), h + "fc1"), approximate="tanh")
        x = x + linear(p, y, h + "fc2")
    logits = F.linear(layer_norm(p, x, "lnf"), p["wte.weight"])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def lenet_loss(p, _config, images, labels):
    def batch_norm(x, name):
        return F.batch_norm(x, p[name + ".running_mean"], p[name + ".running_var"],
                            p[name + ".weight"], p[name + ".bias"], True, common.NORM_MOMENTUM,
                            common.NORM_EPSILON)

    x = F.conv2d(images, p["c1.weight"], p["c1.bias"], padding=2)
    x = F.max_pool2d(F.relu(batch_norm(x, "b1")), 2)
    x = F.conv2d(x, p["c2.weight"], p["c2.bias"], stride=2, groups=2)
    x = F.relu(batch_norm(x, "b2")).flatten(1)
    return F.cross_entropy(linear(p, F.relu(linear(p, x, "f1")), "f2"), labels)


def optimizer_of(p, config):
    trained = [w for w in p.values() if w.requires_grad]
    if config["images"]:
        return torch.optim.SGD(trained, lr=common.RATE, momentum=common.MOMENTUM, nesterov=True,
                               weight_decay=common.LENET_DECAY, fused=True)
    groups = [{"params": [w for w in trained if w.dim() >= 2], "weight_decay": common.DECAY},
              {"params": [w for w in trained if w.dim() < 2], "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=common.RATE, betas=(common.BETA1, common.BETA2),
                             eps=common.EPSILON, fused=True)


def prepare(config, threads, batches, weights, mode):
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    p = {name: torch.from_numpy(w).requires_grad_("running" not in name)
         for name, w in weights.items()}
    data = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in batches]
    loss_of = lenet_loss if config["images"] else gpt_loss
    if mode == "compile":
        loss_of = torch.compile(loss_of, fullgraph=True, dynamic=False)
    optimizer = optimizer_of(p, config)
    trained = [w for w in p.values() if w.requires_grad]
    done = 0

    def run(count):
        nonlocal done
        losses = []
        for _ in range(count):
            x, y = data[done % len(data)]
            done += 1
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(p, config, x, y)
            loss.backward()
            if not config["images"]:
                torch.nn.utils.clip_grad_norm_(trained, common.CLIP, foreach=True)
            optimizer.step()
            losses.append(loss.detach())
        return [loss.item() for loss in losses]

    return run


common.serve("PyTorch " + torch.__version__, prepare)

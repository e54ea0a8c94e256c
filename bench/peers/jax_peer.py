"""The models of models/ in JAX: one jitted step (loss, gradients, clipping, update) that takes over
the memory of its state. The optimizers are written out; they are the formulas of Stoa's operators.
"""
import jax
import numpy
from jax import numpy as jnp

import common


def layer_norm(p, x, name):
    mean = x.mean(-1, keepdims=True)
    var = jnp.square(x - mean).mean(-1, keepdims=True)
    y = (x - mean) * jax.lax.rsqrt(var + common.NORM_EPSILON)
    return y * p[name + ".weight"] + p[name + ".bias"]


def linear(p, x, name):
    return x @ p[name + ".weight"].T + p[name + ".bias"]


def cross_entropy(logits, targets):
    picked = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return (jax.nn.logsumexp(logits, -1) - picked).mean()


def gpt_loss(p, _state, config, tokens, targets):
    batch, length = tokens.shape
    heads, width = config["heads"], config["width"]

    def split(x):
        return x.reshape(batch, length, heads, width // heads)

    x = p["wte.weight"][tokens] + p["wpe.weight"][:length]
    for layer in range(config["layers"]):
        h = f"h.{layer}."
        q, k, v = jnp.split(linear(p, layer_norm(p, x, h + "ln1"), h + "qkv"), 3, 2)
        y = jax.nn.dot_product_attention(split(q), split(k), split(v), is_causal=True)
        x = x + linear(p, y.reshape(batch, length, width), h + "proj")
        y = jax.nn.gelu(linear(p, layer_norm(p, x, h + "ln2"), h + "fc1"), approximate=True)
        x = x + linear(p, y, h + "fc2")
    return cross_entropy(layer_norm(p, x, "lnf") @ p["wte.weight"].T, targets), {}


def lenet_loss(p, state, _config, images, labels):
    moved = {}

    def convolve(x, name, stride, padding, groups):
        y = jax.lax.conv_general_dilated(x, p[name + ".weight"], (stride, stride),
                                         [(padding, padding)] * 2, feature_group_count=groups)
        return y + p[name + ".bias"][:, None, None]

    def batch_norm(x, name):
        mean = x.mean((0, 2, 3))
        var = jnp.square(x - mean[:, None, None]).mean((0, 2, 3))
        count = x.size // x.shape[1]
        for part, now in (("mean", mean), ("var", var * count / (count - 1))):
            old = state[f"{name}.running_{part}"]
            moved[f"{name}.running_{part}"] = old + common.NORM_MOMENTUM * (now - old)
        scale = p[name + ".weight"] * jax.lax.rsqrt(var + common.NORM_EPSILON)
        return (x - mean[:, None, None]) * scale[:, None, None] + p[name + ".bias"][:, None, None]

    x = jax.nn.relu(batch_norm(convolve(images, "c1", 1, 2, 1), "b1"))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    x = jax.nn.relu(batch_norm(convolve(x, "c2", 2, 0, 2), "b2"))
    x = jax.nn.relu(linear(p, x.reshape(x.shape[0], -1), "f1"))
    return cross_entropy(linear(p, x, "f2"), labels), moved


def adamw(p, g, moments, step):
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in g.values()))
    factor = jnp.minimum(1, common.CLIP / (norm + 1e-6))
    new, now = {}, {}
    for name, w in p.items():
        first, second = moments[name]
        slope = g[name] * factor
        first = common.BETA1 * first + (1 - common.BETA1) * slope
        second = common.BETA2 * second + (1 - common.BETA2) * slope * slope
        mean, var = first / (1 - common.BETA1 ** step), second / (1 - common.BETA2 ** step)
        decay = common.DECAY if w.ndim >= 2 else 0
        new[name] = (w * (1 - common.RATE * decay)
                     - common.RATE * mean / (jnp.sqrt(var) + common.EPSILON))
        now[name] = (first, second)
    return new, now


def nesterov(p, g, moments, _step):
    new, now = {}, {}
    for name, w in p.items():
        slope = g[name] + common.LENET_DECAY * w
        buffer = common.MOMENTUM * moments[name][0] + slope
        new[name] = w - common.RATE * (slope + common.MOMENTUM * buffer)
        now[name] = (buffer,)
    return new, now


def prepare(config, _threads, batches, weights):
    """The number of threads is that of the processors that the process may use."""
    p = {name: jnp.asarray(w) for name, w in weights.items() if "running" not in name}
    state = {name: jnp.asarray(w) for name, w in weights.items() if "running" in name}
    data = [(jnp.asarray(x), jnp.asarray(y)) for x, y in batches]
    loss_of, update = (lenet_loss, nesterov) if config["images"] else (gpt_loss, adamw)
    moments = {name: tuple(jnp.zeros_like(w) for _ in range(1 if config["images"] else 2))
               for name, w in p.items()}
    done = 0

    def step(p, state, moments, count, x, y):
        (loss, moved), g = jax.value_and_grad(loss_of, has_aux=True)(p, state, config, x, y)
        p, moments = update(p, g, moments, count)
        return p, moved, moments, loss

    jitted = jax.jit(step, donate_argnums=(0, 1, 2))

    def run(count):
        nonlocal p, state, moments, done
        losses = []
        for _ in range(count):
            x, y = data[done % len(data)]
            done += 1
            p, state, moments, loss = jitted(p, state, moments, numpy.float32(done), x, y)
            losses.append(loss)
        jax.block_until_ready((p, state, moments))
        return [float(loss) for loss in losses]

    return run


common.serve("JAX " + jax.__version__, prepare)

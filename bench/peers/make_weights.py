"""make_weights.py CONFIG_JSON FILE [SEED]: initial weights for one model, as safetensors, so that
Stoa and its peers start from the same numbers (those of models/ in kind: normal, uniform).
"""
import json
import math
import sys

import numpy


def gpt_shapes(config):
    """name -> (shape, mean, deviation)"""
    width, narrow = config["width"], 0.02 / math.sqrt(2 * config["layers"])
    shapes = {"wte.weight": ((config["vocab"], width), 0, 0.02),
              "wpe.weight": ((config["context"], width), 0, 0.02)}
    for layer in range(config["layers"]):
        h = f"h.{layer}."
        for part in ("ln1", "ln2"):
            shapes[h + part + ".weight"] = ((width,), 1, 0)
            shapes[h + part + ".bias"] = ((width,), 0, 0)
        for part, out, inner, deviation in (
                ("qkv", 3 * width, width, 0.02), ("proj", width, width, narrow),
                ("fc1", 4 * width, width, 0.02), ("fc2", width, 4 * width, narrow)):
            shapes[h + part + ".weight"] = ((out, inner), 0, deviation)
            shapes[h + part + ".bias"] = ((out,), 0, 0)
    shapes["lnf.weight"], shapes["lnf.bias"] = ((width,), 1, 0), ((width,), 0, 0)
    return shapes


def lenet_shapes():
    shapes = {}
    for name, shape in (("c1", (8, 1, 5, 5)), ("c2", (16, 4, 3, 3)), ("f1", (64, 576)),
                        ("f2", (10, 64))):
        deviation = 1 / math.sqrt(3 * math.prod(shape[1:]))
        shapes[name + ".weight"] = (shape, 0, deviation)
        shapes[name + ".bias"] = (shape[:1], 0, deviation)
    for name, count in (("b1", 8), ("b2", 16)):
        for part, mean in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            shapes[f"{name}.{part}"] = ((count,), mean, 0)
    return shapes


def main():
    config = json.loads(sys.argv[1])
    shapes = lenet_shapes() if config["images"] else gpt_shapes(config)
    random = numpy.random.default_rng(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    header, offset = {}, 0
    for name, (shape, _, _) in shapes.items():
        bytes_count = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [offset, offset + bytes_count]}
        offset += bytes_count
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(sys.argv[2], "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape, mean, deviation in shapes.values():
            drawn = random.standard_normal(shape, numpy.float32)
            file.write((drawn * numpy.float32(deviation) + numpy.float32(mean)).tobytes())


main()

#!/usr/bin/env python3
"""Writes tests/gradient/taylor_truth.h: Taylor coefficients 1 to 9 of expressions, computed by
mpmath with 120 digits by differences of the functions themselves, independent of any recurrence.

    python3 tests/gradient/make_taylor_truth.py > tests/gradient/taylor_truth.h
"""
import random

import mpmath as mp

mp.mp.dps = 120
ORDER = 9
POINTS = (mp.mpf("0.3"), mp.mpf("0.85"))

INNER = "%s = sin %x  %t = mul %s, %k3  %u = mul %x, %k5  %a = add %u, %t"


def inner(x):
    return mp.mpf("0.5") * x + mp.mpf("0.3") * mp.sin(x)


def logistic(x):
    return 1 / (1 + mp.exp(-x))


UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": lambda x: mp.log(1 + x),
    "sqrt": mp.sqrt,
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "sin": mp.sin,
    "cos": mp.cos,
    "tanh": mp.tanh,
    "logistic": logistic,
    "erf": mp.erf,
    "erf_inv": mp.erfinv,
    "lgamma": lambda x: mp.log(mp.gamma(x)),
    "polygamma": lambda x: mp.polygamma(0, x),
    "bessel_ie": lambda x: mp.besseli(0, x) * mp.exp(-x),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
    "relu": lambda x: x,
    "silu": lambda x: x * logistic(x),
    "softplus": lambda x: mp.log(1 + mp.exp(x)),
    "gelu": lambda x: x * (1 + mp.erf(x / mp.sqrt(2))) / 2,
    "floor": mp.floor,
    "sign": mp.sign,
}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "max": max,
    "min": min,
    "atan2": mp.atan2,
}


def coefficients(function, at):
    """Differences with a step far below the digits that are kept."""
    return [mp.diff(function, at, k) / mp.factorial(k) for k in range(1, ORDER + 1)]


def number(c):
    return mp.nstr(c, 17) if abs(c) > mp.mpf(10) ** -40 else "0"


def wrap(words):
    return ",\n       ".join(", ".join(words[i : i + 3]) for i in range(0, len(words), 3))


def cases():
    for name, f in UNARY.items():
        yield name, f"{INNER}  %y = {name} %a", lambda x, f=f: f(inner(x))
    for name, f in BINARY.items():
        body = f"{INNER}  %c = cos %x  %b = add %c, %k5  %y = {name} %a, %b"
        yield name + "_both", body, lambda x, f=f: f(inner(x), mp.cos(x) + mp.mpf("0.5"))
        body = f"{INNER}  %y = {name} %a, %k3"
        yield name + "_left", body, lambda x, f=f: f(inner(x), mp.mpf("0.3"))
        body = f"{INNER}  %y = {name} %k3, %a"
        yield name + "_right", body, lambda x, f=f: f(mp.mpf("0.3"), inner(x))
    yield "cube_at_zero", "%d = sub %x, %k3  %y = pow %d, %kk3", lambda x: (x - mp.mpf("0.3")) ** 3
    yield "igamma", f"{INNER}  %y = igamma %kk3, %a", lambda x: (
        mp.gammainc(3, 0, inner(x), regularized=True))
    yield "polygamma2", f"{INNER}  %y = polygamma %a {{order=2}}", lambda x: (
        mp.polygamma(2, inner(x)))
    yield "bessel3", f"{INNER}  %n = neg %a  %y = bessel_ie %n {{order=3}}", lambda x: (
        mp.besseli(3, -inner(x)) * mp.exp(-inner(x)))
    yield "gelu_tanh", f"{INNER}  %y = gelu %a {{tanh=true}}", lambda x: inner(x) / 2 * (
        1 + mp.tanh(mp.sqrt(2 / mp.pi) * (inner(x) + mp.mpf("0.044715") * inner(x) ** 3)))
    random.seed(7)
    for number in range(24):
        body, value = tree(3, iter(range(1000)))
        yield f"random{number}", body[0] + f"  %y = copy %{body[1]}", value


def tree(depth, fresh):
    """A random expression that is smooth near the points: rows, the name of its value, function."""
    if depth == 0:
        return random.choice([(("", "x"), lambda x: x), (("", "k5"), lambda x: mp.mpf("0.5")),
                              (("", "x"), lambda x: x)])
    (left, left_name), f = tree(depth - 1, fresh)
    name = f"r{next(fresh)}"
    one = ["sin", "exp", "tanh", "logistic", "erf", "cos"]
    kind = random.choice(one + ["mul", "add", "div", "pow"])
    if kind in one:
        g = UNARY[kind]
        return (f"{left}  %{name} = {kind} %{left_name}", name), lambda x: g(f(x))
    (right, right_name), h = tree(depth - 1, fresh)
    rows = f"{left}  {right}"
    if kind in ("mul", "add"):
        g = BINARY[kind]
        rows += f"  %{name} = {kind} %{left_name}, %{right_name}"
        return (rows, name), lambda x: g(f(x), h(x))
    rows += f"  %{name}e = logistic %{right_name}"
    base = left_name
    if kind == "pow":
        rows += f"  %{name}b = exp %{left_name}"
        base = name + "b"
        rows += f"  %{name} = pow %{base}, %{name}e"
        return (rows, name), lambda x: mp.exp(f(x)) ** logistic(h(x))
    rows += f"  %{name} = div %{base}, %{name}e"
    return (rows, name), lambda x: f(x) / logistic(h(x))


print("/* Taylor coefficients 1 to 9 of y(x + t) at two places, from make_taylor_truth.py\n"
      " * (mpmath, 120 digits). Constants of the bodies: %k3 0.3, %k5 0.5, %kk3 3. */\n"
      "/* clang-format off */\n"
      "typedef struct Truth {\n    const char *name, *body;\n    double      at[2][9];\n} Truth;\n"
      "static const Truth truths[] = {")
for name, body, function in cases():
    rows = [coefficients(function, at) for at in POINTS]
    text = ",\n      ".join("{" + wrap([number(c) for c in row]) + "}" for row in rows)
    lines, line = [], ""
    for word in (" ".join(body.split())).split(" %"):
        word = word if not lines and not line else " %" + word
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line += word
    lines.append(line)
    quoted = "\n     ".join(f'"{part}"' for part in lines)
    print(f'    {{"{name}",\n     {quoted},\n     {{{text}}}}},')
print("};")

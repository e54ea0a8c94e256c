#!/usr/bin/env python3
"""Loads the shared library into a program that was not linked with it, as a Python package does,
and computes something with state there: the library must not need thread-local memory that only a
program and what it links can have.

Usage: tests/embed/load.py LIBSTOA
"""
import ctypes
import sys

PROGRAM = b"""graph step(%x: f32[N]) {
  %total = parameter {name="total", type=f32[], init=zeros}
  %sum = reduce %x {kind=sum, axes=[0]}
  %next = add %total, %sum
  assign %total, %next
  return %next {names=["total"]}
}"""


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("rank", ctypes.c_uint32), ("shape", ctypes.c_int64 * 8),
                ("data", ctypes.c_void_p)]


F32 = 9  # StoaDtype


def main():
    lib = ctypes.CDLL(sys.argv[1])
    lib.stoa_version.restype = lib.stoa_message.restype = ctypes.c_char_p
    context, program, session = (ctypes.c_void_p() for _ in range(3))

    def must(status):
        if status != 0:
            sys.exit(f"status {status}: {lib.stoa_message(context).decode()}")

    must(lib.stoa_context_create(None, ctypes.byref(context)))
    must(lib.stoa_program_parse(context, PROGRAM, ctypes.c_size_t(len(PROGRAM)), b"load.py",
                                ctypes.byref(program)))
    must(lib.stoa_compile(program, None, ctypes.byref(session)))
    numbers, total = (ctypes.c_float * 3)(1, 2, 3), ctypes.c_float()
    x = Tensor(F32, 1, (3,), ctypes.addressof(numbers))
    for want in (6, 12):
        y = Tensor(data=ctypes.addressof(total))
        must(lib.stoa_run(session, b"step", ctypes.byref(x), 1, ctypes.byref(y), 1, None))
        if total.value != want:
            sys.exit(f"the total is {total.value}, not {want}")
    text = ctypes.c_char_p()
    must(lib.stoa_doctor(context, False, ctypes.byref(text)))
    if b"jemalloc" not in text.value:
        sys.exit("the report does not say where tensors come from")
    lib.stoa_session_destroy(session)
    lib.stoa_program_destroy(program)
    lib.stoa_context_destroy(context)
    print("stoa", lib.stoa_version().decode(), "loads and runs")


if __name__ == "__main__":
    main()

/* A real GPU for the tests with the label `gpu`; where there is none they are skipped. */
#ifndef STOA_TESTS_GPU_DEVICE_H
#define STOA_TESTS_GPU_DEVICE_H

#include <math.h>
#include <stdio.h>

#include "gpu/gpu.h"
#include "gpu/nvrtc.h"
#include "harness.h"
#include "tables/dtypes.h"
#include "text/messages.h"

typedef struct Device {
    Arena    *arena;
    GpuLibs  *libs;
    Gpu      *gpu;
    Diags     diags;
    GpuStream stream;
    GpuArena  memory;
    uint64_t  seed;
    Arena    *rows; /* of libraries and memory: tests release marks of the other one */
} Device;

/* Prints what went wrong. */
static inline bool device_ok(Device *d, Status status) {
    if (status == STATUS_OK) return true;
    String text = text_diags(d->arena, NULL, &d->diags);
    printf("\n%.*s", (int)text.count, text.data);
    return false;
}
static inline bool device_open(Device *d, Arena *arena) {
    *d = (Device){.arena = arena, .seed = 88172645463325252};
    diags_open(&d->diags, NULL);
    d->rows = arena_open("device", 0, 0);
    if (d->rows == NULL) return false;
    d->libs = gpu_libs_open(d->rows, STR(""));
    if (gpu_count(d->libs) == 0) return false;
    /* Begins as one piece: compute-sanitizer takes a bulk copy across two for one out of bounds. */
    const uint64_t first = (uint64_t)1 << 28, most = (uint64_t)1 << 33;
    return device_ok(d, gpu_open(d->rows, d->libs, 0, &d->diags, &d->gpu)) &&
           device_ok(d, gpu_stream_open(d->gpu, &d->diags, &d->stream)) &&
           device_ok(d, gpu_arena_open(d->gpu, "test", first, most, &d->diags, &d->memory));
}
static inline void device_close(Device *d) {
    gpu_arena_close(&d->memory);
    gpu_stream_close(&d->stream);
    gpu_close(d->gpu);
    gpu_libs_close(d->libs);
    arena_close(d->rows);
    diags_close(&d->diags);
}
#define DEVICE(d)                                                                                  \
    Device d;                                                                                      \
    if (!device_open(&d, arena)) SKIP("there is no GPU, or no driver")

/* Roughly normal numbers; the same sequence in every run. */
static inline double device_random(Device *d) {
    double sum = 0;
    for (int i = 0; i < 6; i++) {
        d->seed ^= d->seed << 13, d->seed ^= d->seed >> 7, d->seed ^= d->seed << 17;
        sum += (double)(d->seed >> 40) / (1 << 24) - 0.5;
    }
    return sum * 1.41;
}

/* fp8 and 16-bit storage. */
static inline double device_number(Dtype dtype, const void *from, uint64_t i) {
    const uint8_t byte = ((const uint8_t *)from)[i];
    if (dtype == DTYPE_F32) return ((const float *)from)[i];
    if (dtype == DTYPE_F64) return ((const double *)from)[i];
    if (dtype == DTYPE_BF16) return dtype_f32_of_bf16(((const uint16_t *)from)[i]);
    if (dtype == DTYPE_F16) return dtype_f32_of_f16(((const uint16_t *)from)[i]);
    int    bits = dtype == DTYPE_F8E4M3 ? 3 : 2, bias = dtype == DTYPE_F8E4M3 ? 7 : 15;
    int    exponent = (byte & 127) >> bits, mantissa = byte & ((1 << bits) - 1);
    double value = exponent ? ldexp(1 + ldexp(mantissa, -bits), exponent - bias)
                            : ldexp(mantissa, 1 - bias - bits);
    return byte & 128 ? -value : value;
}
static inline void device_store(Dtype dtype, void *into, uint64_t i, double value) {
    if (dtype == DTYPE_F32) ((float *)into)[i] = (float)value;
    if (dtype == DTYPE_F64) ((double *)into)[i] = value;
    if (dtype == DTYPE_BF16) ((uint16_t *)into)[i] = dtype_bf16_of_f32((float)value);
    if (dtype == DTYPE_F16) ((uint16_t *)into)[i] = dtype_f16_of_f32((float)value);
    if (dtype != DTYPE_F8E4M3 && dtype != DTYPE_F8E5M2) return;
    /* Any code is a fair input; those near the number keep its size. Not the codes of infinity. */
    uint8_t best = 0;
    double  distance = INFINITY;
    for (unsigned code = 0; code < (dtype == DTYPE_F8E4M3 ? 127U : 124U); code++) {
        uint8_t byte = (uint8_t)code;
        double  away = fabs(device_number(dtype, &byte, 0) - fabs(value));
        if (away < distance) best = byte, distance = away;
    }
    ((uint8_t *)into)[i] = (uint8_t)(best | (value < 0 ? 128 : 0));
}

/* Device memory with random numbers; *out_host holds the same bytes. */
static inline CuPtr device_numbers(Device *d, Dtype dtype, uint64_t count, double scale,
                                   void **out_host) {
    CuPtr at = 0;
    *out_host = arena_push(d->arena, count * dtype_bytes(dtype), 16);
    for (uint64_t i = 0; i < count; i++)
        device_store(dtype, *out_host, i, device_random(d) * scale);
    EXPECT(device_ok(d, gpu_push(&d->memory, count * dtype_bytes(dtype), 256, &d->diags, &at)));
    EXPECT(
        device_ok(d, gpu_copy_in(d->stream, at, *out_host, count * dtype_bytes(dtype), &d->diags)));
    return at;
}
/* Device memory full of NaN patterns: what is not written shows. */
static inline CuPtr device_poisoned(Device *d, uint64_t bytes) {
    CuPtr at = 0;
    EXPECT(device_ok(d, gpu_push(&d->memory, bytes, 256, &d->diags, &at)));
    EXPECT(device_ok(d, gpu_fill(d->stream, at, 0xFF, bytes, &d->diags)));
    return at;
}
static inline void *device_read(Device *d, CuPtr from, uint64_t bytes) {
    void *into = arena_push(d->arena, bytes, 16);
    EXPECT(device_ok(d, gpu_copy_out(d->stream, into, from, bytes, &d->diags)));
    EXPECT(device_ok(d, gpu_stream_sync(d->stream, &d->diags)));
    return into;
}
/* Norm of the difference over the norm of the reference; NaN and unwritten elements give NaN. */
static inline double device_error(Dtype dtype, const void *got, const double *want,
                                  uint64_t count) {
    double difference = 0, size = 0;
    for (uint64_t i = 0; i < count; i++) {
        double away = device_number(dtype, got, i) - want[i];
        difference += away * away;
        size += want[i] * want[i];
    }
    return sqrt(difference / size);
}

#endif

/* The device code that every module of kernels begins with: types, operators, vectors, teams.
 *
 * It is C++ without headers, written as tokens that the preprocessor turns into text (so it has no
 * directives of its own; macros of the kernels stand in emit_text.c). 16-bit floats live in memory
 * only: `up` widens, `pk<S>` rounds to nearest even. Integers wrap. READ says of a load: 0, from
 * memory that the kernel writes too; 1, only read; 2, only read, and to be begun where it stands
 * rather than where it is used. COHERENT: kernels run as functions of one block, so that what one
 * only reads another has written.
 *
 * A team is the threads that work on one iteration of a parallel loop: a power of two within one
 * warp, else some warps, the whole block, or the blocks of a cluster; what it reduces is combined
 * in the same order at every run. */
#include "gpu/emit_inner.h"

#define TEXT(...) #__VA_ARGS__ "\n"

static const char types[] = TEXT(
    typedef unsigned char u8; typedef signed char i8; typedef short i16; typedef int i32;
    typedef long long i64; typedef unsigned short u16; typedef unsigned u32;
    typedef unsigned long long u64; typedef float f32; typedef double f64;
    struct bf16 {
    u16 b; }; struct f16 {
    u16 b; };
    FN f32 up(bf16 x) {
    return __uint_as_float((u32)x.b << 16); }
    FN f32 up(f16 x) {
    f32 y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.b));
    return y; }
    template <class T> FN T up(T x) {
    return x; }
    template <class S, class T> struct Pk { FN S of(T x) { return (S)x;
}
}
;
FN u32 high_bf16(f32 x) { /* as one of two: these have the fast instruction */
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(x), "f"(0.0f));
    return y;
}
template <class T> struct Pk<bf16, T> {
    FN bf16 of(f32 x) {
        bf16 y;
        y.b = (u16)(high_bf16(x) >> 16);
        return y;
    }
};
template <class T> struct Pk<f16, T> {
    FN f16 of(f32 x) {
        f16 y;
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.b) : "f"(x));
        return y;
    }
};
struct e4m3 {
    u8 b;
};
struct e5m2 {
    u8 b;
};
FN f32 wide8(u32 x, u32 shift, u32 bias, u32 largest, u32 high) {
    f32 y = __uint_as_float((x & 0x7f) << shift) * __uint_as_float((254 - bias) << 23);
    u32 bits = __float_as_uint(y) | ((x & 0x7f) > largest ? high : 0);
    return __uint_as_float(bits | (x & 0x80) << 24);
}
FN f32 up(e4m3 x) { return wide8(x.b, 20, 7, 0x7e, 0x7fc00000); }
FN f32 up(e5m2 x) { return wide8(x.b, 21, 15, 0x7b, 0x7f800000); }
FN u8  narrow8(f32 x, u32 shift, u32 bias, u32 largest) {
     u32 bits = __float_as_uint(x);
     u32 a = bits & 0x7fffffff;
     f32 unit = __uint_as_float((128 - bias + shift) << 23);
     u32 y = (a + (1u << (shift - 1)) - 1 + (a >> shift & 1) >> shift) - (127 - bias << 23 - shift);
     if (a < 128 - bias << 23) y = __float_as_uint(fabsf(x) + unit) - __float_as_uint(unit);
    if (y > largest) y = largest;
    if (a > 0x7f800000) y = 0x7f;
    return (u8)(y | (bits >> 24 & 0x80));
}
template <class T> struct Pk<e4m3, T> {
    FN e4m3 of(f32 x) {
        e4m3 y;
        y.b = ROUND_E4M3(x);
        return y;
    }
};
template <class T> struct Pk<e5m2, T> {
    FN e5m2 of(f32 x) {
        e5m2 y;
        y.b = ROUND_E5M2(x);
        return y;
    }
};
template <class S, class T> FN S pk(T x) { return Pk<S, T>::of(x); });

static const char floats[] = TEXT(
    FN f32 o_neg(f32 x) { return -x; } FN f64 o_neg(f64 x) { return -x; } FN f32 o_abs(f32 x) {
        return fabsf(x);
    } FN f64 o_abs(f64 x) { return fabs(x); } template <class T>
    FN T     f_sign(T x) {
            return x > 0 ? (T)1 : x < 0 ? (T)-1 : x;
    } FN f32 o_sign(f32 x) { return f_sign(x); } FN f64 o_sign(f64 x) {
        return f_sign(x);
    } FN f32 o_floor(f32 x) { return floorf(x); } FN f64 o_floor(f64 x) {
        return floor(x);
    } FN f32 o_round_even(f32 x) { return rintf(x); } FN f64 o_round_even(f64 x) {
        return rint(x);
    } FN f32 exp2_half(f32 x) {
        f32 y;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    } FN f32 exp_half(f32 x) { return exp2_half(x * 1.44269504f); } FN f32 exp_half_of(f32 x,
                                                                                       f32 less) {
        return exp2_half(fmaf(x, 1.44269504f, less * -1.44269504f));
    } FN f32 logistic_half(f32 x) {
        f32 y;
        asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + exp_half(-x)));
        return y;
    } FN f32 tanh_half(f32 x) { /* near 0 by its series: there the difference loses bits */
                                const f32 square = x * x;
                                const f32 near =
                                    fmaf(fmaf(square, 0.133333333f, -0.333333333f), square * x, x);
                                const f32 far = fmaf(-2.0f, logistic_half(-2.0f * x), 1.0f);
                                return fabsf(x) < 0.125f ? near : far;
    } FN f32 o_exp(f32 x) { return expf(x); } FN f64 o_exp(f64 x) {
        return exp(x);
    } FN f32 o_expm1(f32 x) { return expm1f(x); } FN f64 o_expm1(f64 x) {
        return expm1(x);
    } FN f32 o_log(f32 x) { return logf(x); } FN f64 o_log(f64 x) {
        return log(x);
    } FN f32 o_log1p(f32 x) { return log1pf(x); } FN f64 o_log1p(f64 x) {
        return log1p(x);
    } FN f32 o_sqrt(f32 x) { return sqrtf(x); } FN f64 o_sqrt(f64 x) {
        return sqrt(x);
    } FN f32 o_rsqrt(f32 x) { return rsqrtf(x); } FN f64 o_rsqrt(f64 x) {
        return 1 / sqrt(x);
    } FN f32 o_sin(f32 x) { return sinf(x); } FN f64 o_sin(f64 x) {
        return sin(x);
    } FN f32 o_cos(f32 x) { return cosf(x); } FN f64 o_cos(f64 x) {
        return cos(x);
    } FN f32 o_tanh(f32 x) { return tanhf(x); } FN f64 o_tanh(f64 x) {
        return tanh(x);
    } FN f32 o_logistic(f32 x) { return 1.0f / (1.0f + expf(-x)); } FN f64 o_logistic(f64 x) {
        return 1.0 / (1.0 + exp(-x));
    } FN f32 o_erf(f32 x) { return erff(x); } FN f64 o_erf(f64 x) {
        return erf(x);
    } FN f32 o_add(f32 x, f32 y) { return x + y; } FN f64 o_add(f64 x, f64 y) {
        return x + y;
    } FN f32 o_sub(f32 x, f32 y) { return x - y; } FN f64 o_sub(f64 x, f64 y) {
        return x - y;
    } FN f32 o_mul(f32 x, f32 y) { return x * y; } FN f64 o_mul(f64 x, f64 y) {
        return x * y;
    } FN f32 o_div(f32 x, f32 y) { return x / y; } FN f64 o_div(f64 x, f64 y) {
        return x / y;
    } FN f32 o_pow(f32 x, f32 y) { return powf(x, y); } FN f64 o_pow(f64 x, f64 y) {
        return pow(x, y);
    } FN f32 o_rem(f32 x, f32 y) { return fmodf(x, y); } FN f64 o_rem(f64 x, f64 y) {
        return fmod(x, y);
    } FN f32 o_max(f32 x, f32 y) {
        f32 z;
        asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
        return z;
    } FN f32 o_min(f32 x, f32 y) {
        f32 z;
        asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
        return z;
    } FN f64 o_max(f64 x, f64 y) {
        return x != x ? x : y != y ? y : x > y ? x : y;
    } FN f64 o_min(f64 x, f64 y) {
        return x != x ? x : y != y ? y : x < y ? x : y;
    } FN f32 o_atan2(f32 x, f32 y) { return atan2f(x, y); } FN f64 o_atan2(f64 x, f64 y) {
        return atan2(x, y);
    } FN bool o_is_finite(f32 x) {
        return fabsf(x) < __uint_as_float(0x7f800000u);
    } FN bool o_is_finite(f64 x) { return fabs(x) < (f64)__uint_as_float(0x7f800000u); });

static const char ints[] = TEXT(
    template <class T> FN bool o_is_finite(T) { return true; } template <class T>
    FN T                       o_neg(T x) { return (T)(0 - (u64)x); } template <class T>
    FN T                       o_abs(T x) { return x < 0 ? o_neg(x) : x; } template <class T>
    FN T o_sign(T x) { return (T)((x > 0) - (x < 0)); } FN bool o_not(bool x) {
        return !x;
    } template <class T>
    FN T o_not(T x) { return (T)~x; } template <class T>
    FN T o_add(T x, T y) { return (T)((u64)x + (u64)y); } template <class T>
    FN T o_sub(T x, T y) { return (T)((u64)x - (u64)y); } template <class T>
    FN T o_mul(T x, T y) { return (T)((u64)x * (u64)y); } template <class T>
    FN T o_div(T x, T y) {
        return y == 0 ? (T)0 : (T)~y == 0 && (T)-1 < 0 ? o_neg(x) : (T)(x / y);
    } template <class T>
    FN T o_rem(T x, T y) {
        return y == 0 || ((T)~y == 0 && (T)-1 < 0) ? (T)0 : (T)(x % y);
    } template <class T>
    FN T o_pow(T x, T y) {
        if (y < 0) return x == 1 ? (T)1 : (T)~x == 0 ? (y & 1 ? x : (T)1) : (T)0;
        T power = 1;
        for (; y > 0; y = (T)(y >> 1)) {
            if (y & 1) power = o_mul(power, x);
            x = o_mul(x, x);
        }
        return power;
    } template <class T>
    FN T   o_max(T x, T y) { return x > y ? x : y; } template <class T>
    FN T   o_min(T x, T y) { return x < y ? x : y; } template <class T>
    FN T   o_and(T x, T y) { return (T)(x & y); } template <class T>
    FN T   o_or(T x, T y) { return (T)(x | y); } template <class T>
    FN T   o_xor(T x, T y) { return (T)(x ^ y); } template <class T>
    FN u64 bits(T x) {
        return sizeof(T) == 8 ? (u64)x : (u64)x & ((1ull << (8 * sizeof(T) & 63)) - 1);
    } template <class T>
    FN bool out(T y) { return y < 0 || (u64)y >= 8 * sizeof(T); } template <class T>
    FN T o_shl(T x, T y) { return out(y) ? (T)0 : (T)((u64)x << ((u64)y & 63)); } template <class T>
    FN T o_shr_logical(T x, T y) {
        return out(y) ? (T)0 : (T)(bits(x) >> ((u64)y & 63));
    } template <class T>
    FN T o_shr_arith(T x, T y) {
        return (T)((i64)x >> (out(y) ? 8 * sizeof(T) - 1 : (u64)y & 63));
    } template <class T>
    FN bool to_bool(T x) { return x != 0; } template <class T, class F>
    FN T    to_int(F x) {
           const i64 high = (i64)((((u64)1 << (8 * sizeof(T) - 1)) - 1) * ((T)-1 < 0 ? 1 : 2) +
                               ((T)-1 < 0 ? 0 : 1));
           const i64 low = (T)-1 < 0 ? -high - 1 : 0;
           return x != x ? (T)0 : x >= (F)high ? (T)high : x <= (F)low ? (T)low : (T)(i64)x;
    } template <class I>
    FN I fdiv(I a, I b) {
        if (b <= 0) return 0;
        I q = a / b;
        return q - (a % b < 0);
    } FN i32 udiv(i32 a, i32 b) {
        return b > 0 ? (i32)((u32)a / (u32)b) : 0;
    } FN i64 udiv(i64 a, i64 b) { return b > 0 ? (i64)((u64)a / (u64)b) : 0; } template <class I>
    FN I     imin(I a, I b) { return a < b ? a : b; } template <class I>
    FN I     imax(I a, I b) { return a < b ? b : a; });

static const char memory[] = TEXT(
    struct Yes { static const bool is = true; }; struct No { static const bool is = false; };
    template <class S, int N> struct alignas(sizeof(S) * N < 16 ? sizeof(S) * N : 16)
        Pack { S v[N]; };
    template <class S, int N> struct alignas(sizeof(S) * N < 4    ? 4
                                             : sizeof(S) * N < 16 ? sizeof(S) * N
                                                                  : 16)
        Raw { u32 w[(sizeof(S) * N + 3) / 4]; };
    template <int READ> FN void get16(u32 *y, const void *p) {
        if (READ == 2)
            asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
                         : "=r"(y[0]), "=r"(y[1]), "=r"(y[2]), "=r"(y[3])
                         : "l"(p));
        else
            asm("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
                : "=r"(y[0]), "=r"(y[1]), "=r"(y[2]), "=r"(y[3])
                : "l"(p));
    } template <int READ, class S>
    FN S get(const S *p) {
        S y;
        if (!READ || COHERENT) return *p;
        if (sizeof(S) == 1) {
            u16 w;
            asm("ld.global.nc.u8 %0, [%1];" : "=h"(w) : "l"(p));
            u8 b = (u8)w;
            memcpy(&y, &b, 1);
        } else if (sizeof(S) == 2) {
            u16 w;
            asm("ld.global.nc.u16 %0, [%1];" : "=h"(w) : "l"(p));
            memcpy(&y, &w, 2);
        } else if (sizeof(S) == 4) {
            u32 w;
            asm("ld.global.nc.u32 %0, [%1];" : "=r"(w) : "l"(p));
            memcpy(&y, &w, 4);
        } else {
            u64 w;
            asm("ld.global.nc.u64 %0, [%1];" : "=l"(w) : "l"(p));
            memcpy(&y, &w, 8);
        }
        return y;
    } FN void fetch16(void *to, const void *p) {
        asm volatile(
            "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((u32)__cvta_generic_to_shared(to)),
            "l"(p)
            : "memory");
    });
/* Groups as they were loaded: 16-bit floats that lie in words until they are used do not make
 * threads wait for a load where it stands. */
static const char raws[] = TEXT(template <class S, int N> FN Raw<S, N> raw(const Pack<S, N> &x) {
    Raw<S, N> y;
    memcpy(&y, &x, sizeof x);
    return y;
});
static const char settled[] =
    TEXT(template <class S, int N> FN Pack<S, N> settled(const Raw<S, N> &x) {
        Pack<S, N> y;
        memcpy(&y, &x, sizeof y);
        return y;
    });
static const char loads[] = TEXT(
    template <int READ, int N, class S, class I> FN Raw<S, N> ld(const S *p, I live, I dead = 0) {
        Raw<S, N>  y;
        Pack<S, N> few;
        const int  bytes = sizeof(S) * N;
        if (N > 1 && live >= N) {
            if (bytes < 4) return raw(*(const Pack<S, N> *)p);
            if (READ && !COHERENT && bytes >= 16) {
                for (int i = 0; i < bytes / 16; i++)
                    get16<READ>(y.w + 4 * i, (const char *)p + 16 * i);
                return y;
            }
            y = *(const Raw<S, N> *)p;
            for (int i = 0; i < bytes / 4; i++) /* begun here, not where it is used */
                asm volatile("" : "+r"(y.w[i]));
            return y;
        }
        for (int i = 0; i < N; i++) {
            S zero = {};
            few.v[i] = N == 1 || i < live ? get<READ>(p + i) : zero;
        }
        return raw(few);
    });
/* Into a tile, whose rows begin at multiples of words. */
static const char tiles[] = TEXT(template <int READ, int N, class S, class I>
                                 FN void turn_in(S *to, const S *from, I live) {
                                     const Raw<S, N> x = ld<READ, N>(from, live);
                                     if (sizeof(S) * N < 4)
                                         memcpy(to, &x, sizeof(S) * N);
                                     else
                                         for (int i = 0; i < (int)sizeof(S) * N / 4; i++)
                                             ((u32 *)to)[i] = x.w[i];
                                 });
static const char stores[] = TEXT(
    template <int N, class S, class I> FN void fetch(Pack<S, N> *to, const S *p, I live, I) {
        if constexpr (sizeof(S) * N % 16 == 0) {
            if (live >= N) {
                for (int i = 0; i < (int)sizeof(S) * N; i += 16)
                    fetch16((char *)to + i, (const char *)p + i);
                return;
            }
        }
        *to = settled(ld<0, N>(p, live));
    } template <class S, int N>
    FN void join(Pack<S, N> &, const f32 *) {} template <int N>
    FN void join(Pack<e4m3, N> &y, const f32 *x) {
        for (int i = 0; i + 1 < N; i += 2) ((u16 *)&y)[i / 2] = ROUND2_E4M3(x[i], x[i + 1]);
    } template <int N>
    FN void join(Pack<e5m2, N> &y, const f32 *x) {
        for (int i = 0; i + 1 < N; i += 2) ((u16 *)&y)[i / 2] = ROUND2_E5M2(x[i], x[i + 1]);
    } template <int N>
    FN void join(Pack<bf16, N> &y, const f32 *x) {
        for (int i = 0; i + 1 < N; i += 2)
            asm("cvt.rn.bf16x2.f32 %0, %1, %2;"
                : "=r"(((u32 *)&y)[i / 2])
                : "f"(x[i + 1]), "f"(x[i]));
    } template <int N>
    FN void join(Pack<f16, N> &y, const f32 *x) {
        for (int i = 0; i + 1 < N; i += 2)
            asm("cvt.rn.f16x2.f32 %0, %1, %2;"
                : "=r"(((u32 *)&y)[i / 2])
                : "f"(x[i + 1]), "f"(x[i]));
    } FN void fetched() {
        asm volatile("cp.async.wait_all;" ::: "memory");
    } FN void row_begun() {
        asm volatile("cp.async.commit_group;" ::: "memory");
    } template <int LATER>
    FN void row_fetched() { /* all but that many of those begun last */
                            asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory");
    } template <int SEG, int N, class S, class I>
    FN void st(S *p, const Pack<S, N> &y, I live, I dead) {
        if (N == 1) {
            *p = y.v[0];
            return;
        }
        if (live >= N)
            *(Pack<S, N> *)p = y;
        else
            for (int i = 0; i < N; i++)
                if (i < live) p[i] = y.v[i];
    });

/* Groups that begin anywhere, as whole aligned units of memory: one more of them than a group has,
 * shifted when the group is used; what lies in units beside it is read, but not looked at. A store
 * completes its units with the elements of the next lane; at the ends of a row, and of the SEG
 * lanes of its team in a warp, elements are written one by one. */
static const char odd[] = TEXT(
    template <class S, int N> struct Odd {
        enum { bytes = sizeof(S) * N };
        enum { unit = bytes < 16 ? bytes : 16 };
        enum { whole = bytes / 4 };
        enum { count = bytes < 4 ? 1 : (bytes + unit) / 4 };
        alignas(bytes < 4 ? 4 : unit) u32 w[count];
        u32                               off;
        Pack<S, N>                        few;
    };
    template <class S, int N> FN void shift(u32 *w, u32 off) {
        typedef Odd<S, N> O;
        if (O::unit == 16)
            for (int i = 0; i < O::whole + 2; i++) w[i] = off & 8 ? w[i + 2] : w[i];
        if (O::unit >= 8)
            for (int i = 0; i < O::whole + 1; i++) w[i] = off & 4 ? w[i + 1] : w[i];
        if (sizeof(S) < 4)
            for (int i = 0; i < O::whole; i++)
                w[i] = __funnelshift_r(w[i], w[i + 1], (off & 3) * 8);
    } template <int READ, int UNIT>
    FN void unit_in(u32 *w, const char *p) {
        if (UNIT == 16 && READ && !COHERENT)
            get16<READ>(w, p);
        else if (UNIT == 16)
            *(Pack<u32, 4> *)w = *(const Pack<u32, 4> *)p;
        else if (UNIT == 8)
            *(u64 *)w = get<READ>((const u64 *)p);
        else
            *w = get<READ>((const u32 *)p);
    } template <int READ, int N, class S, class I>
    FN  Odd<S, N>
        ld_odd(const S *p, I live, I dead) {
            typedef Odd<S, N> O;
            O                 y;
            if constexpr (N == 1 || O::bytes < 4) {
                for (int i = 0; i < N; i++)
                    if (i < live && i >= dead) y.few.v[i] = get<READ>(p + i);
                return y;
            }
            y.off = (u32)(u64)p & (O::unit - 1);
            const char *from = (const char *)p - y.off;
            const int   end = (int)imin(live, (I)N) * (int)sizeof(S) + (int)y.off;
            const int   begin = (int)imax(dead, (I)0) * (int)sizeof(S) + (int)y.off;
            for (int at = 0; at <= O::bytes; at += O::unit) {
                for (int i = 0; i < O::unit / 4; i++) y.w[at / 4 + i] = 0;
                if (at < end && at + O::unit > begin)
                    unit_in<READ, O::unit>(y.w + at / 4, from + at);
            }
            return y;
        } template <class S, int N>
        FN  Pack<S, N>
            settled(Odd<S, N> y) {
                if constexpr (N == 1 || Odd<S, N>::bytes < 4) return y.few;
                Pack<S, N> z;
                shift<S, N>(y.w, y.off);
                memcpy(&z, y.w, sizeof z);
                return z;
            } template <int BLOCK, int N, class S, class I>
            FN void fetch_odd(Pack<S, N> *to, const S *p, I live, I) {
                const u32 off = (u32)(u64)p & 15;
                const int bytes = sizeof(S) * N;
                const int end = (int)imin(live, (I)N) * (int)sizeof(S) + (int)off;
                for (int at = 0; at < bytes + 16; at += 16)
                    if (at < end && (at < bytes || live <= N || threadIdx.x == BLOCK - 1))
                        fetch16((char *)to + at, (const char *)p - off + at);
            } template <class S, int N>
            FN  Pack<S, N>
                taken(const Pack<S, N> *from, u32 off) {
                    Odd<S, N> y;
                    y.off = off;
                    for (int at = 0; at <= (int)sizeof *from; at += Odd<S, N>::unit)
                        unit_in<0, Odd<S, N>::unit>(y.w + at / 4, (const char *)from + at);
                    return settled(y);
                } template <int SEG, int N, class S, class I>
                FN void st_odd(S *p, const Pack<S, N> &y, I live, I) {
                    typedef Odd<S, N> O;
                    const u32         off = O::bytes < 4 ? 1 : (u32)(u64)p & (O::unit - 1);
                    int               low = 0;
                    int               high = 0; /* elements that lie in whole units */
                    if (N == 1 || (off == 0 && live >= N)) {
                        st<1, N>(p, y, live, (I)0);
                        return;
                    }
                    if constexpr (SEG > 1 && O::bytes >= 4 && N > 1) {
                        if (off != 0) {
                            const int lane = threadIdx.x & (SEG - 1);
                            const int active =
                                lane + (int)imin((live + N - 1) / N, (I)(SEG - lane));
                            const u32 mask = (active >= 32 ? ~0u : (1u << active) - 1)
                                             << (threadIdx.x & 31 & ~(SEG - 1));
                            const int       each = O::unit / sizeof(S);
                            const int       head = (O::unit - off) / sizeof(S);
                            alignas(16) u32 w[O::count];
                            memcpy(w, &y, O::bytes);
                            for (int i = 0; i < O::unit / 4; i++)
                                w[O::whole + i] = __shfl_down_sync(mask, w[i], 1, SEG);
                            shift<S, N>(w, O::unit - off);
                            const int there = (int)imin(live, (I)(lane + 1 < active ? 2 * N : N));
                            low = lane > 0 && live >= head ? 0 : head;
                            high = head;
                            for (int at = 0; at < O::bytes; at += O::unit)
                                if (high + each <= there) {
                                    *(Pack<u32, O::unit / 4> *)((char *)(p + head) + at) =
                                        *(const Pack<u32, O::unit / 4> *)(w + at / 4);
                                    high += each;
                                }
                        }
                    }
                    if (low > 0 || high < live)
                        for (int i = 0; i < N; i++)
                            if (i < live && (i < low || i >= high)) p[i] = y.v[i];
                });

/* Groups that begin at multiples of their units where memory does: the first of a row has dead
 * elements before it. Of other memory they may lie anywhere. */
static const char led[] = TEXT(
    template <int READ, int N, class S, class I> FN Raw<S, N> ld_led(const S *p, I live, I dead) {
        typedef Odd<S, N> O;
        Raw<S, N>         y;
        const int         each = O::unit / sizeof(S);
        if constexpr (O::bytes < 4) {
            Pack<S, N> few;
            for (int i = 0; i < N; i++)
                if (i < live && i >= dead) few.v[i] = get<READ>(p + i);
            return raw(few);
        }
        alignas(O::bytes < 4 ? 4 : O::unit) u32 w[O::count];
        for (int at = 0; at < N; at += each) {
            for (int i = 0; i < O::unit / 4; i++) w[at / each * (O::unit / 4) + i] = 0;
            if (at < live && at + each > dead)
                unit_in<READ, O::unit>(w + at / each * (O::unit / 4), (const char *)(p + at));
        }
        memcpy(&y, w, sizeof y);
        return y;
    } template <int N, class S, class I>
    FN void fetch_led(Pack<S, N> *to, const S *p, I live, I dead) {
        const int each = 16 / sizeof(S);
        for (int at = 0; at < N; at += each)
            if (at < live && at + each > dead) fetch16((char *)to + at * sizeof(S), p + at);
    } template <int N, class S, class I>
    FN void fetch_few(Pack<S, N> *to, const S *p, I live, I dead) {
        *to = settled(ld_odd<0, N>(p, live, dead));
    } template <int SEG, int N, class S, class I>
    FN void st_led(S *p, const Pack<S, N> &y, I live, I dead) {
        if (live >= N && dead <= 0 && ((u64)p & (Odd<S, N>::unit - 1)) == 0)
            *(Pack<S, N> *)p = y;
        else
            for (int i = 0; i < N; i++)
                if (i < live && i >= dead) p[i] = y.v[i];
    });

/* Rows one behind the other, between memory and shared memory, by all threads of a block. */
static const char staging[] =
    TEXT(template <int BLOCK, class S> FN void stage(S *to, const S *from, int count, bool in) {
        const bool whole = (((u64)to | (u64)from) & 15) == 0;
        const int  each = 16 / sizeof(S);
        const int  units = whole ? count / each : 0;
        for (int i = threadIdx.x; i < units; i += BLOCK)
            if (in)
                fetch16(to + i * each, from + i * each);
            else
                *(Pack<u32, 4> *)(to + i * each) = *(const Pack<u32, 4> *)(from + i * each);
        for (int i = units * each + threadIdx.x; i < count; i += BLOCK) to[i] = from[i];
    });

static const char teams[] = TEXT(
    template <int K, class T> FN T comb(T a, T b) {
        if constexpr (K == 0)
            return o_add(a, b);
        else if constexpr (K == 1)
            return o_mul(a, b);
        else if constexpr (K == 2)
            return o_max(a, b);
        else if constexpr (K == 3)
            return o_min(a, b);
        else if constexpr (K == 4)
            return o_and(a, b);
        else
            return o_or(a, b);
    } template <class T>
    FN T exchange(T x, int k, u32 mask) {
        return (T)__shfl_xor_sync(mask, (int)x, k);
    } FN f32 exchange(f32 x, int k, u32 mask) {
        return __shfl_xor_sync(mask, x, k);
    } FN f64 exchange(f64 x, int k, u32 mask) {
        return __shfl_xor_sync(mask, x, k);
    } FN i64 exchange(i64 x, int k, u32 mask) {
        return __shfl_xor_sync(mask, x, k);
    } template <int TEAM>
    FN u32 team_mask() {
        return TEAM >= 32 ? ~0u : ((1u << (TEAM & 31)) - 1) << (threadIdx.x & 31 & ~(TEAM - 1));
    } FN void cluster_sync() {
        asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
        asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
    } template <int TEAM, int CLUSTER, int JOIN>
    FN void team_sync(int j) {
        if (CLUSTER > 1)
            cluster_sync();
        else if (TEAM > 32 && JOIN > 1)
            asm volatile("bar.sync %0, %1;" ::"r"(j + 1), "r"(TEAM) : "memory");
        else if (TEAM > 32)
            __syncthreads();
        else if (TEAM > 1)
            __syncwarp(team_mask<TEAM>());
    } template <int K, int W, class T>
    FN T lanes_all(T x, u32 mask) {
        for (int k = W / 2; k > 0; k >>= 1) x = comb<K>(x, exchange(x, k, mask));
        return x;
    } FN u32 at_block(const u64 *here, u32 block) {
        u32 at;
        asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                     : "=r"(at)
                     : "r"((u32)__cvta_generic_to_shared(here)), "r"(block));
        return at;
    } FN void put_at_block(const u64 *slot, const u64 *arrived, u32 block, u64 bits) {
        asm volatile(
            "st.async.shared::cluster.mbarrier::complete_tx::bytes.u64 [%0], %1, [%2];" ::"r"(
                at_block(slot, block)),
            "l"(bits), "r"(at_block(arrived, block))
            : "memory");
    } template <int CLUSTER>
    FN void team_begin(
        u64 *arrived) { /* all blocks have begun, and can be told */
                        if (CLUSTER == 1) return;
                        if (threadIdx.x == 0)
                            for (int i = 0; i < 2; i++)
                                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(
                                                 (u32)__cvta_generic_to_shared(arrived + i))
                                             : "memory");
                        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
                        cluster_sync();
    } template <int TEAM, int CLUSTER, int JOIN>
    FN void team_meet(int j, u64 *arrived, int turn, int slots) {
        if (CLUSTER == 1) {
            if (TEAM > 32) team_sync<TEAM, CLUSTER, JOIN>(j);
            return;
        }
        const u32 at = (u32)__cvta_generic_to_shared(arrived + (turn & 1));
        if (threadIdx.x == 0)
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at),
                         "r"(slots * (TEAM / 32) * 8)
                         : "memory");
        u32 done = 0;
        while (!done)
            asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; "
                         "selp.u32 %0, 1, 0, p; }"
                         : "=r"(done)
                         : "r"(at), "r"(turn >> 1)
                         : "memory");
    } template <int K, int TEAM, int CLUSTER, class T>
    FN T team_put(T x, u64 *slots, const u64 *arrived, u32 t) {
        x = lanes_all<K, (TEAM < 32 ? TEAM : 32)>(x, team_mask<TEAM>());
        const u32 lane = threadIdx.x & 31;
        u64       bits = 0;
        memcpy(&bits, &x, sizeof x);
        if (CLUSTER > 1 && lane < CLUSTER) put_at_block(slots + t / 32, arrived, lane, bits);
        if (CLUSTER == 1 && TEAM > 32 && lane == 0) slots[t / 32] = bits;
        return x;
    } template <int K, class T>
    FN T slot_value(const u64 *slot, int at, int all) {
        T x;
        memcpy(&x, slot + (at < all ? at : 0), sizeof x);
        return K < 2 && at >= all ? (T)K : x;
    } template <int K, int TEAM, class T>
    FN T team_get(T x, const u64 *slot) {
        if (TEAM <= 32) return x;
        const int warps = TEAM / 32;
        const int lanes = warps <= 2 ? 2 : warps <= 4 ? 4 : warps <= 8 ? 8 : warps <= 16 ? 16 : 32;
        const int lane = threadIdx.x & (lanes - 1);
        x = slot_value<K, T>(slot, lane, warps);
        for (int at = lanes; at < warps; at += lanes)
            x = comb<K>(x, slot_value<K, T>(slot, at + lane, warps));
        return lanes_all<K, lanes>(x, ~0u);
    });

static const char random[] = TEXT(FN i32 philox(i64 key, u64 element, u32 stream) {
    u32 k0 = (u32)key, k1 = (u32)((u64)key >> 32);
    u32 c0 = (u32)(element >> 2), c1 = (u32)(element >> 34), c2 = stream, c3 = 0;
    for (int round = 0; round < 10; round++) {
        u32 h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
        u32 h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    u32 which = (u32)element & 3;
    return (i32)(which == 0 ? c0 : which == 1 ? c1 : which == 2 ? c2 : c3);
});

/* Rounding to 8-bit floats, one or two of them: one instruction where there is one. */
static const char rounding[] =
    "#if __CUDA_ARCH__ >= 890\n"
    "#define ROUND8(kind)                                                               \\\n"
    "    FN unsigned short round2_##kind(float x, float y) {                            \\\n"
    "        unsigned short z;                                                          \\\n"
    "        asm(\"cvt.rn.satfinite.\" #kind \"x2.f32 %0, %1, %2;\"                       \\\n"
    "            : \"=h\"(z) : \"f\"(y), \"f\"(x));                                         \\\n"
    "        return z; }\n"
    "ROUND8(e4m3)\n"
    "ROUND8(e5m2)\n"
    "#define ROUND2_E4M3(x, y) round2_e4m3(x, y)\n"
    "#define ROUND2_E5M2(x, y) round2_e5m2(x, y)\n"
    "#define ROUND_E4M3(x) (unsigned char)round2_e4m3(x, 0.0f)\n"
    "#define ROUND_E5M2(x) (unsigned char)round2_e5m2(x, 0.0f)\n"
    "#else\n"
    "#define ROUND_E4M3(x) narrow8(x, 20, 7, 0x7e)\n"
    "#define ROUND_E5M2(x) narrow8(x, 21, 15, 0x7b)\n"
    "#define ROUND2_E4M3(x, y) (u16)(ROUND_E4M3(x) | ROUND_E4M3(y) << 8)\n"
    "#define ROUND2_E5M2(x, y) (u16)(ROUND_E5M2(x) | ROUND_E5M2(y) << 8)\n"
    "#endif\n";

void gpu_emit_prelude(Text *out, bool coherent) {
    text_addf(out, "#define COHERENT %d\n", coherent);
    text_add(out, STR("#pragma nv_diag_suppress 177\n"
                      "#define FN static __device__ __forceinline__\n"));
    text_add(out, STR(rounding));
    text_add(out, STR(types));
    text_add(out, STR(floats));
    text_add(out, STR(ints));
    text_add(out, STR(memory));
    text_add(out, STR(raws));
    text_add(out, STR(settled));
    text_add(out, STR(loads));
    text_add(out, STR(tiles));
    text_add(out, STR(stores));
    text_add(out, STR(odd));
    text_add(out, STR(led));
    text_add(out, STR(staging));
    text_add(out, STR(teams));
    text_add(out, STR(random));
}

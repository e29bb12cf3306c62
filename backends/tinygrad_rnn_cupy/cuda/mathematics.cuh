// Elementwise functions where the device library's own are not what the primitives mean: NaN
// propagates, zeros win where they should, halves are rounded once. No approximate function is used.

DEVICE f32 wide(f16 x) { return f32_of_f16(x.bits); }
DEVICE f16 narrow_f16(f32 x) { return f16{f16_of_f32(x)}; }
DEVICE f32 wide(bf16 x) { return f32_from_bits((i64)((u32)x.bits << 16)); }

DEVICE bf16 narrow_bf16(f32 x) {  // to the nearest, ties to even; NaN stays NaN
    const u32 bits = bits_of(x);
    bf16 y;
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        y.bits = (u16)((bits >> 16) | 0x40u);
    else
        y.bits = (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    return y;
}

// From memory, and to memory.
template <class T> DEVICE T get(const T *p) { return *p; }
DEVICE f32 get(const f16 *p) { return wide(*p); }
DEVICE f32 get(const bf16 *p) { return wide(*p); }
DEVICE bool get(const b8 *p) { return p->bits != 0; }
template <class T> DEVICE void put(T *p, T x) { *p = x; }
DEVICE void put(f16 *p, f32 x) { *p = narrow_f16(x); }
DEVICE void put(bf16 *p, f32 x) { *p = narrow_bf16(x); }
DEVICE void put(b8 *p, bool x) { p->bits = x; }

// What a narrower type holds of a value: a cast inside a kernel rounds as memory would.
DEVICE f32 as_f16(f32 x) { return wide(narrow_f16(x)); }
DEVICE f32 as_bf16(f32 x) { return wide(narrow_bf16(x)); }

template <class T> DEVICE bool is_nan(T x) { return x != x; }
template <class T> DEVICE T maximum(T a, T b) { return is_nan(a) ? a : is_nan(b) || a < b ? b : a; }
template <class T> DEVICE T minimum(T a, T b) { return is_nan(a) ? a : is_nan(b) || b < a ? b : a; }
template <class T> DEVICE T sign(T x) { return is_nan(x) ? x : (T)((T)0 < x) - (T)(x < (T)0); }
template <class T> DEVICE T zmul(T a, T b) { return a == (T)0 ? (T)0 : a * b; }
template <class T> DEVICE T zdiv(T a, T b) { return a == (T)0 ? (T)0 : a / b; }

#define BOTH(name, single, twice)                                                                  \
    DEVICE f32 name(f32 x) { return single(x); }                                                   \
    DEVICE f64 name(f64 x) { return twice(x); }
BOTH(e_abs, fabsf, fabs)
BOTH(e_exp, expf, exp)
BOTH(e_expm1, expm1f, expm1)
BOTH(e_log, logf, log)
BOTH(e_log1p, log1pf, log1p)
BOTH(e_sqrt, sqrtf, sqrt)
BOTH(e_sin, sinf, sin)
BOTH(e_cos, cosf, cos)
BOTH(e_tan, tanf, tan)
BOTH(e_asin, asinf, asin)
BOTH(e_acos, acosf, acos)
BOTH(e_atan, atanf, atan)
BOTH(e_sinh, sinhf, sinh)
BOTH(e_cosh, coshf, cosh)
BOTH(e_tanh, tanhf, tanh)
BOTH(e_asinh, asinhf, asinh)
BOTH(e_acosh, acoshf, acosh)
BOTH(e_atanh, atanhf, atanh)
BOTH(e_erf, erff, erf)
BOTH(e_floor, floorf, floor)
BOTH(e_ceil, ceilf, ceil)
BOTH(e_round, rintf, rint)
#undef BOTH
DEVICE f32 e_pow(f32 a, f32 b) { return powf(a, b); }
DEVICE f64 e_pow(f64 a, f64 b) { return pow(a, b); }
DEVICE f32 e_atan2(f32 a, f32 b) { return atan2f(a, b); }
DEVICE f64 e_atan2(f64 a, f64 b) { return atan2(a, b); }

// 1 / (1 + e^-x) without overflow, relatively exact down to the smallest results.
template <class T> DEVICE T e_sigmoid(T x) {
    const T e = e_exp(-e_abs(x));
    return (x < (T)0 ? e : (T)1) / ((T)1 + e);
}

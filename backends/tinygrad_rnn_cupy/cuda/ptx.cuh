// What only the device has. The tests compile everything else for the host, with their own version
// of these functions.
#ifdef __CUDACC_RTC__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

DEVICE f32 f32_from_bits(i64 x) { return __int_as_float((int)x); }
DEVICE f64 f64_from_bits(i64 x) { return __longlong_as_double(x); }
DEVICE u32 bits_of(f32 x) { return __float_as_uint(x); }

DEVICE f32 f32_of_f16(u16 x) {
    f32 y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}

DEVICE u16 f16_of_f32(f32 x) {  // to the nearest, ties to even
    u16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}

// The value of lane (this lane ^ distance).
template <class T> DEVICE T exchanged(T x, int distance) {
    return __shfl_xor_sync(0xffffffffu, x, distance);
}

DEVICE void sync_block() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }
#endif

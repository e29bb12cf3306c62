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

// --- between blocks that run at the same time ---

DEVICE void publish(u32 *flag, u32 value) {  // what this block has stored before is seen by others
    asm volatile("st.release.gpu.global.u32 [%0], %1;" : : "l"(flag), "r"(value) : "memory");
}

DEVICE u32 observe(const u32 *flag) {  // what was stored before the value was published is seen
    u32 value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}

DEVICE void wait_a_little() {}
DEVICE void give_up() { __trap(); }

template <class T> DEVICE void store_shared_with_blocks(T *p, T x) { *p = x; }

// From L2, not from this multiprocessor's own cache.
DEVICE f32 load_shared_with_blocks(const f32 *p) {
    f32 x;
    asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(x) : "l"(p) : "memory");
    return x;
}

DEVICE f64 load_shared_with_blocks(const f64 *p) {
    f64 x;
    asm volatile("ld.relaxed.gpu.global.f64 %0, [%1];" : "=d"(x) : "l"(p) : "memory");
    return x;
}

DEVICE void load_16_bytes(u32 (&x)[4], const void *p) {
    asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "l"(p)
                 : "memory");
}

// --- tensor cores: d += a b for a 16 x k matrix a and a k x 8 matrix b, of all lanes of a warp ---

DEVICE u32 rounded_to_tf32(f32 x) {
    u32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

#define MMA(name, shape, type)                                                                     \
    DEVICE void name(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {                             \
        asm("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, "      \
            "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                        \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                       \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                       \
    }
MMA(multiply_f16, "m16n8k16", "f16")
MMA(multiply_bf16, "m16n8k16", "bf16")
MMA(multiply_tf32, "m16n8k8", "tf32")
#undef MMA
#endif

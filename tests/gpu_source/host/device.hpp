// What generated CUDA code finds on the host in place of a GPU. The threads of a grid are fibers of
// one real thread (emulator.cpp), so a run can be repeated, and waiting in vain is noticed.
#define _GLIBCXX_INCLUDE_NEXT_C_HEADERS  // C's functions alone: <cmath> takes longer than the rest
#include <math.h>
#include <string.h>

typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;
typedef float f32;
typedef double f64;

#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) unsigned char *const name = shared_memory

struct Index {
    unsigned x, y, z;
};

extern "C" {
extern Index threadIdx, blockIdx, blockDim, gridDim;
extern unsigned char *shared_memory;
void sync_block();
void sync_warp();
void pause_thread();
void progress();
void *warp_slots();  // 32 places of 64 bytes that the lanes of this warp share
unsigned lane_of_warp();
void flush_stores();
void later_store(void *where, const void *what, unsigned bytes);
}

static inline f32 f32_from_bits(i64 x) {
    const u32 bits = (u32)x;
    f32 y;
    memcpy(&y, &bits, 4);
    return y;
}

static inline f64 f64_from_bits(i64 x) {
    f64 y;
    memcpy(&y, &x, 8);
    return y;
}

static inline u32 bits_of(f32 x) {
    u32 y;
    memcpy(&y, &x, 4);
    return y;
}

static inline f32 f32_of_f16(u16 x) {
    _Float16 y;
    memcpy(&y, &x, 2);
    return (f32)y;
}

static inline u16 f16_of_f32(f32 x) {
    const _Float16 y = (_Float16)x;
    u16 bits;
    memcpy(&bits, &y, 2);
    return bits;
}

template <class T> static inline T exchanged(T x, int distance) {
    unsigned char *slots = (unsigned char *)warp_slots();
    const unsigned lane = lane_of_warp();
    memcpy(slots + 64 * lane, &x, sizeof(T));
    sync_warp();
    T y;
    memcpy(&y, slots + 64 * (lane ^ distance), sizeof(T));
    sync_warp();
    return y;
}

// --- between blocks ---

static inline void publish(u32 *flag, u32 value) {
    flush_stores();
    *flag = value;
    progress();
}

static inline u32 observe(const u32 *flag) { return *(const volatile u32 *)flag; }
static inline void wait_a_little() { pause_thread(); }
static inline void give_up() { __builtin_trap(); }

template <class T> static inline void store_shared_with_blocks(T *p, T x) {
    later_store(p, &x, sizeof(T));
}

template <class T> static inline T load_shared_with_blocks(const T *p) { return *p; }

static inline void load_16_bytes(u32 (&x)[4], const void *p) {
    if ((unsigned long long)p % 16) __builtin_trap();
    memcpy(x, p, 16);
}

// --- tensor cores, as the PTX manual describes where lanes have which elements ---

static inline u32 rounded_to_tf32(f32 x) {  // to the nearest, ties away from zero
    const u32 bits = bits_of(x);
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}

struct LaneOperands {
    u32 a[4], b[2];
};

// Value::a(slots, row, k) and Value::b(slots, k, column) find an element at the lane that has it.
template <class Value> static inline void multiply_any(f32 (&d)[4], const u32 (&a)[4], u32 b0,
                                                       u32 b1) {
    unsigned char *slots = (unsigned char *)warp_slots();
    const int lane = lane_of_warp();
    const LaneOperands mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    memcpy(slots + 64 * lane, &mine, sizeof mine);
    sync_warp();
    f32 sum[4];
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        sum[i] = d[i];
        for (int k = 0; k < Value::DEPTH; ++k)
            sum[i] += Value::a(slots, row, k) * Value::b(slots, k, column);
    }
    memcpy(d, sum, sizeof sum);
    sync_warp();
}

static inline LaneOperands operands_of(const unsigned char *slots, int lane) {
    LaneOperands x;
    memcpy(&x, slots + 64 * lane, sizeof x);
    return x;
}

template <f32 (*WIDE)(u16)> struct OfHalves {
    static const int DEPTH = 16;
    static f32 part(u32 x, int high) { return WIDE((u16)(high ? x >> 16 : x)); }
    static f32 a(const unsigned char *slots, int row, int k) {
        const LaneOperands x = operands_of(slots, row % 8 * 4 + k % 8 / 2);
        return part(x.a[row / 8 + k / 8 * 2], k % 2);
    }
    static f32 b(const unsigned char *slots, int k, int column) {
        return part(operands_of(slots, column * 4 + k % 8 / 2).b[k / 8], k % 2);
    }
};

struct OfTf32 {
    static const int DEPTH = 8;
    static f32 value(u32 bits) { return f32_from_bits((i64)(bits & ~0x1fffu)); }
    static f32 a(const unsigned char *slots, int row, int k) {
        return value(operands_of(slots, row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2]);
    }
    static f32 b(const unsigned char *slots, int k, int column) {
        return value(operands_of(slots, column * 4 + k % 4).b[k / 4]);
    }
};

static inline f32 f32_of_bf16(u16 x) { return f32_from_bits((i64)((u32)x << 16)); }

static inline void multiply_f16(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_any<OfHalves<f32_of_f16>>(d, a, b0, b1);
}
static inline void multiply_bf16(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_any<OfHalves<f32_of_bf16>>(d, a, b0, b1);
}
static inline void multiply_tf32(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_any<OfTf32>(d, a, b0, b1);
}

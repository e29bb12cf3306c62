// What generated CUDA code finds on the host in place of a GPU. The threads of a grid are fibers of
// one real thread (emulator.cpp), so a run can be repeated, and waiting in vain is noticed.
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

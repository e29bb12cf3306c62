// Sums and maxima over a row. threadIdx.x runs over its columns, threadIdx.y over the rows of the
// block; blockDim.x is a multiple of 32, so a warp belongs to one row. The order of the additions
// is fixed by blockDim.x. All threads of the block take part; each gets its row's result.
struct Sum {
    template <class T> static DEVICE_MEMBER T neutral() { return (T)0; }
    template <class T> static DEVICE_MEMBER T join(T a, T b) { return a + b; }
};
struct Max {
    template <class T> static DEVICE_MEMBER T neutral() { return (T)f32_from_bits(0xff800000); }
    template <class T> static DEVICE_MEMBER T join(T a, T b) { return maximum(a, b); }
};

// Room in `shared` for one reduction: blockDim.y * 32 elements.
template <class How, class T> DEVICE T over_row(T x, unsigned char *shared) {
    for (int d = 16; d; d >>= 1) x = How::join(x, exchanged(x, d));
    const int warps = blockDim.x / 32;
    if (warps > 1) {
        T *part = (T *)shared + threadIdx.y * 32;
        sync_block();  // those who read the last reduction are done
        if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
        sync_block();
        x = part[0];
        for (int w = 1; w < warps; ++w) x = How::join(x, part[w]);
    }
    return x;
}

// A block's part of the product of every step, in the arithmetic of the type: ROWS rows times
// COLUMNS columns of weights that stay in shared memory. Warps share out the DEPTH; their sums are
// added when they are read. Within a warp, 8 lanes go along columns and 4 along rows, a lane at
// every 8th column and 4th row.
template <class T, int ROWS, int COLUMNS, int DEPTH, int WARPS> struct FmaProduct {
    using Moved = T;  // how an element travels between blocks
    using Result = T;
    static constexpr int VECTOR = 16 / sizeof(T), CHUNK = 32, ACROSS = 8, DOWN = 4;
    static constexpr int PITCH = (DEPTH + CHUNK - 1) / CHUNK * CHUNK;  // of a row that travels
    static constexpr int WIDE = (COLUMNS + ACROSS - 1) / ACROSS;       // columns of a lane
    static constexpr int TALL = ROWS < 4 * DOWN ? (ROWS + DOWN - 1) / DOWN : 4;  // rows of a lane
    static constexpr int TILE = TALL * DOWN, TILES = (ROWS + TILE - 1) / TILE;
    static constexpr int PADDED_ROWS = TILES * TILE;
    // one vector more than a multiple of the banks: lanes next to each other find different banks
    static constexpr int WEIGHT_PITCH = PITCH + VECTOR, STAGE_PITCH = CHUNK + VECTOR;
    static constexpr int WEIGHTS = WIDE * ACROSS * WEIGHT_PITCH, STAGE = TILE * STAGE_PITCH;
    using Sums = PartialSums<T, TILE, TILES, WIDE * ACROSS, WARPS>;
    static constexpr int BYTES = (WEIGHTS + WARPS * STAGE + Sums::ELEMENTS) * (int)sizeof(T);

    T *weights, *stage;
    Sums sums;

    DEVICE_MEMBER explicit FmaProduct(unsigned char *shared)
        : weights((T *)shared), stage(weights + WEIGHTS + threadIdx.x / 32 * STAGE),
          sums(weights + WEIGHTS + WARPS * STAGE) {}

    DEVICE_MEMBER static T moved(T x) { return x; }

    // Of(n, k) gives the weight of column n; beyond what there is, 0.
    template <class Of> DEVICE_MEMBER void load(Of of) {
        for (int i = threadIdx.x; i < WIDE * ACROSS * PITCH; i += WARPS * 32) {
            const int n = i / PITCH, k = i % PITCH;
            weights[n * WEIGHT_PITCH + k] = n < COLUMNS && k < DEPTH ? of(n, k) : (T)0;
        }
        sync_block();
    }

    DEVICE_MEMBER void run(const T *moving) {
        for (int tile = 0; tile < TILES; ++tile) {
            part(moving + (i64)tile * TILE * PITCH);
            sums.finish(tile);
        }
    }

    // Row r, column n of the product.
    DEVICE_MEMBER T result(int r, int n) const { return sums(r, n); }

  private:
    // This warp's share of the depth for one tile of rows.
    DEVICE_MEMBER void part(const T *moving) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int column = lane % ACROSS, row = lane / ACROSS;
        T sum[WIDE][TALL] = {}, next[TILE];
        if (warp * CHUNK < PITCH) fetch(next, moving + warp * CHUNK + lane);
        for (int k = warp * CHUNK; k < PITCH; k += WARPS * CHUNK) {
            sync_warp();  // the last chunk has been used
#pragma unroll
            for (int r = 0; r < TILE; ++r) stage[r * STAGE_PITCH + lane] = next[r];
            sync_warp();
            if (k + WARPS * CHUNK < PITCH) fetch(next, moving + k + WARPS * CHUNK + lane);
#pragma unroll 2
            for (int i = 0; i < CHUNK; i += VECTOR) {
                T x[TALL][VECTOR];
#pragma unroll
                for (int q = 0; q < TALL; ++q)
                    take(x[q], stage + (row + DOWN * q) * STAGE_PITCH + i);
#pragma unroll
                for (int p = 0; p < WIDE; ++p) {
                    T w[VECTOR];
                    take(w, weights + (column + ACROSS * p) * WEIGHT_PITCH + k + i);
#pragma unroll
                    for (int v = 0; v < VECTOR; ++v)
#pragma unroll
                        for (int q = 0; q < TALL; ++q) sum[p][q] += w[v] * x[q][v];
                }
            }
        }
#pragma unroll
        for (int p = 0; p < WIDE; ++p)
#pragma unroll
            for (int q = 0; q < TALL; ++q) sums.own(row + DOWN * q, column + ACROSS * p) = sum[p][q];
    }

    DEVICE_MEMBER static void fetch(T (&to)[TILE], const T *from) {
#pragma unroll
        for (int r = 0; r < TILE; ++r) to[r] = load_shared_with_blocks(from + (i64)r * PITCH);
    }

    DEVICE_MEMBER static void take(T (&to)[VECTOR], const T *from) {
        struct alignas(16) Vector {
            T x[VECTOR];
        };
        const Vector all = *(const Vector *)from;
#pragma unroll
        for (int v = 0; v < VECTOR; ++v) to[v] = all.x[v];
    }
};

// A block's part of the product of every step, on tensor cores: ROWS rows times COLUMNS columns of
// weights, which stay in shared memory. Warps share out the DEPTH; their sums are added when they
// are read.
//
// An instruction multiplies 16 lines of one operand by 8 lines of the other. Which element of the
// depth goes where is ours to choose as long as both agree. A lane reads 16 bytes of a line at
// once, which feed two instructions: SPAN elements of the depth, of which lane t of a quad has
// those from t * EACH on. Instruction q takes the words 2 q and 2 q + 1 of the 16 bytes.
struct HalfKind {
    using Moved = f16;
    static constexpr int EACH = 8;
    static DEVICE_MEMBER f16 moved(f32 x) { return narrow_f16(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_f16(d, a, b0, b1);
    }
};
struct BrainKind {
    using Moved = bf16;
    static constexpr int EACH = 8;
    static DEVICE_MEMBER bf16 moved(f32 x) { return narrow_bf16(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_bf16(d, a, b0, b1);
    }
};
struct Tf32Kind {
    using Moved = u32;
    static constexpr int EACH = 4;
    static DEVICE_MEMBER u32 moved(f32 x) { return rounded_to_tf32(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_tf32(d, a, b0, b1);
    }
};

struct alignas(16) Words {
    u32 x[4];
};

// WEIGHTS_16: weights are the operand with 16 lines, else the one with 8.
template <class Kind, bool WEIGHTS_16, int ROWS, int COLUMNS, int DEPTH, int WARPS>
struct MmaProduct {
    using Moved = typename Kind::Moved;
    using Result = f32;
    static constexpr int EACH = Kind::EACH, SPAN = 4 * EACH;
    static constexpr int SPANS = (DEPTH + SPAN - 1) / SPAN, PITCH = SPANS * SPAN;
    static constexpr int ALONG = WEIGHTS_16 ? 16 : 8, DOWN = WEIGHTS_16 ? 8 : 16;
    static constexpr int WIDE = (COLUMNS + ALONG - 1) / ALONG;  // instructions along columns
    static constexpr int TALL = ROWS < 64 ? (ROWS + DOWN - 1) / DOWN : 64 / DOWN;  // along rows
    static constexpr int TILE = TALL * DOWN, TILES = (ROWS + TILE - 1) / TILE;
    static constexpr int PADDED_ROWS = TILES * TILE;
    static constexpr int AHEAD = TILE < 32 ? 64 / TILE : 2;  // spans that are fetched at once
    static constexpr int LINES = WIDE * ALONG, WEIGHTS = LINES / 8 * SPANS * 32;  // of 16 bytes
    using Sums = PartialSums<f32, TILE, TILES, LINES, WARPS>;
    static constexpr int BYTES = WEIGHTS * 16 + Sums::ELEMENTS * 4;

    struct alignas(16) Fragment {
        Moved x[EACH];
    };
    Fragment *weights;
    Sums sums;

    DEVICE_MEMBER explicit MmaProduct(unsigned char *shared)
        : weights((Fragment *)shared), sums((f32 *)(shared + WEIGHTS * 16)) {}

    DEVICE_MEMBER static Moved moved(f32 x) { return Kind::moved(x); }

    // 8 lines of weights and SPAN of the depth are one after another: 16 bytes for every lane.
    template <class Of> DEVICE_MEMBER void load(Of of) {
        for (int i = threadIdx.x; i < WEIGHTS; i += WARPS * 32) {
            const int lane = i % 32, span = i / 32 % SPANS, n = i / 32 / SPANS * 8 + lane / 4;
            for (int x = 0; x < EACH; ++x) {
                const int k = span * SPAN + lane % 4 * EACH + x;
                weights[i].x[x] = moved(n < COLUMNS && k < DEPTH ? of(n, k) : 0.0f);
            }
        }
        sync_block();
    }

    DEVICE_MEMBER void run(const Moved *moving) {
        for (int tile = 0; tile < TILES; ++tile) {
            part(moving + (i64)tile * TILE * PITCH);
            sums.finish(tile);
        }
    }

    DEVICE_MEMBER f32 result(int r, int n) const { return sums(r, n); }

  private:
    DEVICE_MEMBER void part(const Moved *moving) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        f32 sum[WIDE][TALL][4] = {};
        for (int first = warp; first < SPANS; first += WARPS * AHEAD) {
            u32 x[AHEAD][TILE / 8][4];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int span = first + a * WARPS;
                if (span < SPANS) {
#pragma unroll
                    for (int q = 0; q < TILE / 8; ++q) {
                        const i64 row = q * 8 + lane / 4;
                        load_16_bytes(x[a][q], moving + row * PITCH + span * SPAN + lane % 4 * EACH);
                    }
                }
            }
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int span = first + a * WARPS;
                if (span < SPANS) multiply(sum, x[a], weights + span * 32 + lane);
            }
        }
#pragma unroll
        for (int p = 0; p < WIDE; ++p)
#pragma unroll
            for (int q = 0; q < TALL; ++q)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int of_16 = lane / 4 + i / 2 * 8, of_8 = lane % 4 * 2 + i % 2;
                    sums.own(q * DOWN + (WEIGHTS_16 ? of_8 : of_16),
                             p * ALONG + (WEIGHTS_16 ? of_16 : of_8)) = sum[p][q][i];
                }
    }

    // One span of the depth; `at`: this lane's part of the first 8 lines of weights.
    DEVICE_MEMBER static void multiply(f32 (&sum)[WIDE][TALL][4], const u32 (&x)[TILE / 8][4],
                                       const Fragment *at) {
#pragma unroll
        for (int p = 0; p < WIDE; ++p) {
            u32 w[ALONG / 8][4];
#pragma unroll
            for (int h = 0; h < ALONG / 8; ++h) {
                const Words words = *(const Words *)(at + (p * (ALONG / 8) + h) * SPANS * 32);
#pragma unroll
                for (int i = 0; i < 4; ++i) w[h][i] = words.x[i];
            }
#pragma unroll
            for (int q = 0; q < TALL; ++q)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const int i = 2 * half;
                    if constexpr (WEIGHTS_16) {
                        const u32 wide[4] = {w[0][i], w[1][i], w[0][i + 1], w[1][i + 1]};
                        Kind::multiply(sum[p][q], wide, x[q][i], x[q][i + 1]);
                    } else {
                        const u32(&low)[4] = x[2 * q], (&high)[4] = x[2 * q + 1];
                        const u32 tall[4] = {low[i], high[i], low[i + 1], high[i + 1]};
                        Kind::multiply(sum[p][q], tall, w[0][i], w[0][i + 1]);
                    }
                }
        }
    }
};

// A block's part of the product of every step, on tensor cores: COLUMNS columns of weights, which
// stay in shared memory, times ROWS rows. Weights are the 16-row operand and the rows of the batch
// the 8-column one. Warps share out the DEPTH; their sums are added when they are read.
//
// Which element of the depth goes where is ours to choose as long as both operands agree. A lane
// reads 16 bytes of a row at once, which feed two instructions: SPAN elements of the depth, of
// which lane t of a quad has those from t * EACH on. Instruction q takes from them, as its first
// and second register, the elements from q * EACH / 2 and from q * EACH / 2 + PAIR on.
struct HalfKind {
    using Moved = f16;
    static constexpr int EACH = 8, PAIR = 2;
    static DEVICE_MEMBER f16 moved(f32 x) { return narrow_f16(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_f16(d, a, b0, b1);
    }
};
struct BrainKind {
    using Moved = bf16;
    static constexpr int EACH = 8, PAIR = 2;
    static DEVICE_MEMBER bf16 moved(f32 x) { return narrow_bf16(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_bf16(d, a, b0, b1);
    }
};
struct Tf32Kind {
    using Moved = u32;
    static constexpr int EACH = 4, PAIR = 1;
    static DEVICE_MEMBER u32 moved(f32 x) { return rounded_to_tf32(x); }
    static DEVICE_MEMBER void multiply(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
        multiply_tf32(d, a, b0, b1);
    }
};

template <class Kind, int ROWS, int COLUMNS, int DEPTH, int WARPS> struct MmaProduct {
    using Moved = typename Kind::Moved;
    using Result = f32;
    static constexpr int EACH = Kind::EACH, SPAN = 4 * EACH;
    static constexpr int SPANS = (DEPTH + SPAN - 1) / SPAN, PITCH = SPANS * SPAN;
    static constexpr int WIDE = (COLUMNS + 15) / 16;  // instructions along columns
    static constexpr int TALL = ROWS < 64 ? (ROWS + 7) / 8 : 8;  // along rows
    static constexpr int TILE = TALL * 8, TILES = (ROWS + TILE - 1) / TILE;
    static constexpr int PADDED_ROWS = TILES * TILE;
    static constexpr int AHEAD = TALL < 4 ? 8 / TALL : 2;  // spans that are fetched at once
    static constexpr int SUM_PITCH = WIDE * 16 + 1;
    static constexpr int WEIGHTS = WIDE * SPANS * 2 * 32 * 16;  // bytes
    static constexpr int BYTES =
        WEIGHTS + (WARPS + (TILES > 1 ? TILES : 0)) * TILE * SUM_PITCH * (int)sizeof(f32);

    struct alignas(16) Fragment {
        Moved x[16 / sizeof(Moved)];
    };
    struct alignas(16) Words {
        u32 x[4];
    };
    Fragment *weights;
    f32 *parts, *sums;

    DEVICE_MEMBER explicit MmaProduct(unsigned char *shared) {
        weights = (Fragment *)shared;
        parts = (f32 *)(shared + WEIGHTS);
        sums = parts + WARPS * TILE * SUM_PITCH;
    }

    DEVICE_MEMBER static Moved moved(f32 x) { return Kind::moved(x); }

    template <class Of> DEVICE_MEMBER void load(Of of) {
        for (int i = threadIdx.x; i < WIDE * SPANS * 2 * 32; i += WARPS * 32) {
            const int lane = i % 32, q = i / 32 % 2, span = i / 64 % SPANS, p = i / 64 / SPANS;
            // registers: row lane / 4, then 8 more, of the first PAIR; the same of the second
            for (int x = 0; x < 4 * Kind::PAIR; ++x) {
                const int part = x / Kind::PAIR, inside = x % Kind::PAIR;
                const int n = p * 16 + lane / 4 + part % 2 * 8;
                const int k = span * SPAN + lane % 4 * EACH + q * EACH / 2 +
                              part / 2 * Kind::PAIR + inside;
                weights[i].x[x] = moved(n < COLUMNS && k < DEPTH ? of(n, k) : 0.0f);
            }
        }
        sync_block();
    }

    DEVICE_MEMBER void run(const Moved *moving) {
        for (int tile = 0; tile < TILES; ++tile) {
            part(moving + (i64)tile * TILE * PITCH);
            sync_block();
            if (TILES > 1) {
                for (int i = threadIdx.x; i < TILE * SUM_PITCH; i += WARPS * 32)
                    sums[tile * TILE * SUM_PITCH + i] = joined(i);
                sync_block();
            }
        }
    }

    DEVICE_MEMBER f32 result(int r, int n) const {
        return TILES > 1 ? sums[r * SUM_PITCH + n] : joined(r * SUM_PITCH + n);
    }

  private:
    DEVICE_MEMBER f32 joined(int at) const {
        f32 x = parts[at];
        for (int w = 1; w < WARPS; ++w) x += parts[w * TILE * SUM_PITCH + at];
        return x;
    }

    DEVICE_MEMBER void part(const Moved *moving) {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        f32 sum[WIDE][TALL][4] = {};
        for (int first = warp; first < SPANS; first += WARPS * AHEAD) {
            u32 x[AHEAD][TALL][4];
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int span = first + a * WARPS;
                if (span < SPANS) {
#pragma unroll
                    for (int q = 0; q < TALL; ++q) {
                        const i64 row = q * 8 + lane / 4;
                        load_16_bytes(x[a][q], moving + row * PITCH + span * SPAN + lane % 4 * EACH);
                    }
                }
            }
#pragma unroll
            for (int a = 0; a < AHEAD; ++a) {
                const int span = first + a * WARPS;
                if (span < SPANS) {
#pragma unroll
                    for (int p = 0; p < WIDE; ++p)
#pragma unroll
                        for (int half = 0; half < 2; ++half) {
                            const int at = ((p * SPANS + span) * 2 + half) * 32 + lane;
                            const Words w = *(const Words *)(weights + at);
#pragma unroll
                            for (int q = 0; q < TALL; ++q)
                                Kind::multiply(sum[p][q], w.x, x[a][q][2 * half],
                                               x[a][q][2 * half + 1]);
                        }
                }
            }
        }
        f32 *const mine = parts + warp * TILE * SUM_PITCH;
#pragma unroll
        for (int p = 0; p < WIDE; ++p)
#pragma unroll
            for (int q = 0; q < TALL; ++q)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int n = p * 16 + lane / 4 + i / 2 * 8, r = q * 8 + lane % 4 * 2 + i % 2;
                    mine[r * SUM_PITCH + n] = sum[p][q][i];
                }
    }
};

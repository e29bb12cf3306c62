// What the warps of a block have each computed of a product of ROWS x COLUMNS, added when it is read.
// If the rows do not fit at once, they are taken tile by tile and added after each.
template <class T, int TILE, int TILES, int COLUMNS, int WARPS> struct PartialSums {
    static constexpr int PITCH = COLUMNS + 1, PART = TILE * PITCH;
    static constexpr int ELEMENTS = (WARPS + (TILES > 1 ? TILES : 0)) * PART;
    T *parts, *whole;

    DEVICE_MEMBER explicit PartialSums(T *shared) {
        parts = shared;
        whole = shared + WARPS * PART;
    }

    // Where this warp writes its part of row r, column n.
    DEVICE_MEMBER T &own(int r, int n) {
        return parts[threadIdx.x / 32 * PART + r * PITCH + n];
    }

    DEVICE_MEMBER void finish(int tile) {
        sync_block();
        if (TILES > 1) {
            for (int i = threadIdx.x; i < PART; i += WARPS * 32) whole[tile * PART + i] = joined(i);
            sync_block();
        }
    }

    DEVICE_MEMBER T operator()(int r, int n) const {
        return TILES > 1 ? whole[r * PITCH + n] : joined(r * PITCH + n);
    }

  private:
    DEVICE_MEMBER T joined(int at) const {
        T x = parts[at];
        for (int w = 1; w < WARPS; ++w) x += parts[w * PART + at];
        return x;
    }
};

// Sums of rows with the same index. `order` lists the rows by index, `first[i]` is where those of
// index i begin in it. A block makes one row of the result; its threads (x: columns, y: every n-th
// row to add) join their sums in an order that is fixed.
template <class T, class W>
DEVICE void add_rows(T *out, const T *updates, const i64 *order, const i64 *first, i64 size, i64 n,
                     i64 width) {
    DYNAMIC_SHARED(shared);
    W *const sums = (W *)shared;
    const i64 which = blockIdx.x / size, index = blockIdx.x % size;
    const i64 j = blockIdx.y * (i64)blockDim.x + threadIdx.x;
    W sum = (W)0;
    if (j < width)
        for (i64 k = first[index] + threadIdx.y; k < first[index + 1]; k += blockDim.y)
            sum = (W)(sum + get(updates + (which * n + order[k]) * width + j));
    sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
    sync_block();
    if (threadIdx.y == 0 && j < width) {
        for (int y = 1; y < (int)blockDim.y; ++y)
            sum = (W)(sum + sums[y * blockDim.x + threadIdx.x]);
        put(out + (which * size + index) * width + j, sum);
    }
}

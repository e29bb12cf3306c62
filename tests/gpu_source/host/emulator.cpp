// Runs a grid of CUDA threads as fibers, one at a time, in an order drawn from a seed. Blocks run
// one after another, or (`together`) all at once, as a cooperative launch does. Stores marked as
// "later" reach memory only when their block publishes them: nothing may rely on less.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <vector>

struct Index {
    unsigned x, y, z;
};

enum State { READY, AT_BLOCK, AT_WARP, PAUSED, DONE };
enum Failure { NONE, DEADLOCK, LEFT };

struct Store {
    void *where;
    unsigned char what[16];
    unsigned bytes;
};

struct Warp {
    unsigned lanes = 0, arrived = 0;
    unsigned char slots[32 * 64];
};

struct Block {
    Index index;
    unsigned threads = 0, arrived = 0, done = 0;
    std::vector<unsigned char> shared;
    std::vector<Warp> warps;
    std::vector<Store> stores;
};

struct Fiber {
    ucontext_t context;
    State state = READY;
    Index thread;
    unsigned linear;
    Block *block;
    uint64_t seen = 0;  // the progress that had been made when it paused
};

extern "C" {
Index threadIdx, blockIdx, blockDim, gridDim;
unsigned char *shared_memory;
}

static const size_t STACK = 256 << 10;
static ucontext_t scheduler;
static Fiber *current;
static std::vector<Fiber *> fibers;
static uint64_t made, random_state;
static void (*kernel)(const long long *);
static const long long *arguments;
static std::vector<void *> stacks;  // kept from launch to launch

static unsigned draw(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % n;
}

static void leave() { swapcontext(&current->context, &scheduler); }

static void begin() {
    kernel(arguments);
    current->state = DONE;
    ++made;
    leave();
}

extern "C" {
void progress() { ++made; }

void sync_block() {
    Block *b = current->block;
    current->state = AT_BLOCK;
    if (++b->arrived == b->threads) {
        b->arrived = 0;
        ++made;
        for (Fiber *f : fibers)
            if (f->block == b) f->state = READY;
    }
    leave();
}

void sync_warp() {
    Block *b = current->block;
    Warp &w = b->warps[current->linear / 32];
    current->state = AT_WARP;
    if (++w.arrived == w.lanes) {
        w.arrived = 0;
        ++made;
        for (Fiber *f : fibers)
            if (f->block == b && f->linear / 32 == current->linear / 32) f->state = READY;
    }
    leave();
}

void pause_thread() {
    current->state = PAUSED;
    current->seen = made;
    leave();
}

void *warp_slots() { return current->block->warps[current->linear / 32].slots; }
unsigned lane_of_warp() { return current->linear % 32; }

void later_store(void *where, const void *what, unsigned bytes) {
    Store s;
    s.where = where;
    s.bytes = bytes;
    memcpy(s.what, what, bytes);
    current->block->stores.push_back(s);
}

void flush_stores() {
    for (Store &s : current->block->stores) memcpy(s.where, s.what, s.bytes);
    current->block->stores.clear();
    ++made;
}

static Failure run(std::vector<Block *> &blocks) {
    fibers.clear();
    size_t count = 0;
    for (Block *b : blocks) {
        b->threads = blockDim.x * blockDim.y * blockDim.z;
        b->warps.resize((b->threads + 31) / 32);
        for (unsigned i = 0; i < b->threads; ++i, ++count) {
            if (count == stacks.size())
                stacks.push_back(mmap(0, STACK, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
            Fiber *f = new Fiber;
            f->thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            f->linear = i;
            f->block = b;
            b->warps[i / 32].lanes++;
            getcontext(&f->context);
            f->context.uc_stack.ss_sp = stacks[count];
            f->context.uc_stack.ss_size = STACK;
            f->context.uc_link = 0;
            makecontext(&f->context, begin, 0);
            fibers.push_back(f);
        }
    }
    Failure failure = NONE;
    size_t left = count;
    std::vector<Fiber *> ready;
    Block *held = 0;  // a block that stands still while others can go on
    unsigned rounds = 0;
    while (left && !failure) {
        // one round: all that can go on, in an order of its own
        if (rounds == 0) {
            held = draw(4) ? blocks[draw(blocks.size())] : 0;
            rounds = 1 + draw(100);
        }
        --rounds;
        ready.clear();
        for (int all = 0; all < 2 && ready.empty(); ++all)
            for (Fiber *f : fibers)
                if ((f->state == READY || (f->state == PAUSED && f->seen != made)) &&
                    (all || f->block != held))
                    ready.push_back(f);
        if (ready.empty()) failure = DEADLOCK;
        for (size_t i = ready.size(); i > 1; --i) {
            unsigned j = draw(i);
            Fiber *f = ready[i - 1];
            ready[i - 1] = ready[j];
            ready[j] = f;
        }
        // only some of them, so that some threads run far ahead of others
        size_t some = ready.size() > 1 ? 1 + draw(ready.size()) : ready.size();
        for (size_t i = 0; i < some; ++i) {
            current = ready[i];
            current->state = READY;
            threadIdx = current->thread;
            blockIdx = current->block->index;
            shared_memory = current->block->shared.data();
            swapcontext(&scheduler, &current->context);
            if (current->state == DONE) {
                --left;
                if (++current->block->done < current->block->threads && current->block->arrived)
                    failure = LEFT;
            }
        }
    }
    for (Fiber *f : fibers) delete f;
    return failure;
}

// 0; 1: threads wait for what never comes; 2: a thread ended while others of its block wait for it.
int emulate(void (*function)(const long long *), const long long *args, const unsigned *grid,
            const unsigned *block, unsigned shared_bytes, int together, unsigned seed) {
    kernel = function;
    arguments = args;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    random_state = 88172645463325252ull ^ ((uint64_t)seed << 20) ^ seed;
    std::vector<Block> blocks(grid[0] * grid[1] * grid[2]);
    std::vector<Block *> order;
    for (unsigned i = 0; i < blocks.size(); ++i) {
        blocks[i].index = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
        blocks[i].shared.assign(shared_bytes + 16, 0xff);  // not a number, until it is written
        order.push_back(&blocks[i]);
    }
    for (size_t i = order.size(); i > 1; --i) {
        unsigned j = draw(i);
        Block *b = order[i - 1];
        order[i - 1] = order[j];
        order[j] = b;
    }
    if (together) return run(order);
    for (Block *b : order) {
        std::vector<Block *> one(1, b);
        Failure failure = run(one);
        if (failure) return failure;
    }
    return 0;
}
}

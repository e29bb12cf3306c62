// How blocks that share the rows of a group tell each other that they are done with a step. Every
// block has a flag that only it raises; a block waits until the flags of all are high enough. The
// value exchanged has two slots. A block overwrites a slot only after it saw that all others are a
// step further than the one at which they read it, so one wait per step is enough.
struct Exchange {
    u32 *flags;
    int blocks, me;

    // Everything this block has stored for `step` may be read by the others.
    DEVICE_MEMBER void done(u32 step) const {
        sync_block();
        if (threadIdx.x == 0) publish(flags + me, step);
    }

    // Wait until all blocks are done with `step`. A kernel that waits for a minute ends in an error
    // instead of holding the device for ever.
    DEVICE_MEMBER void wait(u32 step) const {
        for (int i = threadIdx.x; i < blocks; i += blockDim.x)
            for (u32 tries = 0; observe(flags + i) < step; ++tries) {
                if (tries >> 27) give_up();
                wait_a_little();
            }
        sync_block();
    }
};

"""The threads' inner loop, in LLVM's assembly: it runs without Python and without its lock.

State: words 0-3 are the function, its argument, the number of blocks and the next block; word 4
says whether the launch is a gang, word 5 is the address of the gang's barrier. The semaphores
"start" and "done" lie at bytes 64 and 128. At bytes 192 and 256 a gang finds how many threads have
joined and of how many it consists (0: not yet known), at 320 and 384 the count and the generation
of its barrier.

A helper takes one token of "start" per launch and gives one of "done", so nobody touches the state
between two launches. A token that no helper has taken when all blocks are taken is taken back: on a
busy machine nobody waits for a thread that has not begun. A gang consists of the threads that have
joined when its first member closes it, so its members all run when they wait for each other; who
comes later goes away again.
"""

from __future__ import annotations

#: Looks at a semaphore (some 30 ns each) before a thread goes to sleep.
SPIN = 8000
#: Looks at a gang's door before it is closed: longer than a sleeping thread takes to wake up.
PATIENCE = 4000
#: Looks at a barrier before each call of the scheduler.
LOOKS = 2000

#: Where in the state a gang finds the address of its barrier, and of how many it consists.
BARRIER, MEMBERS = 40, 256

SEQUENCE = """
define void @sequence(i64 %f, i64 %numbers, i64 %blocks) {
entry:
  %function = inttoptr i64 %f to ptr
  br label %loop
loop:
  %k = phi i64 [0, %entry], [%next, %loop]
  call void %function(i64 %numbers, i64 %k)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %blocks
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""
POOL = """
declare i32 @sem_wait(ptr)
declare i32 @sem_trywait(ptr)
declare i32 @sem_post(ptr)
declare i32 @sched_yield()

define internal void @take(ptr %semaphore) {
entry:
  br label %spin
spin:
  %i = phi i64 [0, %entry], [%i2, %again]
  %r = call i32 @sem_trywait(ptr %semaphore)
  %got = icmp eq i32 %r, 0
  br i1 %got, label %end, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  %i2 = add i64 %i, 1
  %on = icmp slt i64 %i2, SPIN
  br i1 %on, label %spin, label %sleep
sleep:
  %s = call i32 @sem_wait(ptr %semaphore)
  %awake = icmp eq i32 %s, 0
  br i1 %awake, label %end, label %sleep
end:
  ret void
}

define internal void @join(ptr %state, i64 %numbers, ptr %function) {
entry:
  %joined = getelementptr i8, ptr %state, i64 192
  %members = getelementptr i8, ptr %state, i64 256
  %id = atomicrmw add ptr %joined, i64 1 acq_rel
  br label %look
look:
  %m = load atomic i64, ptr %members acquire, align 8
  %known = icmp ne i64 %m, 0
  br i1 %known, label %closed, label %again
again:
  call void asm sideeffect "PAUSE", ""()
  br label %look
closed:
  %in = icmp slt i64 %id, %m
  br i1 %in, label %run, label %end
run:
  call void %function(i64 %numbers, i64 %id)
  br label %end
end:
  ret void
}

define internal void @work_off(ptr %state) {
entry:
  %f = load i64, ptr %state
  %function = inttoptr i64 %f to ptr
  %p1 = getelementptr i64, ptr %state, i64 1
  %numbers = load i64, ptr %p1
  %p4 = getelementptr i64, ptr %state, i64 4
  %gang = load i64, ptr %p4
  %together = icmp ne i64 %gang, 0
  br i1 %together, label %joining, label %alone
joining:
  call void @join(ptr %state, i64 %numbers, ptr %function)
  ret void
alone:
  %p2 = getelementptr i64, ptr %state, i64 2
  %blocks = load i64, ptr %p2
  %p3 = getelementptr i64, ptr %state, i64 3
  br label %next
next:
  %k = atomicrmw add ptr %p3, i64 1 acq_rel
  %more = icmp slt i64 %k, %blocks
  br i1 %more, label %run, label %end
run:
  call void %function(i64 %numbers, i64 %k)
  br label %next
end:
  ret void
}

define ptr @helper(ptr %state) {
entry:
  %start = getelementptr i8, ptr %state, i64 64
  %done = getelementptr i8, ptr %state, i64 128
  br label %loop
loop:
  call void @take(ptr %start)
  call void @work_off(ptr %state)
  %r = call i32 @sem_post(ptr %done)
  br label %loop
}

define internal void @post(ptr %start, i64 %helpers) {
entry:
  br label %post
post:
  %i = phi i64 [0, %entry], [%i2, %post]
  %r = call i32 @sem_post(ptr %start)
  %i2 = add i64 %i, 1
  %on = icmp slt i64 %i2, %helpers
  br i1 %on, label %post, label %end
end:
  ret void
}

define internal void @finish(ptr %state, i64 %helpers) {
entry:
  %start = getelementptr i8, ptr %state, i64 64
  %done = getelementptr i8, ptr %state, i64 128
  br label %wait
wait:
  %j = phi i64 [0, %entry], [%j2, %gone]
  %t = call i32 @sem_trywait(ptr %start)
  %asleep = icmp eq i32 %t, 0
  br i1 %asleep, label %gone, label %begun
begun:
  call void @take(ptr %done)
  br label %gone
gone:
  %j2 = add i64 %j, 1
  %rest = icmp slt i64 %j2, %helpers
  br i1 %rest, label %wait, label %end
end:
  ret void
}

define internal void @ask(ptr %state, i64 %f, i64 %numbers, i64 %blocks, i64 %gang) {
  store i64 %f, ptr %state
  %p1 = getelementptr i64, ptr %state, i64 1
  store i64 %numbers, ptr %p1
  %p2 = getelementptr i64, ptr %state, i64 2
  store i64 %blocks, ptr %p2
  %p4 = getelementptr i64, ptr %state, i64 4
  store i64 %gang, ptr %p4
  %p3 = getelementptr i64, ptr %state, i64 3
  store atomic i64 0, ptr %p3 release, align 8
  ret void
}

define void @launch(ptr %state, i64 %f, i64 %numbers, i64 %blocks, i64 %helpers) {
  call void @ask(ptr %state, i64 %f, i64 %numbers, i64 %blocks, i64 0)
  %start = getelementptr i8, ptr %state, i64 64
  call void @post(ptr %start, i64 %helpers)
  call void @work_off(ptr %state)
  call void @finish(ptr %state, i64 %helpers)
  ret void
}

define void @gang(ptr %state, i64 %f, i64 %numbers, i64 %helpers) {
entry:
  %joined = getelementptr i8, ptr %state, i64 192
  %members = getelementptr i8, ptr %state, i64 256
  store atomic i64 0, ptr %members monotonic, align 8
  store atomic i64 1, ptr %joined monotonic, align 8
  call void @ask(ptr %state, i64 %f, i64 %numbers, i64 0, i64 1)
  %start = getelementptr i8, ptr %state, i64 64
  call void @post(ptr %start, i64 %helpers)
  br label %door
door:
  %i = phi i64 [0, %entry], [%i2, %open]
  %m = load atomic i64, ptr %joined acquire, align 8
  %all = icmp sgt i64 %m, %helpers
  %late = icmp sge i64 %i, PATIENCE
  %shut = or i1 %all, %late
  br i1 %shut, label %close, label %open
open:
  call void asm sideeffect "PAUSE", ""()
  %i2 = add i64 %i, 1
  br label %door
close:
  store atomic i64 %m, ptr %members release, align 8
  %function = inttoptr i64 %f to ptr
  call void %function(i64 %numbers, i64 0)
  call void @finish(ptr %state, i64 %helpers)
  ret void
}

define void @barrier(ptr %state, i64 %members) {
entry:
  %count = getelementptr i8, ptr %state, i64 320
  %generation = getelementptr i8, ptr %state, i64 384
  %before = load atomic i64, ptr %generation monotonic, align 8
  %n = atomicrmw add ptr %count, i64 1 acq_rel
  %n1 = add i64 %n, 1
  %last = icmp eq i64 %n1, %members
  br i1 %last, label %open, label %look
open:
  store atomic i64 0, ptr %count monotonic, align 8
  %after = add i64 %before, 1
  store atomic i64 %after, ptr %generation release, align 8
  ret void
look:
  %i = phi i64 [0, %entry], [%i2, %paused], [0, %yield]
  %now = load atomic i64, ptr %generation acquire, align 8
  %through = icmp ne i64 %now, %before
  br i1 %through, label %end, label %closed
closed:
  %i2 = add i64 %i, 1
  %long = icmp sgt i64 %i2, LOOKS
  br i1 %long, label %yield, label %paused
paused:
  call void asm sideeffect "PAUSE", ""()
  br label %look
yield:
  %y = call i32 @sched_yield()
  br label %look
end:
  ret void
}
"""

#include "daemon/runner/executor/trays.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of each tray, at first; then half of it, until it can be had. */
#define STRIDE_MAX (sizeof(void *) > 4 ? (size_t)1 << 30 : (size_t)1 << 20)
#define STRIDE_MIN ((size_t)1 << 16)

enum tray_state {
        TRAY_FREE,
        TRAY_QUEUED,  /* with its position */
        TRAY_DROPPED, /* with its position */
        TRAY_RUNNING, /* with its worker */
        TRAY_SEALED,  /* with its worker */
        TRAY_ANSWERED,
};

static uint64_t state(enum tray_state state, uint32_t of)
{
        return (uint64_t)of << 8 | state;
}

static enum tray_state state_kind(uint64_t state)
{
        return state & 0xff;
}

static uint32_t state_of(uint64_t state)
{
        return (uint32_t)(state >> 8);
}

/*
 * Always atomic: a worker that was late in take_head() may try to take a tray that has long been
 * answered.
 */
static uint64_t state_load(const struct trays *trays, unsigned i)
{
        return __atomic_load_n(&trays->states[i], __ATOMIC_ACQUIRE);
}

static void state_store(struct trays *trays, unsigned i, uint64_t state)
{
        __atomic_store_n(&trays->states[i], state, __ATOMIC_RELEASE);
}

static bool step(struct trays *trays, unsigned i, uint64_t from, uint64_t to)
{
        return __atomic_compare_exchange_n(&trays->states[i], &from, to, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
}

/* Not FUTEX_PRIVATE_FLAG: the workers may be processes. */
static bool futex_wait(uint32_t *futex, uint32_t seen)
{
        return syscall(SYS_futex, futex, FUTEX_WAIT, seen, NULL, NULL, 0) == 0;
}

static int futex_wake(uint32_t *futex, int n)
{
        return (int)syscall(SYS_futex, futex, FUTEX_WAKE, n, NULL, NULL, 0);
}

static void *map(size_t size, int flags)
{
        void *at =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);

        return at == MAP_FAILED ? NULL : at;
}

static int map_room(struct trays *trays)
{
        for (trays->stride = STRIDE_MAX; trays->stride >= STRIDE_MIN; trays->stride /= 2) {
                trays->room = map(trays->n * trays->stride, MAP_NORESERVE);
                if (trays->room)
                        return 0;
        }
        return -ENOMEM;
}

int trays_map(unsigned n, bool copies, struct trays **ret)
{
        unsigned n_trays = 1;
        struct trays *trays;
        size_t size;

        while (n_trays < n)
                n_trays *= 2;
        size = sizeof(*trays) +
               n_trays * (sizeof(*trays->trays) + sizeof(*trays->states) + sizeof(*trays->queue));
        trays = map(size, 0);
        if (!trays)
                return -ENOMEM;
        trays->size = size;
        trays->n = n_trays;
        trays->trays = (struct tray *)(trays + 1);
        trays->states = (uint64_t *)(trays->trays + n_trays);
        trays->queue = (uint32_t *)(trays->states + n_trays);
        if (copies && map_room(trays) < 0) {
                trays_unmap(trays);
                return -ENOMEM;
        }
        *ret = trays;
        return 0;
}

void trays_unmap(struct trays *trays)
{
        if (trays->room)
                munmap(trays->room, trays->n * trays->stride);
        munmap(trays, trays->size);
}

void trays_queue(struct trays *trays, unsigned i)
{
        uint32_t position = trays->tail;

        assert(state_load(trays, i) == TRAY_FREE);
        __atomic_store_n(&trays->queue[position % trays->n], i, __ATOMIC_RELAXED);
        state_store(trays, i, state(TRAY_QUEUED, position));
        __atomic_store_n(&trays->tail, position + 1, __ATOMIC_SEQ_CST);
}

/*
 * An idle worker counts itself before it waits for a change of `work`: either it sees the change,
 * or we see it here. One that is woken and has yet to run will look at the queue, so it is not
 * woken again, which would cost a system call for each of many calls in a row.
 */
void trays_wake(struct trays *trays, int n)
{
        int32_t n_waiting;

        __atomic_fetch_add(&trays->work, 1, __ATOMIC_SEQ_CST);
        n_waiting = __atomic_load_n(&trays->n_idle, __ATOMIC_SEQ_CST) -
                    __atomic_load_n(&trays->n_woken, __ATOMIC_SEQ_CST);
        n = MIN(n, n_waiting);
        if (n <= 0)
                return;
        __atomic_fetch_add(&trays->n_woken, n, __ATOMIC_SEQ_CST);
        n -= MAX(futex_wake(&trays->work, n), 0);
        __atomic_fetch_sub(&trays->n_woken, n, __ATOMIC_SEQ_CST);
}

bool trays_withdraw(struct trays *trays, unsigned i, bool running)
{
        uint64_t now = state_load(trays, i);

        if (state_kind(now) == TRAY_QUEUED &&
            step(trays, i, now, state(TRAY_DROPPED, state_of(now))))
                return true;
        now = state_load(trays, i);
        return running && state_kind(now) == TRAY_RUNNING &&
               step(trays, i, now, state(TRAY_SEALED, state_of(now)));
}

void trays_look(struct trays *trays)
{
        (void)__atomic_exchange_n(&trays->told, 0, __ATOMIC_SEQ_CST);
}

bool trays_take_back(struct trays *trays, unsigned i)
{
        if (state_load(trays, i) != TRAY_ANSWERED)
                return false;
        state_store(trays, i, TRAY_FREE);
        return true;
}

void trays_empty(struct trays *trays, unsigned i, size_t size)
{
        if (size > STRIDE_MIN)
                (void)madvise(trays->room + i * trays->stride, size, MADV_REMOVE);
}

/* Whether the loop has to be told: it was not since it looked last. */
static bool tell(struct trays *trays)
{
        return __atomic_exchange_n(&trays->told, 1, __ATOMIC_SEQ_CST) == 0;
}

/* Takes the tray at the head of the queue; a dropped one goes back to the loop. -1: there is none.
 */
static int take_head(struct trays *trays, unsigned worker, bool *ret_tell)
{
        uint32_t head = __atomic_load_n(&trays->head, __ATOMIC_SEQ_CST), i;

        *ret_tell = false;
        while (head != __atomic_load_n(&trays->tail, __ATOMIC_SEQ_CST)) {
                bool taken;

                i = __atomic_load_n(&trays->queue[head % trays->n], __ATOMIC_RELAXED);
                taken = step(trays, i, state(TRAY_QUEUED, head), state(TRAY_RUNNING, worker));
                if (!taken && step(trays, i, state(TRAY_DROPPED, head), TRAY_ANSWERED))
                        *ret_tell |= tell(trays);
                /* If that fails, another worker has moved it, and head is where it is now. */
                if (__atomic_compare_exchange_n(&trays->head, &head, head + 1, false,
                                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                        ++head;
                if (taken)
                        return (int)i;
        }
        return -1;
}

int trays_take(struct trays *trays, unsigned worker, void (*tell_loop)(void *userdata),
               void *userdata)
{
        for (;;) {
                uint32_t seen = __atomic_load_n(&trays->work, __ATOMIC_SEQ_CST);
                bool to_tell;
                int i;

                if (__atomic_load_n(&trays->stopping, __ATOMIC_SEQ_CST))
                        return -1;
                i = take_head(trays, worker, &to_tell);
                if (to_tell)
                        tell_loop(userdata);
                if (i >= 0)
                        return i;
                __atomic_fetch_add(&trays->n_idle, 1, __ATOMIC_SEQ_CST);
                if (futex_wait(&trays->work, seen))
                        __atomic_fetch_sub(&trays->n_woken, 1, __ATOMIC_SEQ_CST);
                __atomic_fetch_sub(&trays->n_idle, 1, __ATOMIC_SEQ_CST);
        }
}

bool trays_answer(struct trays *trays, unsigned i, unsigned worker, bool *ret_tell)
{
        if (!step(trays, i, state(TRAY_RUNNING, worker), TRAY_ANSWERED))
                return false;
        *ret_tell = tell(trays);
        return true;
}

/* Also those that were to be woken: a worker may have been killed when it was. */
static void wake_all(struct trays *trays)
{
        __atomic_fetch_add(&trays->work, 1, __ATOMIC_SEQ_CST);
        (void)futex_wake(&trays->work, INT_MAX);
        __atomic_store_n(&trays->n_woken, 0, __ATOMIC_SEQ_CST);
}

void trays_stop(struct trays *trays)
{
        __atomic_store_n(&trays->stopping, true, __ATOMIC_SEQ_CST);
        wake_all(trays);
}

bool trays_has_sealed(const struct trays *trays, unsigned worker)
{
        for (unsigned i = 0; i < trays->n; ++i)
                if (state_load(trays, i) == state(TRAY_SEALED, worker))
                        return true;
        return false;
}

/* The dead worker may have been woken for a call that it has not taken, so others are woken. */
bool trays_bury(struct trays *trays, unsigned worker, enum ppp_reason reason, int32_t detail)
{
        bool was_at_call = false;

        for (unsigned i = 0; i < trays->n; ++i) {
                struct tray *tray = &trays->trays[i];

                if (state_load(trays, i) == state(TRAY_RUNNING, worker)) {
                        tray->result = task_fail(&tray->task, reason, detail);
                        was_at_call |= step(trays, i, state(TRAY_RUNNING, worker), TRAY_ANSWERED);
                }
                (void)step(trays, i, state(TRAY_SEALED, worker), TRAY_ANSWERED);
        }
        wake_all(trays);
        return was_at_call;
}

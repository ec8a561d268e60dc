#include "daemon/runner/node/feed.h"

#include <linux/futex.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define ARENA_SIZE (UINT64_C(1) << 30) /* reserved, not used: see push's bound */
#define LARGE      (64 * 1024)         /* memory given back to the kernel at once */
#define PAGE       4096
#define PIECE_MAX  64
#define LOOK_NS    NSEC_PER_SEC /* a chunk may come whose tasks have a time limit */

static void notify(int fd)
{
        static const uint64_t one = 1;

        /* Fails only when the counter is full: then it is readable already. */
        if (write(fd, &one, sizeof(one)) < 0)
                assert(errno == EAGAIN);
}

static void futex_wait(uint32_t *word, uint32_t seen)
{
        /* Not private: workers may be processes. Whatever it returns, the caller looks again. */
        (void)syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word, uint32_t n)
{
        (void)syscall(SYS_futex, word, FUTEX_WAKE, (int)MIN(n, (uint32_t)INT_MAX), NULL, NULL, 0);
}

static int make_eventfds(struct feed *feed)
{
        feed->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        feed->source.drop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (feed->ended_fd < 0 || feed->source.drop_fd < 0)
                return -errno;
        for (unsigned i = 0; i < feed->n_loops; ++i) {
                feed->loop_fds[i] = eventfd(0, EFD_CLOEXEC);
                if (feed->loop_fds[i] < 0)
                        return -errno;
        }
        return 0;
}

static const struct task_source_ops feed_ops;

int feed_new(unsigned n_loops, struct feed **ret)
{
        struct feed *feed;
        int r;

        assert(n_loops <= FEED_LOOPS);
        feed = mmap(NULL, sizeof(*feed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (feed == MAP_FAILED)
                return -errno;
        feed->source.ops = &feed_ops;
        feed->source.look_ns = LOOK_NS;
        feed->arena_size = ARENA_SIZE;
        feed->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (feed->arena == MAP_FAILED) {
                r = -errno;
                munmap(feed, sizeof(*feed));
                return r;
        }
        feed->n_loops = n_loops;
        feed->done = FEED_NONE;
        for (unsigned i = 0; i < FEED_LOOPS; ++i)
                feed->loop_fds[i] = -EBADF;
        feed->ended_fd = feed->source.drop_fd = -EBADF;
        feed->n_free = FEED_CHUNKS;
        for (uint32_t i = 0; i < FEED_CHUNKS; ++i)
                feed->free_chunks[i] = FEED_CHUNKS - 1 - i;
        r = make_eventfds(feed);
        if (r < 0) {
                feed_free(feed);
                return r;
        }
        *ret = feed;
        return 0;
}

void feed_free(struct feed *feed)
{
        if (!feed)
                return;
        for (unsigned i = 0; i < feed->n_loops; ++i)
                close_fd(feed->loop_fds[i]);
        close_fd(feed->ended_fd);
        close_fd(feed->source.drop_fd);
        munmap(feed->arena, feed->arena_size);
        munmap(feed, sizeof(*feed));
}

/* Memory: powers of two, each size with its own free list. */

static void *memory_get(struct feed *feed, size_t size, unsigned *ret_class)
{
        unsigned class = 0;
        void *p;

        while ((UINT64_C(1) << (FEED_CLASS_MIN + class)) < size)
                ++class;
        if (class >= FEED_CLASSES)
                return NULL;
        *ret_class = class;
        p = feed->free_memory[class];
        if (p) {
                feed->free_memory[class] = *(void **)p;
                return p;
        }
        size = UINT64_C(1) << (FEED_CLASS_MIN + class);
        if (feed->arena_size - feed->arena_used < size + PAGE)
                return NULL;
        /* Whole pages where it is more than one, so that they can be given back. */
        if (size >= PAGE)
                feed->arena_used = (feed->arena_used + PAGE - 1) & ~(size_t)(PAGE - 1);
        p = feed->arena + feed->arena_used;
        feed->arena_used += size;
        return p;
}

static void memory_put(struct feed *feed, void *p, unsigned class)
{
        size_t size = UINT64_C(1) << (FEED_CLASS_MIN + class);

        if (size >= LARGE)
                (void)madvise((char *)p + PAGE, size - PAGE, MADV_REMOVE);
        *(void **)p = feed->free_memory[class];
        feed->free_memory[class] = p;
}

/* The node's side */

static void lay_out(struct feed_chunk *chunk, char *memory, const char *text, size_t size,
                    uint32_t n)
{
        size_t records = n * sizeof(struct ppp_record);
        uint32_t *offsets = (uint32_t *)(memory + records);
        char *copy = memory + records + n * sizeof(*offsets);
        const char *at = copy;

        memset(memory, 0, records);
        memcpy(copy, text, size);
        for (uint32_t i = 0; i < n; ++i) {
                const char *end = memchr(at, '\n', (size_t)(copy + size - at));

                assert(end);
                offsets[i] = (uint32_t)(at - copy);
                at = end + 1;
        }
        assert(at == copy + size);
        chunk->tasks.records = (struct ppp_record *)memory;
        chunk->tasks.text_end = copy + size;
        chunk->offsets = offsets;
        chunk->text = copy;
}

static void wake_workers(struct feed *feed, uint32_t n)
{
        for (unsigned i = 0; i < feed->n_loops; ++i)
                if (__atomic_load_n(&feed->loop_waits[i], __ATOMIC_SEQ_CST) &&
                    __atomic_exchange_n(&feed->loop_waits[i], 0, __ATOMIC_SEQ_CST))
                        notify(feed->loop_fds[i]);
        __atomic_fetch_add(&feed->wake, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&feed->n_waiting, __ATOMIC_SEQ_CST) > 0)
                futex_wake(&feed->wake, n);
}

int feed_push(struct feed *feed, const char *text, size_t size, uint32_t n,
              const struct task_terms *terms)
{
        size_t bytes = n * sizeof(struct ppp_record) + n * sizeof(uint32_t) + size;
        struct feed_chunk *chunk;
        uint64_t generation;
        uint32_t number;
        char *memory;

        if (feed->n_free == 0)
                return -ENOBUFS;
        number = feed->free_chunks[feed->n_free - 1];
        chunk = &feed->chunks[number];
        memory = memory_get(feed, bytes, &chunk->class);
        if (!memory)
                return -ENOBUFS;
        --feed->n_free;
        generation = (__atomic_load_n(&chunk->claim, __ATOMIC_RELAXED) >> 32) + 1;
        /*
         * First of all nothing can be claimed of it: a worker may still be looking at the chunk
         * that was here before. A worker that reads the new n has seen that, or else its
         * compare-and-swap fails.
         */
        __atomic_store_n(&chunk->claim, generation << 32 | FEED_CLOSED, __ATOMIC_SEQ_CST);
        lay_out(chunk, memory, text, size, n);
        __atomic_store_n(&chunk->n, n, __ATOMIC_RELEASE);
        __atomic_store_n(&chunk->n_left, n, __ATOMIC_RELEASE);
        chunk->dropped = 0;
        chunk->tasks.dropped = &chunk->dropped;
        chunk->tasks.terms = *terms;
        chunk->taken_ns = now_monotonic();
        __atomic_store_n(&chunk->in_use, 1, __ATOMIC_RELEASE);
        __atomic_store_n(&chunk->claim, generation << 32, __ATOMIC_RELEASE);

        /* At most FEED_CHUNKS chunks are in use, but one that was withdrawn may still be in the
         * queue. */
        while (feed->tail - __atomic_load_n(&feed->head, __ATOMIC_ACQUIRE) == FEED_CHUNKS) {
                uint64_t head = __atomic_load_n(&feed->head, __ATOMIC_ACQUIRE);

                __atomic_compare_exchange_n(&feed->head, &head, head + 1, false, __ATOMIC_SEQ_CST,
                                            __ATOMIC_RELAXED);
        }
        __atomic_store_n(&feed->queue[feed->tail % FEED_CHUNKS],
                         (generation & UINT32_MAX) << 32 | number, __ATOMIC_RELEASE);
        __atomic_store_n(&feed->tail, feed->tail + 1, __ATOMIC_SEQ_CST);
        wake_workers(feed, n);
        return (int)number;
}

uint32_t feed_next_done(struct feed *feed)
{
        uint32_t number = __atomic_load_n(&feed->done, __ATOMIC_ACQUIRE);

        /* Only we take entries, so those below the top stay there. */
        while (number != FEED_NONE &&
               !__atomic_compare_exchange_n(&feed->done, &number, feed->chunks[number].done_next,
                                            false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
                ;
        return number;
}

void feed_release(struct feed *feed, uint32_t number)
{
        struct feed_chunk *chunk = &feed->chunks[number];

        assert(chunk->in_use);
        __atomic_store_n(&chunk->in_use, 0, __ATOMIC_RELEASE);
        memory_put(feed, chunk->tasks.records, chunk->class);
        feed->free_chunks[feed->n_free++] = number;
}

/* Claims all the rest. Returns how much that is. */
static uint32_t claim_rest(struct feed_chunk *chunk)
{
        uint64_t claim = __atomic_load_n(&chunk->claim, __ATOMIC_ACQUIRE);
        uint32_t next;

        do {
                next = (uint32_t)claim;
                if (next >= chunk->n)
                        return 0;
        } while (!__atomic_compare_exchange_n(&chunk->claim, &claim,
                                              (claim & ~UINT64_C(0xffffffff)) | chunk->n, false,
                                              __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
        return chunk->n - next;
}

bool feed_withdraw(struct feed *feed, uint32_t number)
{
        struct feed_chunk *chunk = &feed->chunks[number];
        uint32_t n, left;

        __atomic_store_n(&chunk->withdrawing, 1, __ATOMIC_SEQ_CST);
        n = claim_rest(chunk);
        left = __atomic_sub_fetch(&chunk->n_left, n, __ATOMIC_ACQ_REL);
        __atomic_store_n(&chunk->withdrawing, 0, __ATOMIC_RELEASE);
        return n > 0 && left == 0;
}

bool feed_drop(struct feed *feed, uint32_t number)
{
        __atomic_store_n(&feed->chunks[number].dropped, 1, __ATOMIC_RELEASE);
        return feed_withdraw(feed, number);
}

void feed_tell_dropped(struct feed *feed)
{
        __atomic_fetch_add(&feed->source.n_drops, 1, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < feed->n_loops; ++i)
                notify(feed->loop_fds[i]);
        notify(feed->source.drop_fd);
}

void feed_close(struct feed *feed)
{
        __atomic_store_n(&feed->source.leaving, 1, __ATOMIC_SEQ_CST);
        wake_workers(feed, UINT32_MAX);
}

bool feed_may_sleep(struct feed *feed)
{
        __atomic_store_n(&feed->node_sleeps, 1, __ATOMIC_SEQ_CST);
        return __atomic_load_n(&feed->done, __ATOMIC_SEQ_CST) == FEED_NONE;
}

void feed_awake(struct feed *feed)
{
        uint64_t n;

        __atomic_store_n(&feed->node_sleeps, 0, __ATOMIC_RELAXED);
        if (read(feed->ended_fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN || errno == EINTR);
}

void feed_restart(struct feed *feed)
{
        memset(feed->loop_waits, 0, sizeof(feed->loop_waits));
        feed->n_waiting = 0;
        feed->source.leaving = 0;
        __atomic_store_n(&feed->head, feed->tail, __ATOMIC_SEQ_CST);
}

/* The workers' side */

void feed_give_up(struct feed *feed, struct feed_chunk *chunk, uint32_t n)
{
        uint32_t number = (uint32_t)(chunk - feed->chunks);

        if (n == 0 || __atomic_sub_fetch(&chunk->n_left, n, __ATOMIC_ACQ_REL) > 0)
                return;
        chunk->done_next = __atomic_load_n(&feed->done, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(&feed->done, &chunk->done_next, number, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
                ;
        if (__atomic_load_n(&feed->node_sleeps, __ATOMIC_SEQ_CST) &&
            __atomic_exchange_n(&feed->node_sleeps, 0, __ATOMIC_SEQ_CST))
                notify(feed->ended_fd);
}

/* A part of each worker's share of the rest, so that a chunk does not wait for a single worker. */
static uint32_t piece_size(const struct runner *runner, uint32_t left)
{
        return MIN(MAX(left / (2 * runner->spec.workers), 1U), (uint32_t)PIECE_MAX);
}

static bool claim_piece(struct feed *feed, struct worker *worker)
{
        uint64_t head = __atomic_load_n(&feed->head, __ATOMIC_SEQ_CST), entry, claim;
        struct feed_chunk *chunk;
        uint32_t next, size, n;

        while (head != __atomic_load_n(&feed->tail, __ATOMIC_SEQ_CST)) {
                entry = __atomic_load_n(&feed->queue[head % FEED_CHUNKS], __ATOMIC_ACQUIRE);
                chunk = &feed->chunks[(uint32_t)entry % FEED_CHUNKS];
                claim = __atomic_load_n(&chunk->claim, __ATOMIC_ACQUIRE);
                next = (uint32_t)claim;
                n = __atomic_load_n(&chunk->n, __ATOMIC_ACQUIRE);
                if (claim >> 32 != entry >> 32 || next >= n) {
                        if (__atomic_compare_exchange_n(&feed->head, &head, head + 1, false,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                                ++head;
                        continue;
                }
                size = piece_size(worker->runner, n - next);
                if (!__atomic_compare_exchange_n(&chunk->claim, &claim, claim + size, false,
                                                 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
                        head = __atomic_load_n(&feed->head, __ATOMIC_SEQ_CST);
                        continue;
                }
                worker_hold(worker, &chunk->tasks, entry, next, next + size);
                return true;
        }
        return false;
}

/* A loop asks to be woken before it looks for the last time. */
static bool feed_claim(struct task_source *source, struct worker *worker)
{
        struct feed *feed = container_of(source, struct feed, source);

        if (task_source_leaves(source) || runner_cancelled(worker->runner))
                return false;
        if (claim_piece(feed, worker))
                return true;
        if (worker->wake == WORKER_NO_WAKE)
                return false;
        __atomic_store_n(&feed->loop_waits[worker->wake], 1, __ATOMIC_SEQ_CST);
        return claim_piece(feed, worker);
}

static void feed_wait(struct task_source *source)
{
        struct feed *feed = container_of(source, struct feed, source);
        uint32_t seen = __atomic_load_n(&feed->wake, __ATOMIC_SEQ_CST);

        __atomic_fetch_add(&feed->n_waiting, 1, __ATOMIC_SEQ_CST);
        if (feed_empty(feed) && !task_source_leaves(source))
                futex_wait(&feed->wake, seen);
        __atomic_fetch_sub(&feed->n_waiting, 1, __ATOMIC_SEQ_CST);
}

static bool feed_closed(const struct task_source *source, const struct worker *worker)
{
        return task_source_leaves(source);
}

static const char *feed_input(struct task_source *source, const struct worker *worker)
{
        const struct feed_chunk *chunk = container_of(worker->set, struct feed_chunk, tasks);

        return chunk->text + chunk->offsets[worker->next];
}

/* From here on a task's start is known, in case the whole level dies. */
static void feed_begin(struct task_source *source, const struct taken *taken, uint64_t *clock)
{
        const struct feed_chunk *chunk = container_of(taken->set, struct feed_chunk, tasks);

        if (taken->waited || *clock < chunk->taken_ns)
                *clock = now_monotonic();
        __atomic_store_n(&taken->set->records[taken->index].start_ns, *clock, __ATOMIC_RELAXED);
}

static void feed_finish(struct task_source *source, struct task_set *set)
{
        feed_give_up(container_of(source, struct feed, source),
                     container_of(set, struct feed_chunk, tasks), 1);
}

static void feed_give_back(struct task_source *source, struct worker *worker)
{
        struct feed_chunk *chunk = feed_chunk_of(worker);
        uint32_t n = (uint32_t)(worker->end - worker->next);

        worker_note(&worker->next, worker->end);
        if (chunk)
                feed_give_up(container_of(source, struct feed, source), chunk, n);
}

/*
 * The chunk of a task in progress counts that as left, so it is still there; a row from nowhere is
 * not.
 */
static bool feed_died(struct task_source *source, const struct worker *worker,
                      const struct ppp_record *record)
{
        struct feed_chunk *chunk = feed_chunk_of(worker);
        struct ppp_record *to;
        bool gets_it;

        if (!chunk)
                return false;
        to = &chunk->tasks.records[worker->current];
        gets_it = record_state(to) == PPP_STATE_NONE;
        if (gets_it)
                record_publish(to, record);
        feed_finish(source, &chunk->tasks);
        return gets_it;
}

/* Workers always run. */
static bool feed_offer_lost(struct task_source *source)
{
        return false;
}

static int feed_wake_fd(const struct task_source *source, unsigned number)
{
        const struct feed *feed = container_of(source, const struct feed, source);

        return number < feed->n_loops ? feed->loop_fds[number] : -EBADF;
}

void feed_look_begin(const struct feed *feed, struct feed_look *look)
{
        for (uint32_t i = 0; i < FEED_CHUNKS; ++i) {
                const struct feed_chunk *chunk = &feed->chunks[i];

                look->held[i] = 0;
                look->claims[i] = __atomic_load_n(&chunk->in_use, __ATOMIC_ACQUIRE)
                                          ? __atomic_load_n(&chunk->claim, __ATOMIC_ACQUIRE)
                                          : FEED_CLOSED;
        }
}

void feed_look_hold(struct feed_look *look, uint64_t piece_of, uint64_t n)
{
        uint32_t number = (uint32_t)piece_of % FEED_CHUNKS;

        if (piece_of >> 32 == look->claims[number] >> 32)
                look->held[number] += (uint32_t)n;
}

/*
 * How many tasks of a chunk no worker has, at least. The tasks left were not claimed when the look
 * began, or some worker had them after that, or they are lost; and during the look the first two
 * only become fewer.
 */
static uint32_t count_lost(const struct feed_chunk *chunk, uint64_t claim, uint32_t held)
{
        uint32_t left, known;

        if ((uint32_t)claim == FEED_CLOSED ||
            __atomic_load_n(&chunk->withdrawing, __ATOMIC_ACQUIRE))
                return 0;
        left = __atomic_load_n(&chunk->n_left, __ATOMIC_ACQUIRE);
        known = chunk->n - MIN((uint32_t)claim, chunk->n) + held;
        /* The place may be another chunk's by now. */
        if (__atomic_load_n(&chunk->claim, __ATOMIC_ACQUIRE) >> 32 != claim >> 32)
                return 0;
        return left > known ? left - known : 0;
}

bool feed_look_end(struct feed *feed, const struct feed_look *look, uint64_t since_ns)
{
        bool again = false;

        for (uint32_t i = 0; i < FEED_CHUNKS; ++i) {
                struct feed_chunk *chunk = &feed->chunks[i];

                feed_give_up(feed, chunk, count_lost(chunk, look->claims[i], look->held[i]));
                again = again ||
                        ((uint32_t)look->claims[i] != FEED_CLOSED && chunk->taken_ns <= since_ns &&
                         __atomic_load_n(&chunk->n_left, __ATOMIC_ACQUIRE) > 0);
        }
        return again;
}

static bool feed_find_lost(struct task_source *source, unsigned n_workers, task_source_see *see,
                           void *userdata, uint64_t since_ns)
{
        struct feed *feed = container_of(source, struct feed, source);
        _cleanup_free_ struct feed_look *look = malloc(sizeof(*look));
        uint64_t piece_of, n;

        if (!look)
                return true;
        feed_look_begin(feed, look);
        for (unsigned i = 0; i < n_workers; ++i) {
                if (!see(userdata, i, &piece_of, &n))
                        return true;
                feed_look_hold(look, piece_of, n);
        }
        return feed_look_end(feed, look, since_ns);
}

static const struct task_source_ops feed_ops = {
        .claim = feed_claim,
        .wait = feed_wait,
        .closed = feed_closed,
        .input = feed_input,
        .begin = feed_begin,
        .finish = feed_finish,
        .give_back = feed_give_back,
        .died = feed_died,
        .find_lost = feed_find_lost,
        .offer_lost = feed_offer_lost,
        .wake_fd = feed_wake_fd,
};

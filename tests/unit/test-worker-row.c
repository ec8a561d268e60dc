/*
 * A worker process that is killed, at every moment there is: each task has one record in the end
 * and was begun once at most, in a job and in a node; and nothing is written where another chunk is
 * by then.
 */

#include "tests/unit/stepped.h"

#include <sys/eventfd.h>

#include "daemon/runner/levels/worker-row.h"
#include "daemon/runner/node/feed.h"

enum { N = 6, MORE = 3 };

static const struct worker_death death = { PPP_REASON_SIGNAL, SIGKILL };

/* Shared with the child that is stepped through. */
static struct worker_row *row;
static struct feed_look look;
static uint8_t *attempts; /* by input */

static int run_attempt(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        ++attempts[strtoul(input, NULL, 10)];
        *ret = n;
        return 0;
}

static const struct ppp_workload workload = {
        .abi = PPP_WORKLOAD_ABI,
        .name = "attempt",
        .run = run_attempt,
};

static void end_instead_of_waiting(struct worker *worker, struct task_source *source)
{
        worker->runner->cancelled = true;
}

static const struct io_ops ops = { .wait_for_tasks = end_instead_of_waiting };

static void *map_shared(size_t size)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        test_true(p != MAP_FAILED);
        return p;
}

struct scene {
        struct runner runner;
        struct stepped stepped;
        int chunk;       /* in a node */
        bool is_refused; /* no replacement can be started */
};

static void setup(struct scene *scene)
{
        *scene = (struct scene){ .runner = { .cgroup_fd = -EBADF, .workload = &workload } };
        scene->runner.spec = (struct spec){ .level = LEVEL_PROCESSES, .workers = 1 };
        scene->runner.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        row = map_shared(sizeof(*row));
        attempts = map_shared(PPP_RESULTS_HEADER_SIZE);
        worker_init(&row->worker, &scene->runner, 0, &ops, NULL);
        row->worker.watched = true;
        stepped_watch(&scene->stepped, row, sizeof(*row), sizeof(*row));
        stepped_watch(&scene->stepped, attempts, 2 * N, 2 * N);
}

static void teardown(struct scene *scene)
{
        stepped_free(&scene->stepped);
        munmap(row, sizeof(*row));
        munmap(attempts, PPP_RESULTS_HEADER_SIZE);
        close(scene->runner.cancel_fd);
}

static void run_worker(void *userdata)
{
        (void)worker_run(&row->worker);
}

static void step_through(struct scene *scene, void (*run)(void *), void (*died)(void *))
{
        if (!CAN_STEP || !stepped_run(&scene->stepped, run, died, scene)) {
                fprintf(stderr, "not stepped through: this process may not trace a child, or this "
                                "machine or sanitizer does not allow it\n");
                return;
        }
        test_int(scene->stepped.n_moments, >, 3);
}

/* A job */

static void setup_job(struct scene *scene)
{
        _cleanup_close_ int inputs = memfd_create("inputs", MFD_CLOEXEC);
        _cleanup_close_ int results = memfd_create("results", MFD_CLOEXEC);
        const struct ppp_record other = { .state = PPP_STATE_DONE };
        struct runner *runner = &scene->runner;
        struct input_error error;

        setup(scene);
        for (unsigned i = 0; i < N; ++i)
                test_int(dprintf(inputs, "%u\n", i), >, 0);
        test_int(inputs_map(inputs, true, &runner->inputs, &error), ==, 0);
        test_int(results_create(results, N, now_monotonic()), ==, 0);
        test_int(results_map(results, true, &runner->results), ==, 0);
        task_cursor_init(&runner->cursor, runner);
        stepped_watch(&scene->stepped, runner->results.header, sizeof(*runner->results.header),
                      sizeof(*runner->results.header));
        stepped_watch(&scene->stepped, runner->results.records, N * sizeof(struct ppp_record),
                      N * sizeof(struct ppp_record));
        /*
         * A piece of several, which a dead worker leaves the rest of; what comes next is another's.
         */
        worker_hold(&row->worker, &runner->cursor.tasks, 0, 0, 3);
        record_publish(&runner->results.records[3], &other);
        attempts[3] = 1;
        runner->results.header->n_done = 1;
        runner->results.header->next = 4;
}

static void teardown_job(struct scene *scene)
{
        inputs_unmap(&scene->runner.inputs);
        results_unmap(&scene->runner.results);
        teardown(scene);
}

static uint64_t counted(const struct runner *runner)
{
        return runner->results.header->n_done + runner->results.header->n_failed;
}

/* As the parent goes on: another worker on the rest, then what has no record is offered again. */
static void died_in_job(void *userdata)
{
        struct scene *scene = userdata;
        struct runner *runner = &scene->runner;

        row_bury(row, &death);
        run_worker(NULL);
        test_int(counted(runner), <=, N);
        if (results_recount(&runner->results) > 0) {
                runner->resuming = true;
                runner->results.header->next = 0;
                run_worker(NULL);
                runner->resuming = false;
        }
        test_int(counted(runner), ==, N);
        test_int(runner->results.header->n_failed, <=, 1);
        for (unsigned i = 0; i < N; ++i) {
                uint8_t state = record_state(&runner->results.records[i]);

                test_int(state, !=, PPP_STATE_NONE);
                test_int(attempts[i], <=, 1);
                test_int(attempts[i], >=, state == PPP_STATE_DONE);
        }
        test_int(results_recount(&runner->results), ==, 0);
}

static void test_killed_in_job(void)
{
        struct scene scene;

        setup_job(&scene);
        step_through(&scene, run_worker, died_in_job);
        teardown_job(&scene);
}

/*
 * Of the worker that ends a try and the parent that takes it for timed out, one writes the record.
 */
static void died_or_sealed(void *userdata)
{
        static const struct worker_death timeout = { PPP_REASON_TIMEOUT, 0 };
        struct scene *scene = userdata;
        uint64_t deadline_ns = row_deadline(row), current = row->worker.current;
        struct ppp_record *record =
                &scene->runner.results.records[MIN(current, UINT64_C(1) * N - 1)];

        if (deadline_ns == 0 || !row_seal(row, deadline_ns))
                return;
        test_int(current, <, N);
        test_int(record_state(record), ==, PPP_STATE_NONE);
        row_bury(row, &timeout);
        test_int(record->reason, ==, PPP_REASON_TIMEOUT);
        test_int(row_deadline(row), ==, 0);
}

static void test_sealed(void)
{
        struct scene scene;

        setup_job(&scene);
        scene.runner.spec.task_timeout_ns = 3600 * NSEC_PER_SEC;
        task_cursor_init(&scene.runner.cursor, &scene.runner);
        step_through(&scene, run_worker, died_or_sealed);
        teardown_job(&scene);
}

/* It was sealed while it ran on: it leaves no record, and waits to be killed. */
static int run_sealed(struct ppp_task *task, const char *input, size_t n, uint64_t *ret)
{
        test_true(row_deadline(row) > 0);
        test_true(row_seal(row, row_deadline(row)));
        test_int(row_deadline(row), ==, 0);
        return 0;
}

static void test_sealed_is_silent(void)
{
        static const struct ppp_workload sealed = { .name = "sealed", .run = run_sealed };
        struct scene scene;
        int status;
        pid_t pid;

        setup_job(&scene);
        scene.runner.workload = &sealed;
        scene.runner.spec.task_timeout_ns = 3600 * NSEC_PER_SEC;
        task_cursor_init(&scene.runner.cursor, &scene.runner);
        pid = fork();
        if (pid == 0) {
                alarm(1);
                run_worker(NULL);
                _exit(EXIT_SUCCESS);
        }
        test_int(waitpid(pid, &status, 0), ==, pid);
        test_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
        test_int(record_state(&scene.runner.results.records[0]), ==, PPP_STATE_NONE);
        test_int(row->worker.current, ==, 0);
        teardown_job(&scene);
}

/* A node */

static int push(struct runner *runner, unsigned first, uint32_t n)
{
        static const struct task_terms terms = { .workload = &workload };
        char text[N * 12];
        size_t size = 0;

        for (unsigned i = 0; i < n; ++i)
                size += (size_t)snprintf(text + size, sizeof(text) - size, "%u\n", first + i);
        return feed_push(feed_of(runner), text, size, n, &terms);
}

/* Nearly all of it is places for chunks that are not used here. */
static void watch_feed(struct stepped *stepped, struct feed *feed)
{
        size_t head = offsetof(struct feed, queue) + 4 * sizeof(feed->queue[0]);
        size_t middle = offsetof(struct feed, chunks) + 4 * sizeof(feed->chunks[0]);
        size_t tail = offsetof(struct feed, free_chunks);

        stepped_watch(stepped, feed, offsetof(struct feed, wake), head);
        stepped_watch(stepped, &feed->wake, middle - offsetof(struct feed, wake),
                      middle - offsetof(struct feed, wake));
        stepped_watch(stepped, feed->free_chunks, sizeof(*feed) - tail, 0);
        stepped_watch(stepped, feed->arena, feed->arena_used, feed->arena_used);
}

static void setup_node(struct scene *scene)
{
        struct runner *runner = &scene->runner;
        struct feed *feed;

        setup(scene);
        test_int(feed_new(0, &feed), ==, 0);
        runner->source = &feed->source;
        runner->results.header = &feed->header;
        scene->chunk = push(runner, 0, N);
        watch_feed(&scene->stepped, feed_of(runner));
}

static void teardown_node(struct scene *scene)
{
        feed_free(feed_of(&scene->runner));
        teardown(scene);
}

static struct feed_chunk *chunk_of(const struct scene *scene)
{
        return &feed_of(&scene->runner)->chunks[scene->chunk];
}

static void run_replacement(struct scene *scene)
{
        run_worker(NULL);
        scene->runner.cancelled = false;
}

static void check_records(const struct feed_chunk *chunk, unsigned n)
{
        unsigned n_failed = 0;

        for (unsigned i = 0; i < n; ++i) {
                uint8_t state = record_state(&chunk->tasks.records[i]);

                n_failed += state == PPP_STATE_FAILED;
                test_int(attempts[i], <=, state != PPP_STATE_NONE);
                test_int(attempts[i], >=, state == PPP_STATE_DONE);
        }
        test_int(n_failed, <=, 1);
}

/* The chunk had ended before the parent looked, and its place is taken by another. */
static void died_after_chunk(struct scene *scene, uint32_t ended)
{
        struct feed_chunk *chunk = chunk_of(scene);

        test_int(ended, ==, scene->chunk);
        test_int(chunk->n_left, ==, 0);
        for (unsigned i = 0; i < N; ++i)
                test_int(record_state(&chunk->tasks.records[i]), ==, PPP_STATE_DONE);
        feed_release(feed_of(&scene->runner), ended);
        test_int(push(&scene->runner, N, MORE), ==, scene->chunk);

        row_bury(row, &death);
        row_give_back(row);
        test_int(row->worker.next, ==, row->worker.end);
        test_int(chunk->n_left, ==, MORE);
        for (unsigned i = 0; i < MORE; ++i)
                test_int(record_state(&chunk->tasks.records[i]), ==, PPP_STATE_NONE);
        run_replacement(scene);
        test_int(feed_next_done(feed_of(&scene->runner)), ==, scene->chunk);
        for (unsigned i = 0; i < MORE; ++i)
                test_int(attempts[N + i], ==, 1);
}

static void died_in_node(void *userdata)
{
        struct scene *scene = userdata;
        struct feed *feed = feed_of(&scene->runner);
        struct feed_chunk *chunk = chunk_of(scene);
        uint32_t ended = feed_next_done(feed);
        bool is_silent = chunk->n_left == 0;

        if (ended != FEED_NONE) {
                died_after_chunk(scene, ended);
                return;
        }
        row_bury(row, &death);
        if (scene->is_refused)
                row_give_back(row);
        test_true(!scene->is_refused || row->worker.next == row->worker.end);
        run_replacement(scene);
        feed_look_begin(feed, &look);
        (void)feed_look_end(feed, &look, now_monotonic());
        test_int(chunk->n_left, ==, 0);
        /* Killed between the end of the chunk and its word about it: the node finds that. */
        test_true(is_silent || feed_next_done(feed) == (uint32_t)scene->chunk);
        test_true(feed_next_done(feed) == FEED_NONE);
        check_records(chunk, N);
        test_int(feed->header.n_done + feed->header.n_failed, <=, N);
}

static void test_killed_in_node(void)
{
        struct scene scene;

        setup_node(&scene);
        step_through(&scene, run_worker, died_in_node);
        teardown_node(&scene);
}

static void test_killed_and_refused(void)
{
        struct scene scene;

        setup_node(&scene);
        scene.is_refused = true;
        step_through(&scene, run_worker, died_in_node);
        teardown_node(&scene);
}

/*
 * What lives is not lost: neither what a worker has or is about to have, nor a chunk that is being
 * made.
 */

static void seen_alive(void *userdata)
{
        struct scene *scene = userdata;
        struct feed *feed = feed_of(&scene->runner);
        const struct feed_chunk *chunk = chunk_of(scene);
        uint32_t n_left = chunk->n_left;
        uint64_t piece_of, n;

        feed_look_begin(feed, &look);
        if (!row_look(row, &piece_of, &n))
                return;
        feed_look_hold(&look, piece_of, n);
        (void)feed_look_end(feed, &look, now_monotonic());
        test_int(chunk->n_left, ==, n_left);
}

static void test_alive(void)
{
        struct scene scene;

        setup_node(&scene);
        step_through(&scene, run_worker, seen_alive);
        teardown_node(&scene);
}

static void run_push(void *userdata)
{
        struct scene *scene = userdata;

        (void)push(&scene->runner, N, MORE);
}

static void look_with_none(void *userdata)
{
        struct scene *scene = userdata;

        feed_look_begin(feed_of(&scene->runner), &look);
        (void)feed_look_end(feed_of(&scene->runner), &look, now_monotonic());
        test_true(feed_next_done(feed_of(&scene->runner)) == FEED_NONE);
}

static void test_being_pushed(void)
{
        struct scene scene;

        setup_node(&scene);
        test_true(feed_withdraw(feed_of(&scene.runner), (uint32_t)scene.chunk));
        feed_release(feed_of(&scene.runner), (uint32_t)scene.chunk);
        step_through(&scene, run_push, look_with_none);
        teardown_node(&scene);
}

static void run_withdraw(void *userdata)
{
        struct scene *scene = userdata;

        (void)feed_withdraw(feed_of(&scene->runner), (uint32_t)scene->chunk);
}

static void look_with_piece(void *userdata)
{
        struct scene *scene = userdata;
        uint32_t n_left = chunk_of(scene)->n_left;

        feed_look_begin(feed_of(&scene->runner), &look);
        feed_look_hold(&look, row->worker.piece_of, row->worker.end - row->worker.next);
        (void)feed_look_end(feed_of(&scene->runner), &look, now_monotonic());
        test_int(chunk_of(scene)->n_left, ==, n_left);
}

static void test_being_withdrawn(void)
{
        struct scene scene;

        setup_node(&scene);
        test_true(worker_claim(&row->worker));
        step_through(&scene, run_withdraw, look_with_piece);
        teardown_node(&scene);
}

TEST_MAIN("worker-row", { "a job's worker is killed at every moment", test_killed_in_job },
          { "a node's worker is killed at every moment", test_killed_in_node },
          { "and no other can be started", test_killed_and_refused },
          { "a try ends, or has timed out", test_sealed },
          { "one that has timed out leaves no record", test_sealed_is_silent },
          { "what lives is not taken for lost", test_alive },
          { "nor what is being pushed", test_being_pushed },
          { "nor what is being withdrawn", test_being_withdrawn })

/*
 * The bare limits: what the work itself costs in C, with no daemon, job, record or time stamp
 * around it. `make bench` measures pppd against these in the same run.
 *
 *     limits sum THREADS N...            adds 0..N-1 one by one, numbers shared among threads
 *     limits claim THREADS N             N times fetch_add on one counter
 *     limits words-avx2 FILE             counts words, a loop of its own (valid UTF-8 only)
 *     limits words-own FILE              counts words by pppd's wordcount, without pppd
 *     limits files THREADS DIRECTORY     open, read, count and close each file of a directory
 *     limits msg-ring N IN-FLIGHT        N calls to a thread, which answers a ring
 * (IORING_OP_MSG_RING)
 *     limits commands THREADS N GROUP PROGRAM…
 *                                        N times a program, each in a cgroup of its own below the
 * directory GROUP, whose counters of CPU time are read: the sum is its result, in µs. With "-" for
 * GROUP they are in ours, and none is read
 *     limits commands-vfork …            the same with vfork(2) in the place of fork(2)
 *
 * Each prints its result and the seconds its work took. And, since a child of a large process
 * begins with that one's peak memory in its ru_maxrss:
 *
 *     limits measure FILE PROGRAM…       runs a program, writes its peak memory in KiB to FILE
 */

#include <dirent.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/sched.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/runner/workloads/wordcount.h"
#include "lib/cgroup-vfork.h"
#include "lib/cgroup.h"
#include "lib/util.h"

#define READ_SIZE   (256 * 1024)
#define THREADS_MAX 64

static double now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

_Noreturn static void die(const char *what)
{
        fprintf(stderr, "limits: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void report(uint64_t result, double began)
{
        printf("%llu %.6f\n", (unsigned long long)result, now() - began);
}

/* Work shared by threads: a counter to claim from, and a sum of results. */
struct shared {
        uint64_t n;
        char **names;
        int directory; /* commands: the group, or -EBADF */
        bool by_vfork;
        uint64_t next __attribute__((aligned(128)));
        uint64_t result __attribute__((aligned(128)));
};

static bool claim(struct shared *shared, uint64_t *ret)
{
        *ret = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED);
        return *ret < shared->n;
}

static void run_threads(struct shared *shared, void *(*function)(void *), unsigned n_threads)
{
        pthread_t threads[THREADS_MAX];

        if (n_threads < 1 || n_threads > THREADS_MAX) {
                errno = EINVAL;
                die("number of threads");
        }
        for (unsigned i = 1; i < n_threads; ++i)
                if (pthread_create(&threads[i], NULL, function, shared) != 0)
                        die("pthread_create");
        function(shared);
        for (unsigned i = 1; i < n_threads; ++i)
                pthread_join(threads[i], NULL);
}

static void *sum_thread(void *userdata)
{
        struct shared *shared = userdata;
        uint64_t k;

        while (claim(shared, &k)) {
                uint64_t n = strtoull(shared->names[k], NULL, 10), total = 0;

                for (uint64_t i = 0; i < n; ++i) {
                        __asm__ volatile("" : "+r"(i));
                        total += i;
                }
                __atomic_fetch_add(&shared->result, total, __ATOMIC_RELAXED);
        }
        return NULL;
}

static void *claim_thread(void *userdata)
{
        struct shared *shared = userdata;
        uint64_t k, n = 0;

        while (claim(shared, &k))
                ++n;
        __atomic_fetch_add(&shared->result, n, __ATOMIC_RELAXED);
        return NULL;
}

/*
 * The loop to compare with: 32 bytes a step, one bit a byte that says whether it belongs to a white
 * space; a word begins where such a bit is followed by one that is not set.
 */
struct avx2 {
        uint64_t words;
        uint32_t space_before; /* the last byte of the block before was (part of) a space */
        uint32_t carry;        /* of a space that began there: its bytes in this block */
};

__attribute__((target("avx2"))) static __m256i in_range(__m256i bytes, uint8_t first, uint8_t last)
{
        __m256i offset = _mm256_sub_epi8(bytes, _mm256_set1_epi8((char)first));

        return _mm256_cmpeq_epi8(_mm256_min_epu8(offset, _mm256_set1_epi8((char)(last - first))),
                                 offset);
}

__attribute__((target("avx2"))) static __m256i is(__m256i bytes, uint8_t value)
{
        return _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8((char)value));
}

/* The third byte of U+2000..200A, 2028, 2029, 202F. */
__attribute__((target("avx2"))) static __m256i is_third(__m256i c)
{
        return _mm256_or_si256(_mm256_or_si256(in_range(c, 0x80, 0x8a), in_range(c, 0xa8, 0xa9)),
                               is(c, 0xaf));
}

__attribute__((target("avx2"))) static uint64_t wide_spaces(const uint8_t *p, __m256i a)
{
        __m256i b = _mm256_loadu_si256((const void *)(p + 1)),
                c = _mm256_loadu_si256((const void *)(p + 2));
        __m256i two = _mm256_and_si256(is(a, 0xc2), _mm256_or_si256(is(b, 0x85), is(b, 0xa0)));
        __m256i e1 = _mm256_and_si256(is(a, 0xe1), _mm256_and_si256(is(b, 0x9a), is(c, 0x80)));
        __m256i e2 = _mm256_and_si256(is(a, 0xe2),
                                      _mm256_or_si256(_mm256_and_si256(is(b, 0x80), is_third(c)),
                                                      _mm256_and_si256(is(b, 0x81), is(c, 0x9f))));
        __m256i e3 = _mm256_and_si256(is(a, 0xe3), _mm256_and_si256(is(b, 0x80), is(c, 0x80)));
        uint64_t m2 = (uint32_t)_mm256_movemask_epi8(two);
        uint64_t m3 = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(e1, _mm256_or_si256(e2, e3)));

        return m2 | m2 << 1 | m3 | m3 << 1 | m3 << 2;
}

/* @p is followed by at least two more bytes. */
__attribute__((target("avx2,popcnt"))) static void avx2_block(struct avx2 *state, const uint8_t *p)
{
        __m256i a = _mm256_loadu_si256((const void *)p);
        uint64_t spaces = (uint32_t)_mm256_movemask_epi8(
                _mm256_or_si256(in_range(a, 9, 13), in_range(a, 28, 32)));
        uint32_t bits;

        spaces |= state->carry;
        if (_mm256_movemask_epi8(a))
                spaces |= wide_spaces(p, a);
        bits = (uint32_t)spaces;
        state->words += (unsigned)__builtin_popcount(~bits & (bits << 1 | state->space_before));
        state->space_before = bits >> 31;
        state->carry = (uint32_t)(spaces >> 32);
}

/* Reads so that each block has what follows it in the buffer: two bytes stay for the next round. */
static uint64_t words_avx2(int fd)
{
        static uint8_t buffer[READ_SIZE + 64] __attribute__((aligned(64)));
        struct avx2 state = { .space_before = 1 };
        size_t n = 0, at;
        ssize_t r;

        while ((r = read(fd, buffer + n, READ_SIZE - n)) > 0) {
                n += (size_t)r;
                for (at = 0; at + 34 <= n; at += 32)
                        avx2_block(&state, buffer + at);
                memmove(buffer, buffer + at, n - at);
                n -= at;
        }
        if (r < 0)
                die("read");
        memset(buffer + n, ' ', 64);
        for (at = 0; at < n; at += 32)
                avx2_block(&state, buffer + at);
        return state.words;
}

static uint64_t words_own(int fd, uint8_t *buffer)
{
        struct wordcount count = WORDCOUNT_NULL;
        ssize_t r;

        while ((r = read(fd, buffer, READ_SIZE)) > 0)
                wordcount_feed(&count, buffer, (size_t)r);
        if (r < 0)
                die("read");
        return wordcount_finish(&count);
}

static uint8_t *new_buffer(void)
{
        uint8_t *buffer = malloc(READ_SIZE);

        if (!buffer)
                die("malloc");
        return buffer;
}

static void *files_thread(void *userdata)
{
        _cleanup_free_ uint8_t *buffer = new_buffer();
        struct shared *shared = userdata;
        uint64_t k, total = 0;

        while (claim(shared, &k)) {
                int fd = openat(shared->directory, shared->names[k], O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        die(shared->names[k]);
                total += words_own(fd, buffer);
                close(fd);
        }
        __atomic_fetch_add(&shared->result, total, __ATOMIC_RELAXED);
        return NULL;
}

static void list_directory(struct shared *shared, const char *path)
{
        DIR *directory = opendir(path);
        size_t size = 0;

        if (!directory)
                die(path);
        shared->directory = dirfd(directory);
        for (struct dirent *entry; (entry = readdir(directory));) {
                if (entry->d_name[0] == '.')
                        continue;
                if (shared->n == size) {
                        size = size ? 2 * size : 1024;
                        shared->names = realloc(shared->names, size * sizeof(char *));
                }
                if (!shared->names || !(shared->names[shared->n++] = strdup(entry->d_name)))
                        die("malloc");
        }
}

/* A thread that does nothing with what it is handed but answer. */
struct answerer {
        struct io_uring to; /* whom it answers */
        sem_t handed;
        uint64_t n;
};

static void *answer_thread(void *userdata)
{
        struct answerer *answerer = userdata;
        struct io_uring ring;

        if (io_uring_queue_init(2, &ring, 0) < 0)
                die("io_uring_queue_init");
        for (uint64_t i = 0; i < answerer->n; ++i) {
                struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
                struct io_uring_cqe *cqe;

                while (sem_wait(&answerer->handed) < 0)
                        ;
                io_uring_prep_msg_ring(sqe, answerer->to.ring_fd, 0, i, 0);
                if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_peek_cqe(&ring, &cqe) < 0 ||
                    cqe->res < 0)
                        die("IORING_OP_MSG_RING");
                io_uring_cqe_seen(&ring, cqe);
        }
        return NULL;
}

static uint64_t call_thread(uint64_t n, uint64_t n_in_flight)
{
        struct answerer answerer = { .n = n };
        uint64_t n_handed = 0, n_answered = 0;
        pthread_t thread;

        if (io_uring_queue_init(4096, &answerer.to, 0) < 0 ||
            sem_init(&answerer.handed, 0, 0) < 0 ||
            pthread_create(&thread, NULL, answer_thread, &answerer) != 0)
                die("msg-ring");
        while (n_answered < n) {
                struct io_uring_cqe *cqe;
                unsigned head, n_seen = 0;

                for (; n_handed < n && n_handed - n_answered < n_in_flight; ++n_handed)
                        sem_post(&answerer.handed);
                if (io_uring_wait_cqe(&answerer.to, &cqe) < 0)
                        die("io_uring_wait_cqe");
                io_uring_for_each_cqe(&answerer.to, head, cqe)++ n_seen;
                io_uring_cq_advance(&answerer.to, n_seen);
                n_answered += n_seen;
        }
        pthread_join(thread, NULL);
        return n_answered;
}

static void run_program(void *argv)
{
        execve(*(char **)argv, argv, environ);
        (void)syscall(SYS_exit_group, 127);
}

/* The pidfd of a program that has been started. */
static int start_by_fork(int group_fd, char **argv)
{
        int pidfd = -EBADF;
        struct clone_args args = {
                .flags = CLONE_PIDFD,
                .pidfd = (uint64_t)(uintptr_t)&pidfd,
                .exit_signal = SIGCHLD,
        };
        long pid;

        if (group_fd >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)group_fd;
        }
        pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid == 0)
                run_program(argv);
        if (pid < 0)
                die("clone3");
        return pidfd;
}

static int start_command(const struct shared *shared, int group_fd)
{
        int pidfd = -EBADF, r;

        if (!shared->by_vfork)
                return start_by_fork(group_fd, shared->names);
        r = cgroup_vfork(group_fd, &pidfd, run_program, shared->names);
        if (r < 0) {
                errno = -r;
                die("clone3 with CLONE_VFORK");
        }
        return pidfd;
}

static void await_command(int pidfd)
{
        struct pollfd poll_fd = { pidfd, POLLIN, 0 };
        siginfo_t info;

        while (poll(&poll_fd, 1, -1) < 0)
                ;
        if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
                die("waitid");
        if (info.si_code != CLD_EXITED || info.si_status != 0) {
                errno = ECHILD;
                die("a command has failed");
        }
        close(pidfd);
}

static uint64_t read_cpu_usec(int group_fd)
{
        int fd = openat(group_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
        uint64_t usec = 0;
        char text[4096];
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

        if (n < 0)
                die("cpu.stat");
        close(fd);
        text[n] = 0;
        (void)cgroup_find_keyed(text, "usage_usec", &usec);
        return usec;
}

static uint64_t run_in_group(const struct shared *shared, uint64_t number)
{
        uint64_t usec;
        char name[32];
        int fd;

        snprintf(name, sizeof(name), "task-%llu", (unsigned long long)number);
        if (mkdirat(shared->directory, name, 0755) < 0)
                die(name);
        fd = openat(shared->directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                die(name);
        await_command(start_command(shared, fd));
        usec = read_cpu_usec(fd);
        close(fd);
        if (unlinkat(shared->directory, name, AT_REMOVEDIR) < 0)
                die(name);
        return usec;
}

static void *commands_thread(void *userdata)
{
        struct shared *shared = userdata;
        uint64_t k, usec = 0;

        while (claim(shared, &k)) {
                if (shared->directory >= 0)
                        usec += run_in_group(shared, k);
                else
                        await_command(start_command(shared, -EBADF));
        }
        __atomic_fetch_add(&shared->result, usec, __ATOMIC_RELAXED);
        return NULL;
}

/* A group for the groups of commands, with all controllers that a job of pppd's gives its own. */
static void run_commands(struct shared *shared, unsigned n_threads, const char *group)
{
        bool grouped = !streq(group, "-");
        int fd = grouped ? open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        unsigned enabled;

        shared->directory = -EBADF;
        if (grouped && (fd < 0 || cgroup_make(fd, "limits", &shared->directory) < 0))
                die(group);
        if (grouped && cgroup_enable_controllers(shared->directory, &enabled) < 0)
                die("cgroup.subtree_control");
        run_threads(shared, commands_thread, n_threads);
        if (grouped && unlinkat(fd, "limits", AT_REMOVEDIR) < 0)
                die(group);
}

static int open_file(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                die(path);
        return fd;
}

/* Returns the program's exit status. */
static int measure(const char *path, char **argv)
{
        struct rusage usage;
        FILE *file;
        pid_t pid;
        int status;

        errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
        if (errno != 0 || wait4(pid, &status, 0, &usage) < 0)
                die(argv[0]);
        file = fopen(path, "we");
        if (!file || fprintf(file, "%ld\n", usage.ru_maxrss) < 0 || fclose(file) != 0)
                die(path);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
        struct shared shared = { 0 };
        const char *verb = argc > 2 ? argv[1] : "";
        double began = now();

        if (streq(verb, "sum") && argc > 3) {
                shared.n = (uint64_t)argc - 3;
                shared.names = argv + 3;
                run_threads(&shared, sum_thread, (unsigned)atoi(argv[2]));
        } else if (streq(verb, "claim") && argc == 4) {
                shared.n = strtoull(argv[3], NULL, 10);
                run_threads(&shared, claim_thread, (unsigned)atoi(argv[2]));
        } else if (streq(verb, "words-avx2")) {
                shared.result = words_avx2(open_file(argv[2]));
        } else if (streq(verb, "words-own")) {
                shared.result = words_own(open_file(argv[2]), new_buffer());
        } else if (streq(verb, "files") && argc == 4) {
                list_directory(&shared, argv[3]);
                run_threads(&shared, files_thread, (unsigned)atoi(argv[2]));
        } else if (streq(verb, "msg-ring") && argc == 4) {
                shared.result =
                        call_thread(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        } else if ((streq(verb, "commands") || streq(verb, "commands-vfork")) && argc > 5) {
                shared.by_vfork = streq(verb, "commands-vfork");
                shared.n = strtoull(argv[3], NULL, 10);
                shared.names = argv + 5;
                run_commands(&shared, (unsigned)atoi(argv[2]), argv[4]);
        } else if (streq(verb, "measure") && argc > 3) {
                return measure(argv[2], argv + 3);
        } else {
                fprintf(stderr, "usage: limits sum|claim|words-avx2|words-own|files|msg-ring|"
                                "commands|commands-vfork|measure …\n");
                return 2;
        }
        report(shared.result, began);
        return 0;
}

/* The owners that have chunks, and their runners: started, told to leave, reaped, started again. */

#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "daemon/runner/node/keeper.h"
#include "lib/cgroup.h"
#include "lib/patience.h"

#define KNOWN_MAX 1024               /* owners */
#define TURN_NS   (1 * NSEC_PER_SEC) /* a runner's, when others wait */
#define SOON_NS   (5 * NSEC_PER_SEC)
#define RETRY_NS  (100 * NSEC_PER_MSEC) /* after the first death; twice that after the next, … */
#define RETRY_MAX (60 * NSEC_PER_SEC)   /* … and at most this */
#define NAME_SIZE 24

static const char *group_name(const struct owner *owner, char text[static NAME_SIZE])
{
        snprintf(text, NAME_SIZE, "owner-%u", owner->place);
        return text;
}

int owners_init(struct keeper *keeper)
{
        keeper->places = calloc((keeper->terms.owners_max + 63) / 64, sizeof(*keeper->places));
        if (!keeper->places)
                return -ENOMEM;
        keeper->events_fd = epoll_create1(EPOLL_CLOEXEC);
        return keeper->events_fd < 0 ? -errno : 0;
}

static void owner_free(struct owner *owner)
{
        if (owner->share)
                munmap(owner->share, sizeof(*owner->share));
        close_fd(owner->pidfd);
        close_fd(owner->group_fd);
        close_fd(owner->events_fd);
        free(owner->name);
        free(owner);
}

void owners_deinit(struct keeper *keeper)
{
        if (keeper->n_places > 0)
                owners_kill(keeper);
        while (keeper->owners) {
                struct owner *owner = keeper->owners;

                keeper->owners = owner->next;
                owner_free(owner);
        }
        free(keeper->places);
        keeper->events_fd = close_fd(keeper->events_fd);
}

/* Owners that are heard of */

static void append(struct keeper *keeper, struct owner *owner)
{
        struct owner **end = &keeper->owners;

        while (*end)
                end = &(*end)->next;
        owner->next = NULL;
        *end = owner;
}

static void unlink_owner(struct keeper *keeper, struct owner *owner)
{
        struct owner **p = &keeper->owners;

        while (*p != owner)
                p = &(*p)->next;
        *p = owner->next;
}

static struct owner *find(const struct keeper *keeper, struct piece name)
{
        for (struct owner *owner = keeper->owners; owner; owner = owner->next)
                if (strlen(owner->name) == name.size &&
                    memcmp(owner->name, name.data, name.size) == 0)
                        return owner;
        return NULL;
}

static struct owner *add(struct keeper *keeper, struct piece name)
{
        struct owner *owner = NULL;

        if (keeper->n_owners < KNOWN_MAX)
                owner = calloc(1, sizeof(*owner));
        else if (!keeper->many_said)
                log_error("more than %d owners have jobs: others of them wait until some have none",
                          KNOWN_MAX);
        keeper->many_said = keeper->many_said || keeper->n_owners >= KNOWN_MAX;
        if (!owner)
                return NULL;
        owner->name = strndup(name.data, name.size);
        owner->pidfd = owner->group_fd = owner->events_fd = -EBADF;
        if (!owner->name) {
                free(owner);
                return NULL;
        }
        append(keeper, owner);
        ++keeper->n_owners;
        return owner;
}

void owners_hear(struct keeper *keeper, struct piece name)
{
        struct owner *owner = find(keeper, name) ?: add(keeper, name);

        if (!owner)
                return;
        owner->wanted_ns = now_monotonic();
        if (owner->share)
                __atomic_store_n(&owner->share->wanted_ns, owner->wanted_ns, __ATOMIC_RELAXED);
}

static void forget(struct keeper *keeper, struct owner *owner)
{
        unlink_owner(keeper, owner);
        --keeper->n_owners;
        owner_free(owner);
}

/* Starting a runner */

static void take_place(struct keeper *keeper, struct owner *owner)
{
        owner->place = 0;
        while (keeper->places[owner->place / 64] >> (owner->place % 64) & 1)
                ++owner->place;
        keeper->places[owner->place / 64] |= UINT64_C(1) << (owner->place % 64);
        ++keeper->n_places;
}

static void leave_place(struct keeper *keeper, struct owner *owner)
{
        keeper->places[owner->place / 64] &= ~(UINT64_C(1) << (owner->place % 64));
        --keeper->n_places;
}

static void drop_group(struct keeper *keeper, struct owner *owner)
{
        char name[NAME_SIZE];
        int r;

        owner->events_fd = close_fd(owner->events_fd);
        if (owner->group_fd < 0)
                return;
        owner->group_fd = close_fd(owner->group_fd);
        r = cgroup_remove(keeper->cgroup_fd, group_name(owner, name));
        if (r < 0)
                log_error("cannot remove the cgroup %s of what ran for %s: %s", name, owner->name,
                          strerrordesc_np(-r));
}

static int limit_group(const struct keeper *keeper, const struct owner *owner)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;
        int r = limits_apply(&keeper->terms.owner_limits, owner->group_fd, "owner_limits", &fault);

        if (r < 0)
                log_error("cannot limit what runs for %s: %s: %s; %s", owner->name, fault.field,
                          fault.why, fault.advice);
        return r;
}

/* Where no group can be made, and none is needed for a limit, the runner is in the node's. */
static int make_group(struct keeper *keeper, struct owner *owner, int *ret_fd)
{
        bool needed = keeper->terms.owner_limits.given != 0;
        unsigned enabled;
        char name[NAME_SIZE];
        int r;

        *ret_fd = -EBADF;
        if (keeper->cgroup_fd < 0)
                return needed ? -ENOENT : 0;
        r = cgroup_remove(keeper->cgroup_fd, group_name(owner, name));
        if (r >= 0)
                r = cgroup_make(keeper->cgroup_fd, name, &owner->group_fd);
        if (r >= 0)
                r = cgroup_enable_controllers(owner->group_fd, &enabled);
        if (r >= 0 && needed)
                r = limit_group(keeper, owner);
        if (r >= 0)
                r = cgroup_make(owner->group_fd, "runner", ret_fd);
        if (r >= 0)
                return 0;
        log_error("cannot make the cgroup %s for what runs for %s: %s%s", name, owner->name,
                  strerrordesc_np(-r), needed ? "" : "; it runs in the node's");
        drop_group(keeper, owner);
        return needed ? r : 0;
}

/* In the child: lets go of everything that belongs to the keeper. */
static __attribute__((noreturn)) void owner_main(struct keeper *keeper, struct owner *self)
{
        redis_forget(&keeper->link.commands);
        redis_forget(&keeper->link.reader);
        close_fd(keeper->events_fd);
        close_fd(keeper->stop_fd);
        for (struct owner *owner = keeper->owners; owner; owner = owner->next) {
                if (owner == self)
                        continue;
                close_fd(owner->pidfd);
                close_fd(owner->group_fd);
                close_fd(owner->events_fd);
        }
        _exit(node_serve(&keeper->terms, self->name, self->share, self->group_fd));
}

static int fork_runner(struct keeper *keeper, struct owner *owner, int leaf_fd)
{
        pid_t parent = getpid(), pid;
        sigset_t signals, before;

        /* The child must not hear of a signal while it still has the keeper's handler. */
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGUSR1);
        sigprocmask(SIG_BLOCK, &signals, &before);
        pid = cgroup_fork(leaf_fd, &owner->pidfd);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                owner_main(keeper, owner);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        owner->pid = pid;
        return pid < 0 ? (int)pid : 0;
}

static int watch(struct keeper *keeper, struct owner *owner, int fd, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = owner };

        return epoll_ctl(keeper->events_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Runners that were forked since have it too, so closing it is not enough. */
static int unwatch(struct keeper *keeper, int fd)
{
        if (fd >= 0)
                (void)epoll_ctl(keeper->events_fd, EPOLL_CTL_DEL, fd, NULL);
        return close_fd(fd);
}

static int make_share(struct owner *owner)
{
        void *share = mmap(NULL, sizeof(*owner->share), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (share == MAP_FAILED)
                return -errno;
        owner->share = share;
        owner->share->wanted_ns = owner->wanted_ns;
        return 0;
}

static void drop_share(struct keeper *keeper, struct owner *owner)
{
        if (!owner->share)
                return;
        keeper->n_done += owner->share->n_done;
        keeper->n_failed += owner->share->n_failed;
        munmap(owner->share, sizeof(*owner->share));
        owner->share = NULL;
}

static uint64_t retry_delay(const struct owner *owner)
{
        return MIN(RETRY_NS << MIN(owner->n_deaths - 1, 10U), (uint64_t)RETRY_MAX);
}

static void start(struct keeper *keeper, struct owner *owner)
{
        _cleanup_close_ int leaf_fd = -EBADF;
        int r;

        take_place(keeper, owner);
        r = make_share(owner);
        if (r >= 0)
                r = make_group(keeper, owner, &leaf_fd);
        if (r >= 0)
                r = fork_runner(keeper, owner, leaf_fd);
        if (r >= 0)
                r = watch(keeper, owner, owner->pidfd, EPOLLIN);
        owner->started_ns = now_monotonic();
        if (r >= 0) {
                owner->state = OWNER_RUNS;
                return;
        }
        log_error("cannot start a runner for %s: %s; trying again", owner->name,
                  strerrordesc_np(-r));
        if (owner->pidfd >= 0) {
                (void)kill(owner->pid, SIGKILL);
                (void)waitpid(owner->pid, NULL, 0);
                owner->pidfd = close_fd(owner->pidfd);
        }
        drop_share(keeper, owner);
        drop_group(keeper, owner);
        leave_place(keeper, owner);
        ++owner->n_deaths;
        owner->retry_ns = owner->started_ns + retry_delay(owner);
}

/* Whose turn it is */

static void tell_to_yield(struct owner *owner)
{
        __atomic_store_n(&owner->share->yields, 1, __ATOMIC_RELAXED);
        (void)pidfd_send_signal(owner->pidfd, SIGUSR1, NULL, 0);
}

/*
 * The owner whose runner has to leave: one that has nothing in hand, or the one that has run
 * longest; NULL: none before *until.
 */
static struct owner *find_yielding(const struct keeper *keeper, uint64_t now, uint64_t *until)
{
        struct owner *found = NULL;

        for (struct owner *owner = keeper->owners; owner; owner = owner->next) {
                if (owner->state != OWNER_RUNS || owner->share->yields)
                        continue;
                if (owner->started_ns + TURN_NS > now) {
                        *until = MIN(*until, owner->started_ns + TURN_NS);
                        continue;
                }
                if (__atomic_load_n(&owner->share->n_held, __ATOMIC_RELAXED) == 0)
                        return owner;
                if (!found || owner->started_ns < found->started_ns)
                        found = owner;
        }
        return found;
}

static void make_places(struct keeper *keeper, unsigned n_waiting, uint64_t now, uint64_t *until)
{
        unsigned n_leaving = 0;

        for (const struct owner *owner = keeper->owners; owner; owner = owner->next)
                n_leaving += owner->state == OWNER_CLEARING ||
                             (owner->state == OWNER_RUNS && owner->share->yields);
        for (; n_leaving < n_waiting; ++n_leaving) {
                struct owner *owner = find_yielding(keeper, now, until);

                if (!owner)
                        return;
                tell_to_yield(owner);
        }
}

uint64_t owners_turn(struct keeper *keeper)
{
        uint64_t now = now_monotonic(), until = UINT64_MAX;
        struct owner *owner, *next;
        unsigned n_waiting = 0;

        for (owner = keeper->owners; owner && !keeper->stopping; owner = next) {
                next = owner->next;
                if (owner->state != OWNER_WAITS)
                        continue;
                if (owner->wanted_ns + patience(MACHINES_WANTED_NS) < now)
                        forget(keeper, owner);
                else if (owner->retry_ns > now)
                        until = MIN(until, owner->retry_ns);
                else if (keeper->n_places < keeper->terms.owners_max)
                        start(keeper, owner);
                else
                        ++n_waiting;
        }
        if (n_waiting > 0)
                make_places(keeper, n_waiting, now, &until);
        return until;
}

/* The end of a runner */

static bool others_run(const struct keeper *keeper)
{
        for (const struct owner *owner = keeper->owners; owner; owner = owner->next)
                if (owner->state == OWNER_RUNS)
                        return true;
        return false;
}

static void cleared(struct keeper *keeper, struct owner *owner)
{
        owner->events_fd = unwatch(keeper, owner->events_fd);
        drop_group(keeper, owner);
        leave_place(keeper, owner);
        owner->state = OWNER_WAITS;
        /* Behind those that wait already. */
        unlink_owner(keeper, owner);
        append(keeper, owner);
}

/* Processes that it has left in its group go too. */
static void clear(struct keeper *keeper, struct owner *owner)
{
        bool populated = false;
        int r = 0;

        owner->state = OWNER_CLEARING;
        if (owner->group_fd >= 0) {
                r = cgroup_events_open(owner->group_fd, &owner->events_fd);
                if (r >= 0)
                        (void)cgroup_kill(owner->group_fd);
                if (r >= 0)
                        r = cgroup_events_read(owner->events_fd, &populated, NULL);
                if (r >= 0 && populated)
                        r = watch(keeper, owner, owner->events_fd, EPOLLPRI);
        }
        if (r < 0 || !populated)
                cleared(keeper, owner);
}

static void note_death(struct owner *owner, const siginfo_t *info)
{
        uint64_t now = now_monotonic();

        owner->n_deaths = now - owner->started_ns < SOON_NS ? owner->n_deaths + 1 : 1;
        owner->retry_ns = now + retry_delay(owner);
        log_error("the runner for %s was ended by %s %d; what it had in hand is run by another "
                  "node, or here once that is sure to be nobody's",
                  owner->name, info->si_code == CLD_EXITED ? "exit status" : "signal",
                  info->si_status);
}

static int ended(struct keeper *keeper, struct owner *owner)
{
        siginfo_t info = {};
        bool refused;

        if (waitid(P_PIDFD, (id_t)owner->pidfd, &info, WEXITED | WNOHANG) < 0)
                return -errno;
        if (info.si_pid == 0)
                return 0;
        owner->pidfd = unwatch(keeper, owner->pidfd);
        drop_share(keeper, owner);
        owner->retry_ns = 0;
        refused = info.si_code == CLD_EXITED && info.si_status == EXIT_FAILURE;
        if (info.si_code == CLD_EXITED && info.si_status == EXIT_SUCCESS)
                owner->n_deaths = 0;
        else if (refused)
                owner->retry_ns = now_monotonic() + RETRY_MAX;
        else if (!keeper->stopping)
                note_death(owner, &info);
        clear(keeper, owner);
        /* It has said why. If the reason affects only one owner, the runners of others will show
         * that. */
        return refused && !keeper->stopping && !others_run(keeper) ? -ECHILD : 0;
}

int owners_look(struct keeper *keeper)
{
        struct epoll_event events[16];
        int n = epoll_wait(keeper->events_fd, events, ARRAY_SIZE(events), 0), r = 0;

        for (int i = 0; i < n && r >= 0; ++i) {
                struct owner *owner = events[i].data.ptr;
                bool populated;

                if (owner->state == OWNER_RUNS)
                        r = ended(keeper, owner);
                else if (owner->state == OWNER_CLEARING &&
                         (cgroup_events_read(owner->events_fd, &populated, NULL) < 0 || !populated))
                        cleared(keeper, owner);
        }
        return r;
}

void owners_leave(struct keeper *keeper)
{
        for (const struct owner *owner = keeper->owners; owner; owner = owner->next)
                if (owner->state == OWNER_RUNS)
                        (void)pidfd_send_signal(owner->pidfd, SIGTERM, NULL, 0);
}

void owners_kill(struct keeper *keeper)
{
        for (const struct owner *owner = keeper->owners; owner; owner = owner->next)
                if (owner->pidfd >= 0)
                        (void)pidfd_send_signal(owner->pidfd, SIGKILL, NULL, 0);
}

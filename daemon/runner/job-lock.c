#include "daemon/runner/job-lock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/util.h"

static bool swap(struct job_lock *lock, uint32_t from, uint32_t to)
{
        return __atomic_compare_exchange_n(&lock->owner, &from, to, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
}

/* One that had to wait cannot know whether others do, so it says that they may. */
void job_lock_acquire(struct job_lock *lock)
{
        uint32_t self = (uint32_t)gettid();

        if (_likely_(swap(lock, 0, self)))
                return;
        for (;;) {
                uint32_t owner = __atomic_load_n(&lock->owner, __ATOMIC_SEQ_CST);
                uint32_t waited = owner | JOB_LOCK_WAITERS;

                if (owner == 0 && swap(lock, 0, self | JOB_LOCK_WAITERS))
                        return;
                if (owner != 0 && (owner == waited || swap(lock, owner, waited)))
                        (void)syscall(SYS_futex, &lock->owner, FUTEX_WAIT, waited, NULL, NULL, 0);
        }
}

void job_lock_release(struct job_lock *lock)
{
        uint32_t owner = __atomic_exchange_n(&lock->owner, 0, __ATOMIC_SEQ_CST);

        assert(owner != 0);
        if (owner & JOB_LOCK_WAITERS)
                (void)syscall(SYS_futex, &lock->owner, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * The lock protects a counter, which is never half written. The dead may also have been woken for
 * the lock and not have taken it, so another is woken in any case.
 */
void job_lock_bury(struct job_lock *lock, pid_t pid)
{
        if (!swap(lock, (uint32_t)pid, 0))
                (void)swap(lock, (uint32_t)pid | JOB_LOCK_WAITERS, 0);
        (void)syscall(SYS_futex, &lock->owner, FUTEX_WAKE, 1, NULL, NULL, 0);
}

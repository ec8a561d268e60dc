/*
 * Guard pages are of one of two kinds. mprotect(2) splits the mapping in two, and a process may
 * have 65530 of them (vm.max_map_count), which is enough for only 32,000 fibers. MADV_GUARD_INSTALL
 * (6.13) marks the page inside its mapping, and neighbouring stacks stay one mapping: this has no
 * such limit, and is half the work.
 */

#include "daemon/runner/loop/fiber-stack.h"

#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum guard_kind {
        GUARD_UNKNOWN,
        GUARD_MARKER,
        GUARD_PROTECTION,
};

/* Whether @page faults, asked without faulting: access(2) reads its path from there. */
static bool page_is_guarded(const void *page)
{
        return access(page, F_OK) < 0 && errno == EFAULT;
}

/*
 * Emulators (qemu-user) accept advice they don't know and say it is done: check once whether it is.
 */
static enum guard_kind guard_install(void *page, size_t size, enum guard_kind kind)
{
        if (kind == GUARD_PROTECTION || madvise(page, size, MADV_GUARD_INSTALL) < 0)
                return GUARD_PROTECTION;
        if (kind == GUARD_UNKNOWN && !page_is_guarded(page))
                return GUARD_PROTECTION;
        return GUARD_MARKER;
}

static int guard_page(void *page, size_t size)
{
        static int kind = GUARD_UNKNOWN; /* the same answer, whichever thread finds it first */
        enum guard_kind known = __atomic_load_n(&kind, __ATOMIC_RELAXED), found;

        found = guard_install(page, size, known);
        if (found != known)
                __atomic_store_n(&kind, found, __ATOMIC_RELAXED);
        if (found == GUARD_PROTECTION && mprotect(page, size, PROT_NONE) < 0)
                return -errno;
        return 0;
}

int fiber_stack_map(size_t size, struct fiber_stack *ret)
{
        struct fiber_stack stack = FIBER_STACK_NULL;
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        int r;

        if (size == 0 || size > SIZE_MAX / 2)
                return -EINVAL;
        stack.size = (size + page - 1) / page * page;
        stack.mapping_size = stack.size + page;
        stack.mapping = mmap(NULL, stack.mapping_size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        if (stack.mapping == MAP_FAILED)
                return -errno;
        stack.bottom = (char *)stack.mapping + page;
        r = guard_page(stack.mapping, page);
        if (r < 0) {
                fiber_stack_unmap(&stack);
                return r;
        }
        *ret = stack;
        return 0;
}

void fiber_stack_unmap(struct fiber_stack *stack)
{
        if (stack->mapping)
                (void)munmap(stack->mapping, stack->mapping_size);
        *stack = (struct fiber_stack)FIBER_STACK_NULL;
}

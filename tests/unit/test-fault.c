/* Faults: what each constructor sets, sentences, and what is left when there is no memory. */

#include <stdio.h>

#include "lib/fault.h"
#include "tests/unit/test.h"

/* Allocations that succeed before all fail; -1: none fails. */
static int n_left = -1;

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
int __real_vasprintf(char **ret, const char *format, va_list args);
int __wrap_vasprintf(char **ret, const char *format, va_list args) _printf_(2, 0);

static bool fails(void)
{
        if (n_left < 0)
                return false;
        return n_left == 0 || n_left-- == 0;
}

char *__wrap_strdup(const char *text)
{
        return fails() ? NULL : __real_strdup(text);
}

/* The result is undefined after a failure. */
int __wrap_vasprintf(char **ret, const char *format, va_list args)
{
        if (!fails())
                return __real_vasprintf(ret, format, args);
        *ret = (char *)1;
        return -1;
}

int __real___vasprintf_chk(char **ret, int flag, const char *format, va_list args);
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args);

/* The same where the C library's headers check formats (_FORTIFY_SOURCE). */
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args)
{
        if (!fails())
                return __real___vasprintf_chk(ret, flag, format, args);
        *ret = (char *)1;
        return -1;
}

static void check(const struct fault *fault, int error, const char *sentence)
{
        _cleanup_free_ char *text = fault_sentence(fault);

        test_int(fault->error, ==, error);
        test_str(text, sentence);
}

static void test_constructors(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        test_int(fault_errno(&fault, -ENOENT, "check the path", "open %s", "x"), ==, -ENOENT);
        check(&fault, -ENOENT, "cannot open x: No such file or directory; check the path");
        test_int(fault_errno(&fault, -EIO, NULL, "read %d bytes", 5), ==, -EIO);
        check(&fault, -EIO, "cannot read 5 bytes: Input/output error");
        test_int(fault_why(&fault, -EINVAL, "it is odd", "mend it", "use %c", 'x'), ==, -EINVAL);
        check(&fault, -EINVAL, "cannot use x: it is odd; mend it");
        test_int(fault_say(&fault, -EDQUOT, "wait", "%d are too many", 9), ==, -EDQUOT);
        test_true(!fault.field && !fault.attempted);
        check(&fault, -EDQUOT, "9 are too many; wait");
        test_int(fault_attempt(&fault, "admit job %d", 12), ==, -EDQUOT);
        check(&fault, -EDQUOT, "cannot admit job 12: 9 are too many; wait");
        test_int(fault_advise(&fault, "%s, or ask for %d", fault.advice, 8), ==, -EDQUOT);
        check(&fault, -EDQUOT, "cannot admit job 12: 9 are too many; wait, or ask for 8");
        test_int(fault_refuse(&fault, -EBADMSG, "spec.workers", NULL, "it is %d", 0), ==, -EBADMSG);
        test_str(fault.field, "spec.workers");
        check(&fault, -EBADMSG, "it is 0");
}

static void test_from_its_own_texts(void)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        fault_errno(&fault, -EIO, "see the log", "read it");
        fault_why(&fault, -EIO, fault.why, fault.advice, "start: %s", fault.attempted);
        check(&fault, -EIO, "cannot start: read it: Input/output error; see the log");
}

static void test_empty(void)
{
        struct fault fault = FAULT_NULL;

        fault_deinit(&fault);
        fault_errno(&fault, -EIO, "advice", "try");
        fault_deinit(&fault);
        test_true(fault.error == 0 && !fault.attempted && !fault.why && !fault.advice);
        test_str(fault_text(NULL), "(out of memory)");
}

static int fill(struct fault *fault)
{
        (void)fault_errno(fault, -EIO, "advice", "read %s", "x");
        (void)fault_refuse(fault, -EDOM, "spec.cpus", "advice", "it is %s", "odd");
        return fault_attempt(fault, "set %s", "it");
}

/* Whichever text finds no memory, error and texts are there, and all is freed as ever. */
static void test_no_memory(void)
{
        bool last = false;

        for (int n = 0; !last; ++n) {
                _cleanup_fault_ struct fault fault = FAULT_NULL;
                int r;

                n_left = n;
                r = fill(&fault);
                last = n_left > 0;
                n_left = -1;
                test_int(r, ==, -EDOM);
                test_int(fault.error, ==, -EDOM);
                test_true(fault.field && fault.attempted && fault.why && fault.advice);
                if (n == 0)
                        check(&fault, -EDOM,
                              "cannot (out of memory): (out of memory); (out of memory)");
                if (last)
                        check(&fault, -EDOM, "cannot set it: it is odd; advice");
        }
}

TEST_MAIN("fault", { "what each constructor sets", test_constructors },
          { "a fault is made of its own texts", test_from_its_own_texts },
          { "an empty fault", test_empty }, { "no memory for its texts", test_no_memory })

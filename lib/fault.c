#include "lib/fault.h"

#include <stdio.h>

char fault_no_memory[] = "(out of memory)";

static void free_text(char *text)
{
        if (text != fault_no_memory)
                free(text);
}

void fault_deinit(struct fault *fault)
{
        free_text(fault->field);
        free_text(fault->attempted);
        free_text(fault->why);
        free_text(fault->advice);
        *fault = (struct fault)FAULT_NULL;
}

static char *copy(const char *text)
{
        return text ? strdup(text) ?: fault_no_memory : NULL;
}

static _printf_(1, 0) char *format(const char *text, va_list args)
{
        char *ret;

        return vasprintf(&ret, text, args) < 0 ? fault_no_memory : ret;
}

/* The texts are copied before the old ones go: they may be parts of those. */
static int set(struct fault *fault, int error, const char *field, char *attempted, char *why,
               const char *advice)
{
        struct fault new = { error, copy(field), attempted, why, copy(advice) };

        assert(error < 0);
        fault_deinit(fault);
        *fault = new;
        return error;
}

int fault_errno(struct fault *fault, int error, const char *advice, const char *attempted, ...)
{
        va_list args;
        char *text;

        va_start(args, attempted);
        text = format(attempted, args);
        va_end(args);
        return set(fault, error, NULL, text, copy(strerror(-error)), advice);
}

int fault_why(struct fault *fault, int error, const char *why, const char *advice,
              const char *attempted, ...)
{
        va_list args;
        char *text;

        va_start(args, attempted);
        text = format(attempted, args);
        va_end(args);
        return set(fault, error, NULL, text, copy(why), advice);
}

int fault_refuse_v(struct fault *fault, int error, const char *field, const char *advice,
                   const char *why, va_list args)
{
        return set(fault, error, field, NULL, format(why, args), advice);
}

int fault_refuse(struct fault *fault, int error, const char *field, const char *advice,
                 const char *why, ...)
{
        va_list args;
        int r;

        va_start(args, why);
        r = fault_refuse_v(fault, error, field, advice, why, args);
        va_end(args);
        return r;
}

int fault_say(struct fault *fault, int error, const char *advice, const char *why, ...)
{
        va_list args;
        int r;

        va_start(args, why);
        r = fault_refuse_v(fault, error, NULL, advice, why, args);
        va_end(args);
        return r;
}

/* @args may be parts of the fault, too. */
static _printf_(3, 0) int replace(struct fault *fault, char **text, const char *by, va_list args)
{
        char *new = format(by, args);

        assert(fault->error < 0);
        free_text(*text);
        *text = new;
        return fault->error;
}

int fault_attempt(struct fault *fault, const char *attempted, ...)
{
        va_list args;
        int r;

        va_start(args, attempted);
        r = replace(fault, &fault->attempted, attempted, args);
        va_end(args);
        return r;
}

int fault_advise(struct fault *fault, const char *advice, ...)
{
        va_list args;
        int r;

        va_start(args, advice);
        r = replace(fault, &fault->advice, advice, args);
        va_end(args);
        return r;
}
char *fault_sentence(const struct fault *fault)
{
        char *text;

        if (asprintf(&text, "%s%s%s%s%s%s", fault->attempted ? "cannot " : "",
                     fault->attempted ?: "", fault->attempted ? ": " : "", fault->why,
                     fault->advice ? "; " : "", fault->advice ?: "") < 0)
                return NULL;
        return text;
}

#pragma once

/*
 * A Redis that there is not: commands are kept, and answered when the test says so. To be included
 * by one file of a program that the Makefile links with redis_send() and redis_send_argv() wrapped.
 */

#include <hiredis/hiredis.h>
#include <stdarg.h>

#include "tests/unit/redis-reply.h"
#include "tests/unit/test.h"

#define FAKE_COMMANDS_MAX 512

static struct {
        struct {
                char *text; /* its words, with a blank between; "@N": N bytes that are no text */
                struct redis *redis;
                redis_reply_fn *fn;
                void *userdata;
                bool answered;
        } list[FAKE_COMMANDS_MAX];
        size_t n, n_checked;
} fake;

int __wrap_redis_send(struct redis *redis, redis_reply_fn *fn, void *userdata, const char *format,
                      ...) _printf_(4, 5);
int __wrap_redis_send_argv(struct redis *redis, redis_reply_fn *fn, void *userdata, int argc,
                           const char **argv, const size_t *sizes);

static int fake_add(struct redis *redis, redis_reply_fn *fn, void *userdata, char *text)
{
        test_int(fake.n, <, FAKE_COMMANDS_MAX);
        fake.list[fake.n].text = text;
        fake.list[fake.n].redis = redis;
        fake.list[fake.n].fn = fn;
        fake.list[fake.n].userdata = userdata;
        fake.list[fake.n].answered = false;
        ++fake.n;
        return 0;
}

static void fake_word(FILE *stream, const char *word, size_t size)
{
        if (ftell(stream) > 0)
                fputc(' ', stream);
        if (memchr(word, 0, size))
                fprintf(stream, "@%zu", size);
        else
                fwrite(word, 1, size, stream);
}

int __wrap_redis_send(struct redis *redis, redis_reply_fn *fn, void *userdata, const char *format,
                      ...)
{
        char *text = NULL, *command, *at;
        size_t size, n;
        FILE *stream;
        va_list args;

        va_start(args, format);
        test_int(redisvFormatCommand(&command, format, args), >, 0);
        va_end(args);
        stream = open_memstream(&text, &size);
        test_true(stream);
        /* "*WORDS", and for each word "$SIZE" and its bytes, all ended by CR LF. */
        for (at = strchr(command, '$'); at && *at == '$'; at += n + 2) {
                n = strtoul(at + 1, &at, 10);
                at += 2;
                fake_word(stream, at, n);
        }
        fclose(stream);
        redisFreeCommand(command);
        return fake_add(redis, fn, userdata, text);
}

int __wrap_redis_send_argv(struct redis *redis, redis_reply_fn *fn, void *userdata, int argc,
                           const char **argv, const size_t *sizes)
{
        char *text = NULL;
        FILE *stream;
        size_t size;

        stream = open_memstream(&text, &size);
        test_true(stream);
        for (int i = 0; i < argc; ++i)
                fake_word(stream, argv[i], sizes ? sizes[i] : strlen(argv[i]));
        fclose(stream);
        return fake_add(redis, fn, userdata, text);
}

static void fake_reset(void)
{
        for (size_t i = 0; i < fake.n; ++i)
                free(fake.list[i].text);
        fake.n = fake.n_checked = 0;
}

/* The next command is this one. Returns its number. */
static size_t fake_expect(const char *format, ...) _printf_(1, 2);
static size_t fake_expect(const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list args;

        va_start(args, format);
        test_int(vasprintf(&text, format, args), >=, 0);
        va_end(args);
        test_int(fake.n_checked, <, fake.n);
        test_str(fake.list[fake.n_checked].text, text);
        return fake.n_checked++;
}

static void fake_expect_no_more(void)
{
        if (fake.n_checked < fake.n)
                test_fail_at("\"%s\" was sent", fake.list[fake.n_checked].text);
        CU_PASS("no more");
}

/* What was sent so far does not matter. */
static inline void fake_skip(void)
{
        fake.n_checked = fake.n;
}

/* Answers the command; NULL: the connection is lost. Frees the reply. */
static void fake_answer(size_t command, redisReply *reply)
{
        fake.list[command].answered = true;
        if (fake.list[command].fn)
                fake.list[command].fn(fake.list[command].redis, reply, fake.list[command].userdata);
        if (reply)
                reply_free(reply);
}

/* The connection is lost: no other answer comes. */
static inline void fake_close(void)
{
        for (size_t i = 0; i < fake.n; ++i)
                if (!fake.list[i].answered)
                        fake_answer(i, NULL);
}

static redisReply *fake_reply(int type, const char *text)
{
        redisReply *reply = bulk(text, strlen(text));

        reply->type = type;
        return reply;
}

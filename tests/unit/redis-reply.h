#pragma once

/* Replies of a Redis, made by hand. */

#include "lib/redis.h"

static inline redisReply *bulk(const char *data, size_t size)
{
        redisReply *reply = calloc(1, sizeof(*reply));

        reply->type = REDIS_REPLY_STRING;
        reply->str = malloc(size + 1);
        memcpy(reply->str, data, size);
        reply->str[size] = 0;
        reply->len = size;
        return reply;
}

static inline redisReply *array(size_t n)
{
        redisReply *reply = calloc(1, sizeof(*reply));

        reply->type = REDIS_REPLY_ARRAY;
        reply->elements = n;
        reply->element = calloc(n, sizeof(redisReply *));
        return reply;
}

/* Frees only what is made above; hiredis' own allocator may be another. */
static inline void reply_free(redisReply *reply)
{
        for (size_t i = 0; i < reply->elements; ++i)
                reply_free(reply->element[i]);
        free(reply->element);
        free(reply->str);
        free(reply);
}

/*
 * An entry of these words: id, key, value, …, NULL. A value "@N" stands for N bytes of records, all
 * zero.
 */
static inline redisReply *entry_of(const char *const *words)
{
        redisReply *reply = array(2);
        size_t n = 0;

        while (words[n])
                ++n;
        reply->element[0] = bulk(words[0], strlen(words[0]));
        reply->element[1] = array(n - 1);
        for (size_t i = 1; i < n; ++i) {
                static const char zeros[256];

                reply->element[1]->element[i - 1] =
                        words[i][0] == '@' ? bulk(zeros, (size_t)atoi(words[i] + 1))
                                           : bulk(words[i], strlen(words[i]));
        }
        return reply;
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

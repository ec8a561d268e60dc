#include "daemon/runner/machines/outstanding.h"

static size_t bucket_of(const struct outstanding_table *table, uint64_t first)
{
        return (size_t)(first * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (table->n_buckets - 1);
}

static int grow(struct outstanding_table *table)
{
        size_t n = MAX(2 * table->n_buckets, (size_t)64);
        struct outstanding **buckets = calloc(n, sizeof(struct outstanding *));

        if (!buckets)
                return -ENOMEM;
        free(table->buckets);
        table->buckets = buckets;
        table->n_buckets = n;
        for (struct outstanding *chunk = table->first; chunk; chunk = chunk->next) {
                struct outstanding **bucket = &buckets[bucket_of(table, chunk->first)];

                chunk->chain = *bucket;
                *bucket = chunk;
        }
        return 0;
}

struct outstanding *outstanding_add(struct outstanding_table *table, uint64_t first, uint32_t n,
                                    uint32_t bytes)
{
        struct outstanding *chunk, **bucket;

        if (table->n >= table->n_buckets && grow(table) < 0)
                return NULL;
        chunk = malloc(sizeof(*chunk));
        if (!chunk)
                return NULL;
        bucket = &table->buckets[bucket_of(table, first)];
        *chunk = (struct outstanding){
                .chain = *bucket,
                .previous = table->last,
                .first = first,
                .n = n,
                .bytes = bytes,
        };
        *bucket = chunk;
        *(chunk->previous ? &chunk->previous->next : &table->first) = chunk;
        table->last = chunk;
        ++table->n;
        table->n_tasks += n;
        table->n_bytes += bytes;
        return chunk;
}

struct outstanding *outstanding_find(const struct outstanding_table *table, uint64_t first,
                                     uint32_t n)
{
        struct outstanding *chunk;

        if (table->n_buckets == 0)
                return NULL;
        for (chunk = table->buckets[bucket_of(table, first)]; chunk; chunk = chunk->chain)
                if (chunk->first == first && chunk->n == n)
                        return chunk;
        return NULL;
}

void outstanding_remove(struct outstanding_table *table, struct outstanding *chunk)
{
        struct outstanding **p = &table->buckets[bucket_of(table, chunk->first)];

        while (*p != chunk)
                p = &(*p)->chain;
        *p = chunk->chain;
        *(chunk->previous ? &chunk->previous->next : &table->first) = chunk->next;
        *(chunk->next ? &chunk->next->previous : &table->last) = chunk->previous;
        --table->n;
        table->n_tasks -= chunk->n;
        table->n_bytes -= chunk->bytes;
        chunk->closed = true;
        if (!chunk->asked)
                free(chunk);
}

void outstanding_deinit(struct outstanding_table *table)
{
        while (table->first)
                outstanding_remove(table, table->first);
        free(table->buckets);
        *table = (struct outstanding_table){ 0 };
}

#pragma once

/* A node called "me" at a Redis that there is not, whose chunks are of the owner "them". */

#include "daemon/runner/node/chunks.h"
#include "daemon/runner/runner.h"
#include "tests/unit/redis-fake.h"

static char host[] = "redis.example", prefix[] = "p:", name[] = "me", owner[] = "them";
static const struct machines machines = {
        .url = { .host = host },
        .prefix = prefix,
        .name = name,
        .heartbeat_ns = NSEC_PER_SEC,
};
static const struct redis_link_ops ops;
static const struct spec spec = { .level = LEVEL_THREADS, .workers = 4 };

#pragma once

#include <poll.h>

#include "daemon/runner/node/feed.h"
#include "tests/unit/test.h"

#define FEED_DONE_MSEC 60000

/* The chunk that ends next, waiting for it as the node's process does. */
static inline uint32_t feed_await_done(struct feed *feed)
{
        uint32_t number;

        while ((number = feed_next_done(feed)) == FEED_NONE) {
                if (feed_may_sleep(feed)) {
                        struct pollfd poll_fd = { feed->ended_fd, POLLIN, 0 };

                        test_int(poll(&poll_fd, 1, FEED_DONE_MSEC), ==, 1);
                }
                feed_awake(feed);
        }
        return number;
}

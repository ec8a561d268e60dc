#pragma once

/*
 * Drives a libcurl multi handle by a ring: one one-shot poll a socket, one timeout for its clock.
 *
 * libcurl says what it waits for by two callbacks, which only take notes. curl_ring_arm() turns
 * these notes into entries on the ring, once a turn of the loop: a socket that libcurl lets go of
 * and takes up again in between (the next request on an open connection) costs one entry, not
 * three.
 *
 * A one-shot poll asks again each time, so it reports data that is there already, as libcurl
 * expects; a multishot poll would report only new data.
 *
 * Each socket libcurl opened has one object, its watch, from socket() to close(). Its address is
 * the poll's identity. A table by descriptor number finds the watch when libcurl names a
 * descriptor; it is exact because the number cannot be given to another socket before libcurl has
 * closed this one. A socket with a poll in flight is closed when the poll has ended.
 */

#include "daemon/runner/fetch/curl-load.h"
#include "daemon/runner/loop/ring.h"

struct curl_watch;

struct curl_ring {
        struct ring *ring;
        CURLM *multi;
        /* From a completion: transfers may be done, curl_ring_arm() has to be called. */
        void (*acted)(struct curl_ring *driver);

        struct curl_watch **by_fd;
        size_t n_by_fd;
        struct curl_watch *changed; /* to be looked at by curl_ring_arm() */
        unsigned n_in_flight;       /* polls and the timeout */

        struct ring_op timeout;
        struct __kernel_timespec timeout_at;
        uint64_t timeout_armed_ns; /* when it fires, 0: not in flight */
        uint64_t deadline_ns;      /* when libcurl wants to be called, 0: never */
        bool due;                  /* it wants to be called now */
};

/* Sets the callbacks of @multi. @driver must stay where it is. */
void curl_ring_init(struct curl_ring *driver, struct ring *ring, CURLM *multi,
                    void (*acted)(struct curl_ring *driver));

/*
 * Waits on the ring until no poll of it is in flight. @multi must have been cleaned up before, so
 * that all sockets have been given back.
 */
void curl_ring_deinit(struct curl_ring *driver);

/*
 * Each easy handle's CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION have to call these.
 * Opening returns a descriptor or a negative errno.
 */
int curl_ring_open_socket(struct curl_ring *driver, const struct curl_sockaddr *address);
void curl_ring_close_socket(struct curl_ring *driver, int fd);

/*
 * Calls libcurl if its clock says so. Not to be called from within libcurl. The results of
 * transfers are in their messages (curl_multi_info_read); the call's own result adds nothing.
 */
void curl_ring_run_due(struct curl_ring *driver);

/* Hands the changes to the ring. To be called before the ring is waited on. */
void curl_ring_arm(struct curl_ring *driver);

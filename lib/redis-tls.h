#pragma once

/*
 * TLS between the buffers of a connection and its socket, by OpenSSL, TLS 1.2 or newer. The server
 * has to have a certificate that names the host of the URL (its address, where that is one), signed
 * by an authority of the ca-file or, without one, of the system. We present no certificate: the
 * password identifies us.
 *
 * hiredis' own TLS (1.0 and newer) is not used: it checks no name, and says little about failures.
 *
 * None of these blocks. handshake, read and write return a negative errno when the connection is
 * lost or cannot be had; redis_tls_describe() then sets trouble and why.
 */

#include "lib/redis.h"

/* For a socket that is connected. 0, or a negative errno with redis->trouble and redis->why set. */
int redis_tls_open(struct redis *redis);
void redis_tls_close(struct redis *redis);

/* 1: made; 0: call again after redis_tls_events(). */
int redis_tls_handshake(struct redis *redis);

/*
 * Moves all data that is there into the reader: nothing stays behind that poll(2) would not report.
 */
int redis_tls_read(struct redis *redis);

/* Sends the queued data, as far as the socket takes it. */
int redis_tls_write(struct redis *redis);

/* The events that the handshake or read wait for and, while something is to be sent, write. */
short redis_tls_events(const struct redis *redis);

/* Whether poll(2) has returned because of read. */
bool redis_tls_may_read(const struct redis *redis, short revents);

void redis_tls_describe(struct redis *redis);

#pragma once

/*
 * The HTTP/1.1 engine: one request and its answer over a transport, as straight-line code. It is
 * the same for a fiber on the ring and for a thread that blocks.
 *
 * A request goes over a connection that was kept for its host, or over a new one. If the server has
 * closed a kept connection meanwhile, it has not seen the request, which is sent again over a new
 * one.
 */

#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/fetch/http-transport.h"

/*
 * Gets @url, which is @get->url split into its parts. 0, HTTP_FOLLOW, or a negative errno: the
 * sink's, or after task_fail().
 */
int http_exchange(struct http_transport *transport, struct http_get *get,
                  const struct http_url *url);

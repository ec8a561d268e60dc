#pragma once

/*
 * libcurl's easy handles, set up as each of our requests wants them. A handle serves one request
 * and is then freed: the state that libcurl keeps in it from one request to the next has been a
 * source of faults (before 8.1.0 a folded first header line is appended to a header of the request
 * before, which is freed: curl#11101; and the times it asked again are counted over all of its
 * requests). Connections, names and certificates live in the multi handle.
 */

#include "daemon/runner/fetch/curl-load.h"
#include "daemon/runner/runner.h"

/* Whether the environment names a proxy. */
bool curl_easy_has_proxy(void);

/*
 * A handle without URL and callbacks. Needs fetch_load() to have returned 0. Returns 0, -ENOMEM, or
 * -ENOTSUP after log_error(): this libcurl is too old.
 */
int curl_easy_new(struct runner *runner, size_t buffer_size, CURL **ret);

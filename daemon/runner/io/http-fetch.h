#pragma once

/*
 * Fetching at async. Plain HTTP/1.1 goes straight over connections on the ring: what a page costs
 * is then little more than what the kernel and the counting take. That is for http: URLs of the
 * plain form (http-url.h) whose host is an address, or a name that libcurl has resolved a little
 * while ago, with no proxy in between. All else is libcurl's (fetch.h): https, HTTP/2, proxies,
 * names nobody knows yet, odd URLs, redirects to any of these.
 *
 * Both ways give the same results for the same answers; the details of failures are libcurl's
 * codes or enum ppp_answer_fault. http-head.h tells what of a head is read and what refused.
 */

#include "daemon/runner/task.h"

struct loop;
struct http;                            /* of one loop; made by its first fetch */

/* Cheap: libcurl is not loaded before it is needed. */
int http_new(struct loop *loop, struct http **ret);
/* As http_pool_free(). */
struct http *http_free(struct http *http);

/* On a fiber; 0 or a negative errno after task_fail(), or what the sink returned. */
int http_fetch(struct http *http, struct ppp_task *task, const char *url, ppp_sink *sink,
               void *userdata);

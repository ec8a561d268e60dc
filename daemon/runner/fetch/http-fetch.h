#pragma once

/*
 * A fetch, at every level: a chain of requests, each of which asks where the last one's answer
 * redirected. Plain HTTP/1.1 is our own (http-exchange.h), over the level's transport: a page then
 * costs little more than the work of the kernel and the counting. That is for http: URLs of the
 * plain form (http-url.h), with no proxy in between; where the host is a name, libcurl connects to
 * it and we speak HTTP. Everything else is done by libcurl (transfer.h): https, HTTP/2, proxies,
 * odd URLs. Which of the two does it depends on the URL alone, in the same way at every level.
 * Both use the same code for the meaning of an answer (http-answer.h), and both name a failure by
 * the same numbers (enum ppp_fetch_error). http-head.h says which heads are accepted and which are
 * refused.
 */

#include "daemon/runner/fetch/http-answer.h"
#include "daemon/runner/fetch/http-transport.h"

/* 0 or a negative errno: after task_fail(), or what the sink returned. */
int http_fetch(struct http_transport *transport, struct http_codings *codings,
               struct ppp_task *task, const char *url, ppp_sink *sink, void *userdata);

#pragma once

/*
 * Gets pppd's metrics over its Varlink socket, without blocking the loop. Requests that come while
 * a call is under way share its answer.
 */

#include <systemd/sd-event.h>

#include "lib/util.h"

struct scrape;

/*
 * @answered is called from the loop, once for each call, when there is an answer or none will come;
 * what it returns is as for any handler of an event source. @socket is borrowed.
 */
int scrape_new(sd_event *event, const char *socket, int (*answered)(void *userdata), void *userdata,
               struct scrape **ret);
struct scrape *scrape_free(struct scrape *scrape);
DEFINE_CLEANUP(struct scrape *, scrape_free)

/* Starts a call; @answered is called later, even when the call fails at once. */
void scrape_ask(struct scrape *scrape);

/* The last answer, valid until the next one comes. NULL: there is none, and *@ret_why says why. */
const char *scrape_text(const struct scrape *scrape, const char **ret_why);

#pragma once

/*
 * What a client does when pppd goes away in mid-call: `systemctl restart`, a crash, an upgrade.
 * Jobs go on meanwhile, so whoever waits for one connects again and asks anew, within
 * pppd->return_ns.
 */

#include "cli/client.h"

/*
 * Connects to where pppd was. Under systemd the socket never closes and this succeeds at once; else
 * it waits for the socket to be made again. Returns 0, CLI_INTERRUPTED with nothing said, or an
 * exit status.
 */
int pppd_reconnect(struct pppd *pppd);

/* Waits until there is something to read: systemd's socket takes connections before pppd does. */
int pppd_await_reply(struct pppd *pppd);

/* A reply came: the absence, if there was one, is over. */
void pppd_is_back(struct pppd *pppd);

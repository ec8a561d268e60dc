#pragma once

/*
 * Handles a pppd that goes away during a call: `systemctl restart`, a crash, an upgrade. Jobs
 * continue meanwhile, so a client that waits for one connects again and repeats the call, within
 * pppd->return_ns.
 */

#include "cli/client.h"

/*
 * Connects to where pppd was. Under systemd the socket never closes and this succeeds at once; else
 * it waits for the socket to be made again. Returns 0, CLI_INTERRUPTED without a message, or an
 * exit status.
 */
int pppd_reconnect(struct pppd *pppd);

/* Waits until there is something to read: systemd's socket takes connections before pppd does. */
int pppd_await_reply(struct pppd *pppd);

/* To be called when a reply came: if pppd was away, it is back. */
void pppd_is_back(struct pppd *pppd);

#pragma once

/*
 * What we tell systemd, by the protocol of sd_notify(3). The library's function blocks while the
 * other side does not read, and a supervisor of jobs has better things to do; so this is our own
 * sender.
 */

#include "lib/util.h"

/*
 * Sends @text ("READY=1") to $NOTIFY_SOCKET; does nothing without one. A message that matters
 * (@must) waits up to a second for room, another is dropped: -EAGAIN.
 */
int notify_send(const char *text, bool must);

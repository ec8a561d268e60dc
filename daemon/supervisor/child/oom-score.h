#pragma once

/*
 * When memory runs out in a group that the supervisor shares with its jobs, the kernel is not to
 * kill the supervisor: its unit says so (OOMScoreAdjust=), and its children inherit that.
 */

/*
 * From a child: it may be killed like any other process. Async-signal-safe. Returns 0, or a
 * negative errno: then it must not go on, since nothing could free the memory that it takes.
 */
int oom_score_reset(void);

#pragma once

/*
 * Standard output and standard error, for as long as signals are taken from a descriptor: a signal
 * that is blocked would not interrupt a write to somebody who does not read.
 *
 * A write waits for its reader and for a signal. Once a signal has come, it and all later ones wait
 * for STREAM_PATIENCE_MS at most; then the reader is assumed to be gone: this write and all that
 * follow to that stream fail with EINTR, also those of exit(3).
 */

#define STREAM_PATIENCE_MS 2000

/*
 * Puts streams of this kind in the place of stdout and stderr, to the end of the process; fileno(3)
 * of them is -1. @signal_fd, a signalfd(2), stays the caller's. Returns a negative errno, and
 * leaves the streams as they are.
 */
int streams_mind_signals(int signal_fd);

/* A signal has come, and was taken from the descriptor while no stream waited. */
void streams_note_signal(void);

/* The first error of writing to such a standard output, a negative errno; 0: there was none. */
int streams_output_error(void);

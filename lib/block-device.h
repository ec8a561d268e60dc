#pragma once

/* The disk behind a path: what io.max wants are the numbers of the whole disk, not of a partition. */

#include "lib/util.h"

/*
 * @text: "MAJOR:MINOR", or a path of a block device, or of a file on one. -ENODEV: no disk is behind it
 * (tmpfs, overlay, network); -ENOENT and others of stat(2).
 */
int block_device_find(const char *text, unsigned *ret_major, unsigned *ret_minor);

/* 1: such a whole disk is there; 0: it is not, or it is a partition. */
int block_device_is_disk(unsigned major, unsigned minor);

#pragma once

/* The disk behind a path: io.max wants the numbers of the whole disk, not of a partition. */

#include "lib/util.h"

/* "MAJOR:MINOR", and nothing more. -EINVAL: it is not; -ERANGE: the kernel has no such numbers. */
int block_device_parse(const char *text, unsigned *ret_major, unsigned *ret_minor);

/*
 * @text: "MAJOR:MINOR", or a path of a block device, or of a file on one. -ENODEV: no disk is
 * behind it (tmpfs, overlay, network); -ERANGE: as above; -ENOENT and others of stat(2).
 */
int block_device_find(const char *text, unsigned *ret_major, unsigned *ret_minor);

/* 1: there is such a whole disk; 0: there is not, or it is a partition. */
int block_device_is_disk(unsigned major, unsigned minor);

/*
 * Whether the device is made of other devices, or of a file on one: LVM, LUKS, RAID, a loop device.
 */
bool block_device_is_stacked(unsigned major, unsigned minor);

/*
 * Takes the lines of devices that are @stacked out of io.stat's @text: the kernel counts what is
 * read from such a device there, and once more at the disks that it is made of.
 */
void io_stat_keep_disks(char *text, bool (*stacked)(unsigned major, unsigned minor));

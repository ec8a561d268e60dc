#pragma once

/*
 * A sentence about a socket that may not be connected to: who may, and how one becomes one of them,
 * or what to use instead. Owned by the caller; NULL when out of memory.
 */
char *access_advice(const char *path);

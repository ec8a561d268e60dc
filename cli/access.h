#pragma once

/*
 * A sentence for a user who may not connect to a socket: who may, and how to become one of them, or
 * what to use instead. Owned by the caller; NULL when out of memory.
 */
char *access_advice(const char *path);

#pragma once

/*
 * libcurl, opened at run time: curl_load() looks up every function the runner calls and fills a
 * typed pointer for each, sym_NAME. The runner is not linked against libcurl: loading it and the
 * thirty libraries it drags in costs 8 ms, which a job that fetches nothing should not pay, and a
 * machine without libcurl runs all other jobs.
 */

#include <curl/curl.h>

#include "lib/util.h"

#define CURL_LIBRARY "libcurl.so.4"

/* Every function of libcurl we call; X-macro, so that none is declared and not looked up. */
#define CURL_SYMBOLS(X)             \
        X(curl_easy_cleanup)        \
        X(curl_easy_getinfo)        \
        X(curl_easy_init)           \
        X(curl_easy_pause)          \
        X(curl_easy_setopt)         \
        X(curl_global_init)         \
        X(curl_multi_add_handle)    \
        X(curl_multi_cleanup)       \
        X(curl_multi_info_read)     \
        X(curl_multi_init)          \
        X(curl_multi_perform)       \
        X(curl_multi_poll)          \
        X(curl_multi_remove_handle) \
        X(curl_multi_setopt)        \
        X(curl_multi_socket_action) \
        X(curl_slist_append)        \
        X(curl_slist_free_all)

#define DLSYM_PROTOTYPE(symbol) extern __typeof__(symbol) *sym_##symbol;
CURL_SYMBOLS(DLSYM_PROTOTYPE)
#undef DLSYM_PROTOTYPE

/*
 * Opens and initializes libcurl; thread-safe, does its work once. Returns 0, or -ENOPKG (said once
 * on standard error, with the remedy). Needs a thread's stack: the code that it runs is not made
 * for a fiber's.
 */
int curl_load(void);

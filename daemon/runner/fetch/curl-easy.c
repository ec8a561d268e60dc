#include "daemon/runner/fetch/curl-easy.h"

#include <stdio.h>

#include "daemon/runner/fetch/fetch.h"

/* The size of the buffer libcurl sends from: its minimum, since our requests have no body. */
#define UPLOAD_BUFFER_SIZE 16384L

#define LOCAL_HOSTS "localhost,127.0.0.0/8,::1"

static const char *proxy_from_environment(void)
{
        static const char *const names[] = {
                "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); ++i) {
                const char *value = getenv(names[i]);

                if (value && *value)
                        return value;
        }
        return NULL;
}

bool curl_easy_has_proxy(void)
{
        return proxy_from_environment() != NULL;
}

/*
 * Whatever proxy the environment names, this machine is reached directly: the demo pages are here.
 * Without one libcurl need not look through the environment for every request.
 */
static CURLcode set_proxy(CURL *easy)
{
        const char *no_proxy = getenv("no_proxy");
        _cleanup_free_ char *merged = NULL;

        if (!curl_easy_has_proxy())
                return sym_curl_easy_setopt(easy, CURLOPT_PROXY, "");
        if (!no_proxy)
                no_proxy = getenv("NO_PROXY");
        if (no_proxy && streq(no_proxy, "*"))
                return sym_curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
        if (asprintf(&merged, LOCAL_HOSTS "%s%s", no_proxy ? "," : "", no_proxy ?: "") < 0) {
                merged = NULL;
                return CURLE_OUT_OF_MEMORY;
        }
        return sym_curl_easy_setopt(easy, CURLOPT_NOPROXY, merged);
}

/*
 * libcurl keeps the parsed certificates for all connections of a multi handle, but not if it has a
 * directory of them to look at too, as Debian's has by default; then each connection parses the
 * system's bundle anew: 20 ms and 1 MiB. So the directory is only used where there is no bundle,
 * and not beside the file the user gave.
 */
static CURLcode set_certificates(CURL *easy, const char *ca_file)
{
        const char *bundle = ca_file;
        CURLcode code = CURLE_OK;

        if (ca_file)
                code = sym_curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
        else
                sym_curl_easy_getinfo(easy, CURLINFO_CAINFO, &bundle);
        if (code != CURLE_OK || !bundle || (!ca_file && access(bundle, R_OK) < 0))
                return code;
        return sym_curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

/* Redirects are followed by http-fetch.c, and we ourselves watch for time that passes without a
 * byte. */
static CURLcode set_up(CURL *easy, struct runner *runner, size_t buffer_size)
{
        const struct {
                CURLoption option;
                long value;
        } numbers[] = {
                { CURLOPT_NOSIGNAL, 1 },
                { CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS },
                { CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
                { CURLOPT_BUFFERSIZE, (long)buffer_size },
                { CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_SIZE },
        };
        const struct {
                CURLoption option;
                const char *value;
        } strings[] = {
                { CURLOPT_PROTOCOLS_STR, "http,https" },
                { CURLOPT_USERAGENT, FETCH_USER_AGENT },
        };
        CURLcode code = set_proxy(easy);

        for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(numbers); ++i)
                code = sym_curl_easy_setopt(easy, numbers[i].option, numbers[i].value);
        for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(strings); ++i)
                code = sym_curl_easy_setopt(easy, strings[i].option, strings[i].value);
        /*
         * A transfer that ends while its name resolves must not wait for the resolver's thread: at
         * async that would be the loop. The option exists since 7.87; an older libcurl refuses it.
         */
        (void)sym_curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
        if (code == CURLE_OK)
                code = set_certificates(easy, runner->spec.ca_file);
        return code;
}

int curl_easy_new(struct runner *runner, size_t buffer_size, CURL **ret)
{
        CURL *easy = sym_curl_easy_init();
        CURLcode code = easy ? set_up(easy, runner, buffer_size) : CURLE_OUT_OF_MEMORY;

        if (code == CURLE_OK) {
                *ret = easy;
                return 0;
        }
        if (easy)
                sym_curl_easy_cleanup(easy);
        if (code == CURLE_OUT_OF_MEMORY)
                return -ENOMEM;
        log_error("cannot fetch: this libcurl refuses an option we need (its error %d); "
                  "it must be 7.85 or newer",
                  (int)code);
        return -ENOTSUP;
}

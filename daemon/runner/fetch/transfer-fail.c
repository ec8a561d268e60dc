/* The names of libcurl's failures: its codes become enum ppp_reason here and nowhere else. */

#include <strings.h>

#include "daemon/runner/fetch/transfer.h"

/*
 * libcurl guesses the scheme of a URL without one, and has one code for schemes that it does not
 * know and those that we forbid; so the beginning of the URL decides. 0 or the reason.
 */
enum ppp_reason transfer_check_scheme(const char *url)
{
        size_t n;

        if (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0)
                return PPP_REASON_NONE;
        n = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
        if (n == 0 || strncmp(url + n, "://", 3) != 0)
                return PPP_REASON_BAD_URL;
        return PPP_REASON_BAD_SCHEME;
}

static int fail_connect(struct transfer *transfer, int error)
{
        long os_error = error;

        if (!error)
                sym_curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_error);
        if (transfer->socket_errno)
                os_error = transfer->socket_errno;
        return task_fail(transfer->get->task,
                         transfer->by_proxy ? PPP_REASON_PROXY : PPP_REASON_CONNECT,
                         (int32_t)os_error);
}

/*
 * A proxy may have been asked for a connection to the server, and have refused that by its status.
 */
static int fail_transfer(struct transfer *transfer, CURLcode code)
{
        long status = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
        if (status >= 300 && transfer->n_head == 0)
                return task_fail(transfer->get->task, PPP_REASON_PROXY, (int32_t)status);
        return http_fail_transfer(transfer->get->task, code);
}

static int fail_certificate(struct transfer *transfer)
{
        long result = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_SSL_VERIFYRESULT, &result);
        return task_fail(transfer->get->task, PPP_REASON_CERTIFICATE, (int32_t)result);
}

/* libcurl uses this code also when an answer is older than HTTP/1.0, or no HTTP at all. */
static int fail_unsupported(struct transfer *transfer)
{
        const char *url = NULL;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
        if (url && transfer_check_scheme(url) == PPP_REASON_NONE)
                return task_fail(transfer->get->task, PPP_REASON_PROTOCOL,
                                 CURLE_UNSUPPORTED_PROTOCOL);
        return task_fail(transfer->get->task, PPP_REASON_BAD_SCHEME, 0);
}

/*
 * libcurl has one code for every time limit. If connecting took too long while the task's own time
 * is not up, the host does not answer.
 */
static int fail_timeout(struct transfer *transfer)
{
        struct ppp_task *task = transfer->get->task;
        curl_off_t resolved = 0, asked = 0;

        if (task->deadline_ns)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &asked);
        if (asked)
                return task_fail(task, PPP_REASON_TIMEOUT, 0);
        if (resolved)
                return fail_connect(transfer, ETIMEDOUT);
        return task_fail(task, PPP_REASON_RESOLVE, 0);
}

/* libcurl's codes become ours here and nowhere else. */
int transfer_fail(struct transfer *transfer, CURLcode code)
{
        struct ppp_task *task = transfer->get->task;

        switch (code) {
        case CURLE_URL_MALFORMAT:
                return task_fail(task, PPP_REASON_BAD_URL, 0);
        case CURLE_UNSUPPORTED_PROTOCOL:
                return fail_unsupported(transfer);
        case CURLE_COULDNT_RESOLVE_HOST:
                return task_fail(task, PPP_REASON_RESOLVE, 0);
        case CURLE_COULDNT_RESOLVE_PROXY:
                return task_fail(task, PPP_REASON_PROXY, 0);
        case CURLE_PROXY:
                return task_fail(task, PPP_REASON_PROXY, EPROTO);
        case CURLE_COULDNT_CONNECT:
                return fail_connect(transfer, 0);
        case CURLE_OPERATION_TIMEDOUT:
                return fail_timeout(transfer);
        case CURLE_TOO_MANY_REDIRECTS:
                return task_fail(task, PPP_REASON_REDIRECTS, 0);
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
                return fail_certificate(transfer);
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_SSL_ENGINE_NOTFOUND:
        case CURLE_SSL_ENGINE_SETFAILED:
        case CURLE_SSL_ENGINE_INITFAILED:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_SHUTDOWN_FAILED:
        case CURLE_USE_SSL_FAILED:
                return task_fail(task, PPP_REASON_TLS, (int32_t)code);
        case CURLE_SSL_CACERT_BADFILE:
                return task_fail(task, PPP_REASON_CA_FILE, (int32_t)code);
        case CURLE_BAD_CONTENT_ENCODING:
                return task_fail(task, PPP_REASON_ENCODING, (int32_t)code);
        case CURLE_BAD_FUNCTION_ARGUMENT: /* that is a first field which is folded (7.88) */
                return task_fail(task, PPP_REASON_PROTOCOL, PPP_ANSWER_HEADER_LINE);
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_HTTP2:
                return task_fail(task, PPP_REASON_PROTOCOL, (int32_t)code);
        case CURLE_OUT_OF_MEMORY: /* which it calls a line or a head that it finds too long, too */
                if (transfer->n_head > 0 && !transfer->head_ended)
                        return task_fail(task, PPP_REASON_PROTOCOL, PPP_ANSWER_HEAD_SIZE);
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        case CURLE_ABORTED_BY_CALLBACK: /* ours do so for want of memory only */
                return task_fail(task, PPP_REASON_NO_MEMORY, 0);
        default:
                return fail_transfer(transfer, code);
        }
}

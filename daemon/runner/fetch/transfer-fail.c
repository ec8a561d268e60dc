/*
 * The names of libcurl's failures: its codes become reasons and fetch errors of ours here and
 * nowhere else.
 */

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
                return http_fail(transfer->get->task, PPP_FETCH_NOT_HTTP);
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

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved);
        sym_curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &asked);
        if (task->deadline_ns || asked)
                return http_fail_time(task);
        if (resolved)
                return fail_connect(transfer, ETIMEDOUT);
        return task_fail(task, PPP_REASON_RESOLVE, 0);
}

/*
 * For a line or a head that it finds too long, libcurl has the code of a want of memory before 8.6,
 * and CURLE_TOO_LARGE since then. Older headers lack that name.
 */
#define TOO_LARGE ((CURLcode)100)
static bool is_head_too_long(const struct transfer *transfer, CURLcode code)
{
        return (code == CURLE_OUT_OF_MEMORY || code == TOO_LARGE) && transfer->n_head > 0 &&
               !transfer->head_ended;
}

/* Fails the task for a code of libcurl's that has only one meaning. */
static int fail_by_table(struct ppp_task *task, CURLcode code)
{
        static const struct {
                CURLcode code;
                enum ppp_reason reason;
                int32_t detail;
        } meanings[] = {
                { CURLE_URL_MALFORMAT, PPP_REASON_BAD_URL, PPP_URL_ANY },
                { CURLE_COULDNT_RESOLVE_HOST, PPP_REASON_RESOLVE, 0 },
                { CURLE_COULDNT_RESOLVE_PROXY, PPP_REASON_PROXY, 0 },
                { CURLE_PROXY, PPP_REASON_PROXY, EPROTO },
                { CURLE_TOO_MANY_REDIRECTS, PPP_REASON_REDIRECTS, 0 },
                { CURLE_GOT_NOTHING, PPP_REASON_TRANSFER, PPP_FETCH_NO_ANSWER },
                { CURLE_PARTIAL_FILE, PPP_REASON_TRANSFER, PPP_FETCH_CUT_SHORT },
                { CURLE_SEND_ERROR, PPP_REASON_TRANSFER, PPP_FETCH_LOST },
                { CURLE_RECV_ERROR, PPP_REASON_TRANSFER, PPP_FETCH_LOST },
                { CURLE_HTTP2_STREAM, PPP_REASON_TRANSFER, PPP_FETCH_STREAM },
                { CURLE_HTTP2, PPP_REASON_PROTOCOL, PPP_FETCH_HTTP2 },
                { CURLE_WEIRD_SERVER_REPLY, PPP_REASON_PROTOCOL, PPP_FETCH_MALFORMED },
                /* That is a first field which is folded (7.88). */
                { CURLE_BAD_FUNCTION_ARGUMENT, PPP_REASON_PROTOCOL, PPP_FETCH_HEADER_LINE },
                { CURLE_BAD_CONTENT_ENCODING, PPP_REASON_ENCODING, PPP_FETCH_CODING_BROKEN },
                { CURLE_SSL_CONNECT_ERROR, PPP_REASON_TLS, PPP_FETCH_HANDSHAKE },
                { CURLE_SSL_ENGINE_NOTFOUND, PPP_REASON_TLS, CURLE_SSL_ENGINE_NOTFOUND },
                { CURLE_SSL_ENGINE_SETFAILED, PPP_REASON_TLS, CURLE_SSL_ENGINE_SETFAILED },
                { CURLE_SSL_ENGINE_INITFAILED, PPP_REASON_TLS, CURLE_SSL_ENGINE_INITFAILED },
                { CURLE_SSL_CERTPROBLEM, PPP_REASON_TLS, CURLE_SSL_CERTPROBLEM },
                { CURLE_SSL_CIPHER, PPP_REASON_TLS, CURLE_SSL_CIPHER },
                { CURLE_SSL_SHUTDOWN_FAILED, PPP_REASON_TLS, CURLE_SSL_SHUTDOWN_FAILED },
                { CURLE_USE_SSL_FAILED, PPP_REASON_TLS, CURLE_USE_SSL_FAILED },
                { CURLE_SSL_CACERT_BADFILE, PPP_REASON_CA_FILE, 0 },
                { CURLE_OUT_OF_MEMORY, PPP_REASON_NO_MEMORY, 0 },
                /* Our callbacks do that for want of memory only. */
                { CURLE_ABORTED_BY_CALLBACK, PPP_REASON_NO_MEMORY, 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(meanings); ++i)
                if (meanings[i].code == code)
                        return task_fail(task, meanings[i].reason, meanings[i].detail);
        return task_fail(task, PPP_REASON_TRANSFER, (int32_t)code);
}

/* A proxy may have been asked for a connection to the server, and have refused that: its status. */
static long refusal_of_proxy(struct transfer *transfer)
{
        long status = 0;

        sym_curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
        return status >= 300 && transfer->n_head == 0 ? status : 0;
}

int transfer_fail(struct transfer *transfer, CURLcode code)
{
        struct ppp_task *task = transfer->get->task;
        long status;

        if (is_head_too_long(transfer, code))
                return http_fail(task, PPP_FETCH_HEAD_SIZE);
        switch (code) {
        case CURLE_UNSUPPORTED_PROTOCOL:
                return fail_unsupported(transfer);
        case CURLE_COULDNT_CONNECT:
                return fail_connect(transfer, 0);
        case CURLE_OPERATION_TIMEDOUT:
                return fail_timeout(transfer);
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
                return fail_certificate(transfer);
        default:
                status = refusal_of_proxy(transfer);
                return status ? task_fail(task, PPP_REASON_PROXY, (int32_t)status)
                              : fail_by_table(task, code);
        }
}

#include "lib/fetch-error.h"

#include <stdio.h>
#include <strings.h>

/* The name of an error for a coding that is known is this and the coding's name. */
#define CODING "coding-"
#define SERVER "the server, or what is between, "

static const struct fetch_error_info {
        enum ppp_fetch_error error;
        enum ppp_reason reason;
        const char *name;
        const char *text; /* NULL: the text for codings that are known */
} infos[] = {
        { PPP_FETCH_STATUS_LINE, PPP_REASON_PROTOCOL, "status-line",
          "the answer's first line is not HTTP/1.0 or HTTP/1.1 with a status of three digits; pppd "
          "reads no other, so " SERVER "has to send one" },
        { PPP_FETCH_HEADER_LINE, PPP_REASON_PROTOCOL, "header-line",
          "the answer's header has a line without a colon, one with a NUL byte, or a first line "
          "that is folded; " SERVER "has to leave that out" },
        { PPP_FETCH_LENGTH, PPP_REASON_PROTOCOL, "length",
          "the answer's Content-Length is no number, or more than one, so the page could be cut "
          "short unnoticed; " SERVER "has to send one decimal number" },
        { PPP_FETCH_AMBIGUOUS, PPP_REASON_PROTOCOL, "ambiguous",
          "the answer's header can be read in two ways as to where the page ends; " SERVER
          "has to send Content-Length or Transfer-Encoding once and plainly" },
        { PPP_FETCH_HEAD_SIZE, PPP_REASON_PROTOCOL, "head-size",
          "the answer's header lines are too long: pppd takes 1 MiB of them with those of "
          "redirects, and where libcurl fetches (https, proxies) that takes 100 kB a line and "
          "300 kB in all" },
        { PPP_FETCH_UPGRADE, PPP_REASON_PROTOCOL, "upgrade",
          "the server went over to another protocol (status 101), which pppd did not ask for" },
        { PPP_FETCH_NOT_HTTP, PPP_REASON_PROTOCOL, "not-http",
          "the answer is not HTTP; is this the right port?" },
        { PPP_FETCH_MALFORMED, PPP_REASON_PROTOCOL, "malformed",
          "the answer breaks the rules of HTTP in a way that libcurl does not name; " SERVER
          "has to mend that" },
        { PPP_FETCH_HTTP2, PPP_REASON_PROTOCOL, "http2",
          "the connection breaks the rules of HTTP/2; " SERVER "has to mend that" },

        { PPP_FETCH_CODINGS, PPP_REASON_ENCODING, "codings",
          "the server encoded the page more than five times over, and pppd undoes no more; is it "
          "compressed by several programs in a row?" },
        { PPP_FETCH_TRAILING, PPP_REASON_ENCODING, "trailing",
          "something other than zero bytes follows the end of the compressed page, so it may not "
          "be all; " SERVER "has to send the compressed page alone" },
        { PPP_FETCH_CODING, PPP_REASON_ENCODING, "coding",
          "the server encoded the page in a way that pppd does not know; it undoes gzip and "
          "deflate, which is all it asks for, so Content-Encoding has to name these or be left "
          "out" },
        { PPP_FETCH_CODING_BR, PPP_REASON_ENCODING, CODING "br", NULL },
        { PPP_FETCH_CODING_ZSTD, PPP_REASON_ENCODING, CODING "zstd", NULL },
        { PPP_FETCH_CODING_COMPRESS, PPP_REASON_ENCODING, CODING "compress", NULL },
        { PPP_FETCH_CODING_DCB, PPP_REASON_ENCODING, CODING "dcb", NULL },
        { PPP_FETCH_CODING_DCZ, PPP_REASON_ENCODING, CODING "dcz", NULL },
        { PPP_FETCH_CODING_AES128GCM, PPP_REASON_ENCODING, CODING "aes128gcm", NULL },
        { PPP_FETCH_CODING_EXI, PPP_REASON_ENCODING, CODING "exi", NULL },
        { PPP_FETCH_CODING_PACK200_GZIP, PPP_REASON_ENCODING, CODING "pack200-gzip", NULL },
        { PPP_FETCH_CODING_BZIP2, PPP_REASON_ENCODING, CODING "bzip2", NULL },
        { PPP_FETCH_CODING_XZ, PPP_REASON_ENCODING, CODING "xz", NULL },
        { PPP_FETCH_CODING_LZMA, PPP_REASON_ENCODING, CODING "lzma", NULL },
        { PPP_FETCH_CODING_SDCH, PPP_REASON_ENCODING, CODING "sdch", NULL },
        { PPP_FETCH_CODING_BROKEN, PPP_REASON_ENCODING, "coding-broken",
          "the page does not decode as its Content-Encoding says, or ends too early; is the "
          "server's compressed copy of it damaged?" },

        { PPP_FETCH_NO_ANSWER, PPP_REASON_TRANSFER, "no-answer",
          "the server closed the connection without an answer; --retries tries again" },
        { PPP_FETCH_CUT_SHORT, PPP_REASON_TRANSFER, "cut-short",
          "the server closed the connection before all of the answer was there; --retries tries "
          "again" },
        { PPP_FETCH_LOST, PPP_REASON_TRANSFER, "lost",
          "the connection broke before all of the answer was there; --retries tries again" },
        { PPP_FETCH_CHUNKS, PPP_REASON_TRANSFER, "chunks",
          "the answer's chunks (Transfer-Encoding: chunked) are damaged, so where the page ends is "
          "not known; --retries tries again" },
        { PPP_FETCH_STREAM, PPP_REASON_TRANSFER, "stream",
          "the server broke off its answer (an HTTP/2 stream); --retries tries again" },

        { PPP_FETCH_HANDSHAKE, PPP_REASON_TLS, "handshake",
          "the TLS handshake failed; does the server speak TLS on this port?" },

        { PPP_FETCH_SILENCE, PPP_REASON_TIMEOUT, "silence",
          "no byte came from the server for 60 seconds; --retries tries again, and --task-timeout "
          "sets another limit" },
};

static const struct fetch_error_info *find(enum ppp_reason reason, int32_t detail)
{
        for (size_t i = 0; i < ARRAY_SIZE(infos); ++i)
                if ((int32_t)infos[i].error == detail && infos[i].reason == reason)
                        return &infos[i];
        return NULL;
}

enum ppp_fetch_error fetch_error_of_coding(const char *name, size_t n)
{
        if (n > 2 && strncasecmp(name, "x-", 2) == 0) {
                name += 2;
                n -= 2;
        }
        for (size_t i = 0; i < ARRAY_SIZE(infos); ++i) {
                const char *coding = infos[i].name + strlen(CODING);

                if (!infos[i].text && strlen(coding) == n && strncasecmp(coding, name, n) == 0)
                        return infos[i].error;
        }
        return PPP_FETCH_CODING;
}

enum ppp_reason fetch_error_reason(enum ppp_fetch_error error)
{
        for (size_t i = 0; i < ARRAY_SIZE(infos); ++i)
                if (infos[i].error == error)
                        return infos[i].reason;
        assert(false);
        return PPP_REASON_NONE;
}

const char *fetch_error_name(enum ppp_reason reason, int32_t detail)
{
        const struct fetch_error_info *info = find(reason, detail);

        return info ? info->name : NULL;
}

char *fetch_error_describe(enum ppp_reason reason, int32_t detail)
{
        const struct fetch_error_info *info = find(reason, detail);
        char *text;

        if (!info)
                return NULL;
        if (info->text)
                return strdup(info->text);
        if (asprintf(&text,
                     "the server encoded the page as `%s`, which pppd does not undo; it asks for "
                     "gzip and deflate only, so the server does not heed Accept-Encoding",
                     info->name + strlen(CODING)) < 0)
                return NULL;
        return text;
}

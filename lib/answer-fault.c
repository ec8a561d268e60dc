#include "lib/answer-fault.h"

#include <stdio.h>
#include <strings.h>

static const char *const codings[] = {
#define CODING(fault) [(fault)-PPP_ANSWER_CODING]
        CODING(PPP_ANSWER_CODING_BR) = "br",
        CODING(PPP_ANSWER_CODING_ZSTD) = "zstd",
        CODING(PPP_ANSWER_CODING_COMPRESS) = "compress",
        CODING(PPP_ANSWER_CODING_DCB) = "dcb",
        CODING(PPP_ANSWER_CODING_DCZ) = "dcz",
        CODING(PPP_ANSWER_CODING_AES128GCM) = "aes128gcm",
        CODING(PPP_ANSWER_CODING_EXI) = "exi",
        CODING(PPP_ANSWER_CODING_PACK200_GZIP) = "pack200-gzip",
        CODING(PPP_ANSWER_CODING_BZIP2) = "bzip2",
        CODING(PPP_ANSWER_CODING_XZ) = "xz",
        CODING(PPP_ANSWER_CODING_LZMA) = "lzma",
        CODING(PPP_ANSWER_CODING_SDCH) = "sdch",
#undef CODING
};

_Static_assert(ARRAY_SIZE(codings) == _PPP_ANSWER_CODING_END - PPP_ANSWER_CODING,
               "one name a coding");

static const struct {
        enum ppp_answer_fault fault;
        const char *text;
} texts[] = {
        { PPP_ANSWER_STATUS_LINE,
          "the answer's first line is not HTTP/1.0 or HTTP/1.1 with a status of three digits; pppd "
          "reads no other, so the server, or what is between, has to send one" },
        { PPP_ANSWER_HEADER_LINE,
          "the answer's header has a line without a colon, one with a NUL byte, or a first line "
          "that is folded; the server, or what is between, has to leave that out" },
        { PPP_ANSWER_LENGTH,
          "the answer's Content-Length is no number, or more than one, so the page could be cut "
          "short unnoticed; the server, or what is between, has to send one decimal number" },
        { PPP_ANSWER_AMBIGUOUS,
          "the answer's header can be read in two ways as to where the page ends; the server, or "
          "what is between, has to send Content-Length or Transfer-Encoding once and plainly" },
        { PPP_ANSWER_HEAD_SIZE, "the answer's header lines are too long: pppd takes 1 MiB of them "
                                "with those of redirects, and where libcurl fetches (https, "
                                "proxies) that takes 100 kB a line and 300 kB in all" },
        { PPP_ANSWER_UPGRADE,
          "the server went over to another protocol (status 101), which pppd did not ask for" },
        { PPP_ANSWER_CODINGS, "the server encoded the page more than five times over, and pppd "
                              "undoes no more; is it compressed by several programs in a row?" },
        { PPP_ANSWER_TRAILING,
          "something other than zero bytes follows the end of the compressed page, so it may not "
          "be all; the server, or what is between, has to send the compressed page alone" },
        { PPP_ANSWER_CODING, "the server encoded the page in a way that pppd does not know; it "
                             "undoes gzip and deflate, which is all it asks for, so "
                             "Content-Encoding has to name these or be left out" },
};

enum ppp_answer_fault answer_fault_of_coding(const char *name, size_t n)
{
        if (n > 2 && strncasecmp(name, "x-", 2) == 0) {
                name += 2;
                n -= 2;
        }
        for (size_t i = 1; i < ARRAY_SIZE(codings); ++i)
                if (strlen(codings[i]) == n && strncasecmp(codings[i], name, n) == 0)
                        return PPP_ANSWER_CODING + i;
        return PPP_ANSWER_CODING;
}

enum ppp_reason answer_fault_reason(enum ppp_answer_fault fault)
{
        return fault >= PPP_ANSWER_CODINGS ? PPP_REASON_ENCODING : PPP_REASON_PROTOCOL;
}

char *answer_fault_describe(int32_t detail)
{
        char *text;

        for (size_t i = 0; i < ARRAY_SIZE(texts); ++i)
                if ((int32_t)texts[i].fault == detail)
                        return strdup(texts[i].text);
        if (detail <= PPP_ANSWER_CODING || detail >= _PPP_ANSWER_CODING_END)
                return NULL;
        if (asprintf(&text,
                     "the server encoded the page as `%s`, which pppd does not undo; it asks for "
                     "gzip and deflate only, so the server does not heed Accept-Encoding",
                     codings[detail - PPP_ANSWER_CODING]) < 0)
                return NULL;
        return text;
}

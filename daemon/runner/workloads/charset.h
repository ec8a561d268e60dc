#pragma once

/*
 * A stream decoder: bytes of a declared charset in, cut anywhere, UTF-8 out, piece by piece, by
 * iconv(3). What the charset has no character for becomes U+FFFD, as bytes.decode(errors="replace")
 * does in Python. Memory is bounded whatever the stream.
 *
 * Where glibc's tables and Python's differ, glibc's hold: a stray 0x85 is U+0085 in EUC-JP and
 * EUC-KR (bad in Python) and bad in TIS-620 (U+0085 in Python); malformed ISO-2022-* and UTF-7 is
 * taken up again elsewhere.
 *
 * charset-label.h tells which labels are taken.
 */

#include "lib/util.h"

struct charset;

/* Returns -ENOENT when iconv does not know the charset, -ENOMEM, -EMFILE and the like. */
int charset_new(const char *label, struct charset **ret);
struct charset *charset_free(struct charset *charset);
DEFINE_CLEANUP(struct charset *, charset_free)

/* Receives UTF-8; may be called any number of times in one call of the functions below. */
typedef void charset_sink(void *userdata, const void *text, size_t n);

void charset_feed(struct charset *charset, const void *data, size_t n, charset_sink *sink,
                  void *userdata);

/* Ends the text: a character that was cut off is a bad one. The decoder may only be freed then. */
void charset_finish(struct charset *charset, charset_sink *sink, void *userdata);

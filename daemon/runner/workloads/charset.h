#pragma once

/*
 * A stream decoder: bytes of a declared charset in, cut anywhere, UTF-8 out, piece by piece, by
 * iconv(3). Bytes that form no character of the charset become U+FFFD, as with
 * bytes.decode(errors="replace") in Python. Memory is bounded whatever the stream.
 *
 * Where glibc's tables and Python's differ, glibc's hold: a stray 0x85 is U+0085 in EUC-JP and
 * EUC-KR (bad in Python) and bad in TIS-620 (U+0085 in Python); decoding of malformed ISO-2022-*
 * and UTF-7 resumes at another place.
 *
 * charset-label.h says which labels are accepted.
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

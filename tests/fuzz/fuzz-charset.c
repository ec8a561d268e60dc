/*
 * libFuzzer: any bytes as a text in any charset, and as a charset's name. What a text decodes to
 * must be UTF-8, and must not depend on where it is cut.
 */

#include "daemon/runner/workloads/charset-label.h"
#include "daemon/runner/workloads/charset.h"
#include "tests/fuzz/fuzz.h"

static const char *const labels[] = {
        "iso-8859-1",  "windows-1258",    "koi8-r",      "shift_jis",     "euc-jp",
        "euc-kr",      "ks_c_5601-1987",  "iso-2022-jp", "iso-2022-jp-2", "iso-2022-kr",
        "iso-2022-cn", "iso-2022-cn-ext", "gb18030",     "gbk",           "big5",
        "big5-hkscs",  "utf-7",           "utf-16",      "utf-16le",      "utf-16be",
        "utf-32",      "tscii",           "euc-tw",      "johab",         "us-ascii",
        "tis-620",
};

struct output {
        uint64_t hash;
        size_t n;
        unsigned due; /* bytes of a character still to come */
};

static void take(void *userdata, const void *text, size_t n)
{
        struct output *output = userdata;

        for (size_t i = 0; i < n; ++i) {
                uint8_t c = ((const uint8_t *)text)[i];

                output->hash = (output->hash ^ c) * 1099511628211U;
                fuzz_check((c >= 0x80 && c < 0xc0) == (output->due > 0));
                if (output->due > 0)
                        --output->due;
                else
                        output->due = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        }
        output->n += n;
}

static struct output decode(const char *label, const uint8_t *data, size_t n, size_t size)
{
        _cleanup_(charset_freep) struct charset *charset = NULL;
        struct output output = { 14695981039346656037U, 0, 0 };

        fuzz_check(charset_new(label, &charset) == 0);
        for (size_t i = 0; i < n; i += size)
                charset_feed(charset, data + i, MIN(size, n - i), take, &output);
        charset_finish(charset, take, &output);
        fuzz_check(output.due == 0);
        return output;
}

static void check_label(const uint8_t *data, size_t n)
{
        _cleanup_free_ char *label = strndup((const char *)data, n);
        char name[CHARSET_LABEL_MAX];
        size_t n_mark = 0;
        const char *marked;

        fuzz_check(label);
        marked = charset_of_mark((const char *)data, n, label, &n_mark);
        fuzz_check(!marked || (n_mark <= n && !charset_may_be_mark((const char *)data, n_mark)));
        (void)charset_is_utf8(label);
        if (charset_label_trim(label, name) < 0)
                return;
        fuzz_check(strlen(name) < CHARSET_LABEL_MAX && !strchr(name, '/'));
        if (charset_label_resolve(name))
                fuzz_check(strlen(name) < CHARSET_LABEL_MAX && !strchr(name, '/'));
}

/* One of each is kept open, or glibc would load its module anew for each input. */
static const char *choose_label(unsigned number)
{
        static struct charset *kept[ARRAY_SIZE(labels)];
        size_t i = number % ARRAY_SIZE(labels);

        if (!kept[i])
                fuzz_check(charset_new(labels[i], &kept[i]) == 0);
        return labels[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct fuzz_data fuzz = { data, n };
        const char *label = choose_label(fuzz_byte(&fuzz));
        size_t size = (size_t)fuzz_byte(&fuzz) + 1;
        struct output whole, cut;

        check_label(fuzz.data, fuzz.n);
        whole = decode(label, fuzz.data, fuzz.n, fuzz.n + 1);
        cut = decode(label, fuzz.data, fuzz.n, size);
        fuzz_check(whole.n == cut.n && whole.hash == cut.hash);
        return 0;
}

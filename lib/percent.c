#include "lib/percent.h"

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int percent_decode(const char *s, size_t n, char **ret)
{
        _cleanup_free_ char *text = malloc(n + 1);
        char *to = text;

        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < n; ++i) {
                int high, low;

                if (s[i] != '%') {
                        *to++ = s[i];
                        continue;
                }
                high = i + 2 < n ? hex_digit(s[i + 1]) : -1;
                low = high < 0 ? -1 : hex_digit(s[i + 2]);
                if (low < 0 || (high | low) == 0)
                        return -EINVAL;
                *to++ = (char)(high << 4 | low);
                i += 2;
        }
        *to = 0;
        *ret = steal_ptr(text);
        return 0;
}

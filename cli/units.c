#include "cli/units.h"

#include <stdio.h>

/* The bounds are where rounding to three digits would carry into a fourth. */
static const char *three_digits(double v, const char *unit, char text[UNITS_SIZE])
{
        int digits = v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;

        snprintf(text, UNITS_SIZE, "%.*f%s", digits, v, unit);
        return text;
}

static const char *hours_and_minutes(double seconds, char text[UNITS_SIZE])
{
        uint64_t whole = seconds < 1e15 ? (uint64_t)(seconds + 0.5) : UINT64_C(1000000000000000);

        if (whole < 3600)
                snprintf(text, UNITS_SIZE, "%" PRIu64 " min %02" PRIu64 " s", whole / 60,
                         whole % 60);
        else
                snprintf(text, UNITS_SIZE, "%" PRIu64 " h %02" PRIu64 " min", whole / 3600,
                         whole % 3600 / 60);
        return text;
}

const char *units_seconds(double seconds, char text[UNITS_SIZE])
{
        if (seconds >= 99.95)
                return hours_and_minutes(seconds, text);
        if (seconds >= 0.9995)
                return three_digits(seconds, " s", text);
        if (seconds >= 0.9995e-3)
                return three_digits(seconds * 1e3, " ms", text);
        if (seconds >= 0.9995e-6)
                return three_digits(seconds * 1e6, " us", text);
        snprintf(text, UNITS_SIZE, seconds > 0 ? "%.0f ns" : "0 s", seconds * 1e9);
        return text;
}

const char *units_bytes(double bytes, char text[UNITS_SIZE])
{
        static const char *const units[] = { " KiB", " MiB", " GiB", " TiB" };
        double v = bytes / 1024;
        size_t i = 0;

        if (bytes < 1024) {
                snprintf(text, UNITS_SIZE, "%.0f B", bytes);
                return text;
        }
        for (; v >= 1023.5 && i + 1 < ARRAY_SIZE(units); ++i)
                v /= 1024;
        return three_digits(v, units[i], text);
}

const char *units_rate(double per_second, char text[UNITS_SIZE])
{
        if (per_second >= 999999.5)
                return three_digits(per_second / 1e6, "M", text);
        return three_digits(per_second, "", text);
}

const char *units_count(double count, char text[UNITS_SIZE])
{
        snprintf(text, UNITS_SIZE, "%.0f", count);
        return text;
}

const char *units_ratio(double ratio, char text[UNITS_SIZE])
{
        return three_digits(ratio, "", text);
}

#include "daemon/runner/fetch/retry-after.h"

#include "daemon/runner/fetch/http-fields.h"

static uint64_t read_value(const char *value, size_t n)
{
        uint64_t seconds = 0;
        time_t at, now;

        if (parse_u64(value, n, UINT64_MAX, &seconds) < 0 && http_date_parse(value, n, &at)) {
                now = time(NULL);
                seconds = at > now ? (uint64_t)(at - now) : 0;
        }
        return MIN(seconds, RETRY_AFTER_MAX_NS / NSEC_PER_SEC) * NSEC_PER_SEC;
}

uint64_t retry_after_find(const char *head, size_t n)
{
        const char *at = head, *value;
        size_t n_value;

        value = http_fields_next(&at, head + n, "Retry-After", &n_value);
        return value ? read_value(value, n_value) : 0;
}

#include "lib/json-text.h"

#include "lib/util.h"

/*
 * The size is measured first, so that the memory is there before anything is written and no later
 * part can lack it. This also leaves no copies of secrets behind, as a growing buffer would.
 */
char *json_text(const json_t *json, size_t flags)
{
        size_t n = json_dumpb(json, NULL, 0, flags);
        _cleanup_free_ char *text = NULL;

        if (n == 0)
                return NULL;
        text = malloc(n + 1);
        if (!text || json_dumpb(json, text, n, flags) != n)
                return NULL;
        text[n] = 0;
        return steal_ptr(text);
}

#include "daemon/runner/machines/ledger.h"

int ledger_init(struct ledger *ledger, struct results *results)
{
        *ledger = (struct ledger){
                .results = results,
                .in_flight = calloc(results->n_tasks / 8 + 1, 1),
                .n_recorded = results->header->n_done + results->header->n_failed,
        };
        return ledger->in_flight ? 0 : -ENOMEM;
}

void ledger_deinit(struct ledger *ledger)
{
        outstanding_deinit(&ledger->out);
        free(ledger->again);
        free(ledger->in_flight);
}

static bool flies(const struct ledger *ledger, uint64_t i)
{
        return ledger->in_flight[i / 8] >> (i % 8) & 1;
}

static int send_again(struct ledger *ledger, uint64_t first, uint64_t n)
{
        if (ledger->n_again == ledger->again_size) {
                size_t size = MAX(2 * ledger->again_size, (size_t)64);
                struct task_range *bigger = realloc(ledger->again, size * sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                ledger->again = bigger;
                ledger->again_size = size;
        }
        ledger->again[ledger->n_again++] = (struct task_range){ first, n };
        return 0;
}

static void fly(struct ledger *ledger, uint64_t first, uint32_t n, bool flies)
{
        for (uint64_t i = first; i < first + n; ++i) {
                uint8_t bit = (uint8_t)(1U << (i % 8));

                ledger->in_flight[i / 8] = flies ? ledger->in_flight[i / 8] | bit
                                                 : ledger->in_flight[i / 8] & (uint8_t)~bit;
        }
}

static bool wants_sending(const struct ledger *ledger, uint64_t i)
{
        return !flies(ledger, i) && record_state(&ledger->results->records[i]) == PPP_STATE_NONE;
}

bool ledger_next(struct ledger *ledger, uint32_t max, struct task_range *ret)
{
        uint64_t end, *from, n = 0;

        for (;;) {
                struct task_range *again =
                        ledger->n_again > 0 ? &ledger->again[ledger->n_again - 1] : NULL;

                from = again ? &again->first : &ledger->cursor;
                end = again ? again->first + again->n : ledger->results->n_tasks;
                while (*from < end && !wants_sending(ledger, *from)) {
                        ++*from;
                        if (again)
                                --again->n;
                }
                if (*from < end)
                        break;
                if (!again)
                        return false;
                --ledger->n_again;
        }
        while (n < max && *from + n < end && wants_sending(ledger, *from + n))
                ++n;
        *ret = (struct task_range){ *from, n };
        return true;
}

uint64_t ledger_left(const struct ledger *ledger)
{
        uint64_t n = ledger->results->n_tasks - ledger->n_recorded;

        return n > ledger->out.n_tasks ? n - ledger->out.n_tasks : 0;
}

struct outstanding *ledger_enter(struct ledger *ledger, uint64_t first, uint32_t n, uint32_t bytes)
{
        struct outstanding *chunk = outstanding_add(&ledger->out, first, n, bytes);

        if (chunk)
                fly(ledger, first, n, true);
        return chunk;
}

void ledger_strike(struct ledger *ledger, struct outstanding *chunk)
{
        fly(ledger, chunk->first, chunk->n, false);
        outstanding_remove(&ledger->out, chunk);
}

void ledger_close(struct ledger *ledger, struct outstanding *chunk)
{
        uint64_t first = chunk->first, end = first + chunk->n;

        ledger_strike(ledger, chunk);
        while (first < end) {
                uint64_t n = 0;

                while (first < end &&
                       record_state(&ledger->results->records[first]) != PPP_STATE_NONE)
                        ++first;
                while (first + n < end &&
                       record_state(&ledger->results->records[first + n]) == PPP_STATE_NONE)
                        ++n;
                /* Without memory to note it, begin again from the first. */
                if (n > 0 && send_again(ledger, first, n) < 0)
                        ledger->cursor = MIN(ledger->cursor, first);
                first += n;
        }
}

bool ledger_record(struct ledger *ledger, uint64_t i, const struct ppp_record *record)
{
        struct ppp_record *to = &ledger->results->records[i];

        if (record_state(to) != PPP_STATE_NONE) {
                ++ledger->n_duplicate;
                return false;
        }
        record_publish(to, record);
        ++ledger->n_recorded;
        ++*(record->state == PPP_STATE_DONE ? &ledger->n_done : &ledger->n_failed);
        return true;
}

void ledger_tell(struct ledger *ledger)
{
        struct ppp_results_header *header = ledger->results->header;

        __atomic_fetch_add(&header->n_done, ledger->n_done, __ATOMIC_RELEASE);
        __atomic_fetch_add(&header->n_failed, ledger->n_failed, __ATOMIC_RELEASE);
        ledger->n_done = ledger->n_failed = 0;
}

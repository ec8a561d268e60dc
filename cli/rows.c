#include "cli/rows.h"

#include <inttypes.h>
#include <limits.h>

#include "cli/command-output.h"
#include "cli/units.h"
#include "lib/results.h"
#include "lib/template.h"

/* What each kind of row tells, in the order of its columns. */
static const char *const columns_of_values[] = { "task",          "input",   "state",
                                                 "reason",        "detail",  "value",
                                                 "start_seconds", "seconds", "worker" };
/* Then the numbers that are kept of each. */
static const char *const columns_of_commands[] = {
        "task",        "input",  "state",         "reason",  "detail",
        "exit_status", "signal", "start_seconds", "seconds", "worker",
};
static const char *const columns_of_joblog[] = { "Seq",        "Host",   "Starttime",
                                                 "JobRuntime", "Send",   "Receive",
                                                 "Exitval",    "Signal", "Command" };

static bool is_table(const struct rows *rows)
{
        return rows->format == ROWS_TABLE;
}

/* For tabs and what else a cell cannot have; 0: it can. */
static char escape_of(char c)
{
        switch (c) {
        case '\t':
                return 't';
        case '\n':
                return 'n';
        case '\r':
                return 'r';
        case '\\':
                return '\\';
        default:
                return 0;
        }
}

static void put_csv(const char *text, size_t n)
{
        bool quoted = false;

        for (size_t i = 0; i < n; ++i)
                quoted |= text[i] == ',' || text[i] == '"' || text[i] == '\n' || text[i] == '\r';
        if (quoted)
                putchar_unlocked('"');
        for (size_t i = 0; i < n; ++i) {
                if (text[i] == '"')
                        putchar_unlocked('"');
                putchar_unlocked(text[i]);
        }
        if (quoted)
                putchar_unlocked('"');
}

static void put_tsv(const char *text, size_t n)
{
        for (size_t i = 0; i < n; ++i) {
                if (escape_of(text[i]))
                        putchar_unlocked('\\');
                putchar_unlocked(escape_of(text[i]) ?: text[i]);
        }
}

static void cell(struct rows *rows, const char *text, size_t n)
{
        if (is_table(rows)) {
                table_add(&rows->table, "%.*s", (int)MIN(n, (size_t)INT_MAX), text);
                return;
        }
        if (rows->n_cells++ > 0)
                putchar_unlocked(rows->format == ROWS_CSV ? ',' : '\t');
        if (rows->format == ROWS_CSV)
                put_csv(text, n);
        else
                put_tsv(text, n);
}

static void cell_text(struct rows *rows, const char *text)
{
        cell(rows, text, strlen(text));
}

static void cell_number(struct rows *rows, uint64_t number)
{
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, number);
        cell_text(rows, text);
}

static void cell_seconds(struct rows *rows, uint64_t ns, int digits)
{
        char text[40];

        snprintf(text, sizeof(text), "%.*f", digits, (double)ns / 1e9);
        cell_text(rows, text);
}

/* What is not known is an empty cell. */
static void cell_if(struct rows *rows, bool known, uint64_t number)
{
        if (known)
                cell_number(rows, number);
        else
                cell_text(rows, "");
}

static void end_row(struct rows *rows)
{
        if (!is_table(rows))
                fputs(rows->format == ROWS_CSV ? "\r\n" : "\n", stdout);
        rows->n_cells = 0;
}

static void put_names(struct rows *rows, const char *const *names, size_t n)
{
        for (size_t i = 0; i < n; ++i)
                cell_text(rows, names[i]);
}

static void begin_table(struct rows *rows)
{
        table_add_column(&rows->table, "TASK", false);
        table_add_column(&rows->table, "RESULT", !rows->commands ? false : true);
        table_add_column(&rows->table, "TIME", false);
        if (rows->commands) {
                table_add_column(&rows->table, "CPU", false);
                table_add_column(&rows->table, "MEMORY", false);
        }
        table_add_column(&rows->table, "INPUT", true);
}

void rows_begin(struct rows *rows)
{
        struct command_number numbers[COMMAND_NUMBERS];

        if (rows->commands)
                rows->adds_input = !template_has_input(&rows->spec->command);
        switch (rows->format) {
        case ROWS_NONE:
                return;
        case ROWS_TABLE:
                begin_table(rows);
                return;
        case ROWS_JOBLOG:
                put_names(rows, columns_of_joblog, ARRAY_SIZE(columns_of_joblog));
                break;
        case ROWS_CSV:
        case ROWS_TSV:
                if (!rows->commands) {
                        put_names(rows, columns_of_values, ARRAY_SIZE(columns_of_values));
                        break;
                }
                put_names(rows, columns_of_commands, ARRAY_SIZE(columns_of_commands));
                command_output_numbers(rows->commands, 0, numbers);
                for (size_t i = 0; i < COMMAND_NUMBERS; ++i)
                        cell_text(rows, numbers[i].name);
                break;
        }
        end_row(rows);
}

/* The exit status; false: it did not come to one. */
static bool exit_of(const struct ppp_record *record, uint64_t *ret)
{
        *ret = record->state == PPP_STATE_DONE ? 0 : (uint64_t)record->detail;
        return record->state == PPP_STATE_DONE || record->reason == PPP_REASON_COMMAND_EXIT ||
               record->reason == PPP_REASON_COMMAND_PIDS;
}

/* The signal that ended it. */
static bool signal_of(const struct ppp_record *record, uint64_t *ret)
{
        *ret = (uint64_t)record->detail & 0xff;
        return record->state == PPP_STATE_FAILED && record->reason == PPP_REASON_COMMAND_SIGNAL;
}

static void put_data(struct rows *rows, uint64_t task, const char *input, size_t n_input,
                     const struct ppp_record *record)
{
        bool failed = record->state == PPP_STATE_FAILED, known;
        char detail[16] = "";
        uint64_t value;

        if (failed)
                snprintf(detail, sizeof(detail), "%" PRId32, record->detail);
        cell_number(rows, task + 1);
        cell(rows, input, n_input);
        cell_text(rows, failed ? "failed" : "done");
        cell_text(rows, failed ? reason_name(record->reason) : "");
        cell_text(rows, detail);
        if (rows->commands) {
                known = exit_of(record, &value);
                cell_if(rows, known, value);
                known = signal_of(record, &value);
                cell_if(rows, known, value);
        } else {
                cell_if(rows, !failed, record->value);
        }
        cell_seconds(rows, record->start_ns, 9);
        cell_seconds(rows, record->end_ns - record->start_ns, 9);
        cell_number(rows, record->worker);
}

static void put_numbers(struct rows *rows, uint64_t task)
{
        struct command_number numbers[COMMAND_NUMBERS];

        command_output_numbers(rows->commands, task, numbers);
        for (size_t i = 0; i < COMMAND_NUMBERS; ++i)
                cell_if(rows, numbers[i].known, numbers[i].value);
}

/* As it was run, its words with blanks between them. */
static void put_command(struct rows *rows, uint64_t task, const char *input, size_t n_input,
                        const struct ppp_record *record)
{
        const struct command *command = &rows->spec->command;
        bool has_input = command->input == COMMAND_INPUT_ARGUMENT;
        _cleanup_free_ char *copy = strndup(input, n_input), *line = NULL;
        const struct template_values values = {
                .input = has_input ? copy : NULL,
                .n_input = n_input,
                .task = task + 1,
                .slot = record->worker + 1U,
        };
        struct command expanded = { .words = NULL };

        if (copy && template_expand(command, &values, has_input && rows->adds_input,
                                    &expanded.words) >= 0) {
                while (expanded.words[expanded.n_words])
                        ++expanded.n_words;
                line = command_line(&expanded);
                template_free(expanded.words);
        }
        cell_text(rows, line ?: "");
}

/* What did not come to an exit status has none there either: -1, as parallel has for such. */
static void put_joblog(struct rows *rows, uint64_t task, const char *input, size_t n_input,
                       const struct ppp_record *record)
{
        struct command_number numbers[COMMAND_NUMBERS];
        uint64_t value;

        command_output_numbers(rows->commands, task, numbers);
        cell_number(rows, task + 1);
        cell_text(rows, ":");
        cell_seconds(rows, rows->created_ns + record->start_ns, 3);
        cell_seconds(rows, record->end_ns - record->start_ns, 3);
        cell_number(rows, 0);
        cell_number(rows, numbers[COMMAND_OUTPUT_BYTES].value);
        if (exit_of(record, &value))
                cell_number(rows, value);
        else
                cell_text(rows, signal_of(record, &value) ? "0" : "-1");
        cell_number(rows, signal_of(record, &value) ? value : 0);
        put_command(rows, task, input, n_input, record);
}

static void put_people(struct rows *rows, const struct output *output, uint64_t task,
                       const char *input, size_t n_input, const struct ppp_record *record)
{
        char seconds[UNITS_SIZE], memory[UNITS_SIZE] = "-", cpu[UNITS_SIZE] = "-";
        struct command_number numbers[COMMAND_NUMBERS];
        uint64_t value;

        cell_number(rows, task + 1);
        if (rows->commands && exit_of(record, &value))
                table_add(&rows->table, "exit %" PRIu64, value);
        else if (rows->commands && signal_of(record, &value))
                table_add(&rows->table, "signal %" PRIu64, value);
        else if (record->state == PPP_STATE_FAILED)
                cell_text(rows, reason_name(record->reason));
        else if (output->nanoseconds)
                cell_text(rows, units_seconds((double)record->value / 1e9, seconds));
        else
                cell_number(rows, record->value);
        cell_text(rows, units_seconds((double)(record->end_ns - record->start_ns) / 1e9, seconds));
        if (rows->commands) {
                command_output_numbers(rows->commands, task, numbers);
                if (numbers[COMMAND_CPU_USER].known)
                        (void)units_seconds((double)(numbers[COMMAND_CPU_USER].value +
                                                     numbers[COMMAND_CPU_SYSTEM].value) /
                                                    1e6,
                                            cpu);
                if (numbers[COMMAND_MEMORY_PEAK].known || numbers[COMMAND_RSS_PEAK].known)
                        (void)units_bytes((double)(numbers[COMMAND_MEMORY_PEAK].known
                                                           ? numbers[COMMAND_MEMORY_PEAK].value
                                                           : numbers[COMMAND_RSS_PEAK].value),
                                          memory);
                cell_text(rows, cpu);
                cell_text(rows, memory);
        }
        cell(rows, input, n_input);
}

void rows_put(struct rows *rows, const struct output *output, uint64_t task, const char *input,
              size_t n_input, const struct ppp_record *record)
{
        switch (rows->format) {
        case ROWS_NONE:
                return;
        case ROWS_TABLE:
                put_people(rows, output, task, input, n_input, record);
                break;
        case ROWS_JOBLOG:
                put_joblog(rows, task, input, n_input, record);
                break;
        case ROWS_CSV:
        case ROWS_TSV:
                put_data(rows, task, input, n_input, record);
                if (rows->commands)
                        put_numbers(rows, task);
                break;
        }
        end_row(rows);
}

int rows_end(struct rows *rows, struct output *output, bool color)
{
        _cleanup_free_ char *text = NULL;
        int r;

        if (!is_table(rows))
                return 0;
        r = table_print(&rows->table, table_room(), false, color, &text);
        if (r)
                return r;
        output_text(output, text);
        output_text(output, "\n");
        return 0;
}

void rows_deinit(struct rows *rows)
{
        table_deinit(&rows->table);
}

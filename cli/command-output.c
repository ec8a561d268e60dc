#include "cli/command-output.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/progress.h"
#include "cli/say.h"
#include "cli/sigbus.h"
#include "cli/units.h"

static int say_unreadable(const struct pppd *pppd, int r)
{
        return cli_fail(CLI_FAILED,
                        "cannot read what the tasks of job %" PRIu64 " have printed: %s", pppd->job,
                        r == -EBADMSG ? "a file of them is cut short, or not of a format that "
                                        "pppctl " PPPCTL_VERSION " knows; run the job again"
                                      : strerrordesc_np(-r));
}

int command_output_open(struct command_output *commands, const struct pppd *pppd,
                        struct pppd_reply *reply)
{
        _cleanup_close_ int tasks_fd = -EBADF, output_fd = -EBADF;
        int r = pppd_reply_fd(pppd, reply, "tasks_fd", &tasks_fd);

        if (r == 0)
                r = pppd_reply_fd(pppd, reply, "output_fd", &output_fd);
        if (r)
                return r;
        r = sigbus_guard();
        if (r >= 0)
                r = task_output_open(tasks_fd, output_fd, &commands->files);
        return r < 0 ? say_unreadable(pppd, r) : 0;
}

void command_output_close(struct command_output *commands)
{
        task_output_close(&commands->files);
        *commands = (struct command_output)COMMAND_OUTPUT_NULL;
}

static int write_out(void *userdata, const void *data, size_t n)
{
        FILE *to = userdata;

        return fwrite_unlocked(data, 1, n, to) == n ? 0 : -EIO;
}

/* A write that failed is found by who flushes the stream. */
int command_output_copy(const struct command_output *commands, uint64_t task, enum ppp_stream from,
                        FILE *to)
{
        int r;

        if (task >= commands->files.tasks.n_tasks)
                return -EBADMSG;
        r = task_output_read(&commands->files, task, from, write_out, to);
        return ferror(to) ? 0 : r;
}

static void copy(const struct command_output *commands, struct output *output, uint64_t task,
                 enum ppp_stream from, FILE *to)
{
        if (command_output_copy(commands, task, from, to) >= 0)
                return;
        output->failed = true;
        cli_note("cannot read what task %" PRIu64 " has printed: the job's file of it is damaged; "
                 "run it again",
                 task + 1);
}

/* The file may have fewer tasks than the results: they are two, and others write them. */
static const struct ppp_task_record *task_of(const struct command_output *commands, uint64_t task)
{
        static const struct ppp_task_record none;

        return task < commands->files.tasks.n_tasks ? &commands->files.tasks.records[task] : &none;
}

/* By its cgroup where that was measured, else by its largest process. */
static uint64_t memory_of(const struct ppp_task_record *task)
{
        return task->known & PPP_USAGE_MEMORY_PEAK ? task->memory_peak_bytes : task->rss_peak_bytes;
}

static void put_line(const struct command_output *commands, struct output *output, uint64_t task,
                     const char *input, size_t n_input, const struct ppp_record *record)
{
        const struct ppp_task_record *usage = task_of(commands, task);
        char seconds[UNITS_SIZE], memory[UNITS_SIZE], text[2 * UNITS_SIZE + 96];
        int n;

        n = snprintf(text, sizeof(text), "exit 0 in %s",
                     units_seconds((double)(record->end_ns - record->start_ns) / 1e9, seconds));
        if (usage->known & (PPP_USAGE_MEMORY_PEAK | PPP_USAGE_RUSAGE))
                n += snprintf(text + n, sizeof(text) - (size_t)n, ", %s",
                              units_bytes((double)memory_of(usage), memory));
        if (usage->attempts > 1)
                n += snprintf(text + n, sizeof(text) - (size_t)n, ", attempt %" PRIu32,
                              usage->attempts);
        if (usage->known & PPP_USAGE_LEFT && usage->left_behind > 0)
                snprintf(text + n, sizeof(text) - (size_t)n, ", left %" PRIu32 " process%s",
                         usage->left_behind, usage->left_behind == 1 ? "" : "es");
        output_about(output, commands->as_data ? stdout : stderr, input, n_input, text);
}

void command_output_put(const struct command_output *commands, struct output *output, uint64_t task,
                        const char *input, size_t n_input, const struct ppp_record *record)
{
        if (commands->streams && !output->json) {
                copy(commands, output, task, PPP_STREAM_OUTPUT, stdout);
                if (output->interleaved)
                        (void)fflush(stdout);
                copy(commands, output, task, PPP_STREAM_ERROR, stderr);
                if (output->interleaved)
                        (void)fflush(stderr);
        }
        if (output->json || record->state == PPP_STATE_FAILED)
                output_result(output, task, input, n_input, record);
        else if (commands->lines)
                put_line(commands, output, task, input, n_input, record);
}

static void put_status(const struct ppp_record *record, FILE *to)
{
        if (record->state == PPP_STATE_DONE)
                fputs(",\"exit_status\":0", to);
        else if (record->reason == PPP_REASON_COMMAND_EXIT ||
                 record->reason == PPP_REASON_COMMAND_PIDS)
                fprintf(to, ",\"exit_status\":%" PRId32, record->detail);
        else if (record->reason == PPP_REASON_COMMAND_SIGNAL)
                fprintf(to, ",\"signal\":%" PRId32 ",\"core\":%s", record->detail & 0xff,
                        record->detail & PPP_COMMAND_CORE ? "true" : "false");
}

void command_output_numbers(const struct command_output *commands, uint64_t task,
                            struct command_number ret[static COMMAND_NUMBERS])
{
        const struct ppp_task_record *usage = task_of(commands, task);
        const struct {
                enum ppp_usage bit; /* 0: it is always known */
                const char *name;
                uint64_t value;
        } numbers[COMMAND_NUMBERS] = {
                { 0, "attempts", usage->attempts },
                { 0, "output_bytes", usage->streams[PPP_STREAM_OUTPUT].bytes },
                { 0, "error_bytes", usage->streams[PPP_STREAM_ERROR].bytes },
                { PPP_USAGE_CPU, "cpu_user_usec", usage->user_usec },
                { PPP_USAGE_CPU, "cpu_system_usec", usage->system_usec },
                { PPP_USAGE_MEMORY_PEAK, "memory_peak_bytes", usage->memory_peak_bytes },
                { PPP_USAGE_RUSAGE, "rss_peak_bytes", usage->rss_peak_bytes },
                { PPP_USAGE_RUSAGE, "context_switches_voluntary", usage->switches_voluntary },
                { PPP_USAGE_RUSAGE, "context_switches_involuntary", usage->switches_involuntary },
                { PPP_USAGE_RUSAGE, "faults_minor", usage->faults_minor },
                { PPP_USAGE_RUSAGE, "faults_major", usage->faults_major },
                { PPP_USAGE_IO, "read_bytes", usage->read_bytes },
                { PPP_USAGE_IO, "written_bytes", usage->written_bytes },
                { PPP_USAGE_PRESSURE_CPU, "pressure_cpu_usec", usage->pressure_cpu_usec },
                { PPP_USAGE_PRESSURE_MEMORY, "pressure_memory_usec", usage->pressure_memory_usec },
                { PPP_USAGE_PRESSURE_IO, "pressure_io_usec", usage->pressure_io_usec },
                { PPP_USAGE_LEFT, "left_behind", usage->left_behind },
        };

        for (size_t i = 0; i < COMMAND_NUMBERS; ++i)
                ret[i] = (struct command_number){
                        .name = numbers[i].name,
                        .known = numbers[i].bit == 0 || usage->known & numbers[i].bit,
                        .value = numbers[i].value,
                };
}

void command_output_put_json(const struct command_output *commands, uint64_t task,
                             const struct ppp_record *record, FILE *to)
{
        struct command_number numbers[COMMAND_NUMBERS];

        put_status(record, to);
        command_output_numbers(commands, task, numbers);
        for (size_t i = 0; i < COMMAND_NUMBERS; ++i)
                if (numbers[i].known)
                        fprintf(to, ",\"%s\":%" PRIu64, numbers[i].name, numbers[i].value);
}

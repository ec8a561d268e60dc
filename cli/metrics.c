/* `pppctl metrics`: prints the metrics that pppd-web serves to monitoring systems. */

#include "cli/choose.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/verbs.h"

static int print(const struct pppd *pppd, const struct pppd_reply *reply)
{
        const char *text = json_string_value(json_object_get(reply->parameters, "openmetrics"));
        struct output output;

        if (!text)
                return pppd_bad_reply(pppd, "it has no text \"openmetrics\"");
        output_init(&output, false);
        output_lines(&output, text);
        return output_finish(&output);
}

static int run(const struct args *args)
{
        _cleanup_(pppd_reply_deinit) struct pppd_reply reply = PPPD_REPLY_NULL;
        _cleanup_(pppd_close) struct pppd pppd = PPPD_NULL;
        int r = choose_nothing(args);

        if (r == 0)
                r = pppd_open(&pppd, args);
        if (r == 0)
                r = pppd_ask(&pppd, "get the metrics", "Metrics", json_object(), -EBADF, &reply);
        return r ? r : print(&pppd, &reply);
}

const struct verb verb_metrics = {
        .name = "metrics",
        .synopsis = "",
        .what = "print what a monitoring system collects",
        .text = "Prints numbers about the daemon and all jobs it ever ran, as OpenMetrics text:\n"
                "jobs and tasks by how they ended, what they cost, what is queued and runs.\n"
                "pppd-web.socket serves the same at http://127.0.0.1:9777/metrics.",
        .examples = "  pppctl metrics | grep _running\n"
                    "  sudo systemctl enable --now pppd-web.socket",
        .run = run,
};

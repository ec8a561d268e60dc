#include "daemon/supervisor/api/admission.h"

#include "daemon/supervisor/api/methods.h"

/*
 * The child's report. Its error points to static text, which is at the same address in our process
 * as in the child, a fork of ours.
 */
struct found {
        uint64_t size, n_tasks;
        bool uses_demo;
        struct input_error error;
};

static int child_copy(void *userdata, int out_fd)
{
        struct admission *admission = userdata;
        struct incoming *incoming = &admission->incoming;
        struct found found = { .size = 0 };
        int r, k;

        r = incoming_copy(incoming, admission->inputs_fd, &found.error);
        found.size = incoming->size;
        found.n_tasks = incoming->n_tasks;
        found.uses_demo = incoming->uses_demo;
        k = write_all(out_fd, &found, sizeof(found));
        return r < 0 ? r : k;
}

static struct admission *next_of(struct peer_owner *owner, uid_t uid)
{
        struct admission *admission;

        list_for_each(admission, &owner->admissions, struct admission, link)
                if (admission->peer->uid == uid)
                        return admission;
        return NULL;
}

static void start(struct admission *admission);

static void start_next(struct peer_owner *owner, uid_t uid)
{
        struct admission *next = next_of(owner, uid);

        /* Without a store the daemon is ending: it frees its jobs before its peers. */
        if (next && !next->errand && owner->jobs->store)
                start(next);
}

/* Answers the call, which frees the admission, and starts the user's next one. */
static void finish(struct admission *admission, int r, const struct input_error *error)
{
        struct peer *peer = admission->peer;
        struct peer_owner *owner = peer->owner;
        uid_t uid = peer->uid;

        list_remove(&admission->link);
        methods_run_admitted(peer, &admission->submission, &admission->incoming,
                             admission->cancel_on_disconnect, r, error);
        start_next(owner, uid);
}

static void on_copied(void *userdata, int r, int out_fd)
{
        struct admission *admission = userdata;
        struct found found = { .size = 0 };

        admission->errand = NULL;
        if (pread(out_fd, &found, sizeof(found), 0) != sizeof(found) && r >= 0)
                r = -EIO;
        admission->incoming.size = found.size;
        admission->incoming.n_tasks = found.n_tasks;
        admission->incoming.uses_demo = found.uses_demo;
        finish(admission, r, &found.error);
}

static void start(struct admission *admission)
{
        const struct errand_work work = {
                .run = child_copy,
                .done = on_copied,
                .userdata = admission,
                .fds = { admission->inputs_fd, admission->incoming.fd },
                .n_fds = 2,
        };
        static const struct input_error none = { 0, NULL };
        int r;

        r = errand_start(admission->peer->owner->event, &work, &admission->errand);
        if (r < 0)
                finish(admission, r, &none);
}

int admission_begin(struct peer *peer, struct submission *submission, struct incoming *incoming,
                    int *inputs_fd, bool cancel_on_disconnect)
{
        struct admission *admission = calloc(1, sizeof(*admission));

        if (!admission)
                return -ENOMEM;
        *admission = (struct admission){
                .peer = peer,
                .submission = *submission,
                .incoming = *incoming,
                .inputs_fd = steal_fd(inputs_fd),
                .cancel_on_disconnect = cancel_on_disconnect,
        };
        submission->spec = (struct spec)SPEC_NULL;
        *incoming = (struct incoming)INCOMING_NULL;
        list_init(&admission->link);
        list_append(&peer->owner->admissions, &admission->link);
        peer->call.kind = CALL_RUN;
        peer->call.admission = admission;
        start_next(peer->owner, peer->uid);
        return 0;
}

void admission_free(struct admission *admission)
{
        struct peer_owner *owner;
        bool waited;

        if (!admission)
                return;
        owner = admission->peer->owner;
        waited = !list_empty(&admission->link);
        list_remove(&admission->link);
        errand_cancel(admission->errand);
        spec_deinit(&admission->submission.spec);
        incoming_deinit(&admission->incoming);
        close_fd(admission->inputs_fd);
        if (waited)
                start_next(owner, admission->peer->uid);
        free(admission);
}

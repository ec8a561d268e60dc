/*
 * libFuzzer: a peer sends any bytes in any packets with any descriptors, and reads or does not.
 * What varlink_receive() makes of it must be what a plain cut at the NULs makes of it: the same
 * messages up to the first that is none, each with the descriptors that were sent with its bytes.
 */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/json-depth.h"
#include "lib/varlink.h"
#include "tests/fuzz/fuzz.h"

#define N_FILES    3
#define PACKET_FDS (VARLINK_FDS_MAX + 2)

/* The message that is at @at now, as the model has it. */
struct model {
        const uint8_t *text;
        size_t n, at;
        size_t n_fds; /* sent with its bytes so far */
        ino_t inode;  /* of the first of them */
};

struct run {
        struct varlink varlink;
        int peer;
        struct fuzz_data fuzz;
        size_t sent;
        int flags;           /* of sendmsg(): MSG_OOB, or not */
        uint8_t *packet_fds; /* by offset of a byte: how many descriptors went with it */
        bool over;
};

static int files[N_FILES];
static ino_t inodes[N_FILES];

/* Pipes, since their inodes tell them apart. */
static void open_files(void)
{
        for (size_t i = 0; i < N_FILES && files[i] == 0; ++i) {
                struct stat st;
                int fds[2];

                fuzz_check(pipe2(fds, O_CLOEXEC) == 0);
                close(fds[1]);
                fuzz_check(fstat(fds[0], &st) == 0);
                files[i] = fds[0];
                inodes[i] = st.st_ino;
        }
}

static size_t real_depth(json_t *json)
{
        size_t depth = 0;
        const char *key;
        json_t *value;
        size_t i;

        if (json_is_object(json)) {
                json_object_foreach(json, key, value)
                        depth = MAX(depth, real_depth(value));
                return depth + 1;
        }
        if (json_is_array(json)) {
                json_array_foreach(json, i, value)
                        depth = MAX(depth, real_depth(value));
                return depth + 1;
        }
        return 0;
}

/* What a message has to be, said without the guard. */
static json_t *model_parse(const struct model *model, size_t n)
{
        const char *text = (const char *)model->text + model->at;
        json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);

        if (json_is_object(json) && real_depth(json) <= JSON_DEPTH_MAX)
                return json;
        json_decref(json);
        return NULL;
}

/* Descriptors of packets that begin in [at, end). */
static void model_count_fds(struct model *model, const struct run *run, size_t end)
{
        model->n_fds = 0;
        for (size_t i = model->at; i < end; ++i) {
                if (run->packet_fds[i] > 0 && model->n_fds == 0)
                        model->inode = inodes[i % N_FILES];
                model->n_fds += run->packet_fds[i];
        }
}

static void expect_message(struct model *model, struct run *run,
                           const struct varlink_message *message)
{
        const uint8_t *nul = memchr(model->text + model->at, 0, run->sent - model->at);
        json_t *expected;
        struct stat st;
        size_t n;

        fuzz_check(nul);
        n = (size_t)(nul - model->text) - model->at;
        expected = model_parse(model, n);
        fuzz_check(expected && json_equal(expected, message->json));
        json_decref(expected);
        model_count_fds(model, run, model->at + n + 1);
        fuzz_check(message->n_fds == model->n_fds);
        if (message->n_fds > 0)
                fuzz_check(fstat(message->fds[0], &st) == 0 && st.st_ino == model->inode);
        model->at += n + 1;
}

static void expect_refusal(struct model *model, const struct run *run, const char *why)
{
        const uint8_t *nul = memchr(model->text + model->at, 0, run->sent - model->at);
        json_t *json;

        fuzz_check(why && strlen(why) > 10);
        for (const char *p = why; *p; ++p)
                fuzz_check(*p >= 0x20 && *p < 0x7f);
        model_count_fds(model, run, nul ? (size_t)(nul - model->text) + 1 : run->sent);
        if (model->n_fds > VARLINK_FDS_MAX)
                return;
        fuzz_check(nul);
        json = model_parse(model, (size_t)(nul - model->text) - model->at);
        fuzz_check(!json);
}

/* Nothing whole may be left behind. */
static void expect_no_message(const struct model *model, const struct run *run)
{
        fuzz_check(!memchr(model->text + model->at, 0, run->sent - model->at));
}

/* There and back: what was received can be sent and is received the same. */
static void echo(const struct varlink_message *message)
{
        struct varlink_message back = VARLINK_MESSAGE_NULL;
        struct varlink from, to;
        const char *why;
        int fds[2];

        fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        varlink_init_consume(&from, fds[0]);
        varlink_init_consume(&to, fds[1]);
        fuzz_check(varlink_send(&from, message->json, message->fds, message->n_fds) == 0);
        fuzz_check(varlink_receive(&to, &back, &why) == 0);
        fuzz_check(json_equal(message->json, back.json) && back.n_fds == message->n_fds);
        varlink_message_deinit(&back);
        varlink_deinit(&from);
        varlink_deinit(&to);
}

static void receive_all(struct run *run, struct model *model, bool at_end)
{
        while (!run->over) {
                struct varlink_message message = VARLINK_MESSAGE_NULL;
                const char *why = NULL;
                int r = varlink_receive(&run->varlink, &message, &why);

                if (r == VARLINK_E_AGAIN) {
                        fuzz_check(!at_end && !varlink_pending(&run->varlink));
                        expect_no_message(model, run);
                        return;
                }
                run->over = r != 0;
                if (r == 0) {
                        expect_message(model, run, &message);
                        echo(&message);
                } else if (r == VARLINK_E_INVALID) {
                        expect_refusal(model, run, why);
                } else {
                        fuzz_check(r == VARLINK_E_EOF && at_end);
                        expect_no_message(model, run);
                }
                varlink_message_deinit(&message);
        }
}

static ssize_t send_packet(struct run *run, const uint8_t *data, size_t n, size_t n_fds)
{
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(sizeof(int) * PACKET_FDS)];
        } control = { .align = {
                              .cmsg_len = CMSG_LEN(sizeof(int) * n_fds),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS,
                      } };
        struct iovec iov = { (void *)(uintptr_t)data, n };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        const int *file = &files[run->sent % N_FILES];

        for (size_t i = 0; i < n_fds; ++i)
                memcpy(CMSG_DATA(&control.align) + i * sizeof(int), file, sizeof(int));
        if (n_fds > 0) {
                mh.msg_control = &control;
                mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        }
        return sendmsg(run->peer, &mh, run->flags | MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * One packet, as a byte of the input says: 3 bits of length, then descriptors, then whether to
 * receive.
 */
static void step(struct run *run, struct model *model)
{
        static const size_t lengths[] = { 1, 2, 3, 5, 8, 21, 89, SIZE_MAX };
        uint8_t control = fuzz_byte(&run->fuzz);
        size_t n = MIN(lengths[control & 7], run->fuzz.n - MIN(run->sent, run->fuzz.n));
        size_t n_fds = (control >> 3 & 3) == 3 ? (control >> 5) + 3U : (control >> 3 & 3);
        ssize_t l;

        if (n == 0)
                return;
        l = send_packet(run, model->text + run->sent, n, n_fds);
        if (l < 0) {
                fuzz_check(errno == EAGAIN);
                receive_all(run, model, false);
                return;
        }
        run->packet_fds[run->sent] = (uint8_t)n_fds;
        run->sent += (size_t)l;
        if (control & 0x80)
                receive_all(run, model, false);
}

static void run_receive(struct run *run)
{
        struct model model = { .text = run->fuzz.data, .n = run->fuzz.n };

        run->packet_fds = calloc(run->fuzz.n + 1, 1);
        fuzz_check(run->packet_fds);
        while (run->sent < run->fuzz.n && !run->over)
                step(run, &model);
        run->peer = close_fd(run->peer);
        receive_all(run, &model, true);
        free(run->packet_fds);
}

/* The same bytes as replies to a client. It never waits: the peer is gone once it has sent all. */
static void run_client(struct run *run)
{
        bool more = fuzz_byte(&run->fuzz) & 1;
        int r;

        fuzz_check(varlink_call(&run->varlink, "a.b.C", NULL, more, NULL, 0) == 0);
        (void)send_packet(run, run->fuzz.data, run->fuzz.n, 0);
        run->peer = close_fd(run->peer);
        do {
                struct varlink_message message = VARLINK_MESSAGE_NULL;
                const char *error = NULL, *why = NULL;
                json_t *parameters = NULL;
                bool continues = false;

                r = varlink_reply(&run->varlink, -1, &message, &parameters, &error, &continues,
                                  &why);
                if (r == 0)
                        fuzz_check(json_is_object(parameters) && (!error || error[0]) &&
                                   !(error && continues));
                else
                        fuzz_check(r == VARLINK_E_EOF || (r == VARLINK_E_INVALID && why));
                varlink_message_deinit(&message);
        } while (r == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct run run = { .fuzz = { data, n } };
        uint8_t mode = fuzz_byte(&run.fuzz);
        int fds[2];

        open_files();
        fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        varlink_init_consume(&run.varlink, fds[0]);
        run.peer = fds[1];
        run.flags = mode & 2 ? MSG_OOB : 0;
        if (mode & 1)
                run_client(&run);
        else
                run_receive(&run);
        varlink_deinit(&run.varlink);
        return 0;
}

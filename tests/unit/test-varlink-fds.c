/* Varlink's wire: descriptors belong to the message whose bytes they came with. */

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/varlink-peer.h"

/* Each message and its descriptor in a send of its own, read late: they still find each other. */
static void test_fds_separate(void)
{
        _cleanup_close_ int one = new_file(), two = new_file();
        struct pair p;

        pair_init(&p);
        peer_says(p.peer, "{\"n\":0}\0");
        peer_says_with(p.peer, "{\"n\":1}\0", one);
        peer_says(p.peer, "{\"n\":2}\0{\"n\":3}\0");
        peer_says_with(p.peer, "{\"n\":4}\0", two);
        peer_says(p.peer, "{\"n\":5}\0");
        expect_message(&p.varlink, 0, 0);
        expect_message_with(&p.varlink, 1, inode_of(one));
        expect_message(&p.varlink, 2, 0);
        expect_message(&p.varlink, 3, 0);
        expect_message_with(&p.varlink, 4, inode_of(two));
        expect_message(&p.varlink, 5, 0);
        expect_again(&p.varlink);
        pair_deinit(&p);
}

/*
 * The opposite: one send of several messages; its descriptor came with the first byte of the first.
 */
static void test_fds_batched(void)
{
        _cleanup_close_ int one = new_file(), two = new_file();
        struct pair p;

        pair_init(&p);
        peer_says(p.peer, "{\"n\":0}\0{\"n\"");
        peer_says_with(p.peer, ":1}\0{\"n\":2}\0", one);
        peer_says_with(p.peer, "{\"n\":3}\0{\"n\":4}\0{\"n", two);
        peer_says_with(p.peer, "\":5}\0", one);
        expect_message(&p.varlink, 0, 0);
        expect_message_with(&p.varlink, 1, inode_of(one));
        expect_message(&p.varlink, 2, 0);
        expect_message_with(&p.varlink, 3, inode_of(two));
        expect_message(&p.varlink, 4, 0);
        expect_message_with(&p.varlink, 5, inode_of(one));
        expect_again(&p.varlink);
        pair_deinit(&p);
}

static void test_fds_byte_by_byte(void)
{
        static const char text[] = "{\"n\":1}";
        _cleanup_close_ int fd = new_file();
        struct pair p;

        for (size_t with = 0; with < sizeof(text); ++with) {
                pair_init(&p);
                for (size_t i = 0; i < sizeof(text); ++i) {
                        peer_send(p.peer, text + i, 1, &fd, i == with);
                        if (text[i])
                                expect_again(&p.varlink);
                }
                expect_message_with(&p.varlink, 1, inode_of(fd));
                pair_deinit(&p);
        }
}

static void test_fds_most(void)
{
        _cleanup_close_ int fd = new_file();
        int fds[VARLINK_FDS_MAX];
        size_t before;
        struct pair p;

        pair_init(&p);
        before = count_fds();
        for (size_t i = 0; i < ARRAY_SIZE(fds); ++i)
                fds[i] = fd;
        peer_send(p.peer, "{\"n\":1}", 8, fds, VARLINK_FDS_MAX);
        expect_message(&p.varlink, 1, VARLINK_FDS_MAX);
        test_int(count_fds(), ==, before); /* those that nobody took are closed */
        pair_deinit(&p);
}

static void test_fds_too_many(void)
{
        _cleanup_close_ int fd = new_file();
        size_t before;
        struct pair p;
        int fds[32];

        for (size_t i = 0; i < ARRAY_SIZE(fds); ++i)
                fds[i] = fd;
        for (size_t n = VARLINK_FDS_MAX + 1; n <= ARRAY_SIZE(fds); ++n) {
                pair_init(&p);
                before = count_fds();
                peer_send(p.peer, "{\"n\":1}", 8, fds, n);
                expect_code(&p.varlink, VARLINK_E_INVALID, "more than 8 descriptors");
                test_int(count_fds(), ==, before);
                /* the message as such is there, but must not come without its descriptors */
                expect_code(&p.varlink, VARLINK_E_INVALID, "more than 8 descriptors");
                pair_deinit(&p);
        }
        /* or a few at a time */
        pair_init(&p);
        before = count_fds();
        peer_send(p.peer, "{", 1, fds, 5);
        expect_again(&p.varlink);
        peer_send(p.peer, "}", 2, fds, 4);
        expect_code(&p.varlink, VARLINK_E_INVALID, "more than 8 descriptors");
        test_int(count_fds(), ==, before);
        pair_deinit(&p);
}

static void test_fds_of_a_lost_stream(void)
{
        _cleanup_close_ int fd = new_file();
        size_t before = count_fds();
        struct pair p;

        pair_init(&p);
        peer_says_with(p.peer, "nonsense\0", fd);
        expect_code(&p.varlink, VARLINK_E_INVALID, "not JSON");
        pair_deinit(&p);
        test_int(count_fds(), ==, before);

        pair_init(&p);
        peer_says_with(p.peer, "{\"n\":", fd);
        expect_again(&p.varlink);
        p.peer = close_fd(p.peer);
        expect_eof(&p.varlink);
        pair_deinit(&p);
        test_int(count_fds(), ==, before);
}

static int send_with(struct varlink *varlink, const int *fds, size_t n_fds)
{
        json_t *json = json_object();
        int r = varlink_send(varlink, json, fds, n_fds);

        json_decref(json);
        return r;
}

/* In a child, and so without assertions. The exit status says what was not as it should be; 0:
 * nothing. */
static int send_until_refused(void)
{
        static const struct rlimit limit = { 40, 40 };
        int fds[VARLINK_FDS_MAX] = { 0 }, ends[2], r = 0;
        struct varlink varlink;

        /* The limit is none of root's. */
        if (geteuid() == 0 && setresuid(54321, 54321, 54321) < 0)
                return 1;
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || setrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 2;
        varlink_init_consume(&varlink, ends[0]);
        for (unsigned i = 0; i < 50 && r == 0; ++i)
                r = send_with(&varlink, fds, VARLINK_FDS_MAX);
        if (r != -ETOOMANYREFS)
                return 3;
        /* The message is not kept, and others go on. */
        if (varlink_wants_write(&varlink) || varlink.n_out != 0 || varlink.n_out_fds != 0)
                return 4;
        return send_with(&varlink, NULL, 0) == 0 ? 0 : 5;
}

static void test_too_many_refs(void)
{
        int status;
        pid_t pid = fork();

        test_int(pid, >=, 0);
        if (pid == 0)
                _exit(send_until_refused());
        test_int(waitpid(pid, &status, 0), ==, pid);
        test_int(status, ==, 0);
}

TEST_MAIN("varlink-fds", { "sent one by one", test_fds_separate },
          { "several messages a send", test_fds_batched },
          { "byte by byte", test_fds_byte_by_byte }, { "as many as may be", test_fds_most },
          { "too many", test_fds_too_many }, { "of a lost stream", test_fds_of_a_lost_stream },
          { "that nobody receives", test_too_many_refs })

#pragma once

/*
 * What the tests of Varlink share: a socket pair with the wire at one end and a raw peer at the
 * other.
 */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/varlink.h"
#include "tests/unit/test.h"

struct pair {
        struct varlink varlink;
        int peer;
};

static inline void pair_init(struct pair *pair)
{
        int fds[2];

        test_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
        varlink_init_consume(&pair->varlink, fds[0]);
        pair->peer = fds[1];
}

static inline void pair_deinit(struct pair *pair)
{
        varlink_deinit(&pair->varlink);
        pair->peer = close_fd(pair->peer);
}

/* One sendmsg() of exactly these bytes and descriptors, as any peer could do it. */
static inline void peer_send(int peer, const char *data, size_t n, const int *fds, size_t n_fds)
{
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(sizeof(int) * 32)];
        } control = { .align = {
                              .cmsg_len = CMSG_LEN(sizeof(int) * n_fds),
                              .cmsg_level = SOL_SOCKET,
                              .cmsg_type = SCM_RIGHTS,
                      } };
        struct iovec iov = { (void *)(uintptr_t)data, n };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n_fds > 0) {
                memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * n_fds);
                mh.msg_control = &control;
                mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        }
        test_int(sendmsg(peer, &mh, MSG_NOSIGNAL), ==, n);
}

/* A literal, without the NUL the compiler adds: messages say theirs. */
#define peer_says(peer, text) peer_send(peer, text, sizeof(text) - 1, NULL, 0)
#define peer_says_with(peer, text, fd)                                 \
        do {                                                           \
                int _says_fd = (fd);                                   \
                                                                       \
                peer_send(peer, text, sizeof(text) - 1, &_says_fd, 1); \
        } while (0)

static inline size_t count_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        size_t n = 0;

        test_true(dir);
        while (readdir(dir))
                ++n;
        closedir(dir);
        return n;
}

/* Descriptors that can be told apart wherever they arrive: pipes, by their inode. */
static inline ino_t inode_of(int fd)
{
        struct stat st;

        test_int(fstat(fd, &st), ==, 0);
        return st.st_ino;
}

static inline int new_file(void)
{
        int fds[2];

        test_int(pipe2(fds, O_CLOEXEC), ==, 0);
        close(fds[1]);
        return fds[0];
}

/* Receives one message, which must be there and have {"n": @n} and @n_fds descriptors. */
static inline void expect_message(struct varlink *varlink, int n, size_t n_fds)
{
        _cleanup_(varlink_message_deinit) struct varlink_message message = VARLINK_MESSAGE_NULL;
        const char *why = "";

        test_int(varlink_receive(varlink, &message, &why), ==, 0);
        test_int(json_integer_value(json_object_get(message.json, "n")), ==, n);
        test_int(message.n_fds, ==, n_fds);
}

/* The same with one descriptor, the one of @inode. */
static inline void expect_message_with(struct varlink *varlink, int n, ino_t inode)
{
        _cleanup_(varlink_message_deinit) struct varlink_message message = VARLINK_MESSAGE_NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *why = "";

        test_int(varlink_receive(varlink, &message, &why), ==, 0);
        test_int(json_integer_value(json_object_get(message.json, "n")), ==, n);
        test_int(message.n_fds, ==, 1);
        fd = varlink_message_take_fd(&message, 0);
        test_int(fd, >=, 0);
        test_int(inode_of(fd), ==, inode);
        test_int(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
        test_int(varlink_message_take_fd(&message, 0), ==, -EBADF);
        test_int(varlink_message_take_fd(&message, 1), ==, -EBADF);
}

static inline void expect_code(struct varlink *varlink, int code, const char *why_has)
{
        struct varlink_message message = VARLINK_MESSAGE_NULL;
        const char *why = NULL;

        test_int(varlink_receive(varlink, &message, &why), ==, code);
        test_true(!message.json);
        if (why_has)
                test_contains(why, why_has);
}

#define expect_again(v) expect_code(v, VARLINK_E_AGAIN, NULL)
#define expect_eof(v)   expect_code(v, VARLINK_E_EOF, NULL)

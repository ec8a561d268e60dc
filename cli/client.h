#pragma once

/*
 * pppd as the CLI sees it: a connection, one call at a time, its replies. Errors are printed here,
 * as sentences; functions return 0 or an exit status (cli/say.h).
 */

#include "cli/args.h"
#include "lib/varlink.h"

struct pppd {
        struct varlink varlink;
        char *path;            /* of the socket that answered */
        const char *attempted; /* "start the job": what the call is for; static text */
        uint64_t job;          /* the job that the call is about, for messages; 0: none */
        bool refused;          /* the last call was answered with an error, nothing worse */
        const char *tolerated; /* an error ("QueueFull") that is kept as @refusal and not printed;
                                  NULL: none */
        json_t *refusal;       /* parameters of the tolerated error, owned; NULL: the last reply was
                                  another */
        int signal_fd;         /* borrowed: ends pppd_receive() when readable; -EBADF: none */

        /*
         * For how long to wait for a pppd that goes away during a call to come back; the call is
         * then repeated. 0: not at all. A call with a descriptor is not repeated: that is Run,
         * which must not run twice.
         */
        uint64_t return_ns;
        bool quiet; /* nothing is printed when pppd goes away and comes back */
        struct pppd_absence {
                uint64_t since_ns; /* when pppd went away, CLOCK_MONOTONIC; 0: it is there */
                unsigned n_tries;
                int error; /* of the last attempt to connect, a negative errno */
        } absence;
        struct pppd_call {
                const char *method;
                json_t *parameters; /* owned */
                bool more;
        } call; /* the last call, if it may be repeated */
};

/* Longer than it may take to stop pppd and all of its jobs (13 s), and to start it again. */
#define PPPD_RETURN_NS (30 * NSEC_PER_SEC)

#define PPPD_NULL                                         \
        {                                                 \
                .varlink.fd = -EBADF, .signal_fd = -EBADF \
        }

/* Connects by --socket, --system, --user, $PPPCTL_SOCKET, else to the first that answers. */
int pppd_open(struct pppd *pppd, const struct args *args);

/* Whether it is the caller's own, whose jobs run as the caller. */
bool pppd_is_own(const struct pppd *pppd);

/* Another connection to the same pppd. */
int pppd_open_again(struct pppd *pppd, const struct pppd *other);

/* Connects again if pppd was restarted since the last call, which closed the connection. */
int pppd_refresh(struct pppd *pppd);
void pppd_close(struct pppd *pppd);

struct pppd_reply {
        struct varlink_message message;
        json_t *parameters; /* an object, borrowed from message */
        bool continues;
};

#define PPPD_REPLY_NULL                         \
        {                                       \
                .message = VARLINK_MESSAGE_NULL \
        }

void pppd_reply_deinit(struct pppd_reply *reply);

/* Sends a call. @method is without the interface's name; @fd: sent along, -EBADF for none. */
int pppd_call(struct pppd *pppd, const char *attempted, const char *method,
              json_t *parameters /* stolen */, bool more, int fd);

/*
 * Waits for the next reply to the call. Returns CLI_INTERRUPTED, without a message, when signal_fd
 * becomes readable first; absence.since_ns tells whether pppd was there at that time.
 */
int pppd_receive(struct pppd *pppd, struct pppd_reply *ret);

/* A call and its only reply. */
int pppd_ask(struct pppd *pppd, const char *attempted, const char *method,
             json_t *parameters /* stolen */, int fd, struct pppd_reply *ret);

/* The parameters of most methods. */
static inline json_t *pppd_about_job(uint64_t job)
{
        return json_pack("{s:I}", "job", (json_int_t)job);
}

/* The reply's member "job", an object, borrowed. */
int pppd_reply_job(const struct pppd *pppd, const struct pppd_reply *reply, json_t **ret);

/* The descriptor whose index among those of the message is the reply's @member; the caller's. */
int pppd_reply_fd(const struct pppd *pppd, struct pppd_reply *reply, const char *member, int *ret);

/*
 * Prints that a reply is not understood, and @what is wrong with it: the daemon is of another
 * version, or it is no pppd.
 */
int pppd_bad_reply(const struct pppd *pppd, const char *what);

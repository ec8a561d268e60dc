/*
 * Two daemons on one state directory or one socket: the second is refused, but not by what a daemon
 * that was killed has left for a moment, a child on its way to execve() with all its descriptors.
 */

#include "tests/unit/test.h"

#include <signal.h>
#include <sys/wait.h>

#include "daemon/supervisor/api/listener.h"
#include "daemon/supervisor/kept/state.h"

static char directory[64], socket_path[128];

struct rival {
        struct state state;
        struct listener listener;
        struct turns turns;
        sd_event *event;
        struct fault fault;
};

static void accepted(struct listener *listener, int fd, const struct ucred *credentials)
{
        close_fd(fd);
}

static int take_state(struct rival *rival)
{
        return state_init(&rival->state, directory, &rival->fault);
}

static int take_socket(struct rival *rival)
{
        int r = sd_event_new(&rival->event);

        if (r >= 0)
                r = turns_init(&rival->turns, rival->event);
        if (r < 0)
                return r;
        return listener_init(&rival->listener, &rival->turns, rival->event, socket_path, accepted,
                             &rival->fault);
}

static int (*const takes[])(struct rival *rival) = { take_state, take_socket };

static void rival_deinit(struct rival *rival)
{
        state_deinit(&rival->state);
        listener_deinit(&rival->listener);
        turns_deinit(&rival->turns);
        sd_event_unref(rival->event);
        fault_deinit(&rival->fault);
        *rival = (struct rival){ .state = STATE_NULL, .listener = LISTENER_NULL };
}

static void begin(void)
{
        strcpy(directory, "/tmp/test-rivals-XXXXXX");
        test_true(mkdtemp(directory));
        snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
}

static void end(void)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", directory);
        test_int(system(command), ==, 0);
}

/* A daemon, and a child of its that holds what it had until @hold_fd is closed. */
static pid_t start_daemon(int (*take)(struct rival *), const int hold[2])
{
        struct rival rival = { .state = STATE_NULL, .listener = LISTENER_NULL };
        int told[2];
        char byte = 0;
        pid_t pid;

        test_int(pipe(told), ==, 0);
        pid = fork();
        if (pid == 0) {
                close(hold[1]);
                if (take(&rival) < 0)
                        _exit(1);
                if (fork() == 0)
                        _exit((int)read(hold[0], &byte, 1));
                (void)!write(told[1], &byte, 1);
                pause();
                _exit(1);
        }
        close(told[1]);
        test_int(read(told[0], &byte, 1), ==, 1);
        close(told[0]);
        return pid;
}

static void second_is_refused_until_the_first_is_dead(void)
{
        struct rival rival = { .state = STATE_NULL, .listener = LISTENER_NULL };

        begin();
        for (size_t i = 0; i < ARRAY_SIZE(takes); ++i) {
                int hold[2], status;
                pid_t pid;

                test_int(pipe(hold), ==, 0);
                pid = start_daemon(takes[i], hold);
                test_int(takes[i](&rival), <, 0);
                test_contains(rival.fault.why, "another");
                test_contains(rival.fault.attempted, directory);
                rival_deinit(&rival);

                kill(pid, SIGKILL);
                test_int(waitpid(pid, &status, 0), ==, pid);
                test_int(takes[i](&rival), >=, 0);
                rival_deinit(&rival);
                close(hold[0]);
                close(hold[1]);
        }
        end();
}

static void the_holder_is_named(void)
{
        struct rival rival = { .state = STATE_NULL, .listener = LISTENER_NULL };
        int hold[2], status;
        char text[32];
        pid_t pid;

        begin();
        test_int(pipe(hold), ==, 0);
        pid = start_daemon(take_state, hold);
        test_int(take_state(&rival), ==, -EWOULDBLOCK);
        snprintf(text, sizeof(text), "process %d", pid);
        test_contains(rival.fault.why, text);
        rival_deinit(&rival);
        kill(pid, SIGKILL);
        test_int(waitpid(pid, &status, 0), ==, pid);
        close(hold[0]);
        close(hold[1]);
        end();
}

TEST_MAIN("rivals",
          { "the second is refused until the first is dead",
            second_is_refused_until_the_first_is_dead },
          { "the holder is named", the_holder_is_named })

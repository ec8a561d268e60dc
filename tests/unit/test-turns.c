/* Turns: users in rotation, whatever the number of their connections, and within a user its
 * connections. */

#include "tests/unit/test.h"

#include "daemon/supervisor/base/turns.h"

#define ENTRANTS_MAX 8

static char order[64];

/* Notes its name, and wants as many more turns as it is greedy. */
struct entrant {
        struct turn turn;
        char name;
        unsigned greed;
        struct entrant *leaves; /* that is thrown out in this turn */
};

static sd_event *event;
static struct turns turns;
static struct entrant entrants[ENTRANTS_MAX];
static size_t n_entrants;

static void on_turn(struct turn *turn)
{
        struct entrant *entrant = container_of(turn, struct entrant, turn);

        strncat(order, &entrant->name, 1);
        if (entrant->greed > 0) {
                --entrant->greed;
                turn_want(turn);
        }
        if (entrant->leaves)
                turn_deinit(&entrant->leaves->turn);
}

static struct entrant *enter(char name, uid_t uid, unsigned greed)
{
        struct entrant *entrant = &entrants[n_entrants++];

        *entrant = (struct entrant){ .name = name, .greed = greed };
        test_int(turn_init(&entrant->turn, &turns, uid, on_turn), ==, 0);
        turn_want(&entrant->turn);
        return entrant;
}

static void begin(void)
{
        order[0] = 0;
        n_entrants = 0;
        test_int(sd_event_new(&event), >=, 0);
        test_int(turns_init(&turns, event), >=, 0);
}

static void run(void)
{
        while (sd_event_run(event, 0) > 0)
                ;
}

static void end(void)
{
        for (size_t i = 0; i < n_entrants; ++i)
                turn_deinit(&entrants[i].turn);
        turns_deinit(&turns);
        event = sd_event_unref(event);
}

static void test_users_rotate(void)
{
        begin();
        enter('a', 1, 5);
        enter('b', 2, 1);
        enter('c', 3, 0);
        run();
        test_str(order, "abcabaaaa");
        end();
}

/* Four connections of one user get as much as the one of another. */
static void test_connections_share(void)
{
        begin();
        enter('a', 1, 1);
        enter('b', 1, 1);
        enter('c', 1, 1);
        enter('d', 1, 1);
        enter('X', 2, 3);
        run();
        test_str(order, "aXbXcXdXabcd");
        end();
}

/* The next turn is theirs who come while the first of many is taken. */
static void test_newcomer(void)
{
        begin();
        for (unsigned i = 0; i < 5; ++i)
                enter('a', 1, 10);
        test_int(sd_event_run(event, 0), >, 0);
        enter('X', 2, 0);
        test_int(sd_event_run(event, 0), >, 0);
        test_int(sd_event_run(event, 0), >, 0);
        test_str(order, "aaX");
        end();
}

static void test_twice_is_once(void)
{
        struct entrant *a;

        begin();
        a = enter('a', 1, 0);
        turn_want(&a->turn);
        turn_want(&a->turn);
        run();
        test_str(order, "a");
        end();
}

static void test_leaving(void)
{
        struct entrant *a, *b;

        begin();
        a = enter('a', 1, 1);
        b = enter('b', 1, 1);
        a->leaves = b;
        enter('c', 2, 0);
        run();
        test_str(order, "aca");
        a->leaves = a;
        turn_want(&a->turn);
        run();
        test_str(order, "acaa");
        /* Others of the event loop come first, and go on when nobody is left. */
        enter('d', 1, 0);
        run();
        test_str(order, "acaad");
        end();
}

static int on_other(sd_event_source *source, void *userdata)
{
        strcat(order, "!");
        return 0;
}

/* What else the loop has to do is not kept from it by turns. */
static void test_others_first(void)
{
        sd_event_source *other;

        begin();
        enter('a', 1, 2);
        test_int(sd_event_run(event, 0), >, 0);
        test_int(sd_event_add_defer(event, &other, on_other, NULL), >=, 0);
        run();
        test_str(order, "a!aa");
        sd_event_source_unref(other);
        end();
}

TEST_MAIN("turns", { "users are in rotation", test_users_rotate },
          { "connections share their user's turns", test_connections_share },
          { "a newcomer is next", test_newcomer },
          { "wanting twice is wanting once", test_twice_is_once },
          { "who leaves has no turn", test_leaving }, { "turns come last", test_others_first })

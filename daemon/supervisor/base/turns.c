#include "daemon/supervisor/base/turns.h"

static struct turn_user *find(struct turns *turns, uid_t uid)
{
        struct turn_user *user;

        list_for_each(user, &turns->users, struct turn_user, link)
                if (user->uid == uid)
                        return user;
        return NULL;
}

static struct turn_user *find_or_add(struct turns *turns, uid_t uid)
{
        struct turn_user *user = find(turns, uid);

        if (user)
                return user;
        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->turns = turns;
        user->uid = uid;
        list_init(&user->link);
        list_init(&user->ready);
        list_init(&user->wanted);
        list_append(&turns->users, &user->link);
        return user;
}

int turn_init(struct turn *turn, struct turns *turns, uid_t uid, void (*take)(struct turn *turn))
{
        *turn = (struct turn){ .take = take, .user = find_or_add(turns, uid) };
        list_init(&turn->link);
        if (!turn->user)
                return -ENOMEM;
        ++turn->user->n;
        return 0;
}

/* Puts the user behind all others that are in the rotation. */
static void queue_user(struct turn_user *user)
{
        assert(!list_empty(&user->wanted));
        list_remove(&user->ready);
        list_append(&user->turns->ready, &user->ready);
}

void turn_deinit(struct turn *turn)
{
        struct turn_user *user = turn->user;

        if (!user)
                return;
        assert(user->n > 0);
        list_remove(&turn->link);
        turn->user = NULL;
        if (list_empty(&user->wanted))
                list_remove(&user->ready);
        if (--user->n > 0)
                return;
        list_remove(&user->link);
        free(user);
}

static void arm(struct turns *turns)
{
        int r = sd_event_source_set_enabled(turns->source, SD_EVENT_ONESHOT);

        /* This fails only if the source does not belong to this process's event loop. */
        assert(r >= 0);
        (void)r;
}

void turn_want(struct turn *turn)
{
        struct turn_user *user = turn->user;

        if (!list_empty(&turn->link))
                return;
        list_append(&user->wanted, &turn->link);
        if (list_empty(&user->ready))
                queue_user(user);
        arm(user->turns);
}

static void take_next(struct turns *turns)
{
        struct turn_user *user = list_first(&turns->ready, struct turn_user, ready);
        struct turn *turn = list_first(&user->wanted, struct turn, link);

        list_remove(&turn->link);
        if (list_empty(&user->wanted))
                list_remove(&user->ready);
        else
                queue_user(user);
        turn->take(turn);
}

static int on_turn(sd_event_source *source, void *userdata)
{
        struct turns *turns = userdata;

        if (!list_empty(&turns->ready))
                take_next(turns);
        if (!list_empty(&turns->ready))
                arm(turns);
        return 0;
}

int turns_init(struct turns *turns, sd_event *event)
{
        int r;

        *turns = (struct turns){ .source = NULL };
        list_init(&turns->users);
        list_init(&turns->ready);
        r = sd_event_add_defer(event, &turns->source, on_turn, turns);
        if (r >= 0)
                r = sd_event_source_set_priority(turns->source, TURNS_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_enabled(turns->source, SD_EVENT_OFF);
        return r;
}

void turns_deinit(struct turns *turns)
{
        if (!turns->source)
                return;
        assert(list_empty(&turns->users));
        turns->source = sd_event_source_disable_unref(turns->source);
}

#include "daemon/runner/node/look.h"

#include <stdio.h>

struct request {
        struct look *look;
        const struct stream *stream;
        unsigned room;
};

static void request_end(struct request *request)
{
        --request->look->n;
        free(request);
}

static void on_claimed(struct redis *redis, redisReply *reply, void *userdata)
{
        struct request *request = userdata;
        struct look *look = request->look;

        if (reply && redis_is_array(reply, 0))
                chunks_take_entries(look->chunks, request->stream, reply, true);
        else if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&look->streams->link, redis, reply,
                                "take over chunks of silent nodes");
        request_end(request);
}

static void leave_to_others(struct request *request)
{
        redis_send(&request->look->streams->link.commands, NULL, NULL, "DEL %s",
                   request->stream->key_look);
        request->look->due = true;
}

/* Each entry is [id, consumer, idle, deliveries]. */
static int claim(struct request *request, const redisReply *entries)
{
        struct look *look = request->look;
        _cleanup_free_ const char **argv = calloc(5 + entries->elements, sizeof(*argv));
        char idle[24];
        int argc = 0;

        if (!argv)
                return -ENOMEM;
        snprintf(idle, sizeof(idle), "%llu", (unsigned long long)streams_silence_ms(look->streams));
        argv[argc++] = "XCLAIM";
        argv[argc++] = request->stream->key;
        argv[argc++] = MACHINES_GROUP;
        argv[argc++] = look->streams->machines.name;
        argv[argc++] = idle;
        for (size_t i = 0; i < entries->elements; ++i)
                if (redis_is_array(entries->element[i], 1) &&
                    redis_is_string(entries->element[i]->element[0]))
                        argv[argc++] = entries->element[i]->element[0]->str;
        return argc == 5 ? -ENOENT
                         : redis_send_argv(&look->streams->link.commands, on_claimed, request, argc,
                                           argv, NULL);
}

static void on_pending(struct redis *redis, redisReply *reply, void *userdata)
{
        struct request *request = userdata;

        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&request->look->streams->link, redis, reply,
                                "look for chunks of silent nodes");
        if (!reply || !redis_is_array(reply, 1)) {
                request_end(request);
                return;
        }
        if (reply->elements >= request->room)
                leave_to_others(request);
        if (claim(request, reply) < 0)
                request_end(request);
}

/* A Redis that is full takes no key; its streams are looked through nevertheless. */
static void on_locked(struct redis *redis, redisReply *reply, void *userdata)
{
        struct request *request = userdata;
        struct look *look = request->look;

        if (reply && redis_trouble_is_final(redis_trouble_of(reply)))
                redis_link_fail(&look->streams->link, redis, reply,
                                "look for chunks of silent nodes");
        if (!reply || reply->type == REDIS_REPLY_NIL || look->streams->link.failed ||
            redis_send(redis, on_pending, request,
                       "XPENDING %s " MACHINES_GROUP " IDLE %llu - + %u", request->stream->key,
                       (unsigned long long)streams_silence_ms(look->streams), request->room) < 0)
                request_end(request);
}

static void look_at(struct look *look, const struct stream *stream, unsigned room)
{
        struct streams *streams = look->streams;
        struct request *request = malloc(sizeof(*request));

        if (!request)
                return;
        *request = (struct request){ look, stream, room };
        ++look->n;
        if (redis_send(&streams->link.commands, on_locked, request, "SET %s %s NX PX %llu",
                       stream->key_look, streams->machines.name,
                       (unsigned long long)MAX(streams->machines.heartbeat_ns / 8 / NSEC_PER_MSEC,
                                               UINT64_C(1))) < 0)
                request_end(request);
}

bool look_first(struct look *look)
{
        struct streams *streams = look->streams;
        unsigned room;

        if (look->n > 0)
                return true;
        if (!look->due || !streams->link.is_up || !chunks_have_room(look->chunks, &room))
                return false;
        look->due = false;
        for (unsigned i = 0; i < streams->n; ++i)
                look_at(look, &streams->list[i], room);
        return look->n > 0;
}

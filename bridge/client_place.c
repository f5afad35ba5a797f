/* client_place: where a stream stands in its threads, and stood when it was closed. */
#include "bridge/client.h"
#include "bridge/hub.h"

bool client_position(const struct client *c, char out[POSITION_SIZE])
{
    size_t len = 0;
    if (!c->count)
        return false;
    for (size_t i = 0; i < c->count; i++) {
        const struct sub *s = &c->subs[i];
        bool moves = s->state == SUB_LIVE && s->topic && !c->closed;
        struct event_id pos = moves ? s->topic->pos : s->pos;
        if (!s->has_pos)
            return false;
        if (i)
            out[len++] = ',';
        if (event_id_zero(pos))
            out[len++] = '0';
        else
            len += event_id_format(&pos, out + len);
    }
    out[len] = '\0';
    return true;
}

void client_stays(struct client *c)
{
    for (size_t i = 0; i < c->count; i++) {
        struct sub *s = &c->subs[i];
        if (s->state == SUB_LIVE && s->topic)
            s->pos = s->topic->pos;
    }
}

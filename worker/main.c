/* threadcast-worker: reads the options, then migrates or runs until it is told to stop.
 */
#include "common/conf.h"
#include "common/log.h"
#include "common/loop.h"
#include "worker/conf.h"
#include "worker/migrate.h"
#include "worker/worker.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

static void on_drain(void *arg)
{
    worker_drain(arg);
}

static void on_hup(void *arg)
{
    worker_on_hup(arg);
}

static int serve(const struct worker_conf *conf)
{
    struct loop *l = loop_new();
    struct worker *w = l ? worker_new(l, conf) : NULL;
    int status = 1;

    if (w && loop_signals(l, on_drain, on_hup, w)) {
        log_info("starting", LOG_S("instance", w->instance),
                 LOG_I("concurrency", conf->concurrency));
        loop_run(l);
        status = 0;
        log_info("stopped");
    } else {
        fprintf(stderr, "threadcast-worker: cannot start\n");
    }
    worker_free(w);
    loop_free(l);
    return status;
}

int main(int argc, char **argv)
{
    struct worker_conf conf = {0};
    int status = 0;

    json_object_seed(0);
    switch (conf_load(&worker_conf_spec, &conf, argc, argv, environ, &conf.command,
                      worker_conf_validate)) {
    case CONF_BAD:
        status = 2;
        break;
    case CONF_EXIT:
        break;
    case CONF_RUN:
        log_setup((enum log_level)conf.log_level, (enum log_format)conf.log_format);
        status = conf.command ? migrate(&conf) : serve(&conf);
        break;
    }
    worker_conf_free(&conf);
    return status;
}

/* threadcast-bridge: serves what is published to Redis as Server-Sent Events. */
#include "bridge/auth.h"
#include "bridge/conf.h"
#include "bridge/mint.h"
#include "bridge/reactors.h"
#include "bridge/static.h"
#include "common/log.h"
#include "common/memory.h"
#include "threadcast_version.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

extern char **environ;

/* A stream is a descriptor: take as many as we may. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void warn_loudly(const struct bridge_conf *conf)
{
    if (conf->auth == AUTH_MODE_NONE)
        log_warn("NO AUTHENTICATION: whoever reaches this address may read and write "
                 "every thread (--auth none)",
                 LOG_S("listen", conf->listen));
    if (!conf->database_url)
        log_info("no DATABASE_URL: serving publishers from Redis alone");
}

/* Where they usually are they may be missing: a bridge that runs from its build. Where
 * somebody says they are they may not. */
static bool load_client(const struct bridge_conf *conf, struct bridge_files *ret,
                        struct buf *err)
{
    const char *dir = conf->client_dir;
    if (strcmp(dir, THREADCAST_CLIENT_DIR) == 0 && access(dir, F_OK) != 0) {
        log_info("no JavaScript client is installed: /client.js is not served",
                 LOG_S("looked_in", dir));
        return true;
    }
    ret->client = statics_load(dir, "index.js", err);
    return ret->client;
}

static int run(const struct bridge_conf *conf)
{
    struct buf err;
    struct auth *auth = NULL;
    struct bridge_files files = {NULL, NULL};
    struct reactors *rs = NULL;
    int status = 1;
    buf_init(&err);
    if (!(auth = auth_new(conf, &err)))
        goto out;
    if (conf->demo && !(files.app = statics_load(conf->app_dir, "index.html", &err)))
        goto out;
    if (!load_client(conf, &files, &err))
        goto out;
    if (!(rs = reactors_new(conf, auth, &files, &err)))
        goto out;
    warn_loudly(conf);
    reactors_run(rs);
    status = 0;

out:
    if (status)
        fprintf(stderr, "threadcast-bridge: %s\n", err.data ? err.data : "out of memory");
    reactors_free(rs);
    statics_free(files.app);
    statics_free(files.client);
    auth_free(auth);
    buf_fini(&err);
    return status;
}

int main(int argc, char **argv)
{
    struct bridge_conf conf = {.auth = AUTH_MODE_JWT};
    int status = 0;
    memory_watch();
    json_object_seed(0);
    if (argc > 1 && !strcmp(argv[1], "token"))
        return mint_command(argc, argv, environ);
    switch (conf_load(&bridge_conf_spec, &conf, argc, argv, environ, NULL,
                      bridge_conf_validate)) {
    case CONF_RUN:
        log_setup(conf.log_level, conf.log_format);
        raise_descriptor_limit();
        status = run(&conf);
        break;
    case CONF_EXIT:
        break;
    case CONF_BAD:
        status = 2;
        break;
    }
    bridge_conf_free(&conf);
    return status;
}

/* migrate: `threadcast-worker migrate` brings the schema up to date and leaves. */
#ifndef THREADCAST_WORKER_MIGRATE_H
#define THREADCAST_WORKER_MIGRATE_H

#include <stdbool.h>

struct buf;
struct worker_conf;

/* Prints what it did on stdout, what went wrong on stderr; the exit status. */
int migrate(const struct worker_conf *conf);

/* `bridge=<role>,worker=<role>,app=<role>`, each as often as needed; else words. */
bool migrate_grant_check(const char *value, struct buf *err);

#endif

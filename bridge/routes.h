/* routes: one function per method and path. Each answers its request, now or later. */
#ifndef THREADCAST_ROUTES_H
#define THREADCAST_ROUTES_H

struct request;

typedef void route_fn(struct request *r);

/* Origin rules, then the table, then the route. Unknown path 404, other method 405 with
 * Allow; HEAD is served where GET is, except on streams (405). */
void routes_dispatch(struct request *r);

/* route_stream.c */
route_fn route_thread_events, route_events, route_run_events;
/* route_messages.c */
route_fn route_messages_get, route_messages_post;
/* route_threads.c */
route_fn route_threads_get, route_threads_post, route_thread_delete;
/* route_runs.c */
route_fn route_run_get, route_run_cancel, route_runs_get;
route_fn route_thread_cancel;
void route_run_hint_cancel(struct request *r, const char *run_id); /* to workers */
/* route_usage.c, route_agents.c */
route_fn route_usage_get, route_agents_get;
/* route_retry.c */
route_fn route_run_retry;
/* route_publish.c */
route_fn route_events_post;
/* route_session.c */
route_fn route_session_post, route_session_delete, route_tickets_post, route_demo_session;
/* route_extend.c */
route_fn route_session_extend;
/* route_revoke.c */
route_fn route_revoke;
/* route_demo.c (in the event path: drops the visitor's own streams) */
route_fn route_demo_cut;
/* route_probe.c */
route_fn route_probe;
/* route_health.c */
route_fn route_healthz, route_readyz, route_metrics;
/* route_debug.c */
route_fn route_debug_streams;
/* legacy_routes.c */
route_fn route_legacy_stream, route_legacy_status, route_legacy_stop;
/* static.c */
route_fn route_static, route_vendor, route_client, route_client_entry;

#endif

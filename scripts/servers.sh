# shellcheck shell=bash
# The processes of `scripts/run`: a Redis and a PostgreSQL of its own, the daemons.
# Sourced after lib.sh. Everything it starts has a pid file and a log in .run/, its own
# session (so that Ctrl-C reaches us first), and is stopped by stop_all.

RUN=$ROOT/.run

# Where a server's sockets and data go: .run/, unless the path is too long for a socket or
# the user that runs it may not enter (a clone in /root); then a directory under /var/tmp
# that belongs to this clone.
server_dir() { # <name> <user>
    local dir=$RUN/$1 tag
    mkdir -p "$dir"
    if [ ${#dir} -gt 80 ] || ! as_user "$2" test -x "$RUN"; then
        rmdir "$dir" 2>/dev/null || true
        tag=$(printf '%s' "$ROOT" | sha256sum | cut -c1-12)
        dir=/var/tmp/threadcast-$(id -u)-$tag/$1
        mkdir -p "$dir"
        chmod 755 "${dir%/*}"
        [ -O "${dir%/*}" ] || die "${dir%/*} belongs to somebody else"
    fi
    printf '%s\n' "$dir"
}

as_user() { # <user> <command…>
    local user=$1
    shift
    if [ "$user" = "$(id -un)" ]; then
        "$@"
    else
        setpriv --reuid "$user" --regid "$user" --clear-groups --reset-env "$@"
    fi
}

# launch <name> <command…>: in the background, output to .run/<name>.log
launch() {
    local name=$1
    shift
    : >"$RUN/$name.log"
    setsid "$@" >"$RUN/$name.log" 2>&1 </dev/null 3>&- 9>&- &
    printf '%s\n' $! >"$RUN/$name.pid"
}

# for wait_for: succeeds as soon as the condition holds or the process has gone
gone_or() { # <name> <command…>
    local name=$1
    shift
    "$@" || ! kill -0 "$(cat "$RUN/$name.pid")" 2>/dev/null
}

start_redis() {
    [ -z "${REDIS_URL:-}" ] || return 0
    local dir
    dir=$(server_dir redis "$(id -un)")
    chmod 700 "$dir"
    launch redis redis-server --port 0 --unixsocket "$dir/redis.sock" --unixsocketperm 700 \
        --dir "$dir" --appendonly yes --save '' --maxmemory-policy noeviction --daemonize no
    export REDIS_URL=unix://$dir/redis.sock
    answers() { redis-cli -s "$dir/redis.sock" ping | grep -q PONG; }
    wait_for 20 gone_or redis answers || true
    answers || {
        tail -15 "$RUN/redis.log" >&2
        die "Redis did not start"
    }
}

start_postgres() {
    [ -z "${DATABASE_URL:-}" ] || return 0
    local user dir data as=()
    user=$(id -un)
    if [ "$(id -u)" = 0 ]; then # it refuses to run as root
        user=postgres
        as=(setpriv --reuid postgres --regid postgres --clear-groups)
    fi
    dir=$(server_dir postgres "$user")
    data=$dir/data
    chown "$user:" "$dir"
    chmod 700 "$dir"
    if [ ! -s "$data/PG_VERSION" ]; then
        rm -rf "$data"
        env -C / "${as[@]}" "$(pg_program initdb)" -D "$data" -U threadcast -A trust \
            -E UTF8 --locale=C.UTF-8 >"$RUN/initdb.log" 2>&1 || {
            tail -15 "$RUN/initdb.log" >&2
            die "initdb failed"
        }
    fi
    # `trust`, because its only door is a socket in a directory that nobody else may enter
    launch postgres env -C / "${as[@]}" "$(pg_program postgres)" -D "$data" \
        -c unix_socket_directories="$dir" -c listen_addresses=
    local psql=("$(pg_program psql)" -h "$dir" -U threadcast -qAt)
    up() { "${psql[@]}" -d postgres -c 'select 1'; }
    wait_for 60 gone_or postgres up || true
    up >/dev/null 2>&1 || {
        tail -15 "$RUN/postgres.log" >&2
        die "PostgreSQL did not start"
    }
    [ -n "$("${psql[@]}" -d postgres -c "select 1 from pg_database where datname = 'threadcast'")" ] ||
        "${psql[@]}" -d postgres -c 'create database threadcast'
    export DATABASE_URL="postgresql://threadcast@/threadcast?host=${dir//\//%2F}"
}

# stop <name> <word of its command line> <signal> <seconds>
stop() {
    local file=$RUN/$1.pid pid
    if is_running "$file" "$2"; then
        pid=$(cat "$file")
        kill -s "$3" "$pid" 2>/dev/null || true
        wait_for "$4" not is_running "$file" "$2" || {
            warn "$1 does not stop; killing it"
            kill -s KILL "$pid" 2>/dev/null || true
        }
    fi
    rm -f "$file"
}
not() { ! "$@"; }

# In the order in which they need each other. Also ends what an earlier run left behind.
stop_all() {
    stop bridge threadcast-bridge TERM 20
    stop worker threadcast-worker TERM 20
    stop redis redis-server TERM 20
    stop postgres postgres INT 30
    rm -f "$RUN/address"
}

# shellcheck shell=bash
# What the scripts share: where things are, what has to be installed, how to wait.
# Sourced, never run. Sets ROOT; expects `set -euo pipefail` from its caller.
# shellcheck disable=SC2034

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

# --- what Debian 12 has to provide, in one place --------------------------------------
# lines of: how to see that it is there | package
#   pc:<name>   pkg-config knows it      cmd:<name>  a program      pg:<name>  a program of
#   PostgreSQL, which Debian keeps out of PATH      py:<name>  a Python module
#   sbin:<name>  a program that is not in every user's PATH
#   rt:<name>  a runtime library of clang    node:<n>  Node.js of that age or younger
#   floor:<package>=<version>  if Debian's package is there, it is not older
PACKAGES_BUILD="
cmd:cc|build-essential
cmd:cmake|cmake
cmd:ninja|ninja-build
cmd:pkg-config|pkg-config
pc:hiredis|libhiredis-dev
pc:libevent_openssl|libevent-dev
pc:jansson|libjansson-dev
pc:libpq|libpq-dev
pc:openssl|libssl-dev
pc:libcurl|libcurl4-openssl-dev
"
PACKAGES_REDIS="cmd:redis-server|redis-server"
PACKAGES_POSTGRES="pg:postgres|postgresql"
PACKAGES_RUN="
cmd:curl|curl
cmd:openssl|openssl
cmd:python3|python3
"
PACKAGES_PASTE="py:redis|python3-redis" # for the lines that scripts/run prints
PACKAGES_TEST="
pc:cmocka|libcmocka-dev
cmd:clang|clang
cmd:clang-format|clang-format
cmd:clang-tidy|clang-tidy
rt:asan|libclang-rt-14-dev
cmd:chromium|chromium
node:18|nodejs
cmd:npm|npm
py:redis|python3-redis
py:httpx|python3-httpx
py:fastapi|python3-fastapi
py:uvicorn|python3-uvicorn
cmd:shellcheck|shellcheck
cmd:jq|jq
cmd:git|git
sbin:nginx|nginx-light
sbin:haproxy|haproxy
cmd:caddy|caddy
sbin:pgbouncer|pgbouncer
"
# The peers of scripts/bench: modules to install, and servers that are only unpacked.
PACKAGES_BENCH="
node:18|nodejs
cmd:npm|npm
cmd:prlimit|util-linux
py:matplotlib|python3-matplotlib
py:fastapi|python3-fastapi
py:uvicorn|python3-uvicorn
py:uvloop|python3-uvloop
py:httptools|python3-httptools
py:redis|python3-redis
py:hiredis|python3-hiredis
"
PEERS_BENCH="nginx libnginx-mod-nchan webdis"

PACKAGES_FULL="
cmd:slowhttptest|slowhttptest
cmd:valgrind|valgrind
cmd:systemd-analyze|systemd
py:setuptools|python3-setuptools
py:wheel|python3-wheel
py:ensurepip|python3-venv
cmd:promtool|prometheus
"
# Older ones have holes that reach us: request smuggling and a use after free in libevent,
# the fixes of each minor release of PostgreSQL and Redis.
PACKAGES_FLOOR="
floor:libevent-core-2.1-7=2.1.12-stable-8+deb12u1|libevent-dev
floor:libpq5=15.20|libpq-dev
floor:libhiredis0.14=0.14.1-3|libhiredis-dev
floor:redis-server=5:7.0.15-1~deb12u10|redis-server
"

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "error: $*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# PostgreSQL's own programs (initdb, postgres): prints the path or nothing.
pg_program() {
    local found
    found=$(find /usr/lib/postgresql -path "*/bin/$1" 2>/dev/null | sort -V | tail -1)
    [ -n "$found" ] || found=$(command -v "$1" || true)
    [ -n "$found" ] && printf '%s\n' "$found"
}

# A Python that has this module: prints its path or nothing. (The first python3 in PATH
# may be somebody's own, which does not see Debian's packages.)
python_with() {
    local python
    for python in python3 /usr/bin/python3; do
        if have "$python" && "$python" -c "import $1" >/dev/null 2>&1; then
            command -v "$python"
            return 0
        fi
    done
    return 1
}

node_is() {
    have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge "$1" ]
}

is_at_floor() { # <package> <version>: what Debian has not installed is somebody else's care
    local installed
    have dpkg-query || return 0
    installed=$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null) || return 0
    [ -z "$installed" ] || dpkg --compare-versions "$installed" ge "$2"
}

provided() {
    local kind=${1%%:*} name=${1#*:}
    case $kind in
    cmd) have "$name" ;;
    sbin) have "$name" || [ -x "/usr/sbin/$name" ] ;;
    pc) have pkg-config && pkg-config --exists "$name" ;;
    pg) [ -n "$(pg_program "$name")" ] ;;
    py) python_with "$name" >/dev/null ;;
    rt) compgen -G "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.$name-*.a" >/dev/null ;;
    node) node_is "$name" ;;
    floor) is_at_floor "${name%%=*}" "${name#*=}" ;;
    *) die "unknown kind of requirement: $1" ;;
    esac
}

# need <list>…: installs what is missing. Calls apt only when something is.
need() {
    local line missing=() sudo=()
    # shellcheck disable=SC2048
    for line in $*; do # a list is words
        provided "${line%%|*}" || missing+=("${line##*|}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! have apt-get; then
        die "please install (names of Debian 12): ${missing[*]}"
    fi
    if [ "$(id -u)" != 0 ]; then
        if have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            sudo=(sudo)
        else
            die "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}"
        fi
    fi
    say "Installing: ${missing[*]}"
    mkdir -p "$ROOT/.run"
    local log="$ROOT/.run/apt.log"
    {
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
            "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
                apt-get install -y --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 || {
        tail -20 "$log" >&2
        die "apt failed (all of it: $log)"
    }
    services_off "${missing[@]}" >>"$log" 2>&1
}

# Debian starts what it installs. These are there for tests, which start their own.
services_off() {
    local name sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    [ -d /run/systemd/system ] || return 0
    for name in "$@"; do
        case $name in
        nginx-light) "${sudo[@]}" systemctl disable --now nginx || true ;;
        haproxy) "${sudo[@]}" systemctl disable --now haproxy || true ;;
        caddy) "${sudo[@]}" systemctl disable --now caddy || true ;;
        prometheus) "${sudo[@]}" systemctl disable --now prometheus || true ;;
        esac
    done
}

# build <preset> [target…]: configures and builds, quietly; the log is shown on failure.
build() {
    local preset=$1 log="$ROOT/build/$1.log"
    shift
    mkdir -p "$ROOT/build"
    (
        cd "$ROOT"
        flock 9 # two commands may want it at once
        exec >"$log" 2>&1
        cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}
    ) 9>"$ROOT/build/.$preset.lock" || {
        grep -E 'error|warning|FAILED|CMake Error' "$log" | head -40 >&2 || tail -40 "$log" >&2
        die "the build failed (all of it: $log)"
    }
}

# wait_for <seconds> <command…>: until the command succeeds; false when it never does.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt "$end" ] || return 1
        sleep 0.05
    done
}

# Is this pid (from a file) still the program we started? Pids are used again.
is_running() { # <pidfile> <word of its command line>
    local pid
    pid=$(cat "$1" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] &&
        grep -qaF -- "$2" "/proc/$pid/cmdline"
}

# The project's files of these patterns: what git knows, and what it would know.
source_files() {
    git -C "$ROOT" ls-files --cached --others --exclude-standard -- "$@" | sort -u |
        while read -r file; do [ ! -f "$ROOT/$file" ] || printf '%s\n' "$file"; done
}

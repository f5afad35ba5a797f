#!/bin/sh
# An agent for `threadcast-worker --agent "exec:sh examples/agents/echo.sh"`: it says how
# long the job was and who it works for. No JSON library: what it says needs no escaping.
# Ending with status 0 is `done`; any other status is an error.

say() {
    printf '{"type":"token","content":"%s"}\n' "$1"
}

trap 'echo "told to stop" >&2; exit 143' TERM

read -r job
printf '{"type":"status","content":"working"}\n'
say "This is run $THREADCAST_RUN_ID, "
say "attempt $THREADCAST_ATTEMPT. "
for word in The job was "${#job}" characters "long."; do
    say "$word "
    sleep 0.02
done

#!/bin/bash
# A Ray cluster over plain ssh: `cluster/ssh/up.sh` starts it, `cluster/ssh/down.sh` ends it.
# All servers of the head answer on the machines' network; the dashboard and job server on the
# head's loopback only, and everything asks for the token in ~/.ray/auth_token, made here.
#
# Change three values, here or in the environment: HEAD, NODES (space between), and
# ENVIRONMENT, a virtual environment with distgan at the same place on all machines.
# shellcheck disable=SC2029
set -euo pipefail

HEAD=${HEAD:-192.0.2.10}
NODES=${NODES:-192.0.2.11 192.0.2.12}
ENVIRONMENT=${ENVIRONMENT:-/opt/distgan}

token="$HOME/.ray/auth_token"
if [ ! -s "$token" ]; then
    mkdir -p "$(dirname "$token")"
    (umask 077 && "$ENVIRONMENT/bin/python" -c 'import secrets; print(secrets.token_hex(32))' > "$token")
fi
start="export PATH='$ENVIRONMENT/bin':\$PATH RAY_AUTH_MODE=token; ulimit -n 65536; ray start"

for machine in "$HEAD" $NODES; do
    # Through a pipe: what stands on a command line others on the machine can read.
    ssh "$machine" 'umask 077; mkdir -p ~/.ray && cat > ~/.ray/auth_token' < "$token"
done
ssh "$HEAD" "$start --head --node-ip-address='$HEAD' --port=6379 --dashboard-host=127.0.0.1"
for machine in $NODES; do
    ssh "$machine" "$start --address='$HEAD:6379'"
done

cat << EOF
The cluster is up. From here:
  ssh -N -L 8265:127.0.0.1:8265 $HEAD &
  RAY_AUTH_MODE=token distgan submit --follow -- train mnist-mlp --out /shared/runs/one
EOF

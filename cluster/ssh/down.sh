#!/bin/bash
# Ends the Ray cluster that `cluster/ssh/up.sh` started. Stop jobs first: `distgan stop JOB`.
#
# Change the same three values as there: HEAD, NODES and ENVIRONMENT.
# shellcheck disable=SC2029
set -euo pipefail

HEAD=${HEAD:-192.0.2.10}
NODES=${NODES:-192.0.2.11 192.0.2.12}
ENVIRONMENT=${ENVIRONMENT:-/opt/distgan}

for machine in $NODES "$HEAD"; do
    ssh "$machine" "'$ENVIRONMENT/bin/ray' stop" || echo "$machine: not reached" >&2
done

#!/bin/sh
# container.sh COMMAND [ARGUMENTS]: `./run COMMAND` in a throw-away Debian container.
#
# For a machine where PostgreSQL and RabbitMQ cannot be installed but a Docker engine answers.
# The work tree is mounted read-only and copied, so nothing is left behind but the answer.
set -eu
cd "$(dirname "$0")/../.."

terminal=
[ ! -t 0 ] || terminal=--tty
# shellcheck disable=SC2086  # nothing, or one option
exec docker run --rm --init --interactive $terminal \
    --mount "type=bind,source=$PWD,target=/source,readonly" --shm-size 1g \
    "${REFERRAL_CONTAINER_IMAGE:-debian:bookworm-slim}" sh -euc '
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -q -y --no-install-recommends ca-certificates git python3 >&2
mkdir /broker
cd /source
tar --exclude=./.venv -cf - . | tar --no-same-owner -xf - -C /broker
cd /broker
exec ./run "$@"' run "$@"

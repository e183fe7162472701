#!/bin/sh
# Make PostgreSQL, RabbitMQ and SoftHSM available for tests, measurements and `demo --rabbitmq`.
#
# Only the programs are wanted: each run starts private servers of its own (services.py). So no
# service is left running, and nothing happens when the programs are there.
set -eu

# Distributions keep some of these programs out of PATH.
have() {
    command -v "$1" >/dev/null && return
    shift
    for candidate in "$@"; do [ -x "$candidate" ] && return; done
    return 1
}
have_postgresql() { have initdb /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; }
have_rabbitmq() { have rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server /usr/sbin/rabbitmq-server; }
have_softhsm() { have softhsm2-util /usr/bin/softhsm2-util; }

missing=
have_postgresql || missing="$missing postgresql"
have_rabbitmq || missing="$missing rabbitmq-server"
have_softhsm || missing="$missing softhsm2"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install.sh: missing:$missing" >&2
    echo "  Debian, Ubuntu:  sudo apt-get install --no-install-recommends$missing" >&2
    echo "  Fedora:          sudo dnf install postgresql-server rabbitmq-server softhsm" >&2
    echo "  macOS:           brew install postgresql@17 rabbitmq softhsm" >&2
    echo "PostgreSQL 14+ and RabbitMQ 3.10+ do. They need not run: private ones are started." >&2
    exit 1
fi

# While this file says no, packages are installed without starting their services.
policy=/usr/sbin/policy-rc.d
restore() {
    rm -f "$policy"
    if [ -e "$policy.before-referral" ]; then mv "$policy.before-referral" "$policy"; fi
}
if [ -e "$policy" ]; then mv "$policy" "$policy.before-referral"; fi
trap restore EXIT
trap 'exit 1' INT TERM HUP
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "install.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
# shellcheck disable=SC2086  # a list of package names
apt-get install -q -y --no-install-recommends $missing >&2

have_postgresql && have_rabbitmq && have_softhsm || { echo "install.sh: still missing after installation" >&2; exit 1; }

# With systemd the packages enable their services for the next boot; the machine did not ask.
if [ -d /run/systemd/system ]; then
    for package in $missing; do systemctl disable --quiet "$package" 2>/dev/null || true; done
fi

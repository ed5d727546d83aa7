#!/bin/sh
# Look at everything in this folder with the tool that knows it. `make check` calls it; $1 holds the Python tools.
set -eu
cd "$(dirname "$0")"
bin=${1:-}
"${bin:+$bin/}hadolint" Containerfile
"${bin:+$bin/}check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml

if ! command -v systemd-analyze >/dev/null; then
  echo "systemd-analyze is not installed: the systemd units were not looked at" >&2
  test -z "${CI:-}"
  exit
fi
# The units as they are but for the program, which is not on this machine.
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
for unit in systemd/*.service; do
  sed 's|/opt/augury/bin/augury|/bin/echo|' "$unit" > "$units/${unit##*/}"
done
# What it does not know it only warns of, and of other units of this machine too.
known=yes
systemd-analyze verify --man=no "$units"/*.service 2> "$units/words" || known=no
if test $known = no || grep -q augury- "$units/words"; then cat "$units/words" >&2; exit 1; fi
# Exposure from 0 (closed) to 100: the server's shall stay low, the worker executes what users want.
systemd-analyze security --offline=yes --no-pager --threshold=25 "$units/augury-server.service" > "$units/report" \
  || { cat "$units/report"; exit 1; }

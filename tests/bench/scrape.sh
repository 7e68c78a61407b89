#!/usr/bin/env bash
# What a scrape costs the exporter beside what `stat` costs, with 10,000 containers: CPU time of each, user and
# system, of 100 in a row.  usage: scrape.sh [CONTAINERS]    as root, with the built programs in PATH, nothing up
set -euo pipefail
count=${1:-10000} turns=100
socket=$(mktemp -u /run/ctnbpf-scrape.XXXXXX)
ticks() { awk '{t += $14 + $15} END {print t}' /proc/"$exporter"/task/*/stat; }
trap 'kill $exporter 2>/dev/null; ctnbpf down --force' EXIT

ctnbpf up
for ((i = 0; i < count; i++)); do echo "default:/c$i"; done | ctnbpf create -f -
ctnbpf exporter --listen "unix:$socket" &
exporter=$!
until curl -s --unix-socket "$socket" http://x/ >/dev/null; do :; done
for format in prometheus openmetrics; do
  accept='text/plain'
  [[ $format == prometheus ]] || accept='application/openmetrics-text'
  before=$(ticks)
  for ((i = 0; i < turns; i++)); do
    curl -s -H "Accept: $accept" --unix-socket "$socket" http://x/metrics -o /dev/null
  done
  echo "$format: $turns scrapes $(($(ticks) - before)) ticks of the exporter, $(getconf CLK_TCK) a second"
  TIMEFORMAT="$format: $turns times stat into a pipe %U s user, %S s system"
  time for ((i = 0; i < turns; i++)); do ctnbpf stat --format $format; done | wc -c >/dev/null
done

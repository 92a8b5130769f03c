# shellcheck shell=bash
# What the shell scripts share: where the project is, how they speak, how they show work in progress.
# Sourced. Sets `root` (the project's folder) and `state` (build/, where logs and stamps of work go).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$root/build
progress_every=5 # seconds between two lines of a step's progress, where there is no terminal
export PIP_DISABLE_PIP_VERSION_CHECK=1

# fail CODE WHAT [HELP]: one clear error in the form all our commands use.
fail() {
  printf 'error: %s\n' "$2" >&2
  [ -z "${3:-}" ] || printf 'help: %s\n' "$3" >&2
  exit "$1"
}

# fingerprint PATH...: one hash over names and contents of all source files below the paths.
fingerprint() {
  find "$@" \( -name __pycache__ -o -name tests -o -name target -o -name '.*' \) -prune \
    -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-64
}

# With a terminal, one line that is rewritten; without, a line now and then, for a log to read.
show_progress() { # TITLE SECONDS LOG
  local last room=$((${COLUMNS:-80} - ${#1} - 10))
  last=$(tail -c 400 "$3" | tr '\r' '\n' | LC_ALL=C grep -av '^[[:space:]]*$' | tail -n 1 | iconv -c -f UTF-8 -t UTF-8) || last=
  if [ -t 2 ]; then
    printf '\r\033[K%s  %s s  \033[2m%s\033[0m' "$1" "$2" "${last:0:$((room > 0 ? room : 0))}" >&2
  else
    printf '   %s s  %s\n' "$2" "${last:0:100}" >&2
  fi
}

# step TITLE COMMAND...: runs COMMAND with its output in $step_log; shows title, seconds and the last line
# of output while it runs. Gives COMMAND's exit code and sets step_seconds. An interrupt ends COMMAND's whole group.
step() {
  local title=$1 tick=$((progress_every * 10)) ticks=0 code=0 begun=$SECONDS
  shift
  [ ! -t 2 ] || tick=2
  mkdir -p "$state"
  step_log=$(mktemp "$state/step.XXXXXX")
  [ -t 2 ] || printf '%s\n' "-- $title" >&2
  set -m
  "$@" >"$step_log" 2>&1 </dev/null 9>&- &
  step_job=$!
  set +m
  trap 'kill -- "-$step_job" 2>/dev/null; rm -f "$step_log"' EXIT
  while kill -0 "$step_job" 2>/dev/null; do
    sleep 0.1
    ticks=$((ticks + 1))
    [ $((ticks % tick)) -ne 0 ] || show_progress "$title" $((SECONDS - begun)) "$step_log"
  done
  wait "$step_job" || code=$?
  trap 'rm -f "$step_log"' EXIT
  step_seconds=$((SECONDS - begun))
  [ ! -t 2 ] || printf '\r\033[K' >&2
  if [ $code -eq 0 ]; then
    printf '%s  %s s\n' "   done: $title" "$step_seconds" >&2
  else
    printf '%s  %s s\n' "   FAILED: $title" "$step_seconds" >&2
  fi
  return $code
}

# must HELP TITLE COMMAND...: a step without which nothing can follow; TITLE reads on from "failed to".
must() {
  local help=$1
  shift
  step "$@" && { rm -f "$step_log"; return; }
  tail -n 30 "$step_log" >&2
  fail 6 "failed to $1" "$help"
}

# run_in_environment PART PROGRAM ARGUMENTS...: one of scripts/*.py, once PART is set up; to show its help, any state will do.
run_in_environment() {
  local part=$1 program=$2
  shift 2
  case " $* " in
  *' --help '* | *' -h '*) [ -x "$root/.venv/bin/python" ] || "$root/scripts/setup" "$part" ;;
  *) "$root/scripts/setup" "$part" ;;
  esac
  exec "$root/.venv/bin/python" "$root/scripts/$program" "$@"
}

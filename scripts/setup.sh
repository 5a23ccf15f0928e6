#!/usr/bin/env bash
# Make the virtual environment of `make setup`, and say what is done.
#
#   scripts/setup.sh PYTHON VENV
#
# An environment whose installation was interrupted is made anew: pip takes a half unpacked package for an installed one.

set -euo pipefail
cd "$(dirname "$0")/.."

python=$1 venv=$2
unfinished=$venv/unfinished
pip=("$venv/bin/python" -m pip --disable-pip-version-check)

say() {
    echo "setup: $*"
}

# Show how far pip is, in a line that changes; only on a terminal.
show_progress() {
    # Ctrl-C ends pip, and what pip says then is still to be read.
    trap '' INT
    local total=$1 collected=0 word package rest
    while read -r word package rest; do
        case "$word $package" in
            "Collecting "* | "Processing "*) show "$((++collected)) of $total: ${package##*/}" ;;
            "Installing collected") show "unpacking them (about half a minute)" ;;
        esac
    done
    if [ -t 1 ]; then printf '\r\033[K'; fi
}

show() {
    if [ -t 1 ]; then printf '\r\033[K       %.70s' "$1"; fi
}

trap 'echo "setup: interrupted; make setup starts over" >&2; exit 130' INT

if [ ! -x "$venv/bin/python" ] || [ -e "$unfinished" ] || ! "${pip[@]}" --version >/dev/null 2>&1; then
    say "creating $venv with $("$python" --version)"
    mkdir -p "$venv"
    find "$venv/" -mindepth 1 -delete
    touch "$unfinished"
    "$python" -m venv "$venv" || {
        echo "No virtual environment could be made: install Python's venv module" \
            "(on Debian and Ubuntu the package python3-venv)." >&2
        rm -rf "$venv"
        exit 1
    }
fi
touch "$unfinished"
packages=$(grep -cE '^[a-z0-9]' requirements.lock)
say "installing $packages packages of requirements.lock (about a minute the first time)"
"${pip[@]}" install --require-hashes -r requirements.lock | show_progress "$packages"
say "installing innosystem, innosystem-runner and innosystem-platform from this folder"
"${pip[@]}" install --quiet --no-deps --no-build-isolation -e sdk -e runner -e .
rm "$unfinished"

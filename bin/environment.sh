# Sourced by the scripts beside it: makes .venv with the pins of one requirements file, once for each state of the pins.
# Two environments are never mixed up: a stamp inside .venv says which pins it holds.

set -eu
cd "$(dirname "$0")/.."

python_of_the_system() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 or newer with its venv module is needed. Name one as PYTHON=/path/to/python3." >&2
    echo "On Debian and Ubuntu: apt-get install python3 python3-venv" >&2
    exit 1
}

# fill FOLDER PINS: make a virtual environment, unless it is there, and install a requirements file into it. The pins are
# complete, so nothing is left to resolve: an older pip would take the extra of a pinned package for another package, and
# refuse it because a newer release has no hash here.
fill() {
    [ -x "$1/bin/python" ] || "$(python_of_the_system)" -m venv "$1"
    echo "Installing the pins of $2 into $1 ..." >&2
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2"
}

# install PINS: afterwards .venv/bin/python has the pins of that requirements file and the checkout itself. The pins for
# development hold all the others, so an environment that has them is kept at them.
install() {
    pins=$1
    [ ! -e .venv/requirements-dev.txt.stamp ] || pins=requirements-dev.txt
    stamp=$(cat "$pins" pyproject.toml | cksum)
    [ "$(cat ".venv/$pins.stamp" 2>/dev/null)" != "$stamp" ] || return 0
    fill .venv "$pins"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s' "$stamp" >".venv/$pins.stamp"
}

# install_compared: afterwards .venv-bench/bin/python has what the service is compared with. It is an environment of its
# own, so that none of that is ever found by the service.
install_compared() {
    stamp=$(cksum <requirements-bench.txt)
    [ "$(cat .venv-bench/stamp 2>/dev/null)" != "$stamp" ] || return 0
    fill .venv-bench requirements-bench.txt
    printf '%s' "$stamp" >.venv-bench/stamp
}

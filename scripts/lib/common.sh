# Shared by the scripts (sourced, not run): messages, and the one place that installs missing Debian packages.
# Sets $root, the project's folder. Builds nothing.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
script_name=$(basename -- "$0")

say() { printf '%s: %s\n' "$script_name" "$*"; }

# fail CODE MESSAGE: one line to standard error, then exit.
fail() {
    local code=$1
    shift
    printf '%s: %s\n' "$script_name" "$*" >&2
    exit "$code"
}

# What the library needs, and what its tests, examples and benchmarks need besides.
library_packages=(cmake ninja-build g++ libxtensor-dev libfmt-dev libdnnl-dev libopenblas-dev nlohmann-json3-dev
    librandom123-dev)
example_packages=(libcli11-dev)
test_packages=(libgtest-dev libgmock-dev pkg-config python3)
long_test_packages=(g++-aarch64-linux-gnu)
download_packages=(curl ca-certificates)

# missing_packages NAME...: prints those that are not installed, one a line; none on a system without dpkg.
missing_packages() {
    command -v dpkg-query >/dev/null 2>&1 || return 0
    local name
    local -A installed=()
    while read -r name; do
        installed[$name]=1
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p')
    for name in "$@"; do
        [ -n "${installed[$name]:-}" ] || printf '%s\n' "$name"
    done
}

# need_packages NAME...: installs those that are missing, and says which. Where it may not, prints the one command to
# run and exits with 2. On a system without dpkg it leaves the search to CMake.
need_packages() {
    local missing=()
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0

    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
            as_root=(sudo -n)
        else
            fail 2 "packages are missing; please run: sudo apt-get install --no-install-recommends ${missing[*]}"
        fi
    fi
    say "installing missing packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq -o Acquire::http::Timeout=20 -o Acquire::Retries=0 ||
        say "apt-get update failed; trying with the package lists that are here"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        </dev/null >/dev/null ||
        fail 2 "apt-get could not install them; please run: apt-get install --no-install-recommends ${missing[*]}"
}

# build PRESET [OPTION...]: configures, with these options, and builds $build_targets (empty: all) in $root/build/PRESET.
build() {
    local preset=$1 targets=()
    shift
    [ ${#build_targets[@]} -eq 0 ] || targets=(--target "${build_targets[@]}")
    (
        cd -- "$root"
        cmake --preset "$preset" "$@" && cmake --build --preset "$preset" -j "$jobs" "${targets[@]}"
    )
}
build_targets=()
jobs=$(nproc 2>/dev/null || echo 2)

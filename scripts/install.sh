#!/bin/sh
# Installs a jinbao release from this folder, without a network, or goes back to the former one.
# 从本目录安装 jinbao 版本（不需要网络），或退回上一版本。docs/how-to/install-offline.md
#
# Nothing of the folder is used before its signature and every sum are held. A release is made beside the
# others; `current` points to it only once it is whole and has answered, by one rename. Killed at any moment,
# `current` is a whole release: the new one or the one before.
set -eu
umask 022
LC_ALL=C
export LC_ALL
case "${JINBAO_LANG:-${LANG:-}}" in zh*) chinese=1 ;; *) chinese=0 ;; esac

key=/etc/jinbao/release.pub.pem
prefix=/opt/jinbao
python=
units=auto
action=install
need_mib=1600

t() { if [ "$chinese" = 1 ]; then printf '%s' "$2"; else printf '%s' "$1"; fi; }
say() { printf '%s\n' "$(t "$1" "$2")"; }
# thing, its Chinese, expected, got, next step, its Chinese
fail() {
  if [ "$chinese" = 1 ]; then
    printf '%s：应为 %s，实为 %s；%s\n' "$2" "$3" "$4" "$6" >&2
  else
    printf '%s: expected %s, got %s; %s\n' "$1" "$3" "$4" "$5" >&2
  fi
  exit 1
}
usage() {
  say "usage: install.sh [--key PUBLIC_KEY] [--prefix DIR] [--python PROGRAM] [--no-units]
       install.sh --rollback [--prefix DIR] [--no-units]
  --key       public release key, brought by another way than this folder ($key)
  --prefix    where releases lie ($prefix)
  --python    the Python a release is installed for; found by itself
  --no-units  leave systemd alone: no units, accounts and directories
  --rollback  point current to the former release" \
    "用法：install.sh [--key 公钥] [--prefix 目录] [--python 程序] [--no-units]
      install.sh --rollback [--prefix 目录] [--no-units]
  --key       发布公钥，须由另一途径取得（$key）
  --prefix    版本所在目录（$prefix）
  --python    安装所用的 Python，缺省自动查找
  --no-units  不改动 systemd：不安装单元、账户和目录
  --rollback  将 current 指回上一版本"
}

while [ $# -gt 0 ]; do
  case "$1" in
    --rollback) action=rollback ;;
    --no-units) units=no ;;
    --key | --prefix | --python)
      if [ $# -lt 2 ]; then usage >&2; exit 2; fi
      case "$1" in --key) key=$2 ;; --prefix) prefix=$2 ;; --python) python=$2 ;; esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
case "$prefix" in /*) ;; *) prefix=$PWD/$prefix ;; esac
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

need() { command -v "$1" >/dev/null 2>&1 || fail "program $1" "程序 $1" "one in PATH" "none" "apt-get install $2" "apt-get install $2"; }

# Only one installer at a time; the lock ends with its process.
take_lock() {
  need flock util-linux
  mkdir -p "$prefix/releases"
  exec 9>"$prefix/.lock"
  flock -n 9 || fail "directory $prefix" "目录 $prefix" "no other installer" "one at work" \
    "wait until it ends" "请等待其结束"
}

# Point the link $1 to $2 by one rename, so that it is never missing.
point() {
  ln -sfn "$2" "$prefix/.$1.new"
  mv -Tf "$prefix/.$1.new" "$prefix/$1"
  sync -f "$prefix" 2>/dev/null || sync
}

target_of() { readlink "$prefix/$1" 2>/dev/null || true; }

# 1. Whose folder this is, and that it is whole.
hold_signature() {
  need openssl openssl
  need sha256sum coreutils
  case "$(openssl version)" in
    "OpenSSL 3."* | "OpenSSL 4."*) ;;
    *) fail openssl openssl "OpenSSL 3.0 or newer" "$(openssl version)" \
      "verify on another machine: jinbao bundle verify" "请在另一台机器上校验：jinbao bundle verify" ;;
  esac
  [ -f "$key" ] || fail "public key $key" "公钥 $key" "a PEM file" "none" \
    "name it: --key, brought by another way than this folder" "请以 --key 指定，须由另一途径取得"
  for file in SHA256SUMS SHA256SUMS.sig; do
    [ -f "$here/$file" ] || fail "file $file" "文件 $file" "one in the folder" "none" \
      "take a signed bundle" "请使用已签名的安装包"
  done
  openssl pkeyutl -verify -pubin -inkey "$key" -rawin -in "$here/SHA256SUMS" -sigfile "$here/SHA256SUMS.sig" \
    >/dev/null 2>&1 || fail "signature of SHA256SUMS" "SHA256SUMS 的签名" "one of the key in $key" "another" \
    "fetch the bundle again, and ask whoever released it" "请重新获取安装包，并向发布方核实"
}

hold_sums() {
  odd=$(cd "$here" && find . ! -type f ! -type d | head -n 1)
  [ -z "$odd" ] || fail "file $odd" "文件 $odd" "a plain file" "another kind" \
    "unpack the bundle again" "请重新解开安装包"
  work=$(mktemp -d)
  sed 's/^[0-9a-f]*  //' "$here/SHA256SUMS" | sort >"$work/named"
  (cd "$here" && find . -type f ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig) | sed 's,^\./,,' | sort >"$work/there"
  extra=$(comm -13 "$work/named" "$work/there" | head -n 1)
  [ -z "$extra" ] || fail "file $extra" "文件 $extra" "none of that name" "one nobody signed" \
    "unpack the bundle into an empty directory" "请在空目录中重新解开安装包"
  (cd "$here" && sha256sum --check --strict --quiet SHA256SUMS >"$work/said" 2>/dev/null) ||
    fail "file $(head -n 1 "$work/said")" "文件 $(head -n 1 "$work/said")" "the bytes that were signed" "others" \
      "fetch the bundle again, and ask whoever released it" "请重新获取安装包，并向发布方核实"
}

# 2. Whether this machine can run it.
info() { sed -n "s/^$1=//p" "$here/BUNDLE"; }

is_older() { # whether version $1 is older than $2, by two numbers
  [ "${1%%.*}" -lt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -lt "${2#*.}" ]; }
}

hold_machine() {
  machine=$(uname -m)
  [ "$machine" = "$(info arch)" ] || fail "architecture" "体系结构" "$(info arch)" "$machine" \
    "take jinbao-$version-linux-$machine" "请使用 jinbao-$version-linux-$machine"
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc \([0-9]*\.[0-9]*\).*/\1/p')
  if [ -z "$glibc" ] || is_older "$glibc" "$(info glibc)"; then
    fail "C library" "C 运行库" "glibc $(info glibc) or newer" "${glibc:-none}" \
      "install on Debian 12 or newer" "请安装于 Debian 12 或更新系统"
  fi
  wanted=$(info python)
  [ -n "$python" ] || python=$(command -v "python$wanted" || command -v python3 || true)
  got=none
  [ -z "$python" ] || got=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || got=none
  [ "$got" = "$wanted" ] || fail "Python ${python:-}" "Python ${python:-}" "$wanted" "$got" \
    "name one: --python /usr/bin/python$wanted" "请以 --python 指定，如 /usr/bin/python$wanted"
  "$python" -c 'import venv' 2>/dev/null || fail "$python" "$python" "module venv" "none" \
    "apt-get install python$wanted" "apt-get install python$wanted"
  free=$(df -Pm "$prefix" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$need_mib" ] || fail "room below $prefix" "$prefix 剩余空间" "$need_mib MiB" "$free MiB" \
    "free space, or name another: --prefix" "请释放空间或以 --prefix 指定"
}

# 3. The release beside the others.
# The uv of the bundle, which lays wheels down: beside the release while that is made, where programs may be run.
unpack_uv() {
  "$python" -I -m zipfile -e "$here"/tools/uv-*.whl "$release/.uv"
  chmod 0755 "$release"/.uv/uv-*.data/scripts/uv
}

# Only what it is told here counts, no settings of the machine; it works in the bundle's folder. Started by a name without
# the prefix, which may hold a =.
run_uv() {
  (cd "$release/.uv" && env -i PATH="$PATH" LC_ALL=C ./uv-*.data/scripts/uv pip "$@" --quiet --no-config --offline \
    --cache-dir "$release/.uv/cache" --directory "$here" --python "$release/venv/bin/python")
}

# Most wheels of a release are those of the one before: linked, they take less time and no room.
link_unchanged() {
  former=$(target_of current)
  [ -n "$former" ] && [ -e "$prefix/$former/.complete" ] || return 0
  "$python" -I "$here/tools/link_unchanged.py" "$here/wheels" "$prefix/$former" "$release" 2>"$work/said" || {
    say "nothing is linked from ${former#releases/}: $(tail -n 1 "$work/said")" \
      "未从 ${former#releases/} 建立链接：$(tail -n 1 "$work/said")"
    rm -rf "$release/venv"
    "$python" -I -m venv --without-pip "$release/venv"
  }
}

# Compiled modules come with the bundle for a Python of its kind. Else: by all processors, without what no zone imports.
compile_modules() {
  magic=$("$python" -I -c 'import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())')
  if [ -f "$here/tools/compiled-$magic.tar" ]; then
    need tar tar
    # What was linked stays: it is the same, and to write it anew would be to write to the former release too.
    for site in "$release"/venv/lib/python*/site-packages; do
      (cd "$site" && tar -xf "$here/tools/compiled-$magic.tar" --skip-old-files --no-same-owner --no-same-permissions)
    done
  else
    "$release/venv/bin/python" -I -m compileall -qq -j 0 -x '/tests?/' "$release/venv/lib" ||
      say "some modules are not compiled: zones start more slowly" "部分模块未能编译：分区启动较慢"
  fi
  (cd "$release/venv" && find lib -name '*.pyc' -exec sha256sum {} +) >"$release/COMPILED"
}

make_release() {
  release=$prefix/releases/$version
  if [ -e "$release/.complete" ]; then
    cmp -s "$release/SHA256SUMS" "$here/SHA256SUMS" || fail "release $version" "版本 $version" \
      "not installed, or from this very bundle" "another build of it" \
      "remove $release, unless it is in use" "若未在使用，请删除 $release"
    return 0
  fi
  rm -rf "$release" # left by an installer that was killed: nothing points to it
  mkdir -p "$release"
  say "installing $version into $release" "正在安装 $version 到 $release"
  "$python" -I -m venv --without-pip "$release/venv"
  link_unchanged
  unpack_uv
  # What was linked uv finds installed.
  run_uv install --no-index --find-links wheels --no-build --no-deps --require-hashes -r requirements.txt
  compile_modules
  run_uv check || fail "wheels of $version" "$version 的各 wheel" "each to have what it needs" "one that has not" \
    "tell whoever released it" "请告知发布方"
  rm -rf "$release/.uv" "$release/venv/.lock"
  for name in units tiers docs monitoring ansible sbom.cdx.json SHA256SUMS SHA256SUMS.sig BUNDLE LICENSE CHANGELOG.md install.sh; do
    [ ! -e "$here/$name" ] || cp -R "$here/$name" "$release/"
  done
  chmod 0755 "$release/install.sh"
  said=$("$release/venv/bin/jinbao" --version)
  case "$said" in
    *" $version") ;;
    *) fail "release $version" "版本 $version" "jinbao --version to say so" "$said" \
      "tell whoever released it" "请告知发布方" ;;
  esac
  sync -f "$release" 2>/dev/null || sync
  : >"$release/.complete"
  sync -f "$release" 2>/dev/null || sync
}

# 4. What systemd reads; of the release that is current now.
lay() { # file, directory
  mkdir -p "$2"
  cp "$1" "$2/.${1##*/}.new"
  mv -f "$2/.${1##*/}.new" "$2/${1##*/}"
}

lay_units() {
  [ "$units" = no ] && return 0
  if [ "$(id -u)" != 0 ] || [ ! -d /run/systemd/system ]; then
    say "systemd is left alone: not root, or it does not run here" "未改动 systemd：不是 root，或此处未运行 systemd"
    return 0
  fi
  from=$prefix/current/units
  for unit in "$from"/*.service "$from"/*.target; do lay "$unit" /etc/systemd/system; done
  lay "$from/sysusers.d/jinbao.conf" /etc/sysusers.d
  lay "$from/tmpfiles.d/jinbao.conf" /etc/tmpfiles.d
  systemd-sysusers jinbao.conf
  systemd-tmpfiles --create jinbao.conf
  systemctl daemon-reload
  [ -e /usr/local/bin/jinbao ] || ln -s "$prefix/current/venv/bin/jinbao" /usr/local/bin/jinbao
}

# 5. Releases that are neither current nor the former one.
remove_older() {
  for old in "$prefix"/releases/*; do
    case "releases/${old##*/}" in
      "$(target_of current)" | "$(target_of previous)") ;;
      *) [ ! -d "$old" ] || { say "removing ${old##*/}" "正在删除 ${old##*/}"; rm -rf "$old"; } ;;
    esac
  done
}

install() {
  hold_signature
  hold_sums
  version=$(info version)
  take_lock
  hold_machine
  make_release
  before=$(target_of current)
  if [ "$before" = "releases/$version" ]; then
    lay_units
    say "$version is current already" "$version 已是当前版本"
    return 0
  fi
  [ -z "$before" ] || point previous "$before"
  point current "releases/$version"
  lay_units
  remove_older
  say "$version is current; zones take it at their next start: systemctl restart jinbao.target" \
    "当前版本为 $version；各分区下次启动时生效：systemctl restart jinbao.target"
}

rollback() {
  take_lock
  before=$(target_of current)
  former=$(target_of previous)
  if [ -z "$former" ] || [ "$former" = "$before" ] || [ ! -e "$prefix/$former/.complete" ]; then
    fail "former release below $prefix" "$prefix 的上一版本" "one" "none" \
      "install a release from its bundle" "请从安装包安装"
  fi
  point current "$former"
  point previous "$before"
  lay_units
  say "${former#releases/} is current; zones take it at their next start: systemctl restart jinbao.target" \
    "当前版本为 ${former#releases/}；各分区下次启动时生效：systemctl restart jinbao.target"
}

$action

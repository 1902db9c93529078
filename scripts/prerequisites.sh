#!/usr/bin/env bash
# Brings what the test suites need besides Go. Run as root where there is apt-get, it installs what is missing;
# anywhere else it names what is missing and fails. It does nothing if all is there.
set -euo pipefail

# What is needed, for what; the command that succeeds if it is there; its Debian packages.
# A suite that needs more adds a line.
# shellcheck disable=SC2016 # need expands the commands
needs() {
	need 'a C compiler, for go test -race' 'command -v "${CC:-gcc}"' gcc libc6-dev
	need 'Redis, for the tests on real servers' 'command -v redis-server && command -v redis-cli' redis-server redis-tools
	need 'memcached, for the same' 'command -v memcached' memcached
	need 'PostgreSQL, for the same' 'command -v initdb || ls /usr/lib/postgresql/*/bin/initdb' postgresql
	need 'Chromium, for the tests of the dashboard' 'command -v chromium || command -v chromium-browser || command -v google-chrome' chromium
	need 'Prometheus and promtool, for the tests of the dashboards' 'command -v prometheus && command -v promtool' prometheus
}

need() {
	local what=$1 detect=$2
	shift 2
	bash -c "$detect" >/dev/null 2>&1 && return
	missing+=("$what (Debian: $*)")
	packages+=("$@")
}

check() {
	missing=() packages=()
	needs
	((${#missing[@]} == 0))
}

if check; then
	exit 0
fi

if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	echo "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# The package lists of a fresh machine are empty or old; another installation may be under way.
	apt-get -q update </dev/null
	apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" </dev/null
	if check; then
		exit 0
	fi
fi

{
	echo "The tests need, and this machine lacks:"
	printf '  - %s\n' "${missing[@]}"
	echo "Install them, or run scripts/prerequisites.sh as root on a machine with apt-get."
} >&2
exit 1

#!/usr/bin/env bash
# Brings what the test suites need besides Go. Run as root where there is apt-get, it installs what is missing;
# anywhere else it names what is missing and fails. Two servers that Debian lacks come from npm and PyPI into the user's cache:
# under sudo they don't, since that would be root's. It does nothing if all is there.
set -euo pipefail

# What is needed, for what; the command that succeeds if it is there; its Debian packages.
# A suite that needs more adds a line.
# shellcheck disable=SC2016 # need expands the commands
needs() {
	need 'a C compiler, for go test -race' 'command -v "${CC:-gcc}"' gcc libc6-dev
	need 'Redis, for the tests on real servers' 'command -v redis-server && command -v redis-cli' redis-server redis-tools
	need 'memcached, for the same' 'command -v memcached' memcached
	need 'PostgreSQL, for the same' 'command -v initdb || ls /usr/lib/postgresql/*/bin/initdb' postgresql
	need 'PgBouncer, for the same' 'command -v pgbouncer || test -x /usr/sbin/pgbouncer' pgbouncer
	need 'Chromium, for the tests of the dashboard' 'command -v chromium || command -v chromium-browser || command -v google-chrome' chromium
	need 'Prometheus and promtool, for the tests of the dashboards' 'command -v prometheus && command -v promtool' prometheus
	need 'Java, for DynamoDB Local' 'command -v java' default-jre-headless
	need 'npm, to get DynamoDB Local' "command -v npm || test -f '$dynamodb/DynamoDBLocal.jar'" npm
	need 'Python with venv, for SecantusDB' "python3 -c 'import ensurepip' || test -x '$secantus/bin/secantusd-py'" python3-venv
}

# What Debian has no package of comes from npm and PyPI, by version, into the folder in which core/storetest/testserver looks
# for it. Nothing of it is committed or linked: these are servers that the tests talk to.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halt
dynamodb=$cache/dynamodb-local-1.25.1
secantus=$cache/secantusdb-0.7.0b3

# DynamoDB Local, Amazon's own for tests, is part of an npm package; of that only the archive is fetched, nothing is run.
fetch_dynamodb() {
	[[ -f $dynamodb/DynamoDBLocal.jar ]] && return
	echo "fetching DynamoDB Local"
	local work
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/fetch.XXXXXX")
	(
		cd "$work"
		npm pack --silent amplify-dynamodb-simulator@2.9.30 >/dev/null
		sha256sum --check --quiet <<<"3503ffac19f183407909fecdacf4db51ab1fdad1da7b2f177016670b2d80e4b9  amplify-dynamodb-simulator-2.9.30.tgz"
		tar xzf ./*.tgz
	)
	rm -rf "$dynamodb"
	mv "$work/package/emulator" "$dynamodb"
	rm -rf "$work"
}

# SecantusDB speaks MongoDB's protocol. There is no package of MongoDB itself: HALT_TEST_MONGODB_URI names a real one.
fetch_secantus() {
	[[ -x $secantus/bin/secantusd-py ]] && return
	echo "fetching SecantusDB"
	rm -rf "$secantus"
	mkdir -p "$cache"
	# An environment knows its own path, so it is made in place; the last step makes the program that is looked for above.
	python3 -m venv "$secantus"
	"$secantus/bin/pip" install --quiet --disable-pip-version-check SecantusDB==0.7.0b3
}

fetch() {
	[[ -n ${SUDO_USER:-} ]] && return
	fetch_dynamodb
	fetch_secantus
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
	fetch
	exit 0
fi

if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	echo "installing ${packages[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# The package lists of a fresh machine are empty or old; another installation may be under way.
	apt-get -q update </dev/null
	apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" </dev/null
	if check; then
		fetch
		exit 0
	fi
fi

{
	echo "The tests need, and this machine lacks:"
	printf '  - %s\n' "${missing[@]}"
	echo "Install them, or run scripts/prerequisites.sh as root on a machine with apt-get."
} >&2
exit 1

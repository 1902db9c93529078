#!/usr/bin/env bash
# Releases every module under one version, in lockstep.
#
#   scripts/release.sh vX.Y.Z             release: from a clean main that equals the remote's
#   scripts/release.sh --dry-run vX.Y.Z   all of it, in a throw-away clone with a throw-away remote; nothing here changes
#   scripts/release.sh --verify vX.Y.Z    what a stranger sees: `go get` each module of a published version and build it
#
# The steps: set the requirements among the modules to the version, date the changelog, check that each module is tidy and
# vets without the workspace, test, commit once, tag the commit once per module, push all of it or nothing, verify.
# Nothing asks a module proxy for the version before the push: it would remember that there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

repository=github.com/halt-dev/halt
# Nobody requires these, so they get no tag.
unpublished=(demo tests)

fail() {
	echo "release: $*" >&2
	exit 1
}

# in_workspace prints the folders of all modules, relative to the root.
in_workspace() {
	GOWORK="$PWD/go.work" go list -m | sed "s|^$repository/||"
}

# published prints those of them that are tagged.
published() {
	in_workspace | grep -vxF "$(printf '%s\n' "${unpublished[@]}")"
}

mode=release
case "${1-}" in
--dry-run | --verify)
	mode=${1#--}
	shift
	;;
esac
version=${1-}
# From v2 on, module paths end in the major version: that takes more than this script.
if [[ $# != 1 || ! $version =~ ^v[01]\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$ ]]; then
	fail "usage: scripts/release.sh [--dry-run | --verify] vX.Y.Z, with X 0 or 1"
fi

scratch=$(mktemp -d)
start=
tags=()
# Until the push has succeeded, a failure leaves the repository as it was.
cleanup() {
	if [[ -n $start ]]; then
		((${#tags[@]} == 0)) || git tag -d "${tags[@]}" >/dev/null
		git reset -q --hard "$start"
		echo "release: failed; this clone is as it was before" >&2
	fi
	rm -rf "$scratch"
}
trap cleanup EXIT

verify() {
	local dirs dir others
	dirs=$(published)
	for dir in $dirs; do
		echo "== a stranger's go get $repository/$dir@$version"
		mkdir -p "$scratch/stranger/$dir"
		(
			cd "$scratch/stranger/$dir"
			export GOWORK=off
			go mod init example.com/stranger
			go get "$repository/$dir@$version"
			go build "$repository/$dir/..."
			others=$(go list -m -f '{{.Path}} {{.Version}}' all | grep "^$repository/" | grep -v " $version\$" || true)
			[[ -z $others ]] || fail "$dir at $version brings other versions of its siblings: $others"
		)
	done
}

rehearse() {
	git clone -q --bare --single-branch --branch main . "$scratch/remote.git"
	git clone -q "$scratch/remote.git" "$scratch/clone"
	# Go then finds the repository in the throw-away remote. Its module cache is thrown away too: a version that never
	# was must not stay in the real one, which only serves the third-party modules.
	export GIT_CONFIG_COUNT=3 \
		GIT_CONFIG_KEY_0="url.file://$scratch/remote.git.insteadOf" GIT_CONFIG_VALUE_0="https://$repository" \
		GIT_CONFIG_KEY_1=commit.gpgSign GIT_CONFIG_VALUE_1=false \
		GIT_CONFIG_KEY_2=tag.gpgSign GIT_CONFIG_VALUE_2=false \
		GIT_AUTHOR_NAME=rehearsal GIT_AUTHOR_EMAIL=rehearsal@example.com \
		GIT_COMMITTER_NAME=rehearsal GIT_COMMITTER_EMAIL=rehearsal@example.com
	local cache proxy flags
	cache=$(go env GOMODCACHE) proxy=$(go env GOPROXY) flags=$(go env GOFLAGS)
	export GOPROXY="file://$cache/cache/download,$proxy" GOPRIVATE="$repository" \
		GOMODCACHE="$scratch/modules" GOFLAGS="$flags -modcacherw"
	"$scratch/clone/scripts/release.sh" "$version"
	echo "== what the remote has now"
	git -C "$scratch/remote.git" log -n 1 --stat --format='%h %s'
	git -C "$scratch/remote.git" tag --list "*/$version"
}

release() {
	[[ $(git branch --show-current) == main ]] || fail "not on main"
	[[ -z $(git status --porcelain) ]] || fail "the work tree is not clean"
	git fetch -q origin main
	[[ $(git rev-parse HEAD) == $(git rev-parse FETCH_HEAD) ]] || fail "main is not the remote's main"
	[[ -z $(git tag --list "*/$version")$(git ls-remote --tags origin "refs/tags/*/$version") ]] || fail "$version has tags"
	awk '/^## / { in_it = ($2 == "Unreleased") } in_it && /^- / { found = 1 } END { exit !found }' CHANGELOG.md ||
		fail "CHANGELOG.md has nothing under Unreleased"
	scripts/prerequisites.sh

	local dirs dir sibling siblings
	dirs=$(in_workspace)
	start=$(git rev-parse HEAD)

	for dir in $dirs; do
		siblings=$(sed -nE "s#^[[:space:]]*(require )?($repository/[^ ]+) v.*#\2#p" "$dir/go.mod")
		for sibling in $siblings; do
			GOWORK=off go -C "$dir" mod edit -require="$sibling@$version"
		done
	done
	awk -v heading="## $version - $(date -u +%F)" '{ print } $0 == "## Unreleased" { print ""; print heading }' \
		CHANGELOG.md >"$scratch/changelog"
	cat "$scratch/changelog" >CHANGELOG.md

	for dir in $dirs; do
		echo "== $dir: tidy and vet, without the workspace"
		GOWORK=off go -C "$dir" mod tidy -diff
		GOWORK=off go -C "$dir" vet ./...
	done
	echo "== go test work"
	GOWORK="$PWD/go.work" go test work

	git commit -q -a -m "chore(release): $version"
	dirs=$(published)
	for dir in $dirs; do
		git tag -a "$dir/$version" -m "$dir $version"
		tags+=("$dir/$version")
	done
	git push -q --atomic origin main "${tags[@]/#/refs/tags/}"
	start=
	echo "== pushed ${tags[*]}"
	scripts/release.sh --verify "$version" ||
		fail "$version is out, but not yet as it should be for a stranger: see above, then try --verify again"
}

case $mode in
release) release ;;
dry-run) rehearse ;;
verify) verify ;;
esac

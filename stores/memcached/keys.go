package haltmemcached

import (
	"crypto/sha256"
	"encoding/base64"
)

// longestKey is the longest key of Memcached, in bytes.
const longestKey = 250

// legal tells whether s may be part of a key: the protocol's words end at spaces and control characters.
func legal(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// wireKey returns Memcached's key for a storage key: itself if it may be one, else the prefix, a "#" and its SHA-256. No
// storage key has a "#" there: what follows the prefix is a policy's name or a "~".
func (r *register) wireKey(key string) string {
	if len(key) <= longestKey && legal(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return r.prefix + "#" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// hash is FNV-1a, followed by the finish of SplitMix64, since FNV alone leaves the high bits of similar keys alike. All
// processes must come to the same.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// serverOf returns the server of a key of Memcached, and the key's hash. It is the one that scores highest for the key
// (rendezvous hashing), so that a server that is added or removed takes or leaves its own keys, and no others move.
func (r *register) serverOf(key string) (v *server, h uint64) {
	h = hash(key)
	best := uint64(0)
	for _, s := range r.servers {
		if score := mix(h ^ s.hash); v == nil || score > best {
			v, best = s, score
		}
	}
	return v, h
}

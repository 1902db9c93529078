package haltdynamo

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

// The attributes of an item. Their names count into its size.
const (
	keyAttribute   = "k"       // S, the partition key
	stateAttribute = "v"       // B
	ttlAttribute   = "expires" // N, in seconds since the Unix epoch: from then on DynamoDB may delete the item
)

const (
	// mostKey is the longest key, in bytes, that is written as it is: with it and the largest state an item stays below the
	// 1024 bytes that one write unit covers. DynamoDB's own limit is 2048.
	mostKey = 400
	// hashMark begins the keys that stand for others. No prefix may begin with it.
	hashMark = "#"
	// hashHead is how much of a key, in bytes, stays legible before its hash.
	hashHead = 100
)

// itemKey returns the partition key of a storage key. A key that is longer than mostKey, is not valid UTF-8, which a string of
// DynamoDB's must be, or has control characters, is represented by its first characters and its SHA-256.
func itemKey(key string) string {
	if len(key) <= mostKey && utf8.ValidString(key) && strings.IndexFunc(key, isControl) < 0 {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	head := strings.Map(func(r rune) rune {
		if isControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, key[:min(len(key), hashHead)])
	return hashMark + head + hashMark + hex.EncodeToString(sum[:])
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// keyOf returns the primary key of a storage key.
func keyOf(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{keyAttribute: &types.AttributeValueMemberS{Value: itemKey(key)}}
}

// itemOf returns the item that holds a value for at least the life from now on.
func itemOf(key string, value []byte, now halt.Instant, life time.Duration) map[string]types.AttributeValue {
	item := keyOf(key)
	item[stateAttribute] = bytesOf(value)
	item[ttlAttribute] = numberOf(expiry(now, life))
	return item
}

// second is one in an Instant's unit.
const second = int64(time.Second / time.Microsecond)

// expiry returns the end of the life, rounded up to the seconds that DynamoDB counts in.
func expiry(now halt.Instant, life time.Duration) int64 {
	return (int64(now)+int64(life/time.Microsecond))/second + 1
}

// entryOf returns what an item holds. One that is there but has no value of ours has an empty one.
func entryOf(item map[string]types.AttributeValue) cas.Entry {
	if len(item) == 0 {
		return cas.Entry{}
	}
	if v, ok := item[stateAttribute].(*types.AttributeValueMemberB); ok && len(v.Value) > 0 {
		return cas.Entry{Value: v.Value}
	}
	return cas.Entry{Value: []byte{}}
}

// condition is true of an item that is still an entry.
type condition struct {
	expression string
	values     map[string]types.AttributeValue
}

// unchanged returns the condition that what is there is still the entry. An item that DynamoDB has not deleted yet although its
// time is over is none: every process's clock has passed the end of what it holds, and without this each first write after
// such an end would be two.
func unchanged(old cas.Entry, now halt.Instant) condition {
	switch {
	case old.Value == nil:
		return condition{
			"attribute_not_exists(" + keyAttribute + ") OR " + ttlAttribute + " < :now",
			map[string]types.AttributeValue{":now": numberOf(int64(now) / second)},
		}
	case len(old.Value) == 0:
		return condition{
			"attribute_exists(" + keyAttribute + ") AND (NOT attribute_type(" + stateAttribute + ", :type) OR " + stateAttribute + " = :old)",
			map[string]types.AttributeValue{":type": &types.AttributeValueMemberS{Value: "B"}, ":old": bytesOf([]byte{})},
		}
	default:
		return condition{stateAttribute + " = :old", map[string]types.AttributeValue{":old": bytesOf(old.Value)}}
	}
}

func bytesOf(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func numberOf(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

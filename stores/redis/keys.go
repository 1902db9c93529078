package haltredis

import (
	halt "github.com/halt-dev/halt/core"
)

// A key of Redis is the prefix, a hash tag, and the rest: "halt:{/user:42}api:T1m0s". The tag is made of the caller's key,
// so that all that is kept of one caller is in one slot of a cluster. The slash keeps it from being empty, which would be no
// tag: a key may begin with "}". What comes after the last "}" names the policy and can't hold one, so that no two budgets
// meet whatever the key is made of.
//
// With a slot tag it is "halt:{tag}/user:42}api:T1m0s", by the same reasoning.

// appendKey appends the key of Redis for a caller's key under what names the policy.
func (s *Store) appendKey(b []byte, key, policy string) []byte {
	b = append(b, s.prefix...)
	b = append(b, '{')
	b = append(b, s.tag...)
	if s.tag != "" {
		b = append(b, '}')
	}
	b = append(b, '/')
	b = append(b, key...)
	b = append(b, '}')
	return append(b, policy...)
}

// storageKey returns the key of Redis for a charge's budget.
func (s *Store) storageKey(c *halt.Charge) string {
	return string(s.appendKey(nil, c.Key, identity(&c.Policy, c.OnShadow())))
}

// identity names a policy's budgets: halt.StorageKey's name for them, without prefix and key.
func identity(p *halt.Policy, shadow bool) string {
	c := halt.Charge{Policy: *p}
	if shadow {
		c.Mode = halt.Shadow
	}
	name := halt.StorageKey("", c)
	return name[:len(name)-1]
}

// slots is how many a cluster has.
const slots = 16384

// slotOf returns the slot of a caller's key: that of its hash tag, which ends at its first "}".
func (s *Store) slotOf(key string) int {
	if s.tag != "" {
		return int(crc16(0, s.tag) % slots)
	}
	for i := range len(key) {
		if key[i] == '}' {
			key = key[:i]
			break
		}
	}
	return int(crc16(crc16(0, "/"), key) % slots)
}

// crc16 is the checksum of Redis Cluster, CRC16-CCITT in its XMODEM variant.
func crc16(crc uint16, s string) uint16 {
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^s[i]]
	}
	return crc
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

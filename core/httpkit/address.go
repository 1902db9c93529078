package httpkit

import (
	"math"
	"net/netip"
	"net/textproto"
	"strings"
)

// appendAddress appends the client's address as a key has it, or nothing if it can't be told.
func appendAddress(b []byte, remote, forwarded string, trusted []netip.Prefix) []byte {
	if len(trusted) == 0 {
		if host := ipv4Host(remote); host != "" {
			return append(b, host...)
		}
	}
	addr, _ := clientAddr(remote, forwarded, trusted)
	return AppendAddr(b, addr)
}

// AppendAddr appends an address as a key has it, an IPv6 address by its /64: nothing if it is the zero Addr.
func AppendAddr(b []byte, addr netip.Addr) []byte {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		return b
	case addr.Is4():
		return addr.AppendTo(b)
	}
	p, _ := addr.Prefix(64) // which has no zone
	return p.AppendTo(b)
}

// clientAddr returns the address of the client: the peer's, unless it is a trusted proxy and has named another. It
// reports false, and returns the zero Addr, if the address that decides is none.
func clientAddr(remote, forwarded string, trusted []netip.Prefix) (netip.Addr, bool) {
	addr, ok := parseAddr(remote)
	if !ok || !within(addr, trusted) {
		return addr, ok
	}
	for rest := forwarded; rest != ""; {
		var hop string
		if i := strings.LastIndexByte(rest, ','); i >= 0 {
			rest, hop = rest[:i], rest[i+1:]
		} else {
			rest, hop = "", rest
		}
		if hop = strings.Trim(hop, " \t"); hop == "" {
			continue // RFC 9110, 5.6.1: empty elements of a list are ignored
		}
		if addr, ok = parseAddr(hop); !ok || !within(addr, trusted) {
			return addr, ok
		}
	}
	return addr, true // all hops are trusted: the farthest is the client
}

// ipv4Host returns the address of an IPv4 address with a port, or "" if s is anything else. Most peers are that; an IPv4
// address has one spelling only, so nothing has to be made of it but its end found.
func ipv4Host(s string) string {
	dots, digits, n := 0, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if digits > 0 && n == 0 {
				return "" // a leading zero
			}
			digits++
			if n = 10*n + int(c-'0'); n > 255 {
				return ""
			}
		case digits == 0:
			return ""
		case c == '.':
			dots++
			digits, n = 0, 0
		case c == ':' && dots == 3:
			if !isPort(s[i+1:]) {
				return ""
			}
			return s[:i]
		default:
			return ""
		}
	}
	return ""
}

func isPort(s string) bool {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		if n = 10*n + int(s[i]-'0'); n > math.MaxUint16 {
			return false
		}
	}
	return s != ""
}

// parseAddr reads an address, with or without a port, and an IPv6 address also in brackets.
func parseAddr(s string) (netip.Addr, bool) {
	var addr netip.Addr
	var err error
	switch first, last := strings.IndexByte(s, ':'), strings.LastIndexByte(s, ':'); {
	case s == "":
		return addr, false
	case s[0] == '[' && s[len(s)-1] == ']':
		if addr, err = netip.ParseAddr(s[1 : len(s)-1]); err == nil && addr.Is4() {
			return netip.Addr{}, false
		}
	case s[0] == '[' || first >= 0 && first == last:
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		addr = ap.Addr()
	default:
		addr, err = netip.ParseAddr(s)
	}
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap().WithZone(""), true
}

func within(a netip.Addr, ps []netip.Prefix) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// unmap returns a prefix of IPv4 addresses in IPv6 form as one of IPv4 addresses.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// validField tells whether s is a header field's name: a token of RFC 9110.
func validField(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

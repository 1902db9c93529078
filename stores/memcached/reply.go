package haltmemcached

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// status is the word that begins an answer.
type status uint8

const (
	statusFailed    status = iota // an error's line
	statusDone                    // HD
	statusValue                   // VA
	statusMiss                    // EN
	statusNotStored               // NS: an add, and something is there
	statusExists                  // EX: the number was another
	statusNotFound                // NF
	statusEnd                     // END, of statistics
)

// reply is one answer.
type reply struct {
	status status
	number uint64 // Memcached's, of the entry
	value  []byte
	time   int64  // of statistics: what the server's clock shows, in seconds since the Unix epoch
	line   string // of an error
}

// failure returns the error that the server answered with.
func (a *reply) failure() error {
	if a.status != statusFailed {
		return errProtocol
	}
	return errors.New("halt/memcached: " + a.line)
}

var errProtocol = errors.New("halt/memcached: the server's answer makes no sense")

// longestValue is how much of a value is kept, in bytes: Halt's are shorter.
const longestValue = 4 << 10

// readReply reads one answer. After an error nothing more can be read.
func readReply(r *bufio.Reader) (a reply, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return reply{}, cut(err)
		}
		line = bytes.TrimRight(line, "\r\n")
		word, rest, _ := bytes.Cut(line, []byte(" "))
		switch string(word) {
		case "STAT":
			if name, v, _ := bytes.Cut(rest, []byte(" ")); string(name) == "time" {
				a.time, _ = strconv.ParseInt(string(v), 10, 64) // 0 is not believed
			}
			continue
		case "HD":
			a.status = statusDone
		case "VA":
			a.status = statusValue
			size, flags, _ := bytes.Cut(rest, []byte(" "))
			if err := a.numberOf(flags); err != nil {
				return reply{}, err
			}
			return a, a.readValue(r, string(size))
		case "EN":
			a.status = statusMiss
		case "NS":
			a.status = statusNotStored
		case "EX":
			a.status = statusExists
		case "NF":
			a.status = statusNotFound
		case "END":
			a.status = statusEnd
		case "SERVER_ERROR":
			a.status, a.line = statusFailed, string(line)
			return a, nil
		case "ERROR", "CLIENT_ERROR":
			// What the server took for the end of the command is not known.
			return reply{}, errors.New("halt/memcached: " + string(line))
		default:
			return reply{}, errProtocol
		}
		return a, a.numberOf(rest)
	}
}

// numberOf finds the entry's number among the answer's flags.
func (a *reply) numberOf(flags []byte) error {
	for f := range bytes.FieldsSeq(flags) {
		if f[0] == 'c' {
			n, err := strconv.ParseUint(string(f[1:]), 10, 64)
			if err != nil {
				return errProtocol
			}
			a.number = n
		}
	}
	return nil
}

// readValue reads a value and the end of its line. What is too long to be Halt's is cut off.
func (a *reply) readValue(r *bufio.Reader, size string) error {
	n, err := strconv.ParseUint(size, 10, 31)
	if err != nil {
		return errProtocol
	}
	a.value = make([]byte, min(n, longestValue))
	if _, err := io.ReadFull(r, a.value); err != nil {
		return cut(err)
	}
	if _, err := r.Discard(int(n) - len(a.value)); err != nil {
		return cut(err)
	}
	var end [2]byte
	if _, err := io.ReadFull(r, end[:]); err != nil {
		return cut(err)
	}
	if string(end[:]) != "\r\n" {
		return errProtocol
	}
	return nil
}

// cut returns the error of reading an answer.
func cut(err error) error {
	if errors.Is(err, bufio.ErrBufferFull) {
		return errProtocol
	}
	return err
}

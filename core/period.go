package halt

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Unit is the length of a [Period].
type Unit uint8

// The units of the calendar. None, the zero value, is no Period at all.
const (
	None Unit = iota
	Hour
	Day
	Week // ISO 8601: from Monday
	Month
	Year
)

var unitNames = [...]string{"none", "hour", "day", "week", "month", "year"}

// String returns the unit's name, such as "month".
func (u Unit) String() string {
	if int(u) < len(unitNames) {
		return unitNames[u]
	}
	return "unknown"
}

// Period makes a calendar quota: so much per month, say, as the calendar of a time zone has it.
//
// A day starts at the first instant of its local date, whatever daylight saving does around midnight, and no two
// periods overlap or leave a gap.
type Period struct {
	Unit Unit
	// Zone is an IANA name, such as "Europe/Berlin"; "" is UTC. The zone must be known where the program runs (import
	// time/tzdata to be sure).
	Zone string
	// Anchor, of a Month, is the day on which it starts, 1 to 31 (0 is 1): a billing day. In months that are too short it is
	// their last day. Other units have none.
	Anchor int
}

// String returns the period's identity, such as "month,Europe/Berlin,15".
func (p Period) String() string {
	p = p.normal()
	if p.Unit == None {
		return p.Unit.String()
	}
	s := p.Unit.String() + "," + p.Zone
	if p.Anchor > 1 {
		s += fmt.Sprintf(",%d", p.Anchor)
	}
	return s
}

// normal returns p with one spelling for what means the same.
func (p Period) normal() Period {
	if p.Unit == None {
		return p
	}
	if p.Zone == "" {
		p.Zone = "UTC"
	}
	if p.Anchor == 0 && p.Unit == Month {
		p.Anchor = 1
	}
	return p
}

// fault returns what was expected of an invalid period, or "".
func (p Period) fault() string {
	switch {
	case p.Unit == None || p.Unit > Year:
		return "of a Unit from Hour to Year"
	case p.Unit != Month && p.Anchor != 0:
		return "without Anchor: only months have one"
	case p.Anchor < 0 || p.Anchor > 31:
		return "anchored at a day from 1 to 31"
	}
	if _, err := location(p.Zone); err != nil {
		return "in a known IANA time Zone"
	}
	return ""
}

var locations sync.Map // of zone name to *time.Location; only those that exist, so it is bounded

func location(zone string) (*time.Location, error) {
	if zone == "" || zone == "UTC" {
		return time.UTC, nil
	}
	if l, ok := locations.Load(zone); ok {
		return l.(*time.Location), nil
	}
	if zone == "Local" { // not the name of a zone: it differs from process to process
		return nil, fmt.Errorf("halt: %q is not an IANA zone", zone)
	}
	l, err := time.LoadLocation(zone)
	if err != nil {
		return nil, err
	}
	locations.Store(zone, l)
	return l, nil
}

var edgeCache sync.Map // of valid Period to *atomic.Pointer[[4]Instant]; bounded by zones, units and anchors

// Edges returns the starts of the previous period, the one that holds the instant, the next, and the one after. Each
// is a whole second. Callers compute it, not stores: four edges let a store whose clock differs a little name its own
// period. A Period that Validate rejects counts as in UTC, or as by the day.
func (p Period) Edges(at Instant) [4]Instant {
	p = p.normal()
	if c, ok := edgeCache.Load(p); ok {
		last := c.(*atomic.Pointer[[4]Instant])
		if e := last.Load(); e[1] <= at && at < e[2] {
			return *e
		}
		e := p.edges(at)
		last.Store(&e)
		return e
	}
	e := p.edges(at)
	if p.fault() == "" {
		last := new(atomic.Pointer[[4]Instant])
		last.Store(&e)
		edgeCache.Store(p, last)
	}
	return e
}

func (p Period) edges(at Instant) [4]Instant {
	loc, err := location(p.Zone)
	if err != nil {
		loc = time.UTC
	}
	if p.Unit == Hour {
		return hourEdges(at, loc)
	}
	d := p.first(civilOf(at.Time().In(loc)))
	// The local date can lie a period behind its instants where a clock was set back across midnight.
	start := d.start(loc)
	for {
		next := p.next(d, 1)
		s := next.start(loc)
		if s > at {
			break
		}
		d, start = next, s
	}
	e := [4]Instant{1: start}
	for prev := d; ; {
		prev = p.next(prev, -1)
		if e[0] = prev.start(loc); e[0] < start {
			break
		}
	}
	// A zone that moved across the date line skipped a day: a period without an instant is no period.
	last := start
	for i := 2; i < 4; {
		d = p.next(d, 1)
		if s := d.start(loc); s > last {
			e[i], last = s, s
			i++
		}
	}
	return e
}

// civil is a date of the proleptic Gregorian calendar, kept as time.Date normalises it.
type civil struct {
	year, day int
	month     time.Month
}

func civilOf(t time.Time) civil {
	y, m, d := t.Date()
	return civil{year: y, month: m, day: d}
}

func (c civil) addDays(n int) civil {
	return civilOf(time.Date(c.year, c.month, c.day+n, 12, 0, 0, 0, time.UTC))
}

// first returns the date on which the period that holds the date c starts.
func (p Period) first(c civil) civil {
	switch p.Unit {
	case Week:
		wd := time.Date(c.year, c.month, c.day, 12, 0, 0, 0, time.UTC).Weekday()
		return c.addDays(-int(wd+6) % 7)
	case Month:
		f := anchored(c.year, c.month, p.Anchor)
		if c.day < f.day {
			f = anchored(c.year, c.month-1, p.Anchor)
		}
		return f
	case Year:
		return civil{year: c.year, month: time.January, day: 1}
	default:
		return c
	}
}

// next returns the first date of the period n after the one that starts on c.
func (p Period) next(c civil, n int) civil {
	switch p.Unit {
	case Week:
		return c.addDays(7 * n)
	case Month:
		return anchored(c.year, c.month+time.Month(n), p.Anchor)
	case Year:
		return civil{year: c.year + n, month: c.month, day: c.day}
	default:
		return c.addDays(n)
	}
}

// anchored returns the anchor's day of a month, or the month's last if it is shorter.
func anchored(year int, month time.Month, anchor int) civil {
	last := civilOf(time.Date(year, month+1, 0, 12, 0, 0, 0, time.UTC))
	last.day = min(last.day, max(anchor, 1))
	return last
}

// start returns the first instant at which the local date in loc is c or later. Midnight need not exist, and may come
// twice: the zone's spans of constant offset around it are searched from the earliest on.
func (c civil) start(loc *time.Location) Instant {
	naive := time.Date(c.year, c.month, c.day, 0, 0, 0, 0, time.UTC).Unix()
	const widest = 26 * 60 * 60 // no offset is as large as a day and two hours
	t := naive - widest
	for {
		offset, from, to := zoneSpan(t, loc)
		if s := max(naive-offset, from); s < to {
			return instantOf(s)
		}
		t = to
	}
}

// zoneSpan returns the offset from UTC at the Unix time t and a span of time, t included, over which it is the same. The
// span may end where the offset does not change.
func zoneSpan(t int64, loc *time.Location) (offset, from, to int64) {
	at := time.Unix(t, 0).In(loc)
	_, o := at.Zone()
	start, end := at.ZoneBounds()
	offset, from, to = int64(o), math.MinInt64, math.MaxInt64
	if !start.IsZero() {
		from = start.Unix()
	}
	if !end.IsZero() {
		to = end.Unix()
	}
	// Where a zone goes by a rule and not by a table, ZoneBounds ends a year after 365 days: on the last day of a leap
	// year, in UTC, it returns an end that is not after t.
	if to <= t {
		to = t - mod(t, 86400) + 86400
	}
	return offset, from, to
}

func instantOf(unix int64) Instant { return Instant(unix) * Instant(time.Second/time.Microsecond) }

// mod returns a modulo b, never negative.
func mod(a, b int64) int64 { return (a%b + b) % b }

// hourEdges returns the edges of local hours. A change of offset ends an hour too, so that hours in zones that shift
// by less than one stay a partition.
func hourEdges(at Instant, loc *time.Location) [4]Instant {
	this := hourStart(at.Time().Unix(), loc)
	next := hourEnd(this, loc)
	return [4]Instant{
		instantOf(hourStart(this-1, loc)), instantOf(this), instantOf(next), instantOf(hourEnd(next, loc)),
	}
}

func hourStart(t int64, loc *time.Location) int64 {
	offset, from, _ := zoneSpan(t, loc)
	start := t - mod(t+offset, 3600)
	for start < from {
		before, earlier, _ := zoneSpan(from-1, loc)
		if before != offset {
			return from
		}
		from = earlier
	}
	return start
}

func hourEnd(start int64, loc *time.Location) int64 {
	offset, _, to := zoneSpan(start, loc)
	end := start - mod(start+offset, 3600) + 3600
	for to < end {
		after, _, later := zoneSpan(to, loc)
		if after != offset {
			return to
		}
		to = later
	}
	return end
}

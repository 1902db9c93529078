package halt_test

import (
	"archive/zip"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones do not depend on the machine

	halt "github.com/halt-dev/halt/core"
)

// long makes the random tests go on for much longer.
var long = flag.Bool("halt.long", false, "run the property tests for long")

// hard are zones whose clocks do what calendars don't expect: change at midnight or around it, by half an hour, across the
// date line, or during Ramadan.
var hard = []string{
	"America/Sao_Paulo", "America/Havana", "America/Santiago", "Africa/Cairo", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia",
	"Africa/Casablanca", "Asia/Beirut", "Asia/Gaza", "Asia/Tehran", "America/Asuncion", "Asia/Kathmandu", "Pacific/Chatham", "Asia/Pyongyang",
	"America/Caracas", "Europe/Volgograd", "Antarctica/Troll", "Pacific/Kwajalein", "Europe/Berlin", "America/New_York", "Asia/Amman",
}

// zones returns the names of all zones that this machine or Go's own archive lists.
func zones(t *testing.T) []string {
	t.Helper()
	seen := make(map[string]bool)
	for _, z := range hard {
		seen[z] = true
	}
	add := func(name string) {
		if name != "" && name[0] >= 'A' && name[0] <= 'Z' && !strings.Contains(name, ".") && name != "Factory" {
			if _, err := time.LoadLocation(name); err == nil {
				seen[name] = true
			}
		}
	}
	for _, dir := range []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"} {
		_ = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				add(path)
			}
			return nil
		})
	}
	if z, err := zip.OpenReader(filepath.Join(os.Getenv("GOROOT"), "lib", "time", "zoneinfo.zip")); err == nil {
		for _, f := range z.File {
			add(f.Name)
		}
		_ = z.Close()
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func load(t *testing.T, zone string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// transitions returns the Unix times at which the offset changes, from 2006 through 2026. It looks at each day, so that it
// depends on nothing but the offset.
func transitions(loc *time.Location) []int64 {
	offset := func(unix int64) int {
		_, o := time.Unix(unix, 0).In(loc).Zone()
		return o
	}
	var all []int64
	to := time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC).Unix()
	for t := time.Date(2005, 12, 31, 0, 0, 0, 0, time.UTC).Unix(); t < to; t += 86400 {
		if offset(t) == offset(t+86400) {
			continue
		}
		a, b := t, t+86400
		for b-a > 1 {
			if m := (a + b) / 2; offset(m) == offset(a) {
				a = m
			} else {
				b = m
			}
		}
		all = append(all, b)
	}
	return all
}

func unix(s int64) halt.Instant { return halt.Instant(s * 1_000_000) }

// partition checks the edges around an instant: that they increase, hold it, and are the same seen from each other.
func partition(t *testing.T, p halt.Period, at halt.Instant) [4]halt.Instant {
	t.Helper()
	e := p.Edges(at)
	ok := e[0] < e[1] && e[1] <= at && at < e[2] && e[2] < e[3]
	for i := range e {
		ok = ok && e[i]%1_000_000 == 0
	}
	from, upto, before, after := p.Edges(e[1]), p.Edges(e[2]-1), p.Edges(e[1]-1), p.Edges(e[2])
	ok = ok && from == e && upto == e
	ok = ok && before[1] == e[0] && before[2] == e[1] && before[3] == e[2]
	ok = ok && after[0] == e[1] && after[1] == e[2] && after[2] == e[3]
	ok = ok && p.Edges(e[1]-1_000_000) == before && p.Edges(e[2]+1_000_000) == after
	if !ok {
		t.Errorf("%s at %v: edges %v; at the start %v, before it %v, at the end %v, after it %v", p, at.Time(), times(e), times(from), times(before), times(upto), times(after))
	}
	return e
}

func times(e [4]halt.Instant) (out [4]string) {
	for i := range e {
		out[i] = e[i].Time().Format(time.RFC3339)
	}
	return out
}

// TestEdgesEverywhere: in every zone, over 20 years, the periods of each unit are a partition of time.
func TestEdgesEverywhere(t *testing.T) {
	t.Parallel()
	names := zones(t)
	if len(names) < len(hard) {
		t.Fatalf("only %d zones", len(names))
	}
	start, end := time.Date(2006, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	rng := rand.New(rand.NewPCG(1, 2))
	for i, zone := range names {
		if testing.Short() && i%10 != 0 && !slices.Contains(hard, zone) {
			continue
		}
		loc := load(t, zone)
		changes := transitions(loc)
		var days []halt.Instant
		for _, c := range changes {
			if !*long && !slices.Contains(hard, zone) && rng.IntN(4) != 0 {
				continue
			}
			for _, around := range []int64{-86400, -3601, -1, 0, 1, 1799, 3600, 43_200, 86400} {
				days = append(days, unix(c+around))
			}
		}
		for range 10 {
			days = append(days, unix(start+rng.Int64N(end-start))+halt.Instant(rng.Int64N(1_000_000)))
		}
		for _, at := range days {
			partition(t, halt.Period{Unit: halt.Hour, Zone: zone}, at)
			partition(t, halt.Period{Unit: halt.Day, Zone: zone}, at)
		}
		for _, p := range []halt.Period{
			{Unit: halt.Day, Zone: zone},
			{Unit: halt.Week, Zone: zone},
			{Unit: halt.Year, Zone: zone},
			{Unit: halt.Month, Zone: zone},
			{Unit: halt.Month, Zone: zone, Anchor: 29},
			{Unit: halt.Month, Zone: zone, Anchor: 30},
			{Unit: halt.Month, Zone: zone, Anchor: 31},
		} {
			at := unix(start)
			switch {
			case *long:
			case p.Unit == halt.Day || p.Unit == halt.Week: // 3 years, from anywhere
				at = unix(start + rng.Int64N(end-start))
			}
			for n := 0; at < unix(end) && (*long || n < 260); n++ { // each is where the one before it said
				e := p.Edges(at)
				if e[1] > at || e[2] <= at || n > 0 && e[1] != at {
					t.Errorf("%s at %v: %v", p, at.Time(), times(e))
					break
				}
				at = e[2]
			}
			partition(t, p, at)
		}
		if t.Failed() {
			t.Fatal(zone)
		}
	}
}

// TestEdgesOfRules: where a zone goes by a rule for all years to come, also on the last day of a leap year, for which
// package time gives no end.
func TestEdgesOfRules(t *testing.T) {
	t.Parallel()
	for _, zone := range append([]string{""}, hard...) {
		for _, year := range []int{2028, 2032, 2036, 2040, 2044, 2064, 2096, 2100} {
			for _, unit := range []halt.Unit{halt.Hour, halt.Day, halt.Week, halt.Month, halt.Year} {
				p := halt.Period{Unit: unit, Zone: zone}
				for h := -30; h < 54; h++ {
					partition(t, p, halt.InstantOf(time.Date(year, 12, 31, h, 20, 0, 1000, time.UTC)))
				}
			}
		}
	}
}

// startOf finds, minute by minute, the first instant at which the local date is y-m-d or later.
func startOf(loc *time.Location, y int, m time.Month, d int) halt.Instant {
	naive := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	y, m, d = naive.Date()
	want := y*10000 + int(m)*100 + d
	for t := naive.Unix() - 26*3600; ; t += 60 {
		if y, m, d := time.Unix(t, 0).In(loc).Date(); y*10000+int(m)*100+d >= want {
			return unix(t)
		}
	}
}

// TestDaysByBruteForce compares days with a scan of the minutes, around all changes of the clocks.
func TestDaysByBruteForce(t *testing.T) {
	t.Parallel()
	names := hard
	if *long {
		names = zones(t)
	}
	for _, zone := range names {
		loc := load(t, zone)
		p := halt.Period{Unit: halt.Day, Zone: zone}
		for _, c := range transitions(loc) {
			latest, day := 0, halt.Instant(0)
			for s := (c - 30*3600) / 60 * 60; s < c+30*3600; s += 60 {
				y, m, d := time.Unix(s, 0).In(loc).Date()
				if date := y*10000 + int(m)*100 + d; date > latest {
					if latest != 0 {
						day = unix(s)
						if e := p.Edges(day - 1); e[2] != day {
							t.Fatalf("%s: the day before %v ends at %v", zone, time.Unix(s, 0).In(loc), e[2].Time().In(loc))
						}
					}
					latest = date
				}
				if day != 0 && (s%1200 == 0 || unix(s) == day) {
					if e := p.Edges(unix(s)); e[1] != day {
						t.Fatalf("%s: the day of %v starts at %v, not %v", zone, time.Unix(s, 0).In(loc), e[1].Time().In(loc), day.Time().In(loc))
					}
				}
			}
		}
	}
}

// TestHoursByBruteForce compares hours with a scan of the minutes: one starts at each full local hour, and where the
// offset changes.
func TestHoursByBruteForce(t *testing.T) {
	t.Parallel()
	for _, zone := range hard {
		loc := load(t, zone)
		p := halt.Period{Unit: halt.Hour, Zone: zone}
		for _, c := range transitions(loc) {
			hour := halt.Instant(0)
			for s := (c - 3*3600) / 60 * 60; s < c+3*3600; s += 60 {
				at := time.Unix(s, 0).In(loc)
				_, offset := at.Zone()
				_, before := time.Unix(s-1, 0).In(loc).Zone()
				if at.Minute() == 0 || offset != before {
					hour = unix(s)
				}
				if e := p.Edges(unix(s)); hour != 0 && e[1] != hour {
					t.Fatalf("%s: the hour of %v starts at %v, not %v", zone, at, e[1].Time().In(loc), hour.Time().In(loc))
				}
			}
		}
	}
}

// TestLongPeriodsByBruteForce compares weeks, months and years with the day on which they start.
func TestLongPeriodsByBruteForce(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, zone := range hard {
		loc := load(t, zone)
		for range 40 {
			y, m, d := 2006+rng.IntN(21), time.Month(1+rng.IntN(12)), 1+rng.IntN(28)
			noon := time.Date(y, m, d, 12, 0, 0, 0, loc)
			check := func(p halt.Period, y int, m time.Month, d int) {
				t.Helper()
				if e, want := p.Edges(halt.InstantOf(noon)), startOf(loc, y, m, d); e[1] != want {
					t.Errorf("%s: that of %v starts at %v, not %v", p, noon, e[1].Time().In(loc), want.Time().In(loc))
				}
			}
			check(halt.Period{Unit: halt.Year, Zone: zone}, y, 1, 1)
			check(halt.Period{Unit: halt.Month, Zone: zone}, y, m, 1)
			check(halt.Period{Unit: halt.Week, Zone: zone}, y, m, d-(int(noon.Weekday())+6)%7)
			for _, anchor := range []int{2, 15, 28, 29, 30, 31} {
				last := func(m time.Month) int { return time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }
				if day := min(anchor, last(m)); d >= day {
					check(halt.Period{Unit: halt.Month, Zone: zone, Anchor: anchor}, y, m, day)
				} else {
					check(halt.Period{Unit: halt.Month, Zone: zone, Anchor: anchor}, y, m-1, min(anchor, last(m-1)))
				}
			}
		}
	}
}

// TestWeeksAreISO: the first second and the last of a week are of the same ISO week, and the next is another.
func TestWeeksAreISO(t *testing.T) {
	t.Parallel()
	for _, zone := range hard {
		loc := load(t, zone)
		p := halt.Period{Unit: halt.Week, Zone: zone}
		iso := func(at halt.Instant) int {
			y, w := at.Time().In(loc).ISOWeek()
			return y*100 + w
		}
		for at := halt.InstantOf(time.Date(2006, 1, 5, 12, 0, 0, 0, loc)); at.Time().Year() < 2027; {
			e := p.Edges(at)
			if iso(e[1]) != iso(e[2]-1) || iso(e[1]) >= iso(e[2]) || e[1].Time().In(loc).Weekday() != time.Monday {
				t.Fatalf("%s: the week of %v: %v", zone, at.Time().In(loc), times(e))
			}
			at = e[2]
		}
	}
}

// TestKnownDays are days that are known to start oddly, as newspapers had it.
func TestKnownDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, at, start, next string
	}{
		{"America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"}, // 00:00 does not exist
		{"America/Havana", "2024-03-10T12:00:00Z", "2024-03-10T05:00:00Z", "2024-03-11T04:00:00Z"},
		{"America/Santiago", "2023-09-03T12:00:00Z", "2023-09-03T04:00:00Z", "2023-09-04T03:00:00Z"},
		{"Africa/Cairo", "2023-04-28T12:00:00Z", "2023-04-27T22:00:00Z", "2023-04-28T21:00:00Z"},
		{"America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"}, // 00:01 became 23:01 of the day before
		{"Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},     // no 30 December
		{"Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, // 23 hours
		{"Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // 25 hours
		{"Africa/Casablanca", "2025-02-23T12:00:00Z", "2025-02-22T23:00:00Z", "2025-02-24T00:00:00Z"},
		{"", "2026-03-14T12:00:00Z", "2026-03-14T00:00:00Z", "2026-03-15T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		e := times(halt.Period{Unit: halt.Day, Zone: c.zone}.Edges(halt.InstantOf(at)))
		if e[1] != c.start || e[2] != c.next {
			t.Errorf("%s, the day of %s: from %s to %s, not from %s to %s", c.zone, c.at, e[1], e[2], c.start, c.next)
		}
	}
	for _, c := range []struct {
		anchor    int
		at, start string
	}{
		{31, "2026-02-27T00:00:00Z", "2026-01-31T00:00:00Z"},
		{31, "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z"},
		{31, "2024-02-28T00:00:00Z", "2024-01-31T00:00:00Z"},
		{31, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
		{30, "2026-03-01T00:00:00Z", "2026-02-28T00:00:00Z"},
		{29, "2026-03-28T00:00:00Z", "2026-02-28T00:00:00Z"},
		{15, "2026-01-14T23:59:59Z", "2025-12-15T00:00:00Z"},
		{0, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		{31, "2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z"},
		{31, "2026-04-30T00:00:00Z", "2026-04-30T00:00:00Z"},
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		if e := times(halt.Period{Unit: halt.Month, Anchor: c.anchor}.Edges(halt.InstantOf(at))); e[1] != c.start {
			t.Errorf("anchor %d, the month of %s starts at %s, not %s", c.anchor, c.at, e[1], c.start)
		}
	}
}

// TestEdgesOfInvalidPeriods are some edges all the same.
func TestEdgesOfInvalidPeriods(t *testing.T) {
	t.Parallel()
	at := halt.InstantOf(time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC))
	utc := halt.Period{Unit: halt.Day}.Edges(at)
	for _, p := range []halt.Period{{Unit: halt.Day, Zone: "Mars/Olympus"}, {Unit: 99}, {Unit: halt.Day, Zone: "Local"}, {}} {
		if e := p.Edges(at); e != utc {
			t.Errorf("%+v: %v", p, times(e))
		}
	}
	if e := (halt.Period{Unit: halt.Month, Anchor: 77}).Edges(at); e[1] > at || e[2] <= at {
		t.Errorf("anchor 77: %v", times(e))
	}
}

func TestPeriodString(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]halt.Period{
		"month,Europe/Berlin,15": {Unit: halt.Month, Zone: "Europe/Berlin", Anchor: 15}, "month,UTC": {Unit: halt.Month, Anchor: 1},
		"day,UTC": {Unit: halt.Day}, "none": {},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

package memory

const (
	// pageBits is the logarithm of a page's words. 8 KiB are few objects for the garbage collector and little waste.
	pageBits  = 10
	pageWords = 1 << pageBits
	// firstRecords is how many records the first page of a pile starts with, so that a store of few keys stays small.
	firstRecords = 8
)

// records holds what of an entry doesn't fit into its slot, in records of whole words of which the first is the entry's
// fingerprint. Records of one size are a pile: they lie densely, in pages, and what is discarded is replaced by the pile's last
// record. So memory is what they need, and pages are given back when nothing is left in them.
//
// A record's place is the number of its page and its first word in it.
type records struct {
	pages []page
	piles []pile
	free  []int64 // pages that no pile uses; they have no words
}

type page struct {
	words []int64
	size  int // of its records
}

type pile struct {
	size, perPage int
	n             int // records
	pages         []int64
}

// place returns where the pile's k-th record is.
func (p *pile) place(k int) int64 {
	return p.pages[k/p.perPage]<<pageBits | int64(k%p.perPage*p.size)
}

// record returns the words of the record at a place, after its fingerprint.
func (r *records) record(place int64) []int64 {
	p := &r.pages[place>>pageBits]
	at := int(place & (pageWords - 1))
	return p.words[at+1 : at+p.size : at+p.size]
}

// owner returns the fingerprint of the entry whose record is at a place.
func (r *records) owner(place int64) uint64 {
	return uint64(r.pages[place>>pageBits].words[place&(pageWords-1)])
}

// pile returns that of the records of so many words.
func (r *records) pile(size int) *pile {
	for i := range r.piles {
		if r.piles[i].size == size {
			return &r.piles[i]
		}
	}
	r.piles = append(r.piles, pile{size: size, perPage: pageWords / size})
	return &r.piles[len(r.piles)-1]
}

// add makes a record of n words and the fingerprint, to be filled in. Other records stay where they are.
func (r *records) add(fp uint64, n int) (place int64) {
	p := r.pile(n + 1)
	if p.n == p.perPage*len(p.pages) {
		words := pageWords
		if len(p.pages) == 0 {
			words = min(firstRecords*p.size, pageWords)
		}
		p.pages = append(p.pages, r.newPage(page{words: make([]int64, words), size: p.size}))
	}
	place = p.place(p.n)
	pg := &r.pages[place>>pageBits]
	at := int(place & (pageWords - 1))
	if at+p.size > len(pg.words) {
		words := make([]int64, min(2*len(pg.words), pageWords))
		copy(words, pg.words)
		pg.words = words
	}
	p.n++
	pg.words[at] = int64(fp)
	return place
}

func (r *records) newPage(p page) (id int64) {
	if n := len(r.free); n > 0 {
		id = r.free[n-1]
		r.free = r.free[:n-1]
		r.pages[id] = p
		return id
	}
	r.pages = append(r.pages, p)
	return int64(len(r.pages) - 1)
}

// cut takes the record at a place away and closes the hole with the pile's last record, whose entry then is to be told: moved
// is its fingerprint. Of the pages that are no longer needed one stays, so that a record that comes and goes at a page's edge
// doesn't allocate each time; a pile's only page shrinks as it grew.
func (r *records) cut(place int64) (moved uint64, ok bool) {
	p := r.pile(r.pages[place>>pageBits].size)
	p.n--
	if last := p.place(p.n); last != place {
		moved, ok = r.owner(last), true
		to, from := r.pages[place>>pageBits].words[place&(pageWords-1):], r.pages[last>>pageBits].words[last&(pageWords-1):]
		copy(to[:p.size], from)
	}
	switch n := len(p.pages); {
	case n > 1 && p.n <= p.perPage*(n-2):
		id := p.pages[n-1]
		p.pages = p.pages[:n-1]
		r.pages[id] = page{}
		r.free = append(r.free, id)
	case n == 1:
		pg := &r.pages[p.pages[0]]
		if half := len(pg.words) / 2; half >= firstRecords*p.size && half >= 2*p.n*p.size {
			pg.words = append(make([]int64, 0, half), pg.words[:half]...)
		}
	}
	return moved, ok
}

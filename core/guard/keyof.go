package guard

// Of returns the key that r has, as a string of its own, or "" if it has none: for adapters that make charges beside a
// Guard's, such as one for each field of a query. It calls the user's function, and panics as that does.
func (k Key[R]) Of(r R) string {
	if k.same != "" {
		return k.same
	}
	if k.add == nil {
		return ""
	}
	var buf [64]byte
	key, _ := k.of(buf[:0], r)
	return key
}

// Fault says what a key must be to be used, or "" if it can be.
func (k Key[R]) Fault() string {
	if k.add == nil && k.fault == "" {
		return "set"
	}
	return firstFault(k)
}

package haltgqlgen

import "sync"

// ForgetLogged makes what is logged once be logged again.
func ForgetLogged() { notUsedOnce = sync.Once{} }

// AppendValue is how a key spells a value.
func AppendValue(b []byte, v any) []byte { return appendValue(b, v) }

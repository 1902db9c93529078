// Package presets has ready policies for what most services limit. They are plain values: take one as it is, or copy it
// and change what differs.
//
//	perMinute := presets.PublicAPI
//	perMinute.Limit = 200
//
// What each policy's budget is of is for its key to say; the comments tell what they are meant for.
package presets

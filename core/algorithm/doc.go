// Package algorithm holds the arithmetic of Halt: [Decide], a pure function from a policy, a key's [State], an instant
// and a charge to a decision and the next state. It reads no clock, does no I/O and computes in integers only. Every
// store either calls it or computes the same.
//
// Time is in ticks of the policy ([halt.Policy.Tick]) since the Unix epoch. Below, W is the window in ticks, L the limit,
// C the capacity, t the present tick, n the cost.
//
//   - Token bucket, after the leaky bucket as a meter of ITU-T I.371: the state is a debt in units of 1/W token, which
//     drains by L units a tick. n fits if debt + n*W <= C*W. Admitted in any interval of t ticks: at most C + t*L/W.
//   - Leaky bucket, as a queue: the same with C = Burst+1; the request proceeds after ceil(debt/L), the debt being that
//     before it.
//   - Fixed window: a count, and the tick at which its window starts.
//   - Sliding window and in-flight: sub = ceil(W/P); the counts of sub-windows i-P to i, where i = t/sub. n fits if their
//     sum + n <= L. An interval of W ticks touches at most P+1 sub-windows, so none admits more than L.
//   - Block: a tick until which all is refused.
//
// A clock that steps back is clamped to the state's last change; a state more than ten seconds ahead of the clock counts
// as never seen, so that one bad clock can't lock a key for longer.
//
// Policies must be valid; the Limiter sees to that. Then every intermediate value is below 2^53.
package algorithm

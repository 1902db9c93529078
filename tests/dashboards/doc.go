// Package dashboards holds the tests of docs/dashboards: on a real Prometheus, which scrapes a real limiter, every panel, rule
// and alert has to find its series.
package dashboards

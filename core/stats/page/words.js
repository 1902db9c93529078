"use strict";

// How numbers, rates and times are said, in the reader's own language where it matters.
const words = {
  count(n) {
    return n < 1e6 ? new Intl.NumberFormat().format(n) :
      new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 }).format(n);
  },

  rate(n) {
    return new Intl.NumberFormat(undefined, { maximumFractionDigits: n < 10 ? 1 : 0 }).format(n);
  },

  percent(part) {
    return new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 }).format(part);
  },

  // duration says nanoseconds in the largest unit of which there is one.
  duration(ns) {
    const units = [["d", 864e11], ["h", 36e11], ["min", 6e10], ["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]];
    const [unit, size] = units.find(([, size]) => ns >= size) || ["ns", 1];
    return new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(ns / size) + " " + unit;
  },

  time(iso) {
    const t = new Date(iso);
    const today = t.toDateString() === new Date().toDateString();
    return t.toLocaleString(undefined, today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" });
  },

  // limit says what a policy allows: "100 per min".
  limit(p) {
    if (p.limit === 0) return "";
    if (p.limit < 0) return "unlimited";
    if (p.algorithm === "in-flight") return words.count(p.limit) + " at once";
    const [unit, zone] = p.period.split(",");
    if (unit) return words.count(p.limit) + " per " + unit + (zone === "UTC" ? "" : " (" + zone + ")");
    return words.count(p.limit) + " per " + words.duration(p.window).replace(/^1 /, "");
  },
};
